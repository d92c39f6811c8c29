"""Decoded frames kept in memory: after the first epoch nothing is decoded any more."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vreid_fast.device import to_device
from vreid_fast.errors import InputError

from ..tracklets import Tracklet
from .memory import shared_memory

KINDS = ("none", "cpu", "gpu")
SHARE = 0.9
"""Of the memory that is free, how much caches may take."""


class FrameCache:
    """All frames of a set of tracklets at the network's input size, filled as they are decoded.

    Those on the CPU are one copy for all ranks of a machine. Two ranks may decode a frame at the same time: both write
    the same bytes. A frame is marked as known after it is written; on a processor that reorders writes the lock of
    Python, which a thread gives back and takes in between, keeps that order.

    Args:
        lengths: (N,) frames of the tracklets.
        size: (H, W), pixels.
        device: where the frames are kept.
    """

    def __init__(self, lengths: Sequence[int], size: tuple[int, int], device: torch.device):
        self._first = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        """Row of the first frame of each tracklet, and the total."""
        total = int(self._first[-1])
        shape = (total, *size, 3)
        if device.type == "cpu":
            self._known = shared_memory(total).view(bool)
            self._frames = torch.from_numpy(shared_memory(prod(shape))).view(shape)
        else:
            self._known = np.zeros(total, dtype=bool)
            self._frames = torch.empty(shape, dtype=torch.uint8, device=device)
        self._written: dict[int, torch.cuda.Event] = {}
        """The last store of each stream that stored: loaders have streams of their own, and may share a cache."""

    def rows(self, tracklet: int, numbers: np.ndarray) -> np.ndarray:
        """Rows of a tracklet's frames by number."""
        return self._first[tracklet] + numbers

    def missing(self, tracklet: int, numbers: np.ndarray) -> np.ndarray:
        """Those of a tracklet's frames that are not here yet."""
        return numbers[~self._known[self.rows(tracklet, numbers)]]

    def store(self, rows: np.ndarray, pixels: Tensor, places: np.ndarray) -> None:
        """Keep pixels[places], (n, H, W, 3) uint8, as `rows` (n,)."""
        at, places = to_device(rows, self._frames.device), to_device(places, pixels.device)
        self._frames.index_copy_(0, at, pixels.index_select(0, places).to(self._frames.device))
        if self._frames.is_cuda:
            self._note_written()
        self._known[rows] = True

    def _note_written(self) -> None:
        stream = torch.cuda.current_stream(self._frames.device)
        self._written[stream.cuda_stream] = stream.record_event()

    def fetch(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, np.ndarray]:
        """Frames on the device, and the places there of `rows`: all of the cache, or a copy of those rows."""
        for written in list(self._written.values()):
            torch.cuda.current_stream(self._frames.device).wait_event(written)
        # Not the devices: "cuda" and "cuda:0" are one, and differ.
        if self._frames.device.type == device.type:
            return self._frames, rows
        wanted, places = np.unique(rows, return_inverse=True)
        chosen = self._frames.index_select(0, torch.from_numpy(wanted))
        return to_device(chosen, device), places.reshape(rows.shape)


def make_caches(
    kind: str, sets: Sequence[Sequence[Tracklet]], size: tuple[int, int], device: torch.device
) -> list[FrameCache | None]:
    """A cache for each set of tracklets: "cpu" has one for all ranks of a machine, "gpu" one on each GPU.

    Args:
        kind: "none", "cpu" or "gpu": where the frames are kept.
        size: (H, W), pixels.
        device: where the networks are; "gpu" needs one.

    Raises:
        InputError: an unknown kind, no GPU, or too little memory for all sets together, with the numbers.
    """
    if kind not in KINDS:
        raise InputError(f"--cache {kind}: wanted {', '.join(KINDS)}")
    if kind == "none":
        return [None] * len(sets)
    if kind == "gpu" and device.type != "cuda":
        raise InputError(f"--cache gpu: the run is on {device}; use --cache cpu or none")
    where = device if kind == "gpu" else torch.device("cpu")
    lengths = [[len(tracklet) for tracklet in tracklets] for tracklets in sets]
    frames = sum(map(sum, lengths))
    wanted, free = frames * size[0] * size[1] * 3, free_memory(where)
    if wanted > SHARE * free:
        raise InputError(
            f"--cache {kind}: {frames:,} frames of {size[0]}x{size[1]} pixels take {wanted / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free on {where} and caches may take {SHARE:.0%} of that; "
            f"use --cache {'cpu or ' if kind == 'gpu' else ''}none, or a smaller --height and --width"
        )
    return [FrameCache(own, size, where) for own in lengths]


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken: of the GPU, or of the machine within the limits of its control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(facts["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free
