"""A folder of features, as `python -m vreid_fast.extract` writes it: what is in it, and how to read it.

extract.json                 checkpoint, network, clips: all that made the vectors
tracklets.csv                a row for each vector, in order; or tracklets.parquet
features-00000.safetensors   the vectors, `features` (n, D) float32 or float16, shard after shard; or .npz
cameras.safetensors          mean and deviation of the vectors of each camera
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import replacing, why_no_file, write_rows

DESCRIPTION, CAMERAS, VERSION = "extract.json", "cameras.safetensors", 1
TABLES = ("tracklets.csv", "tracklets.parquet")
FORMATS = ("safetensors", "npz")
AGAIN = "delete this file, and the same extract makes it anew"


@dataclass(frozen=True)
class Row:
    """What is known of a tracklet; None or an empty text = unknown."""

    row: int
    """Of its vector."""
    path: str
    """Of its images or video, from the data set's folder on; tells it from all others."""
    camera: int | None = None
    identity: int | None = None
    split: str = ""
    """train, query and gallery, joined by |."""
    video: str = ""
    """The recording that it was cut from."""
    first_frame: int | None = None
    last_frame: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    """When its first and its last frame were taken."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def origin(self) -> Row:
        """What tells the tracklet from others of its data; labels, splits and the order may change."""
        return replace(self, row=0, identity=None, split="")


COLUMNS = tuple(field.name for field in fields(Row))


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


def read_table(path: Path) -> list[Row]:
    """Rows of tracklets.csv or tracklets.parquet. Raises InputError for one that does not hold."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(path)
            _check_columns(table.column_names)
            rows = [Row(**row) for row in table.to_pylist()]
        else:
            with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
                reader = csv.reader(file)
                _check_columns(next(reader, []))
                rows = [_row(cells) for cells in reader if cells]
        if [row.row for row in rows] != list(range(len(rows))):
            raise ValueError("rows are not numbered 0, 1, 2, ...")
        return rows
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"{path}: not a table that extract wrote ({error}); extract again") from error


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as `read_table` reads them, all or none."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        write_rows(text, [COLUMNS])
        write_rows(text, ([_cell(getattr(row, column)) for column in COLUMNS] for row in rows))
        text.detach()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else value


def _check_columns(names: Sequence[str]) -> None:
    if tuple(names) != COLUMNS:
        raise ValueError(f"columns {', '.join(names)}, wanted {', '.join(COLUMNS)}")


def _row(values: Sequence[str]) -> Row:
    if len(values) != len(COLUMNS):
        raise ValueError(f"row {values[0]} has {len(values)} cells, wanted {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, values, strict=True))

    def number(column: str) -> int | None:
        return int(cells[column]) if cells[column] else None

    def clock(column: str) -> datetime | None:
        return datetime.fromisoformat(cells[column]) if cells[column] else None

    return Row(
        int(cells["row"]), cells["path"], number("camera"), number("identity"), cells["split"], cells["video"],
        number("first_frame"), number("last_frame"), clock("start"), clock("end"),
    )  # fmt: skip


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
