"""A file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vreid_fast.errors import InputError


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


def check_writable(option: str, path: str | Path) -> None:
    """InputError unless a file can be written, before the work is done that it is for; what is there stays.

    Args:
        option: that named it, such as --json; begins the error.
    """
    path = Path(path)
    there = os.path.lexists(path)
    if there and path.exists() and not path.is_file() and not path.is_dir():
        return  # a terminal or a pipe: opening it could wait, or be seen at its other end
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be written ({error.strerror})") from None
    if not there:
        path.unlink()
