"""Writing a folder of features shard by shard; a stopped run goes on where it was."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vreid_fast.errors import InputError, of_disk
from vreid_fast.files import replacing, write_text

from .features import CAMERAS, DESCRIPTION, Features, read_description, shard_name
from .table import Row, write_table

ROUNDED = 0.01
"""Part of its length by which a vector may change as it is rounded."""
IN_WORDS = {"sha256": "another checkpoint", "table_sha256": "other tracklets"}


class FeatureWriter:
    """A folder of features that is made, or gone on with.

    Args:
        facts: of extract.json, with rows, width, shard, format and dtype.
    """

    def __init__(self, folder: Path, facts: dict, rows: Sequence[Row], table: str):
        self._folder, self._facts, self._rows, self._table = folder, facts, list(rows), table

    def begin(self) -> list[range]:
        """Make the folder where it is not there yet, and write what its vectors are of.

        Returns:
            The rows of each shard that is not there yet.

        Raises:
            InputError: the folder holds something else, or features that something else made.
        """
        _check(self._folder, self._facts)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / DESCRIPTION, json.dumps(self._facts, indent=1) + "\n")
        write_table(self._rows, self._folder / self._table)
        starts = range(0, len(self._rows), self._facts["shard"])
        shards = [range(first, min(first + self._facts["shard"], len(self._rows))) for first in starts]
        return [rows for rows in shards if not self._path(rows).exists()]

    def write(self, rows: range, vectors: Tensor) -> None:
        """Write the vectors (n, D) of a shard, whole or not at all.

        Raises:
            InputError: vectors too long or too short for float16, or a full disk; the shards before stay.
        """
        values = vectors.to(getattr(torch, self._facts["dtype"])).numpy()
        wrong = ~(np.abs(_lengths(values) - _lengths(vectors.numpy())) <= ROUNDED * _lengths(vectors.numpy()))
        if wrong.any():
            row = int(wrong.argmax())
            how = "short" if np.isfinite(values[row]).all() else "long"
            raise InputError(
                f"--dtype float16: the vector of {self._rows[rows[row]].path} is too {how} for it; take float32, into "
                "another folder"
            )
        self._put(self._path(rows), {"features": values})

    def finish(self) -> None:
        """Write what is known of the cameras; all shards are there."""
        if not (self._folder / CAMERAS).exists() and any(row.camera is not None for row in self._rows):
            self._put(self._folder / CAMERAS, of_cameras(Features(self._folder, self._facts, self._rows)))

    def _path(self, rows: range) -> Path:
        return self._folder / shard_name(rows[0] // self._facts["shard"], self._facts["format"])

    def _put(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        try:
            with replacing(path) as file:
                file.write(_encoded(path, arrays))
        except OSError as error:
            raise InputError(
                f"{of_disk(error)}; the shards before it are whole, the same command again goes on"
            ) from error


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """(n,) of vectors (n, D)."""
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def of_cameras(features: Features) -> dict[str, np.ndarray]:
    """`CameraFeatures` as arrays, in one pass over the shards."""
    numbers = np.array(sorted({row.camera for row in features.rows} - {None}))
    place = {camera: number for number, camera in enumerate(numbers.tolist())}
    shape = len(numbers), features.facts["width"]
    counts, sums, squares = np.zeros(len(numbers), np.int64), np.zeros(shape), np.zeros(shape)
    for first, vectors in features.shards():
        own = np.array([place.get(row.camera, -1) for row in features.rows[first : first + len(vectors)]])
        for number in set(own.tolist()) - {-1}:
            chosen = vectors[own == number].astype(np.float64)
            counts[number] += len(chosen)
            sums[number] += chosen.sum(0)
            squares[number] += np.square(chosen).sum(0)
    means = sums / counts[:, None]
    deviations = np.sqrt(np.maximum(squares / counts[:, None] - means**2, 0))
    return {
        "cameras": numbers, "counts": counts,
        "means": means.astype(np.float32), "deviations": deviations.astype(np.float32),
    }  # fmt: skip


def _check(folder: Path, facts: dict) -> None:
    """That the folder may be written: it is new or empty, or what is in it was made in the same way."""
    there = read_description(folder)
    if there is None:
        if folder.exists() and os.listdir(folder):
            raise InputError(f"--out {folder}: holds files and no {DESCRIPTION}; wanted a new or an empty folder")
        return
    first = ("sha256", "data", "which", "table_sha256")  # of several that differ, what a user would name
    for name in sorted(facts.keys() | there.keys(), key=lambda name: (name not in first, name)):
        if facts.get(name) != there.get(name):
            what = IN_WORDS.get(name) or f"another {name} ({there.get(name)}, now {facts.get(name)})"
            raise InputError(f"--out {folder}: holds features of {what}; choose another folder, or take it away")


def _encoded(path: Path, arrays: dict[str, np.ndarray]) -> bytes:
    if path.suffix == ".npz":
        content = io.BytesIO()
        np.savez(content, **arrays)
        return content.getvalue()
    from safetensors.numpy import save

    return save(arrays)
