"""Ctrl-C or SIGTERM ends a run after the step it is in; a second one ends it at once.

SIGTERM is what schedulers, `kill` and torchrun send. It is treated as Ctrl-C is: in a whole command by
`sigterm_interrupts`, in the steps of a run by `StopRequest`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within it SIGTERM raises KeyboardInterrupt, as Ctrl-C does; outside the main thread it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # None: it was not set from Python.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)


class StopRequest:
    """`with StopRequest() as stop: ... if stop: save and leave`. Outside the main thread it is never set.

    The second signal raises KeyboardInterrupt, or does what was set for it before.
    """

    def __init__(self):
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
            for number, handler in self.previous.items():
                # None: it was not set from Python.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def at_once(self) -> None:
        """From here on a request raises KeyboardInterrupt, also one that was made before."""
        self.immediate = True
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt where a request should have done so, but was caught on the way."""
        if self.immediate and self.requested:
            raise KeyboardInterrupt

    def _note(self, *_) -> None:
        self.requested = True
        for number, handler in self.previous.items():
            signal.signal(number, _second(handler))
        self.check()

    def __bool__(self) -> bool:
        return self.requested


def _second(handler: Any) -> Any:
    """For the second signal: by default SIGTERM would leave no time to remove what is half written."""
    return handler if callable(handler) and not isinstance(handler, signal.Handlers) else signal.default_int_handler
