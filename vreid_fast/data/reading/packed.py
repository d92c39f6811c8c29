"""What a pack holds: frames and videos in shards, found through an index beside them.

A pack is a folder. `00000.tar`, `00001.tar`, ... are plain WebDataset shards: tracklet 12 is the members
`00000012.0000.jpg`, `00000012.0001.jpg`, ... (a video: `00000012.mp4`) and `00000012.json`, all in one shard.
`tracklets.npy`, `frames.npy` and `subsets.npy` say where everything is, `pack.json` what the rest must be.
Every tar header bears the pack's own word: a shard of another pack is noticed frame by frame.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO

import numpy as np

from vreid_fast.errors import InputError

from .npy import read_records
from .video_facts import VideoFacts

FORMAT, VERSION = "vreid-fast pack", 1
DESCRIPTION = "pack.json"
SIGHTINGS = "sightings.json"
"""Where and when each tracklet was recorded, in packs of data that say it."""
SUBSETS = ("train", "query", "gallery")
UNKNOWN = np.iinfo(np.int64).min
BLOCK = tarfile.BLOCKSIZE

INDEX = {
    # first: row of the first frame in frames.npy. A video has one row there, and its codec here.
    "tracklets.npy": np.dtype(
        [("shard", "<u4"), ("first", "<u8"), ("frames", "<u4")]
        + [("identity", "<i8"), ("camera", "<i8"), ("clothes", "<i8")]
        + [("codec", "S16"), ("width", "<u4"), ("height", "<u4"), ("pixels", "S16")]
    ),
    # ending: its place among the endings that pack.json lists.
    "frames.npy": np.dtype([("offset", "<u8"), ("size", "<u4"), ("ending", "<u2")]),
    # In the order of the subsets; subset: its place in SUBSETS.
    "subsets.npy": np.dtype([("split", "<u4"), ("subset", "<u1"), ("row", "<u4")]),
}


def shard_name(shard: int) -> str:
    return f"{shard:05d}.tar"


def member_name(row: int, number: int | None, ending: str) -> str:
    """Name of a tracklet's frame by number, or of its video (None), in a shard."""
    return f"{row:08d}.{ending}" if number is None else f"{row:08d}.{number:04d}.{ending}"


def tar_header(name: str, size: int, word: str) -> bytes:
    """The block before a member of `size` bytes; `word` is the pack's own."""
    member = tarfile.TarInfo(name)
    member.size, member.uname = size, word
    return member.tobuf(tarfile.USTAR_FORMAT)


