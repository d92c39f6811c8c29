"""What the readers share: lists and split files, and paths that stay inside."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from vreid_fast.errors import InputError


def require_folders(spec: str, root: Path, *parts: str) -> None:
    """InputError unless the root of a data set holds the folders of its layout."""
    for part in parts:
        if not (root / part).is_dir():
            wanted = f"{', '.join(parts[:-1])} and {parts[-1]}" if parts[1:] else part
            raise InputError(f"{spec}: no folder {part}; wanted the folder that holds {wanted}")


def inside(root: str | os.PathLike, relative: str, where: str) -> str:
    """The path of `relative` below `root`; `where` begins the InputError for one that leaves the root."""
    path = os.path.normpath(relative)
    if not relative or "\0" in path or os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
        raise InputError(f"{where}: wanted a path inside {root}, found {relative!r}")
    return os.path.join(root, path)


def integer(where: str, word: str, least: int | None = None) -> int:
    """The integer that a word stands for; `where` begins the InputError for any other word."""
    # 18 digits fit into int64; int() alone would take "1_000" and digits of other scripts.
    if re.fullmatch(r"[+-]?\d{1,18}", word, re.ASCII) and (least is None or int(word) >= least):
        return int(word)
    raise InputError(f"{where}: wanted an integer{'' if least is None else f' of at least {least}'}, found {word!r}")


def require_file(file: Path) -> None:
    """InputError for a link to nowhere, a folder, or a pipe, which has no end; readers tell of what is missing."""
    if file.is_symlink() and not file.exists():
        raise InputError(f"{file}: is a link to {os.readlink(file)}, which is missing")
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: wanted a file, found {'a folder' if file.is_dir() else 'a pipe or a device'}")


def read_lines(file: Path, encoding: str = "utf-8-sig") -> list[str]:
    """Lines of a text file, stripped; empty ones at its end are left out."""
    require_file(file)
    try:
        lines = file.read_text(encoding=encoding).rstrip().split("\n")
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it is part of the data set") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a readable list ({error})") from error
    return [line.strip() for line in lines]


def read_columns(file: Path, *columns: str) -> list[tuple[str, list[str]]]:
    """(place for errors, words) of the lines of a list; its columns are separated by blanks.

    Raises:
        InputError: a missing file, no lines, a line with another number of words, or one whose first word,
            a path, is that of an earlier line.
    """
    rows, seen = [], {}
    for number, line in enumerate(read_lines(file), 1):
        words = line.split()
        if len(words) != len(columns):
            raise InputError(f"{file}: row {number} has {len(words)} words; wanted {', '.join(columns)}")
        earlier = seen.setdefault(os.path.normpath(words[0]), number)
        if earlier != number:
            raise InputError(f"{file}: row {number}: {words[0]} is already in row {earlier}")
        rows.append((f"{file}: row {number}", words))
    return rows


def read_json(file: Path) -> Any:
    """What a JSON file holds."""
    require_file(file)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it is part of the data set") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable JSON ({error})") from error
