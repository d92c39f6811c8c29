"""Frames of the tracklets of an index, from the data that it was made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vreid_fast.data import Tracklet, read_dataset, read_frames
from vreid_fast.errors import InputError
from vreid_fast.extraction.rows import rows_of
from vreid_fast.extraction.table import Row
from vreid_fast.report.ranked import query_frames

from .index import SearchIndex
from .question import Question


class Pictures:
    """Up to four frames of a tracklet, where its data is still there; `missing` says where it is not."""

    def __init__(self, index: SearchIndex):
        self._index = index
        self._known: dict[tuple, dict[str, tuple[Row, Tracklet]]] = {}
        self.missing: list[str] = []

    def of_row(self, row: int) -> list[np.ndarray]:
        source = self._index.source_of(row)
        key = source["data"], source["split"], source["synthetic_seed"]
        if key not in self._known:
            self._known[key] = self._open(*key)
        wanted = self._index.rows[row]
        if wanted.path not in self._known[key]:
            return []
        found, tracklet = self._known[key][wanted.path]
        if found.origin != wanted.origin:
            self.missing.append(f"no picture of {wanted.path}: {source['data']} has another tracklet there by now")
            return []
        return self._frames(tracklet)

    def of_question(self, question: Question) -> list[np.ndarray]:
        if question.row is not None:
            return self.of_row(question.row)
        return [] if question.tracklet is None else self._frames(question.tracklet)

    def _open(self, spec: str, split: int, seed: int) -> dict[str, tuple[Row, Tracklet]]:
        try:
            data = read_dataset(spec, split=split, seed=seed, keep_unreadable=True)
        except InputError as error:
            self.missing.append(f"no pictures of {spec}: {error}")
            return {}
        tracklets, rows = rows_of(data)
        return {row.path: (row, tracklet) for row, tracklet in zip(rows, tracklets, strict=True)}

    def _frames(self, tracklet: Tracklet) -> list[np.ndarray]:
        return _some(lambda: query_frames(tracklet, read_frames), self.missing)


def _some(read: Callable[[], list[np.ndarray]], missing: list[str]) -> list[np.ndarray]:
    try:
        return read()
    except InputError as error:
        missing.append(str(error))
        return []
