"""A file is written whole or not at all, and an error of the disk names the file."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from vreid_fast.errors import InputError
from vreid_fast.rights import take_over

POINTERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (fetch it with `git lfs pull`)"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself (fetch it with `git annex get`)"),
)
"""What stands in place of a file of a repository: how it begins, and what to say of it."""


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write, PATH.partial, that takes the place of PATH when the block ends.

    A crash, a full disk or an error in the block leaves the old file or the new one at PATH, never a part. A link
    stays, and what it leads to is replaced; a terminal or a pipe, as /dev/stdout, is written to.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file stays. It names PATH and what was
            written; also where what writes in the block made another error of it, as torch does.
    """
    path = Path(path)
    if _is_stream(path):
        with open(path, "wb") as stream:
            yield stream
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    partial = path.with_name(path.name + ".partial")
    file = None
    try:
        file = _Raw(partial, "wb")
        with io.BufferedWriter(file) as buffered:
            yield buffered
            buffered.flush()
            os.fsync(file.fileno())
        take_over(partial, path)
        os.replace(partial, path)
    except Exception as error:
        failed = file.failed if file and file.failed else error
        if isinstance(failed, OSError):
            raise _named(failed, path, file.written if file else 0) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder, beside PATH, that takes the place of what is at PATH when the block ends.

    A crash or an error in the block leaves what was there, or the new folder, never a part. The caller has looked
    whether what is there may be replaced.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.unfinished-", dir=path.parent))
    old = building.with_name(building.name + "-old")
    try:
        yield building
        if path.exists():
            for new in (building, *building.iterdir()):
                take_over(new, path / new.relative_to(building))
            path.rename(old)
        building.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for folder in (building, old):
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Put `text` into a file, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def append_text(path: str | Path, text: str) -> None:
    """Add `text` to the end of a file; raises as `replacing`, and what was there stays."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _named(error, Path(path), 0) from error


def write_rows(file: TextIO, rows: Iterable[Sequence]) -> None:
    """Write rows of cells as CSV that csv.reader reads as they were; the file was opened with newline="".

    Python's writer leaves a carriage return without quotes, and its reader ends the row there: such rows are quoted.
    """
    plain, quoted = (csv.writer(file, lineterminator="\n", quoting=way) for way in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        (quoted if any(isinstance(cell, str) and "\r" in cell for cell in row) else plain).writerow(row)


def check_all_writable(wanted: Iterable[tuple[str, str | Path | None, tuple[bytes, ...]]]) -> None:
    """`check_writable` of several (option, path or None, begins); none may be another's file."""
    there: dict[str, str] = {}
    for option, path, begins in wanted:
        if path:
            check_writable(option, path, begins)
            other = there.setdefault(os.path.realpath(path), option)
            if other != option:
                raise InputError(f"{option} {path}: is the file of {other} too; give it another name")


def check_writable(option: str, path: str | Path, begins: tuple[bytes, ...]) -> None:
    """InputError unless a file can be written, before the work is done that it is for; what is there stays.

    A file that is there may be an earlier one of its kind, and nothing else: not the checkpoint that is scored.

    Args:
        option: that named it, such as --json; begins the error.
        begins: what files of its kind begin with.
    """
    path = Path(path)
    there = os.path.lexists(path)
    if _is_stream(path):
        return  # a terminal or a pipe: opening it could wait, or be seen at its other end
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be written ({error.strerror})") from None
    if not there:
        path.unlink()
    elif path.stat().st_size:
        with open(path, "rb") as file:
            head = file.read(max(map(len, begins)))
        if not head.startswith(begins):
            raise InputError(f"{option} {path}: is there and something else, which would be lost; choose another name")


def _is_stream(path: Path) -> bool:
    """Whether it is there and neither a file nor a folder: a terminal, a pipe, a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def sha256_of(path: str | Path) -> str:
    """That of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def absence(path: str | Path) -> str | None:
    """Why nothing can be read at a path, to stand behind it; None where something is there."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return "is missing"
    except OSError as error:  # too long, forbidden, links in a circle
        return f"cannot be read ({error.strerror})"
    return None


def why_no_file(path: str | Path) -> str | None:
    """Why a file that a user named cannot be read as one, in words; None where it can. Nothing is opened."""
    name, path = str(path), Path(path)
    if not name:
        return "an empty name"
    if problem := absence(name):
        if re.match(r"[a-z][a-z0-9+.-]+:/", name, re.IGNORECASE):
            return "is an address, and nothing is fetched from the network; download it and give the file"
        if os.path.islink(name):
            return "is a link to nowhere"
        return "no such file" if problem == "is missing" else problem
    if path.is_file():
        return None
    if path.is_dir():
        return "is a folder" + ("; its last.pt may be meant" if (path / "last.pt").is_file() else "")
    kind = "a named pipe" if path.is_fifo() else "a device or a socket"
    return f"is {kind}, and wanted is a file; write what comes out of it into one"


def with_home(word: str) -> str:
    """A path, FORMAT:PATH or --OPTION=PATH in which ~ is the home folder, as a shell writes it out at the start alone.

    Words that have no path, or a ~ elsewhere, are as they were.
    """
    before, path = re.fullmatch(r"((?:--[\w-]+=)?(?:[\w-]+:)?)(.*)", word, re.DOTALL).groups()
    return before + os.path.expanduser(path) if path.startswith("~") else word


JSON = (b"{", b"[")
"""What files of a kind begin with, for `check_writable`; so does `PNG`."""
PNG = (b"\x89PNG",)


class _Raw(io.FileIO):
    """A file that keeps the error of a write: torch's own writer makes another one of it."""

    failed: OSError | None = None
    written = 0

    def write(self, data) -> int:
        try:
            count = super().write(data)
        except OSError as error:
            self.failed = error
            raise
        self.written += count or 0
        return count or 0


def _named(error: OSError, path: Path, written: int) -> OSError:
    """The same error with the file, and how much of it there was room for."""
    words = error.strerror or str(error)
    return OSError(error.errno, f"{words} after {written:,} bytes" if written else words, str(path))
