"""What the readers share: lists, matrices and split files, listings of directories, paths that stay inside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


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


def natural_key(name: str) -> tuple:
    """Sort key in which numbers count as numbers: F2 before F10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)], name


def named(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file has one of the endings, in small letters or capitals, and is not hidden."""
    return name.lower().endswith(endings) and not name.startswith(".")


def images_of(names: Iterable[str]) -> list[str]:
    """The names of images in natural order, which is temporal order in every format."""
    return sorted((name for name in names if named(name, IMAGES)), key=natural_key)


def list_images(folder: str | os.PathLike, where: str) -> list[str]:
    """Names of a directory's images in temporal order; `where` begins the InputError for one without any."""
    try:
        names = images_of(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{where}: no folder {folder} ({error.strerror})") from None
    if not names:
        raise InputError(f"{where}: {folder} holds no images ({' '.join(IMAGES)})")
    return names


def list_folders(folder: str | os.PathLike, where: str) -> list[str]:
    """Names of a directory's directories, sorted; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{where}: no folder {folder} ({error.strerror})") from None


def integer(where: str, word: str, least: int | None = None) -> int:
    """The integer that a word stands for; `where` begins the InputError for any other word."""
    # 18 digits fit into int64; int() alone would take "1_000" and digits of other scripts.
    if re.fullmatch(r"[+-]?\d{1,18}", word, re.ASCII) and (least is None or int(word) >= least):
        return int(word)
    raise InputError(f"{where}: wanted an integer{'' if least is None else f' of at least {least}'}, found {word!r}")


def read_lines(file: Path, encoding: str = "utf-8-sig") -> list[str]:
    """Lines of a text file, stripped; empty ones at its end are left out."""
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


def read_matrix(file: Path, *keys: str) -> tuple[str, np.ndarray]:
    """The first of the variables `keys` that a .mat file holds: its name and its integer matrix, as int64."""
    from scipy.io import loadmat

    try:
        with open(file, "rb") as stream:
            content = loadmat(stream)
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it is part of the data set") from None
    except Exception as error:  # what scipy raises on a damaged file is open-ended
        raise InputError(f"{file}: not a readable .mat file ({error})") from error
    key = next((key for key in keys if key in content), None)
    if key is None:
        found = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise InputError(f"{file}: wanted the variable {' or '.join(keys)}, found {found}")
    return key, _integers(file, key, content[key])


def read_hdf5_matrix(file: Path, key: str, largest: int) -> np.ndarray:
    """An integer matrix, of at most `largest` numbers, of a .mat file of version 7.3, which is HDF5; as int64."""
    import h5py

    if not file.exists():
        raise InputError(f"{file} is missing; it is part of the data set")
    try:
        with h5py.File(file, "r") as content:
            found = ", ".join(content) or "nothing"
            table = content.get(key)
            if isinstance(table, h5py.Dataset):
                # A damaged header may promise more numbers than there is memory.
                if table.size is None or table.size > largest:
                    raise InputError(f"{file}: {key} must hold at most {largest} numbers, found shape {table.shape}")
                table = table[()]
    except InputError:
        raise
    except Exception as error:  # what h5py raises on a damaged file is open-ended
        raise InputError(f"{file}: not a readable .mat file of version 7.3 ({error})") from error
    if table is None:
        raise InputError(f"{file}: wanted the variable {key}, found {found}")
    return _integers(file, key, table)


def _integers(file: Path, key: str, table) -> np.ndarray:
    kind = table.dtype if isinstance(table, np.ndarray) else type(table).__name__
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "iuf" or table.ndim != 2 or not table.size:
        raise InputError(f"{file}: {key} must be a matrix of integers, found {kind}, shape {np.shape(table)}")
    with np.errstate(invalid="ignore"):
        integers = table.astype(np.int64)
    if (integers != table).any():
        row = int((integers != table).any(axis=1).argmax())
        raise InputError(f"{file}: {key} must be a matrix of integers; row {row + 1} is {table[row].tolist()}")
    return integers


def check_rows(file: Path, rows: np.ndarray, count: int) -> None:
    """InputError unless all of `rows`, 1-based, are rows of a table of `count`."""
    wrong = (rows < 1) | (rows > count)
    if wrong.any():
        raise InputError(f"{file}: rows must be 1 to {count}, found {rows[wrong][0]}")


def read_json(file: Path):
    """What a JSON file holds."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it is part of the data set") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable JSON ({error})") from error
