"""What each batch of a run consists of, decided before anything is read: tracklets, frames, augmentation.

A plan is a sequence of batches and a pure function of the step, so that loaders may work ahead and a run may
start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .augment import NO_AUGMENTATION, Augmentation, draw_augmentation
from .clips import all_frames, evenly_spaced_frames, random_frames


@dataclass(frozen=True)
class ClipRequest:
    """One clip of a batch."""

    tracklet: int
    """Index of the tracklet."""
    frames: np.ndarray
    """(T,) frame numbers."""
    views: tuple[Augmentation, ...] = (NO_AUGMENTATION,)
    """One augmentation a view; the frames are decoded once for all views."""


class TrainPlan(Sequence[list[ClipRequest]]):
    """Batches of random clips.

    Args:
        lengths: (N,) frames of the tracklets.
        sampler: step -> tracklets of its batch, as in `samplers`.
        frames: T.
        size: (H, W) of the network's input, pixels.
        steps: length of the plan.
        views: augmentations drawn of each clip.
        seed, stream: batches are a function of (seed, stream, step); each loader of a run has its own stream.
        flip, erase, pad: see `draw_augmentation`.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        sampler: Callable[[int], np.ndarray],
        *,
        frames: int,
        size: tuple[int, int],
        steps: int,
        views: int = 1,
        seed: int = 0,
        stream: int = 0,
        flip: float = 0.5,
        erase: float = 0.5,
        pad: int = 0,
    ):
        self._lengths, self._sampler, self._frames, self._size = lengths, sampler, frames, size
        self._steps, self._views, self._seed = steps, views, (seed, stream)
        self._chances = {"flip": flip, "erase": erase, "pad": pad}

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> list[ClipRequest]:
        if not 0 <= step < self._steps:
            raise IndexError(f"plan: step must be 0 to {self._steps - 1}, got {step}")
        rng = np.random.default_rng((*self._seed, step))
        return [
            ClipRequest(
                int(tracklet),
                random_frames(self._lengths[tracklet], self._frames, rng),
                tuple(draw_augmentation(rng, *self._size, **self._chances) for _ in range(self._views)),
            )
            for tracklet in self._sampler(step)
        ]


class TestPlan(Sequence[list[ClipRequest]]):
    """Batches of the clips that represent each tracklet at test, in order, not augmented.

    Args:
        lengths: (N,) frames of the tracklets.
        frames: T.
        batch: clips a batch; the last one may be shorter.
        mode: "even" = one clip a tracklet, of evenly spaced frames; "all" = clips that hold every frame.
    """

    __test__ = False  # no test case, whatever its name

    def __init__(self, lengths: Sequence[int], frames: int, *, batch: int = 64, mode: Literal["even", "all"] = "even"):
        if mode not in ("even", "all"):
            raise ValueError(f"TestPlan: mode must be even or all, got {mode!r}")
        self._lengths, self._frames, self._batch, self._mode = lengths, frames, batch, mode
        clips = [-(-length // frames) if mode == "all" else 1 for length in lengths]
        self._first = np.concatenate([[0], np.cumsum(clips, dtype=np.int64)])
        """Number of the first clip of each tracklet, and the total."""

    def __len__(self) -> int:
        return -(-int(self._first[-1]) // self._batch)

    def __getitem__(self, step: int) -> list[ClipRequest]:
        if not 0 <= step < len(self):
            raise IndexError(f"plan: step must be 0 to {len(self) - 1}, got {step}")
        clips = np.arange(step * self._batch, min((step + 1) * self._batch, self._first[-1]))
        tracklets = np.searchsorted(self._first, clips, side="right") - 1
        return [
            ClipRequest(int(tracklet), self._clip(self._lengths[tracklet], clip))
            for tracklet, clip in zip(tracklets, clips - self._first[tracklets])
        ]

    def _clip(self, length: int, clip: int) -> np.ndarray:
        if self._mode == "all":
            return all_frames(length, self._frames)[clip]
        return evenly_spaced_frames(length, self._frames)
