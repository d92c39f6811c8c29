"""Ctrl-C or SIGTERM: the first is noted, the second ends at once, and what was there before comes back."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from vreid_fast.interrupt import Interrupts, StopRequest

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


def test_what_comes_with_the_first_is_no_second(monkeypatch):
    """As where a scheduler signals a rank and torchrun, which passes it on."""
    with StopRequest(echo=60.0) as stop:
        for number in (*SIGNALS, *SIGNALS):
            send(number)
        assert stop
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)


def test_where_nothing_is_lost_it_ends_at_once_until_there_is_something_again():
    with StopRequest() as stop:
        stop.at_once()
        stop.after_step()
        send(signal.SIGTERM)
        assert stop


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


def test_within_a_command_both_interrupt_and_elsewhere_nothing_changes():
    before = handlers()
    for number in SIGNALS:
        with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
            assert not interrupts.raised and not set(handlers()) & set(before)
            send(number)
        assert interrupts.raised and handlers() == before
    found = []

    def work():
        with Interrupts():
            found.append(handlers() == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a shell does so for jobs in the background
    try:
        with Interrupts() as interrupts:
            send(signal.SIGINT)
        assert not interrupts.raised
    finally:
        signal.signal(signal.SIGINT, before)


BEGIN = """
import os, signal, sys, time
from vreid_fast.errors import exit_code
from vreid_fast.interrupt import StopRequest, leave_when_asked
def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
leave_when_asked()
"""
STOPS = {
    "before the work, as in imports": "send()",
    "SIGTERM before the work": "send(signal.SIGTERM)",
    "after the work": "exit_code(lambda: 0); send()",
    "while what the first began is ended": """
def work():
    try:
        send()
    finally:
        send()
sys.exit(exit_code(work))
""",
    "three in a run": """
def work():
    with StopRequest() as stop:
        send()
        try:
            send(signal.SIGTERM)
        finally:
            send()
sys.exit(exit_code(work))
""",
    "in a destructor, where nothing can be raised": """
class Odd:
    def __del__(self):
        send()
def work():
    Odd()
    time.sleep(60)
sys.exit(exit_code(work))
""",
    "as an error is told of": """
from vreid_fast import errors
errors.of_disk = lambda error: send()
def work():
    raise OSError
sys.exit(exit_code(work))
""",
}


@pytest.mark.parametrize("when", STOPS)
def test_a_command_ends_in_a_line_whenever_the_signal_comes(when):
    ran = subprocess.run([sys.executable, "-c", BEGIN + STOPS[when]], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "stopped\n", "")


LATE = """
import threading
class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)
threading.late = Late()
sys.exit(exit_code(lambda: print("done") or 3))
"""


def test_a_signal_at_the_very_end_changes_nothing():
    ran = subprocess.run([sys.executable, "-c", BEGIN + LATE], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "done\n", "")


@pytest.mark.parametrize(
    ("module", "library"), [("train", "torch"), ("evaluate", "torch"), ("data", "numpy"), ("ladder", "yaml")]
)
def test_a_command_that_is_being_imported_ends_in_a_line(module, library, tmp_path):
    # Found in the place of the library, it sends the signal in the middle of the imports.
    (tmp_path / f"{library}.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-m", f"vreid_fast.{module}"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "stopped\n", "")


def test_an_import_of_the_package_by_others_leaves_signals_and_variables_alone(tmp_path):
    program = """
import signal, os, vreid_fast
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and os.environ["MPLBACKEND"] == "junk"
"""
    environment = {**os.environ, "MPLBACKEND": "junk"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    (tmp_path / "theirs.py").write_text(program)
    words = [sys.executable, "-m", "theirs", "--model", "vreid_fast.models"]
    subprocess.run(words, check=True, env={**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
