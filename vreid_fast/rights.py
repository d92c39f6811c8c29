"""Who can read what a command writes: its owner alone, since it tells of people."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def private() -> Iterator[None]:
    """Files and folders that are made within, by child processes too, are 0600 and 0700."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def take_over(new: Path, old: Path) -> None:
    """Give a file or folder the rights of the one that it replaces: what a user has opened to others stays open."""
    with suppress(OSError):  # there is none, or the drive knows no rights
        new.chmod(stat.S_IMODE(old.stat().st_mode))


def open_tree(folder: Path) -> None:
    """Let everybody read a folder and what is in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
