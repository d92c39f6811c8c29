"""FAISS's indexes, one of each kind: how they are made, and asked for the nearest vectors or for some of their own.

The number of a vector is its row. All have length 1, so that their inner product is the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

KINDS = ("flat", "ivf", "hnsw")
FEW = 0.1
"""Of the rows: where fewer are allowed, a graph of all finds too little, and they are compared one by one."""


def empty(kind: str, dtype: str, width: int, rows: int) -> Any:
    """FAISS's index of a kind, without vectors; an ivf one has still to be trained.

    Args:
        dtype: of its vectors, float32 or float16.
        rows: how many it is made for; so many cells has an ivf one.
    """
    import faiss

    whole, exact = dtype == "float32", faiss.METRIC_INNER_PRODUCT
    half = faiss.ScalarQuantizer.QT_fp16
    if kind == "flat":
        return faiss.IndexFlatIP(width) if whole else _trained(faiss.IndexScalarQuantizer(width, half, exact))
    if kind == "hnsw":
        made = faiss.IndexHNSWFlat(width, 32, exact) if whole else faiss.IndexHNSWSQ(width, half, 32, exact)
        made.hnsw.efConstruction = 200
        return made if whole else _trained(made)
    lists = max(1, min(rows // 39, round(4 * rows**0.5)))  # FAISS wants 39 vectors a list to find them
    coarse = faiss.IndexFlatIP(width)
    if whole:
        made = faiss.IndexIVFFlat(coarse, width, lists, exact)
    else:
        made = faiss.IndexIVFScalarQuantizer(coarse, width, lists, half, exact)
    made.own_fields = True
    coarse.this.disown()
    return made


def at(vectors: Any, kind: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """(n, D) float32 vectors of rows."""
    rows = np.ascontiguousarray(rows, np.int64)
    if not len(rows):
        return np.zeros((0, vectors.d), np.float32)
    if kind == "ivf":
        vectors.make_direct_map()
    return vectors.reconstruct_batch(rows)


def nearest(
    vectors: Any, kind: str, queries: np.ndarray, count: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows most like each query.

    Args:
        queries: (Q, D) float32 of length 1.
        count: how many of each, at most.
        allowed: (N,) bool; None = all rows.

    Returns:
        (Q, count) cosines, falling, and rows, -1 where there are no more.
    """
    import faiss

    queries, count, share, selector = np.ascontiguousarray(queries, np.float32), min(count, vectors.ntotal), 1.0, None
    if allowed is not None and not allowed.all():
        count, share = min(count, int(allowed.sum())), float(allowed.mean())
        if kind == "hnsw" and share < FEW:
            rows = np.flatnonzero(allowed)
            cosines, places = faiss.knn(queries, at(vectors, kind, rows), count, faiss.METRIC_INNER_PRODUCT)
            return cosines, rows[places]
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    options = {}
    # What is not allowed is walked through, too: so much more of it as there is less that is.
    if kind == "hnsw":
        options["params"] = faiss.SearchParametersHNSW(sel=selector, efSearch=int(max(128, 2 * count) / share))
    elif kind == "ivf":
        probes = min(vectors.nlist, max(1, round(vectors.nlist / 4 / share)))
        options["params"] = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    elif selector:
        options["params"] = faiss.SearchParameters(sel=selector)
    # FAISS compares one by one up to so many numbers of queries, which is slower from a few queries on.
    faiss.cvar.distance_compute_blas_threshold = 4 * vectors.d
    return vectors.search(queries, count, **options)


def _trained(index: Any) -> Any:
    """fp16 has nothing to learn, yet wants to be trained."""
    index.train(np.zeros((1, index.d), np.float32))
    return index
