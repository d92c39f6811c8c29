"""TensorBoard files of a run, which it can do without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vreid_fast.errors import of_disk
from vreid_fast.terminal import say


class Board:
    """Scalars for TensorBoard. Once they cannot be written, as on a full disk, it says so and writes no more.

    Args:
        folder: of the files; None = nothing is written.
        start: step to begin at; what other files have of later steps is hidden.
    """

    def __init__(self, folder: Path | None, start: int):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.hook = threading.excepthook
        # TensorBoard's own thread ends with a traceback before the next call here hears of it.
        threading.excepthook = self._ended
        self.writer: SummaryWriter | None = None
        with self._giving_up():
            self.writer = SummaryWriter(folder, purge_step=start) if folder else None

    def add(self, name: str, value: float, step: int) -> None:
        with self._giving_up():
            if self.writer:
                self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        with self._giving_up():
            if self.writer:
                self.writer.flush()

    def close(self) -> None:
        with self._giving_up():
            if self.writer:
                self.writer.close()
        threading.excepthook = self.hook

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            say(f"note: {self.folder}: no more is written for TensorBoard ({of_disk(error)})")
            self.writer = None

    def _ended(self, facts: threading.ExceptHookArgs) -> None:
        if not isinstance(facts.exc_value, OSError) or "AsyncWriter" not in type(facts.thread).__name__:
            self.hook(facts)
