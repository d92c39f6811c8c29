"""What MOT challenge text is: its separator, its ids of no track, and which of its files are ground truth."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

LEAST = 6
"""Cells of a row: frame, id, left, top, width, height."""
FLAG, CLASS = 6, 7
"""Columns of ground truth behind the box."""


class Truth(NamedTuple):
    """A kind of ground truth."""

    holds: Callable[..., bool]
    """Of class and what follows it, whether a row can be of this kind; the flag before them is 0 or 1."""
    people: tuple[int, ...]
    """Classes that are people."""


TRUTHS = {
    # MOT16, MOT17 and MOT20: class, visibility. Pedestrian, person on a vehicle, static person.
    9: Truth(lambda kind, seen: kind >= 1 and kind.is_integer() and 0 <= seen <= 1, (1, 2, 7)),
    # VisDrone: class, of which 0 is a region to ignore, truncation, occlusion. Pedestrian, other person.
    10: Truth(lambda kind, cut, hidden: kind in range(12) and cut in (0, 1) and hidden in (0, 1, 2), (1, 2)),
}
"""By the number of cells in a row."""
UNTRACKED = (2**32 - 1, 2**64 - 1)
"""What -1 becomes in a tracker that keeps unsigned numbers."""
LARGEST = 2**64 - 1


def each_row(lines: Iterable[str], names: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and cells of the rows that are not empty; the first of them shows the separator.

    Lines that begin with # are no rows. Before the first row, one that has all `names` of columns is the header, as
    NumPy writes it.
    """
    lines, passed, separator = _without_comments(lines, set(names)), 0, ","
    for first in lines:
        if first.strip("\ufeff \t\r\n"):
            separator = _separator(first)
            lines = itertools.chain([first], lines)
            break
        passed += 1
    if separator is None:
        for number, line in enumerate(lines, passed + 1):
            cells = [cell.strip('"') for cell in line.split()]
            if cells:
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=separator)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield passed + reader.line_num, cells


def _without_comments(lines: Iterable[str], names: set[str]) -> Iterator[str]:
    """The lines, an empty one for each comment, so that they can be counted."""
    begun = False
    for line in lines:
        comment = line.lstrip("\ufeff \t").startswith("#")
        if comment and not begun:
            header = line.lstrip("\ufeff \t#")
            comment = not names <= {word.strip('"') for word in re.split(r"[\s,;]+", header)}
            line = header
        begun = begun or not (comment or line.isspace())
        yield "\n" if comment else line


def _separator(line: str) -> str | None:
    """Of a line: a character, or None for blanks and tabs in any number."""
    # Semicolons come first: where they separate, a comma may be that of a decimal.
    for separator in ";", ",":
        if line.count(separator) >= LEAST - 1:
            return separator
    if line.count("\t") >= LEAST - 1 and all(cell.strip() for cell in line.split("\t")):
        return "\t"
    return None if len(line.split()) >= LEAST else ","


def track_id(word: str) -> int | None:
    """The id of a cell, -1 where it says that there is none; None for a word that is no id."""
    if re.fullmatch(r"\s*\+?\d{1,20}\s*", word, re.ASCII):
        number = int(word)
    else:
        # Trackers write whole numbers as 12.0 or 1.2e1 too; beyond 2^53 a float does not hold each of them.
        try:
            value = float(word)
        except ValueError:
            return None
        if value == 2.0**64:  # 2^64 - 1, as a float
            return -1
        if not math.isfinite(value) or value != int(value) or abs(value) > 2**53:
            return None
        number = int(value)
    if number > LARGEST:
        return None
    return -1 if number in UNTRACKED else number


def truth_cells(cells: list[str]) -> tuple[float, float, float] | None:
    """Flag and class of a row that can be ground truth, and its number of cells, or None.

    A tracker's rows have a confidence in place of the flag, and -1, or positions, in place of the others.
    """
    if len(cells) not in TRUTHS:
        return None
    try:
        flag, *others = (float(cell) for cell in cells[FLAG:])
    except ValueError:
        return None
    return (flag, others[0], len(cells)) if flag in (0, 1) and TRUTHS[len(cells)].holds(*others) else None


def no_people(flags: np.ndarray, kinds: np.ndarray, cells: int) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows of ground truth are people to look at, (N,) bool, and how many are not, by reason."""
    ignored = flags == 0
    others = ~ignored & ~np.isin(kinds, TRUTHS[cells].people)
    left_out = {"ground truth that is to be ignored (flag 0)": int(ignored.sum())} if ignored.any() else {}
    for kind, count in zip(*np.unique(kinds[others].astype(np.int64), return_counts=True)):
        left_out[f"ground truth of class {kind}, no person"] = int(count)
    return ~ignored & ~others, left_out


def may_be_flags(confidence: np.ndarray) -> bool:
    """Whether a confidence may be the flag of ground truth that has no classes, as MOT15's: 0 and 1, both there."""
    return set(np.unique(confidence).tolist()) == {0.0, 1.0}
