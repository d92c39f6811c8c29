"""Matrices in .mat files: MATLAB's format 5 (also called 6 and 7) by hand, 7.3 through h5py.

scipy.io.loadmat reads format 5 too, but a damaged file can make it end the whole process.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError

from .tables import require_file

HEADER = 128
COMPRESSED, MATRIX = 15, 14
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
HDF5 = b"\x89HDF\r\n\x1a\n"
FIRST_NUMERIC_CLASS = 6  # below are cells, structures, objects, characters and sparse matrices
COMPLEX = 0x0800
LARGEST = 1 << 26  # bytes of a variable; the tables of data sets are far smaller, a damaged one may promise more


def read_matrix(file: Path, *keys: str) -> tuple[str, np.ndarray]:
    """The first of the variables `keys` that a .mat file holds: its name and its integer matrix, as int64.

    Raises:
        InputError: no such file, a damaged one, no such variable, or one that is no matrix of integers.
    """
    require_file(file)
    try:
        variables = _variables(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file} is missing; it is part of the data set") from None
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{file}: not a readable .mat file ({error})") from error
    key = next((key for key in keys if key in variables), None)
    if key is None:
        raise InputError(f"{file}: wanted the variable {' or '.join(keys)}, found {', '.join(variables) or 'nothing'}")
    return key, _integers(file, key, variables[key])


def read_hdf5_matrix(file: Path, key: str, largest: int) -> np.ndarray:
    """An integer matrix, of at most `largest` numbers, of a .mat file of version 7.3, which is HDF5; as int64.

    Raises:
        InputError: as of `read_matrix`.
    """
    import h5py

    require_file(file)
    if not file.exists():
        raise InputError(f"{file} is missing; it is part of the data set")
    try:
        with open(file, "rb") as start:
            begin = start.read(HEADER)
        if begin.startswith(b"MATLAB 5.0"):
            raise InputError(f"{file}: it is of MATLAB's version 5 to 7; load it there and save it with -v7.3")
        with h5py.File(file, "r") as content:
            found = ", ".join(content) or "nothing"
            table = content.get(key)
            if isinstance(table, h5py.Dataset):
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


def _variables(content: bytes) -> dict[str, np.ndarray | None]:
    """Variables by name, in the order of the file; None for what is not a matrix of real numbers."""
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER - 2 : HEADER])
    other = _other_version(content)
    if other:
        raise ValueError(f"it is of MATLAB's version {other}; load it there and save it with the option -v7")
    if order is None:
        raise ValueError("it does not begin as MATLAB's format 5 does")
    variables = {}
    for kind, data in _elements(content[HEADER:], order):
        if kind == COMPRESSED:
            stream = zlib.decompressobj()
            data = stream.decompress(data, LARGEST)
            if not stream.eof:
                raise ValueError(f"a variable is cut short, or of more than {LARGEST} bytes")
            kind, data = next(_elements(data, order), (None, b""))
        if kind == MATRIX:
            name, matrix = _matrix(data, order)
            variables[name] = matrix
    return variables


def _other_version(content: bytes) -> str | None:
    """MATLAB's version of a file that is read there and not here, or None."""
    if HDF5 in (content[:8], content[512:520]):
        return "7.3, which is HDF5"
    if len(content) <= 20:
        return None
    # Version 4 begins with the type, four decimal digits of which the second is 0, rows, columns, whether the
    # numbers are complex, and the length of the name, which ends with a zero byte.
    for order, first in ("<", 0), (">", 1):
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", content)
        name = content[20 : 20 + max(0, length)]
        of_version_4 = kind // 100 == 10 * first and kind % 100 <= 52 and kind % 10 <= 2
        if of_version_4 and min(rows, columns) >= 0 and imaginary in (0, 1) and 1 < length < 256 and name[-1:] == b"\0":
            return "4"
    return None


def _matrix(data: bytes, order: str) -> tuple[str, np.ndarray | None]:
    """Name and numbers of a variable: its parts are flags, dimensions, name and numbers, column by column."""
    parts = list(islice(_elements(data, order), 4))
    if len(parts) < 4:
        raise ValueError("a variable is cut short")
    (_, flags), (_, dimensions), (_, name), (kind, numbers) = parts
    (flags,) = struct.unpack_from(f"{order}I", flags)
    shape = np.frombuffer(dimensions, dtype=f"{order}i4").tolist()
    if flags & 0xFF < FIRST_NUMERIC_CLASS or flags & COMPLEX or kind not in NUMBERS:
        return name.decode("latin-1"), None
    column_major = np.frombuffer(numbers, dtype=order + NUMBERS[kind])
    if min(shape, default=-1) < 0 or len(shape) > 32:
        raise ValueError(f"a variable of shape {shape}")
    return name.decode("latin-1"), column_major.reshape(shape, order="F")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, data) of the elements one after the other. Short data are packed into the tag of eight bytes."""
    place = 0
    while place < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, place)
        start, step = place + 8, 8 + length
        if kind >> 16:
            kind, length, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
        elif kind != COMPRESSED:
            step += -length % 8  # filled up
        if start + length > min(len(content), place + step):
            raise ValueError(f"it ends at byte {len(content)} of a part that needs {start + length}")
        yield kind, content[start : start + length]
        place += step


def _integers(file: Path, key: str, table) -> np.ndarray:
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "iuf" or table.ndim != 2 or not table.size:
        found = f"{table.dtype}, shape {table.shape}" if isinstance(table, np.ndarray) else "something else"
        raise InputError(f"{file}: {key} must be a matrix of integers, found {found}")
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
