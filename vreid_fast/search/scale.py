"""Vectors as an index compares them: each camera's own mean and spread taken out where asked, then of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from vreid_fast.data.cameras import FEWEST
from vreid_fast.extraction.features import Features

EPS = 1e-5  # as `camera_standardise`


@dataclass(frozen=True)
class Scale:
    """Means and deviations by which the vectors of each camera are standardised.

    Cameras with fewer than `FEWEST` vectors, and unknown ones, take those of all.
    """

    cameras: np.ndarray
    """(C,) numbers; those of all are in the last row, without a number."""
    means: np.ndarray
    """(C + 1, D) float32."""
    deviations: np.ndarray
    """(C + 1, D) float32."""

    @classmethod
    def of(cls, features: Features) -> Scale:
        """That of a folder of features, in one pass over it."""
        total, squares, count = 0.0, 0.0, 0
        for _, vectors in features.shards():
            wide = vectors.astype(np.float64)
            total, squares, count = total + wide.sum(0), squares + np.square(wide).sum(0), count + len(wide)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        known = features.cameras
        if known is None:
            return cls(np.zeros(0, np.int64), _rows(mean), _rows(deviation))
        enough = known.counts >= FEWEST
        return cls(
            known.cameras[enough],
            np.concatenate([known.means[enough], _rows(mean)]),
            np.concatenate([known.deviations[enough], _rows(deviation)]),
        )

    def __call__(self, vectors: np.ndarray, cameras: Sequence[int | None]) -> np.ndarray:
        """(N, D) vectors standardised by their cameras, None = unknown."""
        places = {camera: place for place, camera in enumerate(self.cameras.tolist())}
        rows = [places.get(camera, len(self.cameras)) for camera in cameras]
        return (vectors - self.means[rows]) / np.sqrt(np.square(self.deviations[rows]) + EPS)

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def compared(vectors: np.ndarray, cameras: Sequence[int | None], scale: Scale | None) -> np.ndarray:
    """(N, D) float32 of length 1, as an index holds and compares them."""
    vectors = np.asarray(vectors, np.float32)
    if scale is not None:
        vectors = scale(vectors, cameras)
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)  # of large ones float32 makes infinity
    lengths = np.maximum(np.sqrt(squares), np.finfo(np.float32).tiny)[:, None]
    return np.ascontiguousarray(vectors / lengths.astype(np.float32), np.float32)


def _rows(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, np.float32)[None]
