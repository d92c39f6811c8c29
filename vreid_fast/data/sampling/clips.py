"""Which frames of a tracklet make a clip: pure functions of its length."""

from __future__ import annotations

import numpy as np


def random_frames(length: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame out of each of T equal blocks, ascending.

    A block has floor(length / T) frames and the last one the remainder too; a tracklet shorter than T is
    lengthened by repeating its last frame.

    Args:
        length: frames of the tracklet, at least 1.
        frames: T.
    Returns:
        (T,) int64 frame numbers.
    """
    starts = _block_starts(length, frames)
    ends = np.append(starts[1:], max(length, frames))
    return np.minimum(rng.integers(starts, ends), length - 1)


def evenly_spaced_frames(length: int, frames: int) -> np.ndarray:
    """The first frame of each of the T blocks of `random_frames`, (T,) int64."""
    return np.minimum(_block_starts(length, frames), length - 1)


def all_frames(length: int, frames: int) -> np.ndarray:
    """Clips that hold every frame: n = ceil(length / T) clips of T frames each, n apart.

    Where n T exceeds the length, the last frames are taken twice (or more), counted from the end.

    Returns:
        (n, T) int64 frame numbers, each row ascending.
    """
    _check(length, frames)
    clips = -(-length // frames)
    repeated = length - 1 - np.arange(clips * frames - length) % length
    return np.sort(np.concatenate([np.arange(length), repeated])).reshape(frames, clips).T


def _block_starts(length: int, frames: int) -> np.ndarray:
    _check(length, frames)
    return np.arange(frames) * (max(length, frames) // frames)


def _check(length: int, frames: int) -> None:
    if length < 1 or frames < 1:
        raise ValueError(f"clips: a tracklet and a clip need at least 1 frame, got {length} and {frames}")
