"""A tracklet (one person passing one camera) and the subsets of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vreid_fast.errors import InputError

from .sighting import Sighting
from .table import aligned


class StoredVideo(Protocol):
    """A video that is not a file of its own, as in a pack; its `str` names it."""

    @property
    def facts(self) -> Any:
        """Its `VideoFacts`."""

    def encoded(self) -> np.ndarray:
        """Its bytes, (bytes,) uint8."""

    def part(self, first: int, count: int) -> np.ndarray:
        """Those from `first` on, (count,) uint8."""


class FramePaths(Sequence[str]):
    """Paths of a tracklet's images: one folder and its file names, joined when asked for.

    Data sets hold a million frames; joined strings would cost most of the time and memory of opening one.
    """

    __slots__ = ("folder", "names")

    def __init__(self, folder: str | os.PathLike, names: Sequence[str]):
        self.folder, self.names = os.fspath(folder), names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return FramePaths(self.folder, self.names[index])
        return os.path.join(self.folder, self.names[index])

    def __repr__(self) -> str:
        return f"FramePaths({self.folder!r}, {len(self)} names)"


@dataclass(frozen=True, slots=True)
class Tracklet:
    """Frames of one person before one camera, and what is known of them (None = unknown)."""

    frames: Sequence[str] | range
    """Image paths in temporal order, or an object whose `encoded(index)` gives the bytes of one (`PackedFrames`);
    for a video, range(number of frames)."""
    identity: int | None = None
    camera: int | None = None
    clothes: int | None = None
    video: str | StoredVideo | None = None
    """Path of the video file that holds the frames, or the video of a pack."""
    sighting: Sighting | None = None
    """Where and when it was recorded."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def name(self) -> str:
        """Its video, or its first image: what tells it from others."""
        return str(self.video or self.frames[0])

    def __str__(self) -> str:
        where = self.video or (os.path.dirname(self.frames[0]) if len(self) else "without frames")
        known = {"identity": self.identity, "camera": self.camera, "clothes": self.clothes}
        facts = [f"{name} {value}" for name, value in known.items() if value is not None]
        return f"tracklet {where} ({', '.join([*facts, f'{len(self)} frames'])})"


class BadFrame(InputError):
    """Frames of a tracklet that cannot be read, with the reason."""

    def __init__(self, message: str, tracklet: Tracklet, frames: Iterable[int]):
        super().__init__(message)
        self.tracklet, self.frames = tracklet, tuple(map(int, frames))


@dataclass(frozen=True)
class Unreadable:
    """What is in the place of a tracklet and cannot be read at all."""

    path: str
    reason: str
    """Names the path too."""


@dataclass(frozen=True)
class Dataset:
    """The subsets of a data set; a tracklet that is in two of them is the same object."""

    name: str
    """The SPEC it was read from."""
    train: list[Tracklet]
    query: list[Tracklet]
    gallery: list[Tracklet]
    notes: tuple[str, ...] = ()
    """What a user should be told."""
    official: Mapping[str, str] = field(default_factory=dict)
    """Published size of a subset, in words."""
    splits: int = 1
    """How many splits into training and test its format has; this is one of them."""
    unreadable: tuple[Unreadable, ...] = ()
    """What is missing in the subsets. `read_dataset` refuses it, unless it is asked for."""

    def table(self) -> str:
        """Identities, tracklets and images of each subset, beside published counts where there are any."""
        rows = [("subset", "identities", "tracklets", "images", "official" if self.official else "")]
        for subset in ("train", "query", "gallery"):
            tracklets = getattr(self, subset)
            identities = {tracklet.identity for tracklet in tracklets} - {None}
            counts = (len(identities), len(tracklets), sum(map(len, tracklets)))
            rows.append((subset, *counts, self.official.get(subset, "")))
        return aligned(rows)


def distinct(data: Dataset) -> list[Tracklet]:
    """The tracklets of all subsets, each once."""
    every = (*data.train, *data.query, *data.gallery)
    return list({id(tracklet): tracklet for tracklet in every}.values())


def all_known(values: Iterable[int | None]) -> list[int] | None:
    """The values, or None where one of them is unknown or there is none."""
    values = list(values)
    known = [value for value in values if value is not None]
    return known if known and len(known) == len(values) else None


def identity_labels(tracklets: Sequence[Tracklet]) -> dict[int, int]:
    """Classes 0..P-1 of the known identities, in sorted order."""
    identities = {tracklet.identity for tracklet in tracklets} - {None}
    return {identity: label for label, identity in enumerate(sorted(identities))}


def spread(length: int, most: int | None) -> list[int]:
    """At most `most` of the places 0 to length - 1, evenly spaced from the first to the last; None = all of them."""
    if most is None or most >= length:
        return list(range(length))
    return np.linspace(0, length - 1, most).round().astype(int).tolist()
