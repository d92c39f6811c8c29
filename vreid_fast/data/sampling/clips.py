"""Which frames of a tracklet make a clip: pure functions of its length."""

from __future__ import annotations

from typing import Literal

import numpy as np

ClipRule = Literal["even", "chunks", "all", "contiguous", "completed", "begin", "dense", "interleaved"]
RandomRule = Literal["blocks", "chunks", "window", "bins"]


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


def random_clip(length: int, frames: int, rng: np.random.Generator, rule: RandomRule, stride: int) -> np.ndarray:
    """A random clip for training, (T,) int64 frame numbers, ascending.

    Args:
        rule: "blocks" = `random_frames` (SINet); "chunks" = a random frame out of each of T parts as of `chunk_frames`
            (CAViT); "window" = every stride-th frame from a random one on, of a tracklet of fewer than T * stride
            frames any T (AP3D, TCLNet); "bins" = a random frame out of each of T bins of `stride` frames, which is
            halved until they fit, in a random place (PSTA). Of fewer than T frames some are taken again.
    """
    _check(length, frames)
    if rule == "blocks":
        return random_frames(length, frames, rng)
    if rule == "chunks":
        if length >= frames:
            starts = chunk_frames(length, frames)
            return rng.integers(starts, np.append(starts[1:], length))
    elif rule == "window":
        if length >= frames * stride:
            return rng.integers(length - (frames - 1) * stride) + np.arange(frames) * stride
    else:
        while stride > 1 and frames * stride > length:
            stride //= 2
        if length >= frames * stride:
            start = rng.integers(max(1, length - frames * stride))
            return start + np.arange(frames) * stride + rng.integers(stride, size=frames)
    return np.sort(rng.choice(length, frames, replace=length < frames))


def evenly_spaced_frames(length: int, frames: int) -> np.ndarray:
    """The first frame of each of the T blocks of `random_frames`, (T,) int64."""
    return np.minimum(_block_starts(length, frames), length - 1)


def chunk_frames(length: int, frames: int) -> np.ndarray:
    """The first frame of each of T parts of a tracklet, whose lengths differ by one at most, longer ones first (CAViT).

    Returns:
        (T,) int64 frame numbers, ascending; of fewer than T frames some are taken again.
    """
    _check(length, frames)
    parts = np.arange(frames)
    if length < frames:
        return parts * length // frames
    return parts * (length // frames) + np.minimum(parts, length % frames)


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


def contiguous_frames(length: int, frames: int) -> list[np.ndarray]:
    """All frames in clips of T that follow each other, the last one shorter (AP3D)."""
    _check(length, frames)
    return [np.arange(start, min(start + frames, length)) for start in range(0, length, frames)]


def completed_frames(length: int, frames: int) -> list[np.ndarray]:
    """The same, the last clip completed with its own frames from its first on (TCLNet)."""
    return [np.resize(clip, frames) for clip in contiguous_frames(length, frames)]


def first_frames(length: int, frames: int, stride: int) -> np.ndarray:
    """T frames from the first on, by a stride that is halved until they fit; of fewer than T, from the first on again
    (PSTA: 8 by 8)."""
    _check(length, frames)
    while stride > 1 and (frames - 1) * stride >= length:
        stride //= 2
    return np.resize(np.arange(0, length, stride)[:frames], frames)


def dense_frames(length: int, frames: int) -> np.ndarray:
    """n = floor(length / T) clips of every n-th frame each, what remains left out (PSTA); of fewer than T frames one
    clip, which begins again.

    Returns:
        (n, T) int64 frame numbers.
    """
    _check(length, frames)
    return _in_turn(max(1, length // frames), frames) if length >= frames else first_frames(length, frames, 1)[None]


def interleaved_frames(length: int, frames: int, stride: int) -> np.ndarray:
    """All frames, in blocks of T * stride that are dealt in turn to clips of T (CAL); a shorter last block to as many
    clips as it fills, and what then remains in one clip, which begins again.

    Returns:
        (n, T) int64 frame numbers.
    """
    _check(length, frames)
    block = frames * stride
    clips = [start + _in_turn(stride, frames) for start in range(0, length - block + 1, block)]
    start = length - length % block
    if left := (length - start) // frames:
        clips.append(start + _in_turn(left, frames))
    start += left * frames
    if start < length:
        clips.append(start + first_frames(length - start, frames, 1)[None])
    return np.concatenate(clips)


def _in_turn(clips: int, frames: int) -> np.ndarray:
    """(clips, T): frame numbers from 0 dealt in turn."""
    return np.arange(clips * frames).reshape(frames, clips).T


def _block_starts(length: int, frames: int) -> np.ndarray:
    _check(length, frames)
    return np.arange(frames) * (max(length, frames) // frames)


def _check(length: int, frames: int) -> None:
    if length < 1 or frames < 1:
        raise ValueError(f"clips: a tracklet and a clip need at least 1 frame, got {length} and {frames}")
