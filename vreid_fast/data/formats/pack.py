"""Packs: what `python -m vreid_fast.data pack` wrote. Layout: see `vreid_fast.data.reading.packed`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError

from ..reading import packed
from ..reading.packed import DESCRIPTION, INDEX, SIGHTINGS, SUBSETS, Pack, PackedFrames, PackedVideo
from ..reading.video_facts import VideoFacts
from ..sighting import Sighting
from ..tracklets import Dataset, Tracklet
from .remarks import Remarks
from .tables import require_file


def _is_count(value) -> bool:
    return type(value) is int and value > 0


def _is_list(value, holds: Callable) -> bool:
    return type(value) is list and all(map(holds, value))


def _is_word(value, form: str = ".*") -> bool:
    return type(value) is str and re.fullmatch(form, value, re.DOTALL) is not None


def _is_shard(value) -> bool:
    return type(value) is dict and value.keys() == {"name", "bytes"} and _is_count(value["bytes"])


FIELDS: dict[str, tuple[str, Callable]] = {
    "word": ("16 hexadecimal digits", lambda value: _is_word(value, "[0-9a-f]{16}")),
    "spec": ("the SPEC that was packed", _is_word),
    "tracklets": ("a positive integer", _is_count),
    "frames": ("a positive integer", _is_count),
    "splits": ("a positive integer", _is_count),
    "endings": ("a list such as ['jpg']", lambda value: _is_list(value, lambda e: _is_word(e, "[a-z0-9]{1,16}"))),
    "notes": ("a list of texts", lambda value: _is_list(value, _is_word)),
    "official": ("texts by subset", lambda value: type(value) is dict and all(map(_is_word, value.values()))),
    "shards": (
        "a list of {'name': '00000.tar', 'bytes': its size}, in order",
        lambda value: (
            _is_list(value, _is_shard) and all(s["name"] == packed.shard_name(n) for n, s in enumerate(value))
        ),
    ),
    "index": (
        f"the sha256 of {', '.join(INDEX)}, and of {SIGHTINGS} where it has one",
        lambda value: (
            type(value) is dict
            and value.keys() - {SIGHTINGS} == INDEX.keys()
            and all(_is_word(digest, "[0-9a-f]{64}") for digest in value.values())
        ),
    ),
}
"""What pack.json must say, besides its format and version."""


def read_pack(path: str, *, split: int = 0) -> Dataset:
    """Read a pack. The index is checked whole, a shard's content when a frame of it is asked for.

    Raises:
        InputError: no pack, a damaged or incomplete one, no such split.
    """
    folder = Path(path)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"pack:{path}: wanted the folder of a pack, found {found}")
    facts = _read_description(folder / DESCRIPTION)
    if not 0 <= split < facts["splits"]:
        raise InputError(f"pack:{path}: split {split}: wanted 0 to {facts['splits'] - 1}")
    for name, digest in facts["index"].items():
        _check_digest(folder / name, digest)
    pack = Pack(os.fspath(folder), facts["word"], facts["endings"])
    tracklets, subsets = pack.index("tracklets.npy"), pack.index("subsets.npy")
    _check_shards(folder, facts["shards"])
    _check_rows(folder, facts, tracklets, pack.frames, subsets)

    remarks = Remarks(f"pack:{path}", folder)
    for name in (DESCRIPTION, *facts["index"], *(shard["name"] for shard in facts["shards"])):
        if (folder / name).is_symlink():
            remarks.link(os.path.join(folder, name))
    subsets = subsets[subsets["split"] == split]
    rows = [subsets["row"][subsets["subset"] == subset].tolist() for subset in range(len(SUBSETS))]
    wanted = np.unique(subsets["row"])
    sightings = _read_sightings(folder / SIGHTINGS, len(tracklets)) if SIGHTINGS in facts["index"] else {}
    found = {
        row: _tracklet(pack, row, sightings.get(row), *record)
        for row, record in zip(wanted.tolist(), tracklets[wanted].tolist())
    }
    return Dataset(
        f"pack:{path}",
        *([found[row] for row in own] for own in rows),
        (*facts["notes"], *remarks.notes()),
        facts["official"],
        facts["splits"],
    )


def _tracklet(pack: Pack, row: int, sighting: Sighting | None, shard: int, first: int, frames: int, *facts) -> Tracklet:
    *known, codec, width, height, pixels = facts
    known = [None if value == packed.UNKNOWN else value for value in known]
    if not codec:
        return Tracklet(PackedFrames(pack, shard, row, first, range(frames)), *known, sighting=sighting)
    video = VideoFacts(codec.decode("ascii", "replace"), frames, width, height, pixels.decode("ascii", "replace"))
    return Tracklet(range(frames), *known, PackedVideo(pack, shard, row, first, video), sighting)


def _read_sightings(file: Path, tracklets: int) -> dict[int, Sighting]:
    """Those of the rows that have one."""
    try:
        rows = json.loads(file.read_bytes())
        found = {row: Sighting.of_json(own) for row, own in enumerate(rows) if own is not None}
        whole = len(rows) == tracklets
    except (ValueError, TypeError, RecursionError, InputError):
        whole = False
    if not whole:
        raise InputError(f"{file}: does not agree with {DESCRIPTION} or the rest of the index")
    return found


def _read_description(file: Path) -> dict:
    require_file(file)
    try:
        facts = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file.parent}: no {file.name}; it is no pack, or packing was stopped: pack again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if type(facts) is not dict or facts.get("format") != packed.FORMAT:
        raise InputError(f"{file}: wanted the format {packed.FORMAT!r}; this is no pack's description")
    version = facts.get("version")
    if type(version) is not int or version != packed.VERSION:
        raise InputError(f"{file}: version {version!r}, wanted {packed.VERSION}; pack again, or update vreid-fast")
    for name, (wanted, holds) in FIELDS.items():
        if name not in facts or not holds(facts[name]):
            raise InputError(f"{file}, field {name}: wanted {wanted}, found {facts.get(name)!r:.80}")
    if facts.get("digest") != packed.description_digest(facts):
        raise InputError(f"{file}, field digest: is not that of the other fields: damaged, or edited; pack again")
    return facts


def _check_digest(file: Path, digest: str) -> None:
    require_file(file)
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); it is part of the pack's index") from error
    if found != digest:
        raise InputError(
            f"{file} is damaged, or of another pack: sha256 {found}, {DESCRIPTION} has {digest}; pack the data again"
        )


def _check_shards(folder: Path, shards: list[dict]) -> None:
    for shard in shards:
        file, wanted = folder / shard["name"], shard["bytes"]
        if not file.is_file():
            raise InputError(f"shard {file} is missing; {DESCRIPTION} has it with {wanted:,} bytes")
        if file.stat().st_size != wanted:
            raise InputError(
                f"shard {file} has {file.stat().st_size:,} bytes, {DESCRIPTION} {wanted:,}: it is cut short or of "
                "another pack; copy it again, or pack the data again"
            )


def _check_rows(folder: Path, facts: dict, tracklets: np.ndarray, frames: np.ndarray, subsets: np.ndarray) -> None:
    """That the index agrees with itself and pack.json; a digest only says that it is what was written."""
    members = np.where(tracklets["codec"] == b"", tracklets["frames"], 1).astype(np.uint64)
    ends = np.cumsum(members, dtype=np.uint64)
    sizes = np.array([shard["bytes"] for shard in facts["shards"]], dtype=np.uint64)
    for name, column, holds in (
        ("tracklets.npy", "rows", len(tracklets) == facts["tracklets"]),
        ("tracklets.npy", "frames", tracklets["frames"].sum(dtype=np.uint64) == facts["frames"]),
        ("tracklets.npy", "frames", (tracklets["frames"] > 0).all()),
        ("tracklets.npy", "first", (tracklets["first"] == ends - members).all()),
        ("tracklets.npy", "shard", (tracklets["shard"] < len(sizes)).all()),
        ("frames.npy", "rows", len(frames) == members.sum()),
        ("frames.npy", "ending", (frames["ending"] < len(facts["endings"])).all()),
        ("frames.npy", "offset", (frames["offset"] >= packed.BLOCK).all()),
        ("subsets.npy", "row", (subsets["row"] < len(tracklets)).all()),
        ("subsets.npy", "split", (subsets["split"] < facts["splits"]).all()),
        ("subsets.npy", "subset", (subsets["subset"] < len(SUBSETS)).all()),
    ):
        if not holds:
            raise InputError(f"{folder / name}, {column}: does not agree with {DESCRIPTION} or the rest of the index")
    videos = tracklets[tracklets["codec"] != b""]
    if (frames["size"][videos["first"]] < videos["frames"]).any():
        raise InputError(f"{folder / 'frames.npy'}, size: does not agree with the number of a video's frames")
    room = np.repeat(sizes[tracklets["shard"]], members.astype(np.int64))
    if (frames["size"] > room).any() or (frames["offset"] > room - frames["size"]).any():
        raise InputError(f"{folder / 'frames.npy'}, offset: lies beyond the end of a shard")
