"""Whole scenes where crops of people are wanted: told by the sizes of a few frames, of which none is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from .reading.images import image_size, read_encoded
from .reading.video import probe
from .tracklets import Dataset, Tracklet, distinct, spread

TRACKLETS, FRAMES = 100, 3
"""How many are looked at: evenly spaced tracklets, and frames of each."""
NARROWEST = 64
"""Pixels: what is narrower is no picture of a scene, whatever its shape."""
HIGHEST = 1000
"""Pixels: what is higher, and wider than half of that, is a scene held upright, as a phone's."""


@dataclass(frozen=True)
class Scenes:
    """Tracklets whose frames look like whole scenes."""

    count: int
    looked_at: int
    first: str = ""
    """One of them, and its size."""

    @property
    def why(self) -> str | None:
        """Why a data set is none of people, or None where few or no tracklets look like scenes."""
        if not self.count or 2 * self.count < self.looked_at:
            return None
        return (
            f"{self.count:,} of {self.looked_at:,} tracklets looked at are whole scenes, not crops of people: "
            f"{self.first}; cut the people out with python -m vreid_fast.data crop, along a tracker's boxes, or take "
            "the pictures as they are with --scenes"
        )

    def notes(self, spec: str) -> list[str]:
        """A note on those that look like scenes among others that do not."""
        if not self.count or self.why:
            return []
        return [
            f"{spec}: {self.count:,} of {self.looked_at:,} tracklets looked at may be whole scenes, not crops of "
            f"people: {self.first}"
        ]


def find_scenes(data: Dataset) -> Scenes:
    """Look at the sizes of a few frames of some tracklets; frames without a known size count for nothing."""
    tracklets = distinct(data)
    looked_at, scenes = 0, []
    for tracklet in (tracklets[place] for place in spread(len(tracklets), TRACKLETS)):
        sizes = [size for number in spread(len(tracklet), FRAMES) if (size := size_of(tracklet, number))]
        wide = [size for size in sizes if is_scene(*size)]
        looked_at += bool(sizes)
        if 2 * len(wide) > len(sizes):
            scenes.append(f"{tracklet} has {wide[0][1]}x{wide[0][0]} pixels (width x height)")
    return Scenes(len(scenes), looked_at, scenes[0] if scenes else "")


def is_scene(height: int, width: int) -> bool:
    """Whether a picture of this size is a whole scene rather than the crop of a person."""
    return width >= NARROWEST and (width > height or (height > HIGHEST and 2 * width > height))


def size_of(tracklet: Tracklet, number: int) -> tuple[int, int] | None:
    """(H, W) of a frame, upright, or None where it cannot be read; nothing is decoded."""
    try:
        if tracklet.video is not None:
            facts = probe(tracklet.video)
            return facts.height, facts.width
        return image_size(read_encoded(tracklet, number).tobytes())
    except Exception:  # of any kind; the reading of frames will say what is wrong
        return None