def description_digest(facts: Mapping) -> str:
    """sha256 of all that pack.json says, but for its own `digest`."""
    others = {name: value for name, value in facts.items() if name != "digest"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


class Pack:
    """An open pack: its index, mapped into memory, and its shards, opened when first needed.

    Shards are read, not mapped: one that is cut short under a running program is an error, where a mapped one would
    kill it. Pickles as what it takes to open it again.
    """

    def __init__(self, folder: str, word: str, endings: Sequence[str]):
        self.folder, self.word, self.endings = folder, word, endings
        self._shards: dict[int, FileIO] = {}

    def __reduce__(self):
        return Pack, (self.folder, self.word, self.endings)

    def index(self, name: str) -> np.ndarray:
        return read_records(os.path.join(self.folder, name), INDEX[name])

    @cached_property
    def frames(self) -> np.ndarray:
        return self.index("frames.npy")

    def member(self, row: int, number: int | None, frame: int) -> tuple[str, int, int]:
        """(name, offset, size) of a tracklet's frame by number, or of its video; `frame` is its row in the index."""
        offset, size, ending = self.frames[frame].item()
        return member_name(row, number, self.endings[ending]), offset, size

    def path(self, shard: int) -> str:
        return os.path.join(self.folder, shard_name(shard))

    def read(
        self, shard: int, name: str, offset: int, size: int, first: int = 0, count: int | None = None
    ) -> np.ndarray:
        """The bytes of a member, or `count` of them from `first` on: (bytes,) uint8.

        Raises:
            InputError: the shard cannot be read, or holds something else there.
        """
        file = self._shards.get(shard) or self._open(shard)
        count = size - first if count is None else count
        try:
            if first:
                content = os.pread(file.fileno(), BLOCK, offset - BLOCK) + os.pread(
                    file.fileno(), count, offset + first
                )
            else:
                content = os.pread(file.fileno(), BLOCK + count, offset - BLOCK)
        except OSError as error:
            raise InputError(f"shard {self.path(shard)} cannot be read ({error})") from error
        header = content[:BLOCK]
        # Of a tar header: the name, the size in octal, and the owner's name, where the pack's word is.
        found = header[:100].rstrip(b"\0"), header[124:135], header[265:297].rstrip(b"\0")
        if found != (name.encode(), b"%011o" % size, self.word.encode()) or len(content) < BLOCK + count:
            raise InputError(
                f"the index does not match shard {self.path(shard)}: wanted {name} of {size} bytes at byte {offset}, "
                f"found {found[0].decode('ascii', 'replace')!r} of a pack {found[2].decode('ascii', 'replace')!r} "
                f"(this is {self.word!r}); put the pack's own shard back, or pack the data again"
            )
        return np.frombuffer(content, np.uint8, count, BLOCK)

    def _open(self, shard: int) -> FileIO:
        try:
            file = FileIO(self.path(shard))
        except OSError as error:
            raise InputError(f"shard {self.path(shard)} cannot be read ({error})") from error
        return self._shards.setdefault(shard, file)


class PackedFrames(Sequence[str]):
    """Images of a tracklet in a pack: their names, as FILE:MEMBER, and their bytes."""

    __slots__ = ("_first", "_numbers", "_pack", "_row", "_shard")

    def __init__(self, pack: Pack, shard: int, row: int, first: int, numbers: range):
        """`first`: the index's row of the tracklet's first frame. `numbers`: which of its frames these are."""
        self._pack, self._shard, self._row, self._first, self._numbers = pack, shard, row, first, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return PackedFrames(self._pack, self._shard, self._row, self._first, self._numbers[index])
        return f"{self._pack.path(self._shard)}:{self._member(index)[0]}"

    @property
    def word(self) -> str:
        """That of the pack."""
        return self._pack.word

    def encoded(self, index: int) -> np.ndarray:
        """The bytes of an image, (bytes,) uint8.

        Raises:
            InputError: the shard cannot be read, or holds something else there.
        """
        return self._pack.read(self._shard, *self._member(index))

    def _member(self, index: int) -> tuple[str, int, int]:
        number = self._numbers[index]
        return self._pack.member(self._row, number, self._first + number)

    def __repr__(self) -> str:
        return f"PackedFrames({self._pack.folder!r}, tracklet {self._row}, {len(self)} frames)"


@dataclass(frozen=True, slots=True)
class PackedVideo:
    """A tracklet's video in a pack; its name is FILE:MEMBER."""

    pack: Pack
    shard: int
    row: int
    frame: int
    """Its row in the index of frames."""
    facts: VideoFacts

    def __str__(self) -> str:
        return f"{self.pack.path(self.shard)}:{self.pack.member(self.row, None, self.frame)[0]}"

    def encoded(self) -> np.ndarray:
        """The bytes of the video, (bytes,) uint8.

        Raises:
            InputError: the shard cannot be read, or holds something else there.
        """
        return self.pack.read(self.shard, *self.pack.member(self.row, None, self.frame))

    def part(self, first: int, count: int) -> np.ndarray:
        """Its bytes from `first` on, (count,) uint8; no more than it has.

        Raises:
            InputError: the shard cannot be read, or holds something else there.
        """
        return self.pack.read(self.shard, *self.pack.member(self.row, None, self.frame), first, count)
