"""An index on disk.

index.json       kind, the features it was made of, the checkpoint of these
vectors.faiss    the vectors, of length 1, so that their inner product is the cosine
tracklets.csv    a row for each
scale.npz        what standardises the vectors of each camera, where asked
strangers.npy    how alike two people were whom one camera saw at the same time
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extraction.features import DESCRIPTION
from vreid_fast.extraction.table import read_table, write_csv
from vreid_fast.files import replacing_folder, sha256_of, why_no_file

from .index import VERSION, SearchIndex, made_of
from .scale import Scale
from .vectors import KINDS

INDEX, VECTORS, TABLE, SCALE, STRANGERS = "index.json", "vectors.faiss", "tracklets.csv", "scale.npz", "strangers.npy"


def write_index(index: SearchIndex, folder: Path) -> None:
    """Write an index, whole or not at all. The one that it was read from, or last written to, is replaced.

    Raises:
        InputError: the folder holds something else, or an index that something else has written meanwhile; the disk
            is full.
    """
    import faiss

    check_place(folder)
    with replacing_folder(folder) as out:
        try:
            faiss.write_index(index.vectors, str(out / VECTORS))
        except RuntimeError as error:  # of a full disk FAISS says no more than that
            raise InputError(
                f"{folder}: the vectors cannot be written; is the disk full? What was there is as it was"
            ) from error
        write_csv(index.rows, out / TABLE)
        if index.scale is not None:
            np.savez(out / SCALE, **index.scale.arrays())
        np.save(out / STRANGERS, index.strangers)
        facts = {**index.facts, "bytes": (out / VECTORS).stat().st_size}
        (out / INDEX).write_text(json.dumps(facts, indent=1) + "\n")
        there = _digest(folder)
        if there not in (None, index.digest):
            raise InputError(f"{folder}: was changed by something else meanwhile, and is as that left it; do it again")
    index.digest = _digest(folder)


def read_index(folder: Path) -> SearchIndex:
    """Open an index.

    Raises:
        InputError: none, a damaged one, or one that is older than its features.
    """
    facts, digest = _read_facts(folder), _digest(folder)
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
    return SearchIndex(facts, rows, vectors, scale, strangers, digest)


def check_place(folder: Path) -> None:
    """InputError unless an index may be written there: nothing is, or an index, and nothing else."""
    if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - {INDEX, VECTORS, TABLE, SCALE, STRANGERS}):
        raise InputError(f"{folder}: holds something else than an index; choose another folder")


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
        if (features / DESCRIPTION).exists() and made_of(features) != made:
            raise InputError(f"{folder}: the index is older than its features, {features}; make it again")
    return facts


def _digest(folder: Path) -> str | None:
    """What tells an index from what was made of it; None where there is none."""
    return sha256_of(folder / INDEX) if (folder / INDEX).exists() else None
