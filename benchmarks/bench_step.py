"""What loading costs a training step: a step on clips that are at hand, and the same fed by a loader.

A step is a student's forward and backward, a teacher's forward, the optimiser and the average, in the arithmetic
that the device is fast at; on a GPU a ResNet-50 on 32 clips of 8 frames 256x128, on a CPU the demo's network on
frames of its size. The provider "clips at hand" has a ratio of 1 where loading costs nothing.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from bench_loader import CLIPS, memory_mib, pack, write_tracklets
from loader_rivals import data_loader, pil
from timing import arguments, record
from torch.nn import functional as F

from vreid_fast.data.reading.loader import Loader, Reading, Stream, TrainPlan
from vreid_fast.data.sampling.samplers import CameraSampler
from vreid_fast.device import Precision
from vreid_fast.kernels import EmaUpdater
from vreid_fast.models import build

WARM, TIMED, ROUNDS = 5, 30, 5
IDENTITIES = 64


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    name, frames, size = ("resnet50", 8, (256, 128)) if on_gpu else ("small", 4, (64, 32))
    warm, timed, rounds = (1, 2, 2) if options.quick else (WARM, TIMED, ROUNDS)
    device = torch.device(options.device)
    precision = Precision("auto", device)
    reading = Reading(size, device, precision.dtype, channels_last=True, threads=8 if on_gpu else 1)
    folder = Path(tempfile.mkdtemp(prefix="bench_step"))
    try:
        files = write_tracklets(folder / "files", 8 if options.quick else IDENTITIES, 16)
        packed = pack(folder, "pack")
        sampler = CameraSampler([None] * len(packed), CLIPS)
        plan = TrainPlan([16] * len(packed), sampler, frames=frames, size=size, steps=warm + timed)
        step = make_step(name, frames, precision)

        def loaded() -> Iterator[torch.Tensor]:
            with Loader([Stream(packed, plan)], reading) as loader:
                for (batch,) in loader:
                    yield batch.clips

        def from_data_loader() -> Iterator[torch.Tensor]:
            for clips in data_loader(list(plan), files, size, reading.threads, pil):
                yield clips.to(device, precision.dtype, non_blocking=True)

        with closing(loaded()) as batches:
            at_hand = next(batches)
        feeds = {
            "vreid_fast": loaded,
            "clips at hand": lambda: itertools.repeat(at_hand),
            "torch DataLoader, PIL": from_data_loader,
        }
        times: dict[str, list[float]] = {feed: [] for feed in feeds}
        peaks = dict.fromkeys(feeds, "")
        for _ in range(rounds):
            for feed, start in feeds.items():
                before = memory_mib()
                batches = start()
                for _ in range(warm):
                    step(next(batches))
                times[feed].append(timed_steps(step, batches, timed, device))
                peaks[feed] = f"{memory_mib() - before:.0f}"
                if hasattr(batches, "close"):
                    batches.close()
        case = f"{name} B{CLIPS} T{frames} {size[0]}x{size[1]} {precision.name}"
        record("step", case, times, peaks, device=options.device, quick=options.quick)
    finally:
        shutil.rmtree(folder)
    return 0


def make_step(name: str, frames: int, precision: Precision):
    """clips -> None: one step of a student and its teacher."""
    student = build(name, identities=IDENTITIES, frames=frames).to(precision.device)
    teacher = copy.deepcopy(student).requires_grad_(False)
    updater = EmaUpdater(teacher, student)
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-4, fused=True)
    labels = torch.arange(CLIPS, device=precision.device) % IDENTITIES

    def step(clips: torch.Tensor) -> None:
        with precision.cast():
            output, wanted = student(clips), teacher(clips)
            loss = F.cross_entropy(output.logits, labels) + (output.clip - wanted.clip).square().mean()
        precision.step(loss, optimiser, 0.0)
        updater.update()

    return step


def timed_steps(step, batches, count: int, device: torch.device) -> float:
    """Milliseconds a step."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        step(next(batches))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1e3 / count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
