"""Which boxes of which tracks make tracklets: limits, gaps and the rectangles to cut out of the frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from vreid_fast.errors import InputError

from .tracks import Tracks


@dataclass(frozen=True)
class Limits:
    """What makes a tracklet; every count is in frames, every size in pixels."""

    padding: float = 0.0
    """Added on each side of a box, as a fraction of its width and height."""
    min_confidence: float | None = None
    min_width: int = 1
    """Of the part of a box that is inside the frame, without padding."""
    min_height: int = 1
    max_gap: int = 10
    """Frames without a box that a tracklet may span; at a longer gap the track is cut."""
    every: int = 1
    """Of the frames of a tracklet, the first and each N-th after it."""
    max_length: int = 0
    """Longer tracklets are cut; 0 = no limit."""
    min_length: int = 8


@dataclass(frozen=True)
class Cut:
    """One tracklet: T rectangles of one track."""

    track: int
    number: int
    """Of the tracklets of this track, from 1."""
    frames: np.ndarray
    """(T,) int64 frames of the video, from 0, ascending."""
    crops: np.ndarray
    """(T, 4) int64 left, top, right, bottom, inside the frame and not empty."""

    def __len__(self) -> int:
        return len(self.frames)

    def without(self, frames: Iterable[int]) -> Cut:
        """But for those frames."""
        kept = ~np.isin(self.frames, list(frames))
        return replace(self, frames=self.frames[kept], crops=self.crops[kept])


def cut_tracks(tracks: Tracks, height: int, width: int, limits: Limits) -> tuple[list[Cut], dict[str, int]]:
    """Tracklets of the tracks of a video whose frames are height x width.

    Returns:
        The tracklets, by track and time, and how many boxes were left out, by reason.
    Raises:
        InputError: no tracklet is left, or a confidence is wanted that the tracks do not have.
    """
    left_out = dict(tracks.left_out)
    rows = np.arange(len(tracks))

    def keep(wanted: np.ndarray, reason: str) -> None:
        nonlocal rows
        if not wanted.all():
            left_out[reason] = int((~wanted).sum())
        rows = rows[wanted]

    if limits.min_confidence is not None:
        if tracks.confidence is None:
            raise InputError(f"--min_confidence {limits.min_confidence}: {tracks.name} has no column of confidences")
        keep(tracks.confidence >= limits.min_confidence, f"confidence below --min_confidence {limits.min_confidence}")
    sides = _inside(tracks.boxes[rows], 0.0, height, width)
    keep((sides[:, 2:] - sides[:, :2] >= 0).all(axis=1), "outside the frame")
    sides = _inside(tracks.boxes[rows], 0.0, height, width)
    large = sides[:, 2:] - sides[:, :2] >= (limits.min_width, limits.min_height)
    keep(large[:, 0], f"narrower than --min_width {limits.min_width}")
    keep(large[large[:, 0], 1], f"lower than --min_height {limits.min_height}")

    crops = np.rint(_inside(tracks.boxes[rows], limits.padding, height, width)).astype(np.int64)
    # Rounding to even may close a rectangle of one pixel: 0.5 to 1.5 is 0 to 2, but 1.5 to 2.5 is 2 to 2.
    crops[:, 2:] = np.maximum(crops[:, 2:], crops[:, :2] + 1)
    cuts, skipped, short = _pieces(tracks.ids[rows], tracks.frames[rows], crops, limits)
    if skipped:
        left_out[f"between those that --every {limits.every} takes"] = skipped
    if short:
        left_out[too_short(limits.min_length)] = short
    if not cuts:
        reasons = "; ".join(f"{reason}: {count:,} boxes" for reason, count in left_out.items())
        total = len(tracks) + sum(tracks.left_out.values())
        raise InputError(f"{tracks.name}: no tracklet is left of its {total:,} boxes ({reasons})")
    return cuts, left_out


def too_short(length: int) -> str:
    """Why boxes of tracklets of fewer frames are left out."""
    return f"tracklet shorter than --min_length {length}"


def _inside(boxes: np.ndarray, padding: float, height: int, width: int) -> np.ndarray:
    """(N, 4) left, top, right, bottom of padded boxes, cut at the frame; turned over where nothing is inside."""
    margins = padding * boxes[:, 2:]
    starts, ends = boxes[:, :2] - margins, boxes[:, :2] + boxes[:, 2:] + margins
    return np.concatenate([starts.clip(min=0), np.minimum(ends, (width, height))], axis=1)


def _pieces(ids: np.ndarray, frames: np.ndarray, crops: np.ndarray, limits: Limits) -> tuple[list[Cut], int, int]:
    """Tracklets of boxes in the order of track and frame; boxes skipped by `every`, boxes of short tracklets."""
    cuts, skipped, short = [], 0, 0
    apart = (np.diff(ids) != 0) | (np.diff(frames) > limits.max_gap + 1)
    for run in np.split(np.arange(len(ids)), np.flatnonzero(apart) + 1):
        taken = run[:: limits.every]
        skipped += len(run) - len(taken)
        length = limits.max_length or max(len(taken), 1)
        for start in range(0, len(taken), length):
            piece = taken[start : start + length]
            if len(piece) < limits.min_length:
                short += len(piece)
                continue
            track = int(ids[piece[0]])
            number = cuts[-1].number + 1 if cuts and cuts[-1].track == track else 1
            cuts.append(Cut(track, number, frames[piece], crops[piece]))
    return cuts, skipped, short
