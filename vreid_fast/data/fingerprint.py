"""What data a run was made with, in a form that a checkpoint can keep, and how other data differ from it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

from .domains import Domains
from .reading.packed import PackedFrames, PackedVideo
from .tracklets import Dataset, FramePaths, Tracklet

SMALL = 10_000
"""Frames of a data set up to which all its files are looked at; of a larger one, three of each tracklet."""
LOOKED_AT = 64
"""Bytes that are read of a file, from its middle, in a small data set."""
NAMED = 3
SUBSETS = ("source", "target", "query", "gallery")
FACTS = ("identity", "camera", "clothes")


def fingerprint(domains: Domains) -> str:
    """The data of a run in a line of JSON: of each tracklet its name, facts, frames and a digest of its files.

    Names are relative to the data set's folder, and no time of a file counts: data may be moved and copied. Sizes of
    files count, and in a small data set a few bytes of each. Training tracklets of the target have no identity here.
    """
    source, target = domains.source_data, domains.target_data
    of_source, of_target = _Files(source), _Files(target)
    return json.dumps({
        "source": _rows(domains.source_tracklets, of_source, domains.labels.tolist()),
        "target": _rows(target.train, of_target),
        "query": _rows(target.query, of_target, [tracklet.identity for tracklet in target.query]),
        "gallery": _rows(target.gallery, of_target, [tracklet.identity for tracklet in target.gallery]),
        "whole": [of_source.whole, of_target.whole],
    }, separators=(",", ":"))  # fmt: skip


def differences(before: str, now: str) -> list[str]:
    """In words, by subset, what two fingerprints have not in common; nothing where the data are the same."""
    old, new = json.loads(before), json.loads(now)
    alike = old["whole"] == new["whole"]
    found = ((subset, _difference(old[subset], new[subset], alike)) for subset in SUBSETS)
    return [f"{subset}: {words}" for subset, words in found if words]


class _Files:
    """Names and digests of a data set's tracklets; one that is in two subsets is looked at once."""

    def __init__(self, data: Dataset):
        subsets = (data.train, data.query, data.gallery)
        unique = {id(tracklet): tracklet for subset in subsets for tracklet in subset}
        self.whole = sum(1 if tracklet.video else len(tracklet) for tracklet in unique.values()) <= SMALL
        root = _root(data, unique.values())
        self.of = {key: (_name(tracklet, root), self._digest(tracklet)) for key, tracklet in unique.items()}

    def _digest(self, tracklet: Tracklet) -> str:
        frames, video = tracklet.frames, tracklet.video
        digest = hashlib.blake2b(digest_size=6)
        if isinstance(video, PackedVideo):
            digest.update(video.pack.word.encode())
        elif isinstance(frames, PackedFrames):
            digest.update(frames.word.encode())
        else:
            if isinstance(frames, FramePaths):
                digest.update("\0".join(frames.names).encode(errors="surrogateescape"))
            paths = [str(video)] if video else frames
            last = len(paths) - 1
            for number in range(len(paths)) if self.whole else sorted({0, last // 2, last}):
                digest.update(_look(paths[number], self.whole))
        return digest.hexdigest()


def _look(path: str, inside: bool) -> bytes:
    """Size of a file, and some bytes from its middle; nothing of one that cannot be read."""
    try:
        facts = os.stat(path)
        seen = f"{facts.st_size},".encode()
        if inside and stat.S_ISREG(facts.st_mode):  # to open a pipe would wait for ever
            with open(path, "rb", buffering=0) as file:
                seen += os.pread(file.fileno(), LOOKED_AT, facts.st_size // 2)
        return seen
    except OSError:
        return b"-,"


def _name(tracklet: Tracklet, root: str) -> str:
    """Its video or its first frame, from the root of the data set on."""
    where = _place(tracklet)
    return where.removeprefix(root).lstrip("/").encode(errors="surrogateescape").decode(errors="backslashreplace")


def _place(tracklet: Tracklet) -> str:
    return os.path.normpath(str(tracklet.video or tracklet.frames[0]))


def _root(data: Dataset, tracklets: Iterable[Tracklet]) -> str:
    """The folder of a SPEC; of one without, as the embedded data, that which all tracklets share."""
    places = [_place(tracklet) for tracklet in tracklets]
    path = os.path.normpath(data.name.partition(":")[2])
    root = "" if path == "." else path
    if all(place.startswith(root) for place in places):
        return root
    return os.path.commonpath(map(os.path.dirname, places)) if places else ""


def _rows(tracklets: list[Tracklet], files: _Files, labels: list | None = None) -> list[list]:
    rows = []
    for tracklet, label in zip_longest(tracklets, labels or []):
        name, digest = files.of[id(tracklet)]
        clothes = None if labels is None else tracklet.clothes
        rows.append([name, label, tracklet.camera, clothes, len(tracklet), digest])
    return rows


def _difference(before: list[list], now: list[list], alike: bool) -> str:
    """What differs first of: which tracklets, their order, what is known of them, their frames."""
    old, new = ({row[0]: row for row in rows} for rows in (before, now))
    words = [] if len(before) == len(now) else [f"{len(now)} tracklets, the checkpoint has {len(before)}"]
    words += _list("new", [name for name in new if name not in old])
    words += _list("gone", [name for name in old if name not in new])
    if words:
        return "; ".join(words)
    if list(old) != list(new):
        return "the same tracklets in another order"
    shared = [(old[name], new[name]) for name in new]
    for place, fact in enumerate(FACTS, 1):
        words += _changes(shared, fact, lambda row, place=place: row[place])
    words += _changes(shared, "frames", lambda row: row[4])
    if alike:
        words += _list("other files", [row[0] for was, row in shared if was[4] == row[4] and was[5] != row[5]])
    return "; ".join(words)


def _changes(pairs: list[tuple[list, list]], fact: str, value: Callable[[list], Any]) -> list[str]:
    changed = [f"{row[0]} {value(row)}, was {value(was)}" for was, row in pairs if value(was) != value(row)]
    return _list(f"another {fact}" if fact != "frames" else "other numbers of frames", changed)


def _list(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return [f"{what}: {', '.join(names[:NAMED])}{more}"] if names else []
