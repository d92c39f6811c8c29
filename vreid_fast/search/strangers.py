"""How alike two people can look: two tracklets of one camera that overlap in time are two people.

Such pairs need no labels. The share of them that is at least as alike as an answer tells how easily the answer could be
somebody else. They are of one camera each, and answers are of two: it is a guide, no probability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vreid_fast.data.overlaps import overlapping
from vreid_fast.extraction.table import Row

MOST = 20_000
"""Pairs that are kept."""


def two_people(rows: Sequence[Row], sources: Sequence[int]) -> np.ndarray:
    """(P, 2) rows of pairs that one camera saw at the same time, in one recording; at most `MOST` of them.

    Args:
        sources: (N,) the data that each row is of: another day's recording may have the same name.
    """
    cameras = [None if row.camera is None else (sources[row.row], row.camera) for row in rows]
    pairs = np.array([row.row for row in rows], np.int64)[overlapping(rows, cameras)]
    if len(pairs) > MOST:
        pairs = pairs[np.sort(np.random.default_rng(0).choice(len(pairs), MOST, replace=False))]
    return pairs


def similarities(
    rows: Sequence[Row], sources: Sequence[int], vectors: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """(P,) cosines of the pairs that are two people, ascending; `vectors` gives the (n, D) unit vectors of rows."""
    pairs = two_people(rows, sources)
    found = [
        np.einsum("nd,nd->n", vectors(part[:, 0]), vectors(part[:, 1]))
        for part in np.array_split(pairs, max(1, len(pairs) // 1000))
        if len(part)
    ]
    return np.sort(np.concatenate(found)).astype(np.float32) if found else np.zeros(0, np.float32)


def share_as_alike(known: np.ndarray, similarity: float) -> float | None:
    """Share of pairs of two people that are at least as alike; never 0, as the next pair could be. None = no pairs."""
    if not len(known):
        return None
    as_alike = len(known) - int(np.searchsorted(known, similarity, side="left"))
    return (as_alike + 1) / (len(known) + 1)
