"""Ctrl-C ends a run after the step it is in; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading


class StopRequest:
    """`with StopRequest() as stop: ... if stop: save and leave`. Outside the main thread it is never set."""

    def __init__(self):
        self.requested = False

    def __enter__(self) -> StopRequest:
        self.owner = threading.current_thread() is threading.main_thread()
        if self.owner:
            self.previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_) -> None:
        if self.owner:
            signal.signal(signal.SIGINT, self.previous)

    def _note(self, *_) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self.previous)

    def __bool__(self) -> bool:
        return self.requested
