"""The authors' cutting of tracklets into short pieces, which changes what is trained on and what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vreid_fast.errors import InputError

from .tracklets import Dataset, FramePaths, Tracklet


def in_pieces(data: Dataset, train: int = 0, test: int = 0) -> Dataset:
    """The data set with its tracklets cut into pieces, each a tracklet of its own.

    A tracklet of L frames becomes max(1, L // N) pieces of N frames, the last of which takes the remainder.

    Args:
        train: N of the training tracklets; 0 leaves them whole.
        test: N of query and gallery.

    Raises:
        InputError: a number below 0, or tracklets that are not images in a folder.
    """
    for option, frames in (("train", train), ("test", test)):
        if frames < 0:
            raise InputError(f"--authors_pieces_{option} must be at least 0, got {frames}")
    if not train and not test:
        return data
    subsets = {}
    notes = []
    cut: dict[tuple[int, int], list[Tracklet]] = {}
    for subset, frames in (("train", train), ("query", test), ("gallery", test)):
        whole = getattr(data, subset)
        subsets[subset] = [piece for tracklet in whole for piece in _pieces(tracklet, frames, cut)]
        if frames and whole:
            counts = f"{len(whole):,} {subset} tracklets became {len(subsets[subset]):,}"
            notes.append(f"{data.name}: cut into pieces of {frames} frames, {counts}")
    return replace(data, **subsets, notes=(*data.notes, *notes))


def _pieces(tracklet: Tracklet, frames: int, cut: dict) -> Sequence[Tracklet]:
    """Pieces of a tracklet; `cut` keeps them, so that a tracklet of two subsets has the same ones in both."""
    if not frames:
        return [tracklet]
    key = id(tracklet), frames
    if key not in cut:
        if not isinstance(tracklet.frames, FramePaths):
            raise InputError(f"--authors_pieces: {tracklet} is no folder of images; cut data sets in their own layout")
        count = max(1, len(tracklet) // frames)
        ends = [*range(frames, count * frames, frames), len(tracklet)]
        starts = range(0, count * frames, frames)
        cut[key] = [replace(tracklet, frames=tracklet.frames[start:end]) for start, end in zip(starts, ends)]
    return cut[key]
