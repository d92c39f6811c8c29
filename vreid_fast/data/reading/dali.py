"""The DALI decoder: decoding and resizing in one pipeline, on the CPU or on the GPU.

DALI may take the process down, or show what its memory held before, where a file is not what it says it is; and of
colours of video it knows only BT.601's. So it is given only what has been looked at, and on a GPU alone: plain videos
and sound JPEGs. All else is decoded as without DALI (no slower on a CPU), then fitted and brought to the device by it.
Each kind of input has its own pipeline, built when first needed; all but the decoder is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import nvidia.dali
import torch
from nvidia.dali import Pipeline, fn, pipeline_def, types
from torch import Tensor

from vreid_fast.errors import InputError

from ..tracklets import Tracklet
from .decoder import Decoder, ReadingOptions, Wanted
from .images import decode_image, read_encoded, read_frames
from .jpeg import is_jpeg
from .memory import HostMemory
from .missing_codecs import without_missing_codecs
from .nvdec import decodes, video_notes
from .video import contents
from .video_cut import cuts, stream_of

Kind = Literal["images", "videos", "frames"]
"""Of a pipeline's input: encoded images, encoded videos, or frames that are decoded already."""


@dataclass(frozen=True)
class Part:
    """What goes through one pipeline: a sample is a cut of clips for videos, else a frame."""

    kind: Kind
    inputs: dict[str, Sequence[np.ndarray]]
    """What the pipeline is fed, by name."""


@dataclass(frozen=True)
class Encoded:
    wanted: Wanted
    parts: list[Part]
    rows: np.ndarray
    """(n,) rows of the wanted frames in the parts' frames, one part after the other."""

    def has_videos(self) -> bool:
        return any(part.kind == "videos" for part in self.parts)


class DaliDecoder(Decoder):
    """See `Decoder`. `read` reads files (and decodes what DALI does not), DALI's threads or the GPU do the rest."""

    def __init__(self, reading: ReadingOptions):
        super().__init__(reading)
        self._memory = HostMemory()
        self._pipelines: dict[Kind, Pipeline] = {}
        self._sound: dict[str, np.ndarray] = {}
        """Which frames of a tracklet of images were decoded once without a fault, by its name: of a million frames a
        megabyte, where their names are two hundred."""
        self._refused: set[str] = set()
        """First frames or videos of tracklets that DALI could not decode."""
        self.name = f"DALI {nvidia.dali.__version__} ({reading.device.type})"

    def notes(self, tracklets: Iterable[Tracklet]) -> tuple[str, ...]:
        return video_notes(tracklets, self._device)

    def read(self, wanted: Wanted) -> Encoded:
        kinds = self.each(lambda row: self._kind(*row), wanted)
        streams = [stream_of(row[0]) if kind == "videos" else () for kind, row in zip(kinds, wanted)]
        order = sorted(range(len(wanted)), key=lambda row: (kinds[row], streams[row]))
        parts = [
            Part(kind, self._inputs(kind, [wanted[row] for row in rows]))
            for kind, rows in groupby(order, lambda row: kinds[row])
        ]
        # Frames come out in this order: where does each clip's first one end up?
        counts = np.array([len(frames) for _, frames in wanted])
        first = np.empty(len(wanted), dtype=np.int64)
        first[order] = np.cumsum(counts[order]) - counts[order]
        rows = np.concatenate([start + np.arange(count) for start, count in zip(first, counts, strict=True)])
        return Encoded(wanted, parts, rows)

    def _kind(self, tracklet: Tracklet, frames: np.ndarray) -> Kind:
        if self._device.type == "cpu" or tracklet.name in self._refused:
            return "frames"
        if tracklet.video is None:
            return "images" if self._are_sound(tracklet, frames) else "frames"
        try:
            found = contents(tracklet.video)  # what a pack says of a video may be what its header said
        except InputError:
            return "frames"
        sure = found.plain and np.max(frames, initial=0) < found.facts.frames
        return "videos" if sure and decodes(found.facts) else "frames"

    def _are_sound(self, tracklet: Tracklet, frames: np.ndarray) -> bool:
        """Whether all are JPEGs without a fault, by decoding each once."""
        sound = self._sound.setdefault(tracklet.name, np.zeros(len(tracklet), dtype=bool))
        for index in frames:
            if not sound[index]:
                encoded = read_encoded(tracklet, index)
                if not is_jpeg(memoryview(encoded)):
                    return False
                decode_image(encoded, tracklet, index)
                sound[index] = True
        return True

    def _inputs(self, kind: Kind, wanted: Wanted) -> dict[str, Sequence[np.ndarray]]:
        if kind == "videos":
            made = cuts(wanted, self._threads, self.each)
            return {"encoded": [cut.content for cut in made], "frames": [cut.frames for cut in made]}
        read = read_frames if kind == "frames" else _read_encoded
        return {"encoded": [frame for clip in self.each(lambda row: read(*row), wanted) for frame in clip]}

    def decode(self, encoded: Encoded) -> tuple[Tensor, np.ndarray]:
        if self._device.type == "cpu" and all(frame.shape[:2] == self._size for frame in _frames_of(encoded)):
            return self._stacked(_frames_of(encoded)), encoded.rows
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            for part in encoded.parts:
                pipeline = self._pipeline(part)
                for name, values in part.inputs.items():
                    pipeline.feed_input(name, values)
                pipeline.schedule_run()
            frames = [self._frames(self._pipelines[part.kind].outputs(cuda_stream=stream)[0]) for part in encoded.parts]
        except RuntimeError:
            self._pipelines.clear()  # they are of no use after an error
            if all(part.kind == "frames" for part in encoded.parts):
                raise
            # DALI does not say which sample failed: the other way decodes it, or finds what is wrong with it.
            self._refused |= {tracklet.name for tracklet, _ in encoded.wanted}
            return self.decode(self.read(encoded.wanted))
        pixels = frames[0] if len(frames) == 1 else torch.cat(frames)
        black = _black_videos(pixels, encoded) - self._refused if encoded.has_videos() else set()
        if black:
            # So is DALI's new memory, where it could not decode and says nothing.
            self._refused |= black
            return self.decode(self.read(encoded.wanted))
        return pixels, encoded.rows

    def _stacked(self, frames: Sequence[np.ndarray]) -> Tensor:
        """(n, H, W, 3) of frames of that size, which a pipeline would only copy to and fro."""
        pixels = self._memory.empty((len(frames), *self._size, 3), torch.uint8)
        np.stack(frames, out=pixels.numpy())
        return pixels

    def _frames(self, output) -> Tensor:
        """(n, H, W, 3) of a pipeline's output of frames, or of clips of any number of them."""
        if output.is_dense_tensor():
            return torch.from_dlpack(output.as_tensor()).view(-1, *self._size, 3)
        return torch.cat([torch.from_dlpack(clip) for clip in output])

    def _pipeline(self, part: Part) -> Pipeline:
        samples = len(part.inputs["encoded"])
        if part.kind not in self._pipelines or self._pipelines[part.kind].max_batch_size < samples:
            self._pipelines[part.kind] = build_pipeline(
                part.kind, samples=samples, size=self._size, device=self._device, threads=self._threads
            )
        return self._pipelines[part.kind]


