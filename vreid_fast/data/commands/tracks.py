"""Tracks of people in a video, as a detector and tracker write them: MOT challenge text, or CSV with a header."""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vreid_fast.errors import InputError

from .mot_text import LARGEST, each_row, may_be_flags, no_people, track_id, truth_cells

REQUIRED = ("frame", "id", "left", "top", "width", "height")
CONFIDENCE = "confidence"


@dataclass(frozen=True)
class Tracks:
    """N boxes, in the order of track and frame."""

    name: str
    """The file they were read from."""
    ids: np.ndarray
    """(N,) uint64 number of the track."""
    frames: np.ndarray
    """(N,) int64 frame of the video, from 0."""
    boxes: np.ndarray
    """(N, 4) float64 left, top, width, height, in pixels; may reach beyond the frame."""
    confidence: np.ndarray | None
    """(N,) float64, or None where the file has no such column."""
    lines: np.ndarray
    """(N,) int64 line of the file, from 1."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many boxes of the file are none of these, by reason."""
    notes: tuple[str, ...] = ()
    """What a user should be told."""

    def __len__(self) -> int:
        return len(self.ids)


def read_tracks(path: str | os.PathLike, *, first_frame: int = 1) -> Tracks:
    """Read tracks.

    MOT challenge text has no header: frame, id, left, top, width, height and perhaps the confidence and more. CSV
    has a header with these names, `confidence` too where there is one, in any order; other columns are ignored.
    Cells are separated by commas, semicolons, tabs or blanks. Lines that begin with # are comments.

    Boxes of no track (id -1, or -1 as an unsigned number) are left out. MOT challenge text is ground truth where
    each row has nine or ten cells and could be one (`truth_cells`); what is flagged 0 or is no person is then left out.

    Args:
        first_frame: number that the file gives to the first frame of the video; 1 in the MOT challenge.
    Raises:
        InputError: no such file, no boxes of tracks, a cell of another type or below its limit, a track with two
            boxes in one frame; names file and row.
    """
    path = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = _read(path, each_row(file, REQUIRED), first_frame)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; wanted tracks as MOT challenge text or CSV") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; wanted one file of tracks, MOT challenge text or CSV") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    lines, frames, ids = (np.array(column, kind) for column, kind in zip(table.whole, (np.int64, np.int64, np.uint64)))
    values = np.array(table.values, np.float64).reshape(len(ids), table.width)
    left_out = dict(table.untracked)
    if table.truth and len(ids):
        flags, kinds, cells = np.frombuffer(table.truth).reshape(-1, 3).T
        people, reasons = no_people(flags, kinds, int(cells[0]))
        left_out |= reasons
        lines, frames, ids, values = lines[people], frames[people], ids[people], values[people]
    if not len(ids):
        if table.first_untracked:
            raise InputError(f"{table.first_untracked}; detections that belong to no track (-1) must be tracked first")
        reasons = "; ".join(f"{reason}: {count:,} boxes" for reason, count in left_out.items())
        raise InputError(
            f"{path}: no boxes{f' of people ({reasons})' if reasons else ''}; wanted rows of {', '.join(REQUIRED)}"
        )
    _check_sides(path, lines, values)
    order = np.lexsort((lines, frames, ids))
    lines, frames, ids, values = lines[order], frames[order], ids[order], values[order]
    twice = (ids[1:] == ids[:-1]) & (frames[1:] == frames[:-1])
    if twice.any():
        first = int(twice.argmax())
        raise InputError(
            f"{path}: row {lines[first + 1]}: track {ids[first]} has a box in frame {frames[first]} already, in row "
            f"{lines[first]}"
        )
    confidence = values[:, 4] if values.shape[1] > 4 else None
    notes = ()
    if confidence is not None and may_be_flags(confidence):
        notes = (
            f"{path}: {int((confidence == 0).sum()):,} boxes have a confidence of 0 and all others of 1; if these are "
            "the flags of MOT15's ground truth, --min_confidence 1 leaves out what is to be ignored",
        )
    return Tracks(path, ids, frames - first_frame, values[:, :4], confidence, lines, left_out, notes)


