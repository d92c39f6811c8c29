"""A walk through the folders below a root: each real folder once, whatever symbolic links say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .listing import is_folder, list_files, natural_key
from .remarks import Remarks


@dataclass
class Found:
    """A folder of the walk."""

    path: str
    real: str
    """The same without symbolic links."""
    folders: list[str] = field(default_factory=list)
    """Names of the folders in it that are visited too."""
    files: list[str] = field(default_factory=list)


def walk(root: str | os.PathLike, remarks: Remarks) -> tuple[list[Found], list[str]]:
    """The folders below a root, itself first, in natural order, without what systems leave behind.

    Links to folders are followed, but to none that is visited anyway, and to none that holds the root or the link.

    Returns:
        The folders, and notes on links that were not followed and on folders that could not be read.
    """
    found: dict[str, Found] = {}
    links: list[tuple[str, str]] = []
    skipped, notes = [], []

    def visit(path: str, real: str) -> None:
        waiting = [(path, real)]
        while waiting:
            path, real = waiting.pop()
            here = found[real] = Found(path, real)
            try:
                with os.scandir(path) as entries:
                    listing = list(entries)
            except OSError as error:
                notes.append(f"{_printable(path)} cannot be read ({error.strerror}) and is left out")
                continue
            here.files = list_files(path, listing, remarks)
            for entry in listing:
                if entry.is_file(follow_symlinks=False):
                    continue
                name = entry.name
                if is_folder(entry) and not remarks.leaves_out(name):
                    if entry.is_symlink():
                        links.append((real, name))
                    elif os.path.join(real, name) not in found:
                        here.folders.append(name)
                        waiting.append((os.path.join(path, name), os.path.join(real, name)))

    top = os.path.realpath(root)
    visit(os.fspath(root), top)
    while links:  # after the real folders, which keep their own paths so
        now, links[:] = sorted(links, key=lambda link: (_key(link[0]), natural_key(link[1]))), []
        for holder, name in now:
            path = os.path.join(found[holder].path, name)
            real = os.path.realpath(path)
            if real in found or _holds(real, holder) or _holds(real, top):
                skipped.append(path)
            else:
                remarks.link(path)
                found[holder].folders.append(name)
                visit(path, real)
    if skipped:
        notes.append(
            f"{len(skipped):,} links lead to folders that are read anyway, or that hold the link, and are not "
            f"followed: {_printable(skipped[0])}{' and others' if len(skipped) > 1 else ''}"
        )
    return sorted(found.values(), key=lambda folder: _key(os.path.relpath(folder.path, root))), notes


def _key(path: str) -> list[tuple]:
    return [natural_key(part) for part in path.split(os.sep) if part != os.curdir]


def _holds(folder: str, other: str) -> bool:
    """Whether a folder is `other`, or above it."""
    return f"{other}{os.sep}".startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
