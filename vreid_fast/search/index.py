"""An index on disk: vectors that FAISS searches, and what is known of each.

index.json       kind, the features it was made of, the checkpoint of these
vectors.faiss    the vectors, of length 1, so that their inner product is the cosine
tracklets.csv    a row for each
scale.npz        what standardises the vectors of each camera, where asked
strangers.npy    how alike two people were whom one camera saw at the same time
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extraction.features import DESCRIPTION, Features, Row, read_table, write_csv
from vreid_fast.files import replacing_folder, why_no_file

from .scale import Scale, compared
from .strangers import similarities

INDEX, VECTORS, TABLE, SCALE, STRANGERS = "index.json", "vectors.faiss", "tracklets.csv", "scale.npz", "strangers.npy"
VERSION = 1
KINDS = ("flat", "ivf", "hnsw")
SAME = ("sha256", "which", "width", "frames", "clips", "size", "statistics")
"""Facts of features that can be compared."""
TESTED = 1000
"""Rows that recall is measured with."""
DEPTH = 50
"""Nearest rows that recall counts."""
FEW = 0.1
"""Of the rows: where fewer are allowed, a graph of all finds too little, and they are compared one by one."""


@dataclass
class SearchIndex:
    """An index in memory."""

    facts: dict
    """What index.json says: kind, dtype, and `sources`, the folders of features in the order of their rows."""
    rows: list[Row]
    vectors: Any
    """FAISS's index; the number of a vector is its row."""
    scale: Scale | None
    strangers: np.ndarray
    """(P,) cosines of pairs of two people, ascending."""

    @classmethod
    def of(cls, features: Features, kind: str = "flat", dtype: str = "float32", standardise: bool = False):
        """Index a folder of features.

        Raises:
            InputError: features that are damaged or not finite, or too few for the kind.
        """
        scale = Scale.of(features) if standardise else None
        width = features.facts["width"]
        vectors = _empty(kind, dtype, width, len(features.rows))
        if not vectors.is_trained:
            vectors.train(compared(features.vectors(), [row.camera for row in features.rows], scale))
        facts = {
            "version": VERSION, "kind": kind, "dtype": dtype, "checkpoint": features.facts["checkpoint"],
            **{name: features.facts[name] for name in SAME}, "sources": [],
        }  # fmt: skip
        index = cls(facts, [], vectors, scale, np.zeros(0, np.float32))
        index.add(features)
        return index

    def add(self, features: Features) -> None:
        """Take in more features.

        Raises:
            InputError: those of another checkpoint, of other clips or statistics, or that are in it already.
        """
        for name in SAME:
            if self.facts[name] != features.facts[name]:
                what = "another checkpoint" if name == "sha256" else f"another {name} ({features.facts[name]})"
                raise InputError(
                    f"{features.folder}: features of {what} than the index has ({self.facts[name]}): vectors of two "
                    "kinds cannot be compared; extract with the same, or make another index"
                )
        source = {
            "features": os.path.abspath(features.folder), "data": features.facts["data"], "rows": len(features.rows),
            "split": features.facts.get("split", 0), "synthetic_seed": features.facts.get("synthetic_seed", 0),
            "table_sha256": features.facts["table_sha256"], "made": _made(features.folder),
        }  # fmt: skip
        if source["table_sha256"] in [other["table_sha256"] for other in self.facts["sources"]]:
            raise InputError(f"{features.folder}: its tracklets are in the index already")
        for first, vectors in features.shards():
            cameras = [row.camera for row in features.rows[first : first + len(vectors)]]
            self.vectors.add(compared(vectors, cameras, self.scale))
        self.rows += [replace(row, row=len(self.rows) + row.row) for row in features.rows]
        self.facts["sources"].append(source)
        self._count()

    def forget(self, gone: np.ndarray) -> None:
        """Take out the rows of a mask (N,), with their vectors."""
        kept = np.flatnonzero(~gone)
        rest, width = self.unit_vectors(kept), self.facts["width"]
        sources, first = [], 0
        for source in self.facts["sources"]:
            left = int((~gone[first : first + source["rows"]]).sum())
            first += source["rows"]
            sources += [{**source, "rows": left}] if left else []
        self.vectors = _empty(self.facts["kind"], self.facts["dtype"], width, len(kept))
        if len(kept):
            if not self.vectors.is_trained:
                self.vectors.train(rest)
            self.vectors.add(rest)
        self.rows = [replace(self.rows[old], row=new) for new, old in enumerate(kept.tolist())]
        self.facts["sources"] = sources
        self._count()

    def unit_vectors(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, D) float32 vectors of rows, as they are compared."""
        rows = np.ascontiguousarray(rows, np.int64)
        if not len(rows):
            return np.zeros((0, self.facts["width"]), np.float32)
        if self.facts["kind"] == "ivf":
            self.vectors.make_direct_map()
        return self.vectors.reconstruct_batch(rows)

    def search(self, queries: np.ndarray, count: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """The rows most like each query.

        Args:
            queries: (Q, D) float32 of length 1.
            count: how many of each.
            allowed: (N,) bool; None = all rows.

        Returns:
            (Q, count) cosines, falling, and rows, -1 where there are no more.
        """
        import faiss

        kind, count, share, selector = self.facts["kind"], min(count, len(self.rows)), 1.0, None
        if allowed is not None and not allowed.all():
            count, share = min(count, int(allowed.sum())), float(allowed.mean())
            if kind == "hnsw" and share < FEW:
                return self._among(queries, count, np.flatnonzero(allowed))
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        options = {}
        # What is not allowed is walked through, too: so much more of it as there is less that is.
        if kind == "hnsw":
            options["params"] = faiss.SearchParametersHNSW(sel=selector, efSearch=int(max(128, 2 * count) / share))
        elif kind == "ivf":
            probes = min(self.vectors.nlist, max(1, round(self.vectors.nlist / 4 / share)))
            options["params"] = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
        elif selector:
            options["params"] = faiss.SearchParameters(sel=selector)
        # FAISS compares one by one up to so many numbers of queries, which is slower from a few queries on.
        faiss.cvar.distance_compute_blas_threshold = 4 * self.facts["width"]
        return self.vectors.search(np.ascontiguousarray(queries, np.float32), count, **options)

    def _among(self, queries: np.ndarray, count: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`search` that compares with all of a few rows."""
        import faiss

        cosines, places = faiss.knn(
            np.ascontiguousarray(queries, np.float32), self.unit_vectors(rows), count, faiss.METRIC_INNER_PRODUCT
        )
        return cosines, rows[places]

    def recall(self) -> float | None:
        """Share of the 50 nearest that the kind finds, for rows of its own; None of an exact one."""
        if self.facts["kind"] == "flat" or not self.rows:
            return None
        import faiss

        every = self.unit_vectors(np.arange(len(self.rows)))
        asked = every[np.linspace(0, len(every) - 1, min(TESTED, len(every))).astype(int)]
        wanted = faiss.knn(asked, every, min(DEPTH, len(every)), faiss.METRIC_INNER_PRODUCT)[1]
        found = self.search(asked, DEPTH)[1]
        return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(wanted.tolist(), found.tolist())]))

    def save(self, folder: Path) -> None:
        """Write the index, whole or not at all; one that is there is replaced."""
        import faiss

        check_place(folder)
        with replacing_folder(folder) as out:
            try:
                faiss.write_index(self.vectors, str(out / VECTORS))
            except RuntimeError as error:  # of a full disk FAISS says no more than that
                raise InputError(
                    f"{folder}: the vectors cannot be written; is the disk full? What was there is as it was"
                ) from error
            write_csv(self.rows, out / TABLE)
            if self.scale is not None:
                np.savez(out / SCALE, **self.scale.arrays())
            np.save(out / STRANGERS, self.strangers)
            facts = {**self.facts, "bytes": (out / VECTORS).stat().st_size}
            (out / INDEX).write_text(json.dumps(facts, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> SearchIndex:
        """Open an index.

        Raises:
            InputError: none, a damaged one, or one that is older than its features.
        """
        facts = _read_facts(folder)
        try:
            import faiss

            rows = read_table(folder / TABLE)
            if (folder / VECTORS).stat().st_size != facts["bytes"]:
                raise ValueError(f"{VECTORS} has another size than when it was written")
            vectors = faiss.read_index(str(folder / VECTORS))
            if vectors.ntotal != len(rows) or vectors.d != facts["width"]:
                raise ValueError(f"{vectors.ntotal} vectors of {vectors.d} for {len(rows)} rows")
            scale = None
            if (folder / SCALE).exists():
                with np.load(folder / SCALE, allow_pickle=False) as arrays:
                    scale = Scale(**arrays)
            strangers = np.load(folder / STRANGERS, allow_pickle=False)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # FAISS and numpy raise what they like
            raise InputError(f"{folder}: the index is damaged ({error}); make it again") from error
        return cls(facts, rows, vectors, scale, strangers)

    def source_of(self, row: int) -> dict:
        """The source that a row came from."""
        for source in self.facts["sources"]:
            if row < source["rows"]:
                return source
            row -= source["rows"]
        raise IndexError(row)

    def full_path(self, row: int) -> str:
        """Path with the data's before it, which tells a tracklet from those of other data."""
        return os.path.join(self.source_of(row)["data"].partition(":")[2], self.rows[row].path)

    @property
    def standardise(self) -> str:
        """What is taken out of the vectors: none or camera."""
        return "none" if self.scale is None else "camera"

    def cameras(self) -> Collection[int]:
        """Those that are known."""
        return sorted({row.camera for row in self.rows} - {None})

    def _count(self) -> None:
        counts = [source["rows"] for source in self.facts["sources"]]
        self.strangers = similarities(self.rows, np.repeat(np.arange(len(counts)), counts).tolist(), self.unit_vectors)


def check_place(folder: Path) -> None:
    """InputError unless an index may be written there: nothing is, or an index, and nothing else."""
    if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - {INDEX, VECTORS, TABLE, SCALE, STRANGERS}):
        raise InputError(f"{folder}: holds something else than an index; choose another folder")


def _empty(kind: str, dtype: str, width: int, rows: int) -> Any:
    """FAISS's index of a kind, without vectors."""
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


def _trained(index: Any) -> Any:
    """fp16 has nothing to learn, yet wants to be trained."""
    index.train(np.zeros((1, index.d), np.float32))
    return index


def _read_facts(folder: Path) -> dict:
    if why := why_no_file(folder / INDEX):
        wanted = "wanted a folder that python -m vreid_fast.search index wrote"
        raise InputError(f"{folder}: no {INDEX} in it ({why}); {wanted}")
    try:
        facts = json.loads((folder / INDEX).read_bytes())
        if facts["version"] != VERSION:
            raise InputError(f"{folder}: an index of version {facts['version']}, this reads {VERSION}; make it again")
        sources = [(Path(source["features"]), source["made"], int(source["rows"])) for source in facts["sources"]]
        if facts["kind"] not in KINDS or type(facts["width"]) is not int or type(facts["sha256"]) is not str:
            raise ValueError("a field holds something else")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder}: {INDEX} is damaged ({error}); make the index again") from error
    for features, made, _ in sources:
        if (features / DESCRIPTION).exists() and _made(features) != made:
            raise InputError(f"{folder}: the index is older than its features, {features}; make it again")
    return facts


def _made(features: Path) -> str:
    """What tells whether features were extracted anew, from others or in another way."""
    return hashlib.sha256((features / DESCRIPTION).read_bytes()).hexdigest()