@dataclass
class _Table:
    """The rows of a file that have a track."""

    whole: tuple[array, array, array] = field(default_factory=lambda: (array("q"), array("q"), array("Q")))
    """Line, frame and id of each row."""
    values: array = field(default_factory=lambda: array("d"))
    """Left, top, width, height and, where there is one, the confidence of each row."""
    width: int = 4
    truth: array | None = field(default_factory=lambda: array("d"))
    """Flag, class and number of cells of each row; None where a row cannot be ground truth."""
    untracked: Counter[str] = field(default_factory=Counter)
    first_untracked: str | None = None
    """Of the rows without a track, what is wrong with the first."""


def _read(path: str, rows: Iterator[tuple[int, list[str]]], first_frame: int) -> _Table:
    table, columns = _Table(), None
    for line, cells in rows:
        if columns is None:
            columns, header = _columns(path, line, cells)
            table.width = len(columns) - 2
            wanted = len(cells) if header else len(columns)
            if header:
                table.truth = None
                continue
        if not header and len(cells) > wanted and not cells[-1].strip():
            cells = cells[:-1]
        where = f"{path}: row {line}"
        # What follows in MOT challenge text differs between its files: class, visibility, position.
        if len(cells) < wanted or (header and len(cells) > wanted):
            raise InputError(f"{where} has {len(cells)} cells; wanted {wanted}")
        row = {name: _number(where, name, cells[column]) for name, column in columns.items() if name != "id"}
        track = _id(where, cells[columns["id"]])
        frame = int(row.pop("frame"))
        if frame < first_frame:
            raise InputError(
                f"{where}, column frame: wanted at least {first_frame}, found {frame}; --first_frame says whether "
                "frames count from 0 or 1"
            )
        truth = None if table.truth is None else truth_cells(cells)
        if truth is None or (table.truth and table.truth[-1] != truth[-1]):
            table.truth = truth = None
        if track < 0:
            word = cells[columns["id"]].strip()
            table.untracked[f"of no track (id {word})"] += 1
            table.first_untracked = table.first_untracked or f"{where}, column id: wanted at least 0, found {word}"
            continue
        if truth is not None:
            table.truth.extend(truth)
        for column, value in zip(table.whole, (line, frame, track)):
            column.append(value)
        table.values.extend(row.values())
    return table


def _columns(path: str, line: int, cells: list[str]) -> tuple[dict[str, int], bool]:
    """Column of each name, and whether `cells` is a header."""
    names = [cell.strip() for cell in cells]
    if _is_number(names[0]):
        if not names[-1]:
            names.pop()
        if len(names) < len(REQUIRED):
            raise InputError(f"{path}: row {line} has {len(names)} cells; wanted at least {', '.join(REQUIRED)}")
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
    whole = column == "frame"
    if not math.isfinite(number) or (whole and (number != int(number) or abs(number) > 2**53)):
        kind = "an integer" if whole else "a number"
        raise InputError(f"{where}, column {column}: wanted {kind}, found {word.strip()!r}")
    return number


def _id(where: str, word: str) -> int:
    number = track_id(word)
    if number is None:
        most = f" of at most {LARGEST}" if word.strip().isdecimal() else ""
        raise InputError(f"{where}, column id: wanted an integer{most}, found {word.strip()!r}")
    if number < -1:
        raise InputError(f"{where}, column id: wanted at least 0, or -1 for no track, found {number}")
    return number


def _check_sides(path: str, lines: np.ndarray, values: np.ndarray) -> None:
    """InputError for the first row, in the order of the file, with a negative width or height."""
    negative = values[:, 2:4] < 0
    if negative.any():
        row = int(negative.any(axis=1).argmax())
        side = int(negative[row].argmax())
        raise InputError(
            f"{path}: row {lines[row]}, column {('width', 'height')[side]}: wanted at least 0 pixels, found "
            f"{values[row, 2 + side]:g}"
        )
