"""Ctrl-C or SIGTERM: the first is noted, the second ends at once, and what was there before comes back."""

import itertools
import os
import signal
import subprocess
import sys
import threading

import pytest

from vreid_fast.interrupt import StopRequest, sigterm_interrupts

SIGNALS = signal.SIGINT, signal.SIGTERM


def send(number):
    os.kill(os.getpid(), number)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize(("first", "second"), [*itertools.product(SIGNALS, SIGNALS)])
def test_the_first_is_noted_and_the_second_ends_at_once(first, second):
    before = handlers()
    with StopRequest() as stop:
        assert not stop
        send(first)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            send(second)
    assert handlers() == before


def test_without_one_nothing_is_set_and_the_handlers_come_back():
    before = handlers()
    with StopRequest() as stop:
        assert not set(handlers()) & set(before)
        stop.check()
    assert not stop and handlers() == before
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_where_nothing_is_lost_the_first_ends_at_once(number):
    before = handlers()
    with StopRequest() as stop:
        stop.at_once()
        with pytest.raises(KeyboardInterrupt):
            send(number)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    with StopRequest() as stop:
        send(number)
        with pytest.raises(KeyboardInterrupt):
            stop.at_once()
    assert handlers() == before


def test_a_handler_of_another_gets_the_second(monkeypatch):
    got = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append("theirs"))
    try:
        with StopRequest() as stop:
            send(signal.SIGTERM)
            assert stop and not got
            send(signal.SIGTERM)
            assert got == ["theirs"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_it_leaves_the_handlers_alone():
    before, found = handlers(), []

    def work():
        with StopRequest() as stop:
            found.append((handlers() == before, bool(stop)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(True, False)] and handlers() == before


def test_after_it_sigterm_ends_a_process_as_ever():
    program = """
import os, signal
from vreid_fast.interrupt import StopRequest
with StopRequest():
    pass
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGTERM


def test_within_a_command_sigterm_interrupts_and_elsewhere_nothing_changes():
    before = handlers()
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        assert handlers() == [before[0], signal.default_int_handler]
        send(signal.SIGTERM)
    assert handlers() == before
    found = []

    def work():
        with sigterm_interrupts():
            found.append(handlers() == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
