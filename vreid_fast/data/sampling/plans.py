"""What each batch of a run consists of, decided before anything is read: tracklets, frames, augmentation.

A plan is a sequence of batches and a pure function of the step, so that loaders may work ahead and a run may
start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

import numpy as np

from vreid_fast import ranks

from .augment import NO_AUGMENTATION, Augmentation, draw_augmentation
from .clips import (
    ClipRule,
    RandomRule,
    all_frames,
    chunk_frames,
    completed_frames,
    contiguous_frames,
    dense_frames,
    evenly_spaced_frames,
    first_frames,
    interleaved_frames,
    random_clip,
)


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
        rule, stride: which frames of a tracklet, see `random_clip`.
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
        rule: RandomRule = "blocks",
        stride: int = 8,
    ):
        self._lengths, self._sampler, self._frames, self._size = lengths, sampler, frames, size
        self._steps, self._views, self._seed = steps, views, (seed, stream)
        self._rule: RandomRule = rule
        self._stride = stride
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
                random_clip(self._lengths[tracklet], self._frames, rng, self._rule, self._stride),
                tuple(draw_augmentation(rng, *self._size, **self._chances) for _ in range(self._views)),
            )
            for tracklet in self._sampler(step)
        ]


class RankPlan(Sequence[list[ClipRequest]]):
    """What this rank reads of a plan's batches: its slice of each, which the ranks' number divides; of `micro`
    micro-batches see `ranks.part`."""

    def __init__(self, plan: Sequence[list[ClipRequest]], micro: int = 1):
        self._plan, self._micro = plan, micro

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, step: int) -> list[ClipRequest]:
        return ranks.part(self._plan[step], self._micro)


class TestPlan(Sequence[list[ClipRequest]]):
    """Batches of the clips that represent each tracklet at test, not augmented.

    They come in order, but clips of fewer frames than T behind all others, so that those of a batch are equally long.

    Args:
        lengths: (N,) frames of the tracklets.
        frames: T.
        batch: clips a batch; the last one may be shorter.
        mode: "even", "chunks" = one clip a tracklet, of evenly spaced frames; "all" = clips that hold every frame,
            spread over the tracklet; "contiguous", "completed", "begin", "dense", "interleaved": see `clips`.
        stride: of "begin" and "interleaved".
        half: 0 or 1, of the first or the second half of each tracklet alone, in which both have the middle frame of an
            odd number; None = of the whole.
    """

    __test__ = False  # no test case, whatever its name

    def __init__(
        self, lengths: Sequence[int], frames: int, *, batch: int = 64, mode: ClipRule = "even", stride: int = 8,
        half: int | None = None,
    ):  # fmt: skip
        if mode not in get_args(ClipRule):
            raise ValueError(f"TestPlan: mode must be one of {', '.join(get_args(ClipRule))}, got {mode!r}")
        rules: dict[str, Callable[[int], Sequence[np.ndarray]]] = {
            "even": lambda length: [evenly_spaced_frames(length, frames)],
            "chunks": lambda length: [chunk_frames(length, frames)],
            "all": lambda length: all_frames(length, frames),
            "contiguous": lambda length: contiguous_frames(length, frames),
            "completed": lambda length: completed_frames(length, frames),
            "begin": lambda length: [first_frames(length, frames, stride)],
            "dense": lambda length: dense_frames(length, frames),
            "interleaved": lambda length: interleaved_frames(length, frames, stride),
        }
        whole = lengths
        if half is not None:
            lengths = [(length + 1) // 2 for length in whole]
        self._first = [length - part if half else 0 for length, part in zip(whole, lengths, strict=True)]
        self._lengths, self._clips = lengths, lru_cache(maxsize=2)(rules[mode])
        held = {length: np.array([len(clip) for clip in self._clips(length)]) for length in sorted(set(lengths))}
        counts = [len(held[length]) for length in lengths]
        # One entry a clip: its tracklet, its number there, its frames.
        self._tracklets = np.repeat(np.arange(len(lengths)), counts)
        self._numbers = np.concatenate([np.arange(0), *(np.arange(count) for count in counts)])
        sizes = np.concatenate([np.arange(0), *(held[length] for length in lengths)])
        self._batches = [
            alike[start : start + batch]
            for size in sorted(set(sizes), reverse=True)
            for alike in [np.flatnonzero(sizes == size)]
            for start in range(0, len(alike), batch)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, step: int) -> list[ClipRequest]:
        if not 0 <= step < len(self):
            raise IndexError(f"plan: step must be 0 to {len(self) - 1}, got {step}")
        return [
            ClipRequest(int(tracklet), self._first[tracklet] + self._clips(self._lengths[tracklet])[number])
            for tracklet, number in zip(self._tracklets[self._batches[step]], self._numbers[self._batches[step]])
        ]
