"""The answers to a question: ranked, printed, and as a table for others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extraction.table import Row
from vreid_fast.files import write_rows
from vreid_fast.metrics import rerank

from .filters import Filter
from .index import SearchIndex
from .question import Question
from .strangers import share_as_alike

SHORTLIST = 1000
"""Nearest rows that are re-ranked."""
COLUMNS = ("rank", "path", "camera", "start", "end", "similarity", "strangers_as_alike", "video", "first_frame")
HARMFUL = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula."""


@dataclass(frozen=True)
class Answer:
    """A tracklet that may be the person."""

    row: Row
    similarity: float
    """Cosine, -1 to 1."""
    strangers: float | None
    """Share of pairs of two people that are at least as alike, see `strangers`."""


def ask(index: SearchIndex, question: Question, wanted: Filter, top: int, reranked: bool = False) -> list[Answer]:
    """The answers, the likeliest first; the question's own tracklet is none.

    Raises:
        InputError: a filter that leaves nothing.
    """
    allowed = wanted(index.rows)
    if question.row is not None:
        allowed[question.row] = False
    if not allowed.any():
        if wanted.allows_all:
            raise InputError("nobody else is in the index: it has 1 tracklet; add features to it")
        raise InputError(f"the filters leave none of the index's {len(index.rows):,} tracklets; widen them")
    (found,), (rows,) = index.search(question.vector, max(top, SHORTLIST) if reranked else top, allowed)
    rows, found = rows[rows >= 0], found[rows >= 0]
    if reranked:
        order = np.argsort(rerank(question.vector, index.unit_vectors(rows))[0].numpy(), kind="stable")
        rows, found = rows[order], found[order]
    return [
        Answer(index.rows[row], float(similarity), share_as_alike(index.strangers, float(similarity)))
        for row, similarity in zip(rows[:top].tolist(), found[:top].tolist(), strict=True)
    ]


def as_lines(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    """Cells for the terminal."""
    return [
        ("", "tracklet", "camera", "seen", "similarity", "strangers as alike"),
        *(
            (str(place), answer.row.path, shown(answer.row.camera), seen(answer.row), f"{answer.similarity:.3f}",
             percent(answer.strangers))
            for place, answer in enumerate(answers, 1)
        ),
    ]  # fmt: skip


def as_csv(answers: Sequence[Answer]) -> str:
    """A table; no cell is taken for a formula by a spreadsheet."""
    text = io.StringIO()
    write_rows(text, [COLUMNS, *map(_cells, range(1, len(answers) + 1), answers)])
    return text.getvalue()


def shown(value: object) -> str:
    return "unknown" if value is None else str(value)


def seen(row: Row) -> str:
    """When, or in which frames."""
    if row.start is not None:
        return row.start.isoformat(" ", "seconds")
    return "" if row.first_frame is None else f"frame {row.first_frame:,}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"


def _cells(place: int, answer: Answer) -> list[object]:
    row = answer.row
    cells = (
        place, row.path, row.camera, row.start and row.start.isoformat(), row.end and row.end.isoformat(),
        round(answer.similarity, 6), answer.strangers and round(answer.strangers, 6), row.video, row.first_frame,
    )  # fmt: skip
    return ["" if cell is None else _harmless(cell) for cell in cells]


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(HARMFUL) else cell
