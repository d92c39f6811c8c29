"""Tracklets on disk, and loaders of them: set-ups of the tests of reading."""

import pytest
import torch
from media import write_images, write_video

from vreid_fast.data.reading.loader import Loader, ReadingOptions, Stream, TrainPlan
from vreid_fast.data.sampling.samplers import CameraSampler
from vreid_fast.data.tracklets import FramePaths, Tracklet
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD

BACKENDS = ("torch", "dali")
SIZE = (48, 32)


FAULTS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-60]),
    "text": lambda path: path.write_bytes(b"not an image " * 30),
}


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "dali":
        pytest.importorskip("nvidia.dali")
    return request.param


def images(folder, frames, *, ending="png", **size):
    write_images(folder, frames, ending=ending, **size)
    return Tracklet(FramePaths(folder, [f"F{n + 1}.{ending}" for n in range(frames)]), identity=1, camera=2)


def video(path, frames, **how):
    return Tracklet(range(frames), video=str(write_video(path, frames, **how)))


def levels(clips):
    """Normalised clips back to 0..255."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return clips * std + mean


def train_plan(tracklets, *, batch=5, steps=4, frames=3, size=SIZE, **knobs):
    lengths = [len(tracklet) for tracklet in tracklets]
    sampler = CameraSampler([None] * len(tracklets), batch)
    return TrainPlan(lengths, sampler, frames=frames, size=size, steps=steps, **{"pad": 3, **knobs})


def make_loader(tracklets, plan, *, start=0, cache=None, **options):
    return Loader([Stream(tracklets, plan, start, cache)], ReadingOptions(**{"size": SIZE, **options}))


def all_batches(tracklets, plan, **options):
    with make_loader(tracklets, plan, **options) as loader:
        return [batch for (batch,) in loader]
