"""Ctrl-C: the first is noted, the second ends at once, and what was there before comes back."""

import os
import signal
import threading

import pytest

from vreid_fast.interrupt import StopRequest


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_noted_and_the_second_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop
        interrupt()
        assert stop
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_one_nothing_is_set_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGINT) is not before
    assert not stop and signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_outside_the_main_thread_it_leaves_the_handler_alone():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with StopRequest() as stop:
            found.append((signal.getsignal(signal.SIGINT) is before, bool(stop)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(True, False)] and signal.getsignal(signal.SIGINT) is before
