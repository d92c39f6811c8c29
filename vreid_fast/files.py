"""A file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write, PATH.partial, that takes the place of PATH when the block ends.

    A crash, a full disk or an error in the block leaves the old file or the new one at PATH, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file stays.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Put `text` into a file, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode())
