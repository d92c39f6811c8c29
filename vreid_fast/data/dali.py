"""The DALI loader: decoding, resizing and augmentation in one pipeline, on the CPU or on the GPU.

Frames come from three places: image files, videos that DALI decodes, and videos that it does not, which PyAV
decodes. Each has its own pipeline, built when first needed; all but the decoder is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import nvidia.dali
import torch
from nvidia.dali import fn, types
from torch import Tensor

from vreid_fast.errors import InputError

from .augment import MEAN, STD
from .decode import read_encoded, read_frames
from .loader import Batch, Loader
from .plans import ClipRequest
from .tracklets import Tracklet
from .video import VideoFacts, probe

# Smallest width and height of NVDEC (Video Decode API guide): person crops are often smaller.
GPU_CODECS = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128), "mjpeg": (64, 64)}
CPU_CODECS = ("vp8", "vp9", "mjpeg")


def decodes(facts: VideoFacts, device: torch.device) -> bool:
    """Whether DALI decodes such a video on the device."""
    if device.type == "cpu":
        return facts.codec in CPU_CODECS
    width, height = GPU_CODECS.get(facts.codec, (np.inf, np.inf))
    return facts.width >= width and facts.height >= height and facts.pixels in ("yuv420p", "yuvj420p")


@dataclass
class Part:
    """The clips of a batch that go through one pipeline."""

    kind: str
    """images, videos or frames."""
    rows: list[int]
    """Their places in the batch."""
    inputs: dict[str, list[np.ndarray] | np.ndarray]
    """What the pipeline is fed, by name."""


class DaliLoader(Loader):
    """See `Loader`. A background thread reads files, DALI's threads (and the GPU) work one step ahead."""

    def __init__(self, tracklets: Sequence[Tracklet], plan: Sequence[list[ClipRequest]], **options):
        device = options["device"]
        self.name = f"DALI {nvidia.dali.__version__} ({device.type})"
        videos = [probe(tracklet.video) for tracklet in tracklets if tracklet.video is not None]
        self.notes = _video_notes({facts for facts in videos if not decodes(facts, device)}, device)
        self._pipelines: dict[str, tuple[nvidia.dali.Pipeline, int]] = {}
        self._started: tuple[list[ClipRequest], list[Part]] | None = None
        super().__init__(tracklets, plan, **options)
        self._start_next()

    def __next__(self) -> Batch:
        if self._started is None:
            raise StopIteration
        requests, parts = self._started
        try:
            outputs = [self._finish(part) for part in parts]
        except RuntimeError as error:
            self._started = None
            raise self._culprit(requests, error) from error
        self._start_next()
        tracklets = torch.tensor([request.tracklet for request in requests], device=self._device)
        return Batch(_merge(parts, outputs), tracklets)

    def close(self) -> None:
        super().close()
        self._started = None
        self._pipelines.clear()
"""
