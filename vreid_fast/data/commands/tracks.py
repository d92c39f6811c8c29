"""Tracks of people in a video, as a detector and tracker write them: MOT challenge text, or CSV with a header."""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vreid_fast.errors import InputError

REQUIRED = ("frame", "id", "left", "top", "width", "height")
CONFIDENCE = "confidence"


@dataclass(frozen=True)
class Tracks:
    """N boxes, in the order of track and frame."""

    name: str
    """The file they were read from."""
    ids: np.ndarray
    """(N,) int64 number of the track."""
    frames: np.ndarray
    """(N,) int64 frame of the video, from 0."""
    boxes: np.ndarray
    """(N, 4) float64 left, top, width, height, in pixels; may reach beyond the frame."""
    confidence: np.ndarray | None
    """(N,) float64, or None where the file has no such column."""
    lines: np.ndarray
    """(N,) int64 line of the file, from 1."""

    def __len__(self) -> int:
        return len(self.ids)


def read_tracks(path: str | os.PathLike, *, first_frame: int = 1) -> Tracks:
    """Read tracks.

    MOT challenge text has no header: frame, id, left, top, width, height and perhaps the confidence and more. CSV
    has a header with these names, `confidence` too where there is one, in any order; other columns are ignored.

    Args:
        first_frame: number that the file gives to the first frame of the video; 1 in the MOT challenge.
    Raises:
        InputError: no such file, no boxes, a cell of another type or below its limit, a track with two boxes in
            one frame; names file and row.
    """
    path = os.fspath(path)
    values, width = array("d"), 0
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for row in _rows(path, csv.reader(file), first_frame):
                values.extend(row)
                width = len(row)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; wanted tracks as MOT challenge text or CSV") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    if not values:
        raise InputError(f"{path}: no boxes; wanted rows of {', '.join(REQUIRED)}")
    table = np.frombuffer(values, dtype=np.float64).reshape(-1, width)
    table = table[np.lexsort((table[:, 0], table[:, 1], table[:, 2]))]
    lines, frames, ids = table[:, :3].T.astype(np.int64)
    twice = (np.diff(ids) == 0) & (np.diff(frames) == 0)
    if twice.any():
        first = int(twice.argmax())
        raise InputError(
            f"{path}: row {lines[first + 1]}: track {ids[first]} has a box in frame {frames[first]} already, in row "
            f"{lines[first]}"
        )
    confidence = table[:, 7] if width > 7 else None
    return Tracks(path, ids, frames - first_frame, table[:, 3:7], confidence, lines)


def _rows(path: str, reader, first_frame: int) -> Iterator[list[float]]:
    """Line, frame, id, left, top, width, height and, where there is one, the confidence of each box."""
    columns = None
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns, header = _columns(path, cells)
            wanted = len(cells) if header else len(columns)
            if header:
                continue
        where = f"{path}: row {reader.line_num}"
        # What follows in MOT challenge text differs between its files: class, visibility, position.
        if len(cells) < wanted or (header and len(cells) > wanted):
            raise InputError(f"{where} has {len(cells)} cells; wanted {wanted}")
        row = {name: _number(where, name, cells[column]) for name, column in columns.items()}
        _check(where, row, first_frame)
        yield [reader.line_num, *row.values()]


def _columns(path: str, cells: list[str]) -> tuple[dict[str, int], bool]:
    """Column of each name, and whether `cells` is a header."""
    names = [cell.strip() for cell in cells]
    if _is_number(names[0]):
        if len(names) < len(REQUIRED):
            raise InputError(f"{path}: row 1 has {len(names)} cells; wanted at least {', '.join(REQUIRED)}")
        return {name: column for column, name in enumerate((*REQUIRED, CONFIDENCE)[: len(names)])}, False
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; wanted a header with {', '.join(REQUIRED)}, or MOT challenge "
            f"text without one; found {', '.join(names)}"
        )
    wanted = (*REQUIRED, CONFIDENCE) if CONFIDENCE in names else REQUIRED
    return {name: names.index(name) for name in wanted}, True


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _number(where: str, column: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    # Trackers write whole numbers as 12.0 or 1.2e1 too; beyond 2^53 a float does not hold each of them.
    whole = column in ("frame", "id")
    if not math.isfinite(number) or (whole and (number != int(number) or abs(number) > 2**53)):
        kind = "an integer" if whole else "a number"
        raise InputError(f"{where}, column {column}: wanted {kind}, found {word.strip()!r}")
    return number


def _check(where: str, row: dict[str, float], first_frame: int) -> None:
    if row["frame"] < first_frame:
        raise InputError(
            f"{where}, column frame: wanted at least {first_frame}, found {row['frame']:.0f}; --first_frame says "
            "whether frames count from 0 or 1"
        )
    if row["id"] < 0:
        raise InputError(
            f"{where}, column id: wanted at least 0, found {row['id']:.0f}; detections that belong to no track (-1) "
            "must be tracked first"
        )
    for side in ("width", "height"):
        if row[side] < 0:
            raise InputError(f"{where}, column {side}: wanted at least 0 pixels, found {row[side]:g}")
