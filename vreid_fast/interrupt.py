"""Ctrl-C or SIGTERM ends a run after the step it is in; a second one ends it at once, and a third without a farewell.

SIGTERM is what schedulers, `kill` and torchrun send. It is treated as Ctrl-C is: while a command is imported and while
its process ends by `leave`, in the whole command by `Interrupts`, in the steps of a run by `StopRequest`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM
CODE = 130
"""Exit code of what was stopped."""


def leave(words: str = "stopped") -> None:
    """End the process where it stands. What is half written stays, under another name than what it was to be."""
    with suppress(Exception):  # nobody may read it, and this may have come in the middle of a print
        print(words, flush=True)
    os._exit(CODE)


def leave_when_asked() -> None:
    """For a process that is one command: `leave` before and after its work. Signals that are ignored, as of a job
    in the background, stay so."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: leave())
            # When Python has ended, its handlers are gone and a signal would change the exit code of what is done.
            atexit.register(signal.signal, number, signal.SIG_IGN)


class Interrupts:
    """`with Interrupts() as interrupts`: the first signal raises KeyboardInterrupt, a further one is `leave`.

    Outside the main thread it changes nothing.
    """

    def __init__(self, stopped: str = "stopped"):
        self.stopped = stopped
        self.raised = False
        """A signal came. What ends the block then ends because of it, whatever it is: a KeyboardInterrupt in the
        middle of torch's writer or of a callback becomes another error."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.getsignal(number)
                if self._previous[number] is not signal.SIG_IGN:
                    signal.signal(number, self._raise)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
        return self

    def __exit__(self, *_) -> None:
        if self._previous:
            sys.unraisablehook = self._hook
            _set_back(self._previous)

    def _raise(self, _: int, frame: FrameType | None) -> None:
        if self.raised or (frame and frame.f_code is Interrupts._swallowed.__code__):
            leave(self.stopped)
        self.raised = True
        raise KeyboardInterrupt

    def _swallowed(self, facts: sys.UnraisableHookArgs) -> None:
        """In a destructor nothing can be raised: Python would show a traceback and go on."""
        if facts.exc_type is KeyboardInterrupt:
            leave(self.stopped)
        self._hook(facts)


class StopRequest:
    """`with StopRequest() as stop: ... if stop: save and leave`. Outside the main thread it is never set.

    The second signal raises KeyboardInterrupt, or does what was set for it before.

    Args:
        echo: seconds within which others are taken for the first one. A scheduler signals all processes of a job, and
            torchrun, which is one of them, passes it on.
    """

    def __init__(self, echo: float = 0.0):
        self.echo = echo
        self.requested = False
        self.immediate = False
        """Nothing is lost by leaving: the first request raises KeyboardInterrupt too."""

    def __enter__(self) -> StopRequest:
        self.owner = threading.current_thread() is threading.main_thread()
        if self.owner:
            self.previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        if self.owner:
            _set_back(self.previous)

    def at_once(self) -> None:
        """From here on a request raises KeyboardInterrupt, also one that was made before."""
        self.immediate = True
        self.check()

    def after_step(self) -> None:
        """From here on a request waits for `if stop` again."""
        self.immediate = False

    def check(self) -> None:
        """Raise KeyboardInterrupt where a request should have done so, but was caught on the way."""
        if self.immediate and self.requested:
            raise KeyboardInterrupt

    def _note(self, *_) -> None:
        self.requested = True
        over = time.monotonic() + self.echo
        for number, handler in self.previous.items():
            signal.signal(number, _second(handler, over))
        self.check()

    def __bool__(self) -> bool:
        return self.requested


def _set_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        # None: it was not set from Python.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _second(handler: Any, over: float) -> Any:
    """For the second signal: by default SIGTERM would leave no time to remove what is half written.

    Args:
        over: time from which on a signal is no echo of the first.
    """
    known = callable(handler) and not isinstance(handler, signal.Handlers)
    act: Callable = handler if known else signal.default_int_handler

    def second(number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= over:
            act(number, frame)

    return second
