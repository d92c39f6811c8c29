"""A folder of features, as `python -m vreid_fast.extract` writes it: what is in it, and how to read it.

extract.json                 checkpoint, network, clips: all that made the vectors
tracklets.csv                a row for each vector, in order; or tracklets.parquet
features-00000.safetensors   the vectors, `features` (n, D) float32 or float16, shard after shard; or .npz
cameras.safetensors          mean and deviation of the vectors of each camera
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import why_no_file

from .table import TABLES, Row, read_table

DESCRIPTION, CAMERAS, VERSION = "extract.json", "cameras.safetensors", 1
FORMATS = ("safetensors", "npz")
AGAIN = "delete this file, and the same extract makes it anew"


@dataclass(frozen=True)
class CameraFeatures:
    """Means and standard deviations of the vectors of each camera."""

    cameras: np.ndarray
    """(C,) numbers, ascending."""
    counts: np.ndarray
    """(C,) vectors of each."""
    means: np.ndarray
    """(C, D) float32."""
    deviations: np.ndarray
    """(C, D) float32."""


@dataclass(frozen=True)
class Features:
    """A finished folder of features."""

    folder: Path
    facts: dict
    """What extract.json says."""
    rows: list[Row]

    def shards(self) -> Iterator[tuple[int, np.ndarray]]:
        """(row of the first vector, (n, D) vectors) of each shard, one in memory at a time.

        Raises:
            InputError: a shard that is missing, damaged, of another size, or has vectors that are not finite; the
                tracklet is named.
        """
        for first in range(0, len(self.rows), self.facts["shard"]):
            wanted = min(self.facts["shard"], len(self.rows) - first), self.facts["width"]
            path = self.folder / shard_name(first // self.facts["shard"], self.facts["format"])
            vectors = _read_shard(path)
            if vectors.shape != wanted or vectors.dtype != self.facts["dtype"]:
                raise InputError(
                    f"{path}: wanted {wanted[0]} x {wanted[1]} of {self.facts['dtype']}, found "
                    f"{' x '.join(map(str, vectors.shape))} of {vectors.dtype}; {AGAIN}"
                )
            bad = np.flatnonzero(~np.isfinite(vectors).all(1))
            if len(bad):
                raise InputError(f"{path}: the vector of {self.rows[first + bad[0]].path} is not finite; {AGAIN}")
            yield first, vectors

    def vectors(self) -> np.ndarray:
        """All vectors (N, D), in memory; raises as `shards`."""
        whole = np.empty((len(self.rows), self.facts["width"]), self.facts["dtype"])
        for first, vectors in self.shards():
            whole[first : first + len(vectors)] = vectors
        return whole

    @property
    def cameras(self) -> CameraFeatures | None:
        """Of the cameras that are known; None where none is.

        Raises:
            InputError: the file is missing, as after a stop, or damaged.
        """
        path = self.folder / CAMERAS
        numbers = {row.camera for row in self.rows} - {None}
        if not numbers:
            return None
        if not path.exists():
            raise InputError(f"{path}: is missing, extracting was stopped; the same command again goes on")
        names = [field.name for field in fields(CameraFeatures)]
        found = CameraFeatures(*_read_tensors(path, names))
        shape = len(numbers), self.facts["width"]
        if set(found.cameras.tolist()) != numbers or found.means.shape != shape or found.deviations.shape != shape:
            raise InputError(f"{path}: is of other cameras or vectors than the folder has; {AGAIN}")
        return found


def shard_name(number: int, format: str) -> str:
    return f"features-{number:05d}.{format}"


def read_features(folder: str | Path) -> Features:
    """Open a folder of features; vectors are read when they are asked for.

    Raises:
        InputError: no such folder, one that is not finished, or a description or table that does not hold.
    """
    folder = Path(folder)
    facts = read_description(folder)
    if facts is None:
        raise InputError(f"{folder}: no {DESCRIPTION} in it; wanted a folder that python -m vreid_fast.extract wrote")
    table = next((folder / name for name in TABLES if (folder / name).exists()), None)
    if table is None:
        raise InputError(f"{folder}: no {TABLES[0]} in it; extract again")
    rows = read_table(table)
    if len(rows) != facts["rows"]:
        raise InputError(f"{table}: {len(rows):,} rows, {DESCRIPTION} has {facts['rows']:,}; extract again")
    shards = -(-len(rows) // facts["shard"])
    there = sum((folder / shard_name(number, facts["format"])).exists() for number in range(shards))
    if there < shards:
        raise InputError(
            f"{folder}: {there} of {shards} shards are there, extracting was stopped; the same command again goes on"
        )
    return Features(folder, facts, rows)


def read_description(folder: Path) -> dict | None:
    """What extract.json says; None where there is none. Raises InputError for one that does not hold."""
    path = folder / DESCRIPTION
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: wanted a folder of features, found a file")
    if not folder.exists() or not path.exists():
        return None
    if why := why_no_file(path):
        raise InputError(f"{path}: {why}")
    try:
        facts = json.loads(path.read_bytes())
        if facts["version"] != VERSION:
            raise InputError(f"{path}: version {facts['version']}, this vreid-fast reads {VERSION}; extract again")
        counts = [facts[name] for name in ("rows", "width", "shard")]
        words = [facts[name] for name in ("sha256", "data", "network", "distance", "statistics")]
        holds = all(type(count) is int and count > 0 for count in counts) and all(type(word) is str for word in words)
        if not holds or facts["format"] not in FORMATS or facts["dtype"] not in ("float32", "float16"):
            raise ValueError("a field holds something else than extract writes")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not what extract wrote ({type(error).__name__}: {error}); extract again") from error
    return facts


def _read_shard(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return arrays["features"]
        except Exception as error:  # numpy's and zipfile's own, of many kinds
            raise InputError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    (vectors,) = _read_tensors(path, ["features"])
    return vectors


def _read_tensors(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}; {AGAIN}")
    return [tensors[name] for name in names]
