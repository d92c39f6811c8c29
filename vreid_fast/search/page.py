"""The answers to a question as one HTML file: nothing fetched, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vreid_fast.files import write_text
from vreid_fast.report.html import render

from .answers import Answer, percent, seen, shown
from .index import SearchIndex
from .pictures import Pictures
from .question import Question


def write_page(
    path: Path, index: SearchIndex, question: Question, answers: Sequence[Answer], *, filters: str, reranked: bool
) -> list[str]:
    """Write the page; returns what a user should be told of pictures that are not there.

    Args:
        filters: those of the question, in words.
    """
    pictures = Pictures(index)
    rows = [
        {
            "frames": pictures.of_row(answer.row.row),
            "name": answer.row.path,
            "camera": shown(answer.row.camera),
            "seen": seen(answer.row),
            "similarity": f"{answer.similarity:.3f}",
            "strangers": percent(answer.strangers),
        }
        for answer in answers
    ]
    asked = {"frames": pictures.of_question(question), "name": question.name, "camera": shown(question.camera)}
    page = render(
        Path(__file__).with_name("page.html"), asked=asked, answers=rows, filters=filters, reranked=reranked,
        searched=len(index.rows), pairs=len(index.strangers),
    )  # fmt: skip
    write_text(path, page)
    return pictures.missing