def build_pipeline(kind: Kind, *, samples: int, size: tuple[int, int], device: torch.device, threads: int) -> Pipeline:
    """A pipeline from `encoded` (videos: also `frames`) to frames (H, W, 3), or clips (T, H, W, 3), uint8."""
    gpu = device.type == "cuda"
    where = "mixed" if gpu else "cpu"
    index = (torch.cuda.current_device() if device.index is None else device.index) if gpu else None

    # One step is fed at a time; with the dynamic executor a batch's memory lives as long as its tensor.
    @pipeline_def(
        batch_size=samples, num_threads=threads, device_id=index, prefetch_queue_depth=1, exec_dynamic=True,
        enable_conditionals=True,
    )  # fmt: skip
    def pipeline():
        if kind == "frames":
            frames = fn.external_source(name="encoded", dtype=types.UINT8, layout="HWC")
            frames = frames.gpu() if gpu else frames
        else:
            encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
            if kind == "images":
                frames = fn.decoders.image(encoded, device=where, output_type=types.RGB)
            else:
                numbers = fn.external_source(name="frames", dtype=types.INT32, ndim=1)
                frames = fn.decoders.video(encoded, frames=numbers, device=where)
        shape = frames.shape()
        if (shape[-3] == size[0]) & (shape[-2] == size[1]):
            fitted = frames  # resizing takes longer than decoding, even to the same size
        else:
            fitted = fn.resize(frames, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
        return fitted

    with without_missing_codecs():
        built = pipeline()
        built.build()
    return built


def _frames_of(encoded: Encoded) -> Sequence[np.ndarray]:
    """Those of a batch for a CPU, where all are decoded when they are read."""
    return encoded.parts[0].inputs["encoded"]


def _read_encoded(tracklet: Tracklet, frames: Iterable[int]) -> list[np.ndarray]:
    return [read_encoded(tracklet, index) for index in frames]


def _black_videos(pixels: Tensor, encoded: Encoded) -> set[str]:
    """Names of the videos that seem to have a black frame."""
    black = (pixels[:, ::8, ::8] == 0).flatten(1).all(1).cpu().numpy()[encoded.rows]
    ends = np.cumsum([len(frames) for _, frames in encoded.wanted])
    clips = np.unique(np.searchsorted(ends, np.flatnonzero(black), "right"))
    return {encoded.wanted[clip][0].name for clip in clips if encoded.wanted[clip][0].video is not None}
