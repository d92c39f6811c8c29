"""Tables of records in .npy files, mapped into memory; of the format no more is read than packs are written in."""

from __future__ import annotations

import ast
import os
import struct

import numpy as np

from vreid_fast.errors import InputError

MAGIC = b"\x93NUMPY"
LONGEST = 4096
"""Bytes of a header; one of a pack's tables has a few hundred."""


def read_records(path: str, kind: np.dtype) -> np.ndarray:
    """The rows of a table, (N,) records of `kind`.

    numpy.load would take files of other kinds too, and meets a hostile header with whatever its parser raises.

    Raises:
        InputError: no such file, or one that is no table of such records, whole and in order.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(LONGEST)
            size = os.fstat(file.fileno()).st_size
        rows, offset = _header(start, kind)
        if size != offset + rows * kind.itemsize:
            raise ValueError(f"{rows:,} rows need {offset + rows * kind.itemsize:,} bytes, it has {size:,}")
        if not rows:
            return np.empty(0, kind)
        return np.memmap(path, kind, "r", offset, (rows,))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); it is part of the pack's index") from error


def _header(content: bytes, kind: np.dtype) -> tuple[int, int]:
    """Number of rows of a table of `kind`, and the byte where they begin; ValueError for any other content."""
    if content[:6] != MAGIC or content[6:8] != b"\1\0":
        raise ValueError("it does not begin as a .npy file of version 1.0 does")
    offset = 10 + struct.unpack("<H", content[8:10].ljust(2, b"\0"))[0]
    if offset > len(content):
        raise ValueError("its header is cut short, or too long")
    if b"\\" in content[10:offset]:
        raise ValueError("its header is damaged")
    try:
        header = ast.literal_eval(content[10:offset].decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("its header is damaged") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header lacks descr, fortran_order or shape, or has more")
    shape = header["shape"]
    if header["fortran_order"] is not False or header["descr"] != kind.descr or len(_shape(shape)) != 1:
        raise ValueError(f"wanted rows of {kind}, found {header['descr']!r:.200} of shape {shape!r:.80}")
    return shape[0], offset


def _shape(value: object) -> tuple[int, ...]:
    """A shape of numbers from 0, or () for anything else."""
    fits = isinstance(value, tuple) and all(type(length) is int and 0 <= length < 2**48 for length in value)
    return value if fits else ()
