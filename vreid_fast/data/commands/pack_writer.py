"""Writing a pack: shards and index in a folder that takes its name when all of it is there."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.files import replacing_folder

from ..reading import packed
from ..reading.packed import BLOCK, DESCRIPTION, INDEX, SIGHTINGS, UNKNOWN
from ..reading.video_facts import VideoFacts
from ..tracklets import Tracklet


class PackWriter:
    """Tracklets added one after the other, into shards of about `shard_size` bytes; a tracklet is in one shard."""

    def __init__(self, folder: Path, shard_size: int):
        self._folder, self._shard_size = folder, shard_size
        # Another for each pack, so that two packs of like content are not taken for each other.
        self._word = secrets.token_hex(8)
        self._shard: BinaryIO | None = None
        self._shards: list[int] = []
        self._tracklets: list[tuple] = []
        self._sightings: list[list | None] = []
        self._frames: list[np.ndarray] = []
        self._endings: dict[str, int] = {}
        self._members: list[tuple[int, int, int]] = []
        self._first = 0
        self.bytes = 0
        """Written to shards so far."""

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *_) -> None:
        if self._shard is not None:
            with suppress(OSError):  # what could not be written is no news by now
                self._shard.close()

    @property
    def shards(self) -> int:
        return len(self._shards)

    @property
    def tracklets(self) -> int:
        return len(self._tracklets)

    @property
    def frames(self) -> int:
        return sum(record[2] for record in self._tracklets)

    def start(self) -> None:
        """Begin the next tracklet."""
        if self._shard is None or self._shards[-1] >= self._shard_size:
            self._end_shard()
            self._shard = open(self._folder / packed.shard_name(len(self._shards)), "wb")  # noqa: SIM115, open until full
            self._shards.append(0)

    def member(self, number: int | None, ending: str, content: bytes | np.ndarray) -> None:
        """Add a frame by number, or the video (None), of the tracklet begun last."""
        row = len(self._tracklets)
        offset = self._add(packed.member_name(row, number, ending), content)
        self._members.append((offset, len(content), self._endings.setdefault(ending, len(self._endings))))

    def finish(self, tracklet: Tracklet, facts: VideoFacts | None, more: Mapping) -> None:
        """End the tracklet: `facts` of its video if it is one, and what else its .json shall say."""
        known = {name: getattr(tracklet, name) for name in ("identity", "camera", "clothes")}
        for name, value in known.items():
            if value is not None and not UNKNOWN < value <= np.iinfo(np.int64).max:
                raise InputError(f"{name} of {tracklet} is {value}; a pack holds 64-bit integers")
        row, frames = len(self._tracklets), facts.frames if facts else len(self._members)
        self._add(packed.member_name(row, None, "json"), json.dumps({**known, **more}).encode())
        codec = (facts.codec, facts.width, facts.height, facts.pixels) if facts else ("", 0, 0, "")
        labels = (UNKNOWN if value is None else value for value in known.values())
        self._tracklets.append((len(self._shards) - 1, self._first, frames, *labels, *codec))
        self._sightings.append(tracklet.sighting and tracklet.sighting.as_json())
        self._first += len(self._members)
        self._frames.append(np.array(self._members, dtype=INDEX["frames.npy"]))
        self._members = []

    def close(self, subsets: Sequence[tuple[int, int, int]], description: Mapping) -> None:
        """Write the index, and `description` with what the reader checks as pack.json."""
        self._end_shard()
        frames = np.concatenate(self._frames)
        tables = (np.array(self._tracklets, INDEX["tracklets.npy"]), frames, np.array(subsets, INDEX["subsets.npy"]))
        digests = {}
        for name, table in zip(INDEX, tables):
            content = io.BytesIO()  # np.save to a full disk does not say that it is full
            np.save(content, table)
            digests[name] = self._write(name, content.getbuffer())
        if any(self._sightings):
            digests[SIGHTINGS] = self._write(SIGHTINGS, json.dumps(self._sightings).encode())
        shards = [{"name": packed.shard_name(shard), "bytes": size} for shard, size in enumerate(self._shards)]
        counts = {"tracklets": self.tracklets, "frames": self.frames}
        facts = {"format": packed.FORMAT, "version": packed.VERSION, "word": self._word, **description, **counts}
        facts |= {"endings": list(self._endings), "shards": shards, "index": digests}
        facts["digest"] = packed.description_digest(facts)
        self._write(DESCRIPTION, json.dumps(facts, indent=1).encode())

    def _add(self, name: str, content: bytes | np.ndarray) -> int:
        """Add a member to the shard; returns where its content begins."""
        offset = self._shards[-1] + BLOCK
        padding = b"\0" * (-len(content) % BLOCK)
        for part in (packed.tar_header(name, len(content), self._word), content, padding):
            self._shard.write(part)
        self._count(BLOCK + len(content) + len(padding))
        return offset

    def _end_shard(self) -> None:
        if self._shard is not None:
            self._shard.write(b"\0" * 2 * BLOCK)
            self._count(2 * BLOCK)
            _keep(self._shard)

    def _count(self, size: int) -> None:
        self._shards[-1] += size
        self.bytes += size

    def _write(self, name: str, content: bytes | memoryview) -> str:
        """Write a file beside the shards; returns its sha256."""
        file = open(self._folder / name, "wb")  # noqa: SIM115, closed by _keep
        file.write(content)
        _keep(file)
        return hashlib.sha256(content).hexdigest()


def _keep(file: BinaryIO) -> None:
    """Close a file that is on the disk from now on, whatever happens to the machine."""
    with file:
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends, and vanishes when it raises.

    Raises:
        InputError: `out` is there and may not be replaced, or the place cannot be written.
    """
    _check_free(out, overwrite)
    written = 0
    try:
        with replacing_folder(out) as building:
            try:
                yield building
                _check_free(out, overwrite)
            finally:
                written = sum(file.stat().st_size for file in building.iterdir())
    except OSError as error:
        if not out.parent.is_dir() or error.filename == str(out.parent) or not os.access(out.parent, os.W_OK):
            raise InputError(f"{out}: cannot write to {out.parent} ({error.strerror})") from error
        free = shutil.disk_usage(out.parent).free
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}) after {written:,} bytes, {free:,} are free there; "
            f"nothing is left of it: {'make room, or choose another disk' if full else 'choose another place'}"
        ) from error


def _check_free(out: Path, overwrite: bool) -> None:
    """That `out` may be made: it is not there, empty, or a pack that may be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    names = set(os.listdir(out)) if out.is_dir() and not out.is_symlink() else {"."}
    if not names:
        return
    if not overwrite:
        raise InputError(f"{out} is there already; choose another OUT, or replace it by --overwrite")
    own = {DESCRIPTION, *INDEX, SIGHTINGS, *(name for name in names if re.fullmatch(r"\d{5,}\.tar", name, re.ASCII))}
    if DESCRIPTION not in names or names - own:
        raise InputError(f"{out} is no pack, or holds other files too: --overwrite replaces packs only")
