"""An index in memory: vectors that FAISS searches, and what is known of each. `folder` has it on disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extraction.features import DESCRIPTION, Features
from vreid_fast.extraction.table import Row
from vreid_fast.files import sha256_of

from .scale import Scale, compared
from .strangers import similarities
from .vectors import at, empty, nearest

VERSION = 1
"""Of its files."""
SAME = ("sha256", "which", "width", "frames", "clips", "size", "statistics")
"""Facts of features that can be compared."""
TESTED = 1000
"""Rows that recall is measured with."""
DEPTH = 50
"""Nearest rows that recall counts."""
EQUAL = 0.999
"""Cosine from which on two vectors of one name are taken for the same, rounded to float16 or computed elsewhere."""


@dataclass
class SearchIndex:
    """Vectors of length 1, and a row of what is known for each."""

    facts: dict
    """What index.json says: kind, dtype, and `sources`, the folders of features in the order of their rows."""
    rows: list[Row]
    vectors: Any
    """FAISS's index; the number of a vector is its row."""
    scale: Scale | None
    strangers: np.ndarray
    """(P,) float32 cosines of pairs of two people, ascending."""
    digest: str | None = None
    """Of the index.json that it was read from or written to, by `folder`."""

    @classmethod
    def of(
        cls, features: Features, kind: str = "flat", dtype: str = "float32", standardise: bool = False
    ) -> SearchIndex:
        """Index a folder of features.

        Raises:
            InputError: features that are damaged or not finite.
        """
        scale = Scale.of(features) if standardise else None
        facts = {
            "version": VERSION, "kind": kind, "dtype": dtype, "checkpoint": features.facts["checkpoint"],
            **{name: features.facts[name] for name in SAME}, "sources": [],
        }  # fmt: skip
        index = cls(facts, [], None, scale, np.zeros(0, np.float32))
        index.add(features)
        return index

    def add(self, features: Features) -> None:
        """Take in more features.

        Raises:
            InputError: those of another checkpoint, of other clips or statistics, or of tracklets that are in it
                already.
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
            "table_sha256": features.facts["table_sha256"], "made": made_of(features.folder),
        }  # fmt: skip
        if source["table_sha256"] in [other["table_sha256"] for other in self.facts["sources"]]:
            raise InputError(f"{features.folder}: its tracklets are in the index already")
        self._refuse_known(features, source)
        if not self.rows:
            self.vectors = empty(self.facts["kind"], self.facts["dtype"], self.facts["width"], len(features.rows))
            if not self.vectors.is_trained:
                self.vectors.train(self._compared(features, 0, features.vectors()))
        for first, vectors in features.shards():
            self.vectors.add(self._compared(features, first, vectors))
        self.rows += [replace(row, row=len(self.rows) + row.row) for row in features.rows]
        self.facts["sources"].append(source)
        self._count()

    def forget(self, gone: np.ndarray) -> None:
        """Take out the rows of a mask (N,) bool, with their vectors."""
        kept = np.flatnonzero(~gone)
        rest = self.unit_vectors(kept)
        sources, first = [], 0
        for source in self.facts["sources"]:
            left = int((~gone[first : first + source["rows"]]).sum())
            first += source["rows"]
            sources += [{**source, "rows": left}] if left else []
        self.vectors = empty(self.facts["kind"], self.facts["dtype"], self.facts["width"], len(kept))
        if len(kept):
            if not self.vectors.is_trained:
                self.vectors.train(rest)
            self.vectors.add(rest)
        self.rows = [replace(self.rows[old], row=new) for new, old in enumerate(kept.tolist())]
        self.facts["sources"] = sources
        self._count()

    def unit_vectors(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, D) float32 vectors of rows, as they are compared."""
        return at(self.vectors, self.facts["kind"], rows)

    def search(
        self, queries: np.ndarray, count: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows most like each query, see `vectors.nearest`."""
        return nearest(self.vectors, self.facts["kind"], queries, count, allowed)

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
        """Those that are known, ascending."""
        return sorted({row.camera for row in self.rows} - {None})

    def _compared(self, features: Features, first: int, vectors: np.ndarray) -> np.ndarray:
        """Vectors of features, from row `first` of theirs on, as the index compares them."""
        return compared(vectors, [row.camera for row in features.rows[first : first + len(vectors)]], self.scale)

    def _refuse_known(self, features: Features, source: dict) -> None:
        """InputError for tracklets that are there, as where data has grown and was extracted as a whole.

        A folder of one name may hold other people on another day: their vectors are others.
        """
        there, first = {}, 0
        for other in self.facts["sources"]:
            rows = self.rows[first : first + other["rows"]]
            first += other["rows"]
            if all(other[name] == source[name] for name in ("data", "synthetic_seed")):
                there |= {row.origin: row.row for row in rows}
        alike = {row.row: there[row.origin] for row in features.rows if row.origin in there} if there else {}
        if not alike:
            return
        known = []
        for first, vectors in features.shards():
            new = [row for row in range(first, first + len(vectors)) if row in alike]
            ours = self.unit_vectors([alike[row] for row in new])
            theirs = self._compared(features, first, vectors)[np.array(new, int) - first]
            known += np.array(new, int)[np.einsum("nd,nd->n", ours, theirs) >= EQUAL].tolist()
        if known:
            raise InputError(
                f"{features.folder}: {len(known):,} of its {len(features.rows):,} tracklets are in the index already, "
                f"such as {features.rows[known[0]].path}; make an index anew of these features"
            )

    def _count(self) -> None:
        counts = [source["rows"] for source in self.facts["sources"]]
        self.strangers = similarities(self.rows, np.repeat(np.arange(len(counts)), counts).tolist(), self.unit_vectors)


def made_of(features: Path) -> str:
    """What tells whether features were extracted anew, from others or in another way."""
    return sha256_of(features / DESCRIPTION)
