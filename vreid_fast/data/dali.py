"""The DALI loader: decoding, resizing and augmentation in one pipeline, on the CPU or on the GPU.

Frames come from three places: image files, videos that DALI decodes, and videos that it does not, which PyAV
decodes. Each has its own pipeline, built when first needed; all but the decoder is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import nvidia.dali
import torch
from nvidia.dali import Pipeline, fn, types
from torch import Tensor

from vreid_fast.errors import InputError

from .augment import MEAN, STD
from .images import read_encoded, read_frames, read_video
from .loader import Batch, Loader
from .plans import ClipRequest
from .tracklets import Tracklet
from .video import VideoFacts, probe

Kind = Literal["images", "videos", "frames"]
"""Of a pipeline's input: encoded images, encoded videos, or frames that PyAV decoded."""

CPU_CODECS = ("vp8", "vp9", "mjpeg")
# With the least width and height that NVDEC takes (its programming guide); crops of people can be smaller.
GPU_CODECS = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128), "mjpeg": (64, 64)}


@dataclass(frozen=True)
class Part:
    """The clips of a batch that go through one pipeline."""

    kind: Kind
    rows: list[int]
    """Their places in the batch."""
    inputs: dict[str, Sequence[np.ndarray]]
    """What the pipeline is fed, by name."""


class DaliLoader(Loader):
    """See `Loader`. A background thread reads files; DALI's threads, or the GPU, work one step ahead."""

    def __init__(self, tracklets: Sequence[Tracklet], plan: Sequence[list[ClipRequest]], **options):
        self._pipelines: dict[Kind, Pipeline] = {}
        self._next: Callable[[], Batch] | None = None
        self.name = f"DALI {nvidia.dali.__version__} ({options['device'].type})"
        self.notes = video_notes(tracklets, options["device"])
        super().__init__(tracklets, plan, **options)

    def __next__(self) -> Batch:
        batch = (self._next or self._start())()
        self._next = self._start()
        return batch

    def close(self) -> None:
        super().close()
        self._next = None
        self._pipelines.clear()

    def _prepare(self, step: int) -> tuple[int, list[ClipRequest], list[Part]]:
        requests = self._plan[step]
        kinds = [_kind(self._tracklets[request.tracklet], self._device) for request in requests]
        rows = {kind: [row for row, its in enumerate(kinds) if its == kind] for kind in sorted(set(kinds))}
        parts = [Part(kind, own, self._read(kind, [requests[r] for r in own])) for kind, own in rows.items()]
        return step, requests, parts

    def _read(self, kind: Kind, requests: list[ClipRequest]) -> dict[str, Sequence[np.ndarray]]:
        """Inputs of a pipeline: a sample is a frame for images, else a clip."""
        rows = [(self._tracklets[request.tracklet], request.frames) for request in requests]
        if kind == "images":
            clips = self._each(lambda row: [read_encoded(row[0], index) for index in row[1]], rows)
            inputs = {"encoded": [frame for clip in clips for frame in clip]}
        elif kind == "videos":
            inputs = {
                "encoded": self._each(lambda row: read_video(row[0]), rows),
                "frames": [np.asarray(frames, dtype=np.int32) for _, frames in rows],
            }
        else:
            inputs = {"encoded": self._each(lambda row: np.stack(read_frames(*row)), rows)}
        repeats = len(inputs["encoded"]) // len(requests)
        for view in range(len(requests[0].views)):
            for name, values in _augmentation_inputs([request.views[view] for request in requests]).items():
                inputs[f"{name}{view}"] = np.repeat(values, repeats, axis=0)
        return inputs

    def _start(self) -> Callable[[], Batch]:
        """Set DALI to work on the next step; the result waits for its batch, or raises what prevents it."""
        try:
            step, requests, parts = next(self._ahead)
        except (StopIteration, InputError) as reason:
            return partial(_raise, reason)
        for part in parts:
            pipeline = self._pipeline(part, len(requests))
            for name, values in part.inputs.items():
                pipeline.feed_input(name, values)
            pipeline.schedule_run()
        return partial(self._finish, step, requests, parts)

    def _pipeline(self, part: Part, clips: int) -> Pipeline:
        samples = len(part.inputs["encoded"])
        if part.kind not in self._pipelines or self._pipelines[part.kind].max_batch_size < samples:
            self._pipelines[part.kind] = build_pipeline(
                part.kind,
                samples=samples // len(part.rows) * clips,
                views=sum(name.startswith("flip") for name in part.inputs),
                size=self._size,
                device=self._device,
                threads=self._threads,
            )
        return self._pipelines[part.kind]

    def _finish(self, step: int, requests: list[ClipRequest], parts: list[Part]) -> Batch:
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            outputs = [self._pipelines[part.kind].outputs(cuda_stream=stream) for part in parts]
        except RuntimeError as error:
            self.close()
            # DALI does not say which sample failed; decoding them again does.
            for request in requests:
                read_frames(self._tracklets[request.tracklet], request.frames)
            if "decoders" not in str(error):
                raise
            raise InputError(f"DALI cannot decode all of step {step}, PIL can; use --loader torch") from error
        clips = [
            [torch.from_dlpack(view.as_tensor()).view(len(part.rows), -1, 3, *self._size) for view in output]
            for part, output in zip(parts, outputs)
        ]
        views = clips[0] if len(parts) == 1 else [_merge(parts, view) for view in zip(*clips)]
        tracklets = torch.tensor([request.tracklet for request in requests], device=self._device)
        return Batch(tuple(views), tracklets)


def build_pipeline(
    kind: Kind, *, samples: int, views: int, size: tuple[int, int], device: torch.device, threads: int
) -> Pipeline:
    """A pipeline from `encoded` (videos: also `frames`) and each view's augmentation to normalised views."""
    gpu = device.type == "cuda"
    decoder = "mixed" if gpu else "cpu"
    index = (torch.cuda.current_device() if device.index is None else device.index) if gpu else None
    # One step is fed at a time; with the dynamic executor a batch's memory lives as long as its tensor.
    pipeline = Pipeline(samples, threads, index, prefetch_queue_depth=1, exec_dynamic=True)
    with pipeline:
        if kind == "frames":
            frames = fn.external_source(name="encoded", dtype=types.UINT8, layout="FHWC")
            frames = frames.gpu() if gpu else frames
        else:
            encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
            if kind == "images":
                frames = fn.decoders.image(encoded, device=decoder, output_type=types.RGB)
            else:
                numbers = fn.external_source(name="frames", dtype=types.INT32, ndim=1)
                frames = fn.decoders.video(encoded, frames=numbers, device=decoder)
        frames = fn.resize(frames, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
        layout = "CHW" if kind == "images" else "FCHW"
        pipeline.set_outputs(*(_augment(frames, view, size, layout) for view in range(views)))
    pipeline.build()
    return pipeline


def _augment(frames, view: int, size: tuple[int, int], layout: str):
    """One view of resized frames; see `augment` for the order of things."""
    source = partial(fn.external_source, dtype=types.INT32)
    flip, shift = source(name=f"flip{view}", ndim=0), source(name=f"shift{view}", ndim=1)
    source = partial(fn.external_source, dtype=types.FLOAT, ndim=1)
    anchor, extent = source(name=f"anchor{view}"), source(name=f"extent{view}")
    frames = fn.crop_mirror_normalize(frames, mirror=flip, mean=MEAN, std=STD, output_layout=layout, dtype=types.FLOAT)
    frames = fn.slice(
        frames, start=shift, shape=list(size), axis_names="HW", out_of_bounds_policy="pad", fill_values=0.0
    )
    return fn.erase(frames, anchor=anchor, shape=extent, axis_names="HW", fill_value=0.0)


def _augmentation_inputs(augmentations) -> dict[str, np.ndarray]:
    return {
        "flip": np.array([a.flip for a in augmentations], dtype=np.int32),
        "shift": np.array([(a.crop[0] - a.pad, a.crop[1] - a.pad) for a in augmentations], dtype=np.int32),
        "anchor": np.array([a.erase[:2] for a in augmentations], dtype=np.float32),
        "extent": np.array([a.erase[2:] for a in augmentations], dtype=np.float32),
    }


def decodes(facts: VideoFacts, device: torch.device) -> bool:
    """Whether DALI decodes such a video on the device."""
    if device.type == "cpu":
        return facts.codec in CPU_CODECS
    width, height = GPU_CODECS.get(facts.codec, (np.inf, np.inf))
    return facts.width >= width and facts.height >= height and facts.pixels in ("yuv420p", "yuvj420p")


def video_notes(tracklets: Sequence[Tracklet], device: torch.device) -> tuple[str, ...]:
    """One note a codec that PyAV has to decode."""
    videos = (probe(tracklet.video) for tracklet in tracklets if tracklet.video is not None)
    codecs = sorted({facts.codec for facts in videos if not decodes(facts, device)})
    if device.type == "cpu":
        why = "DALI decodes VP8, VP9 and MJPEG on the CPU"
    else:
        why = "the GPU decodes 8-bit 4:2:0 video of {}".format(
            ", ".join(f"{codec} from {width}x{height}" for codec, (width, height) in GPU_CODECS.items())
        )
    return tuple(f"{codec} video is decoded by PyAV: {why}" for codec in codecs)


def _kind(tracklet: Tracklet, device: torch.device) -> Kind:
    if tracklet.video is None:
        return "images"
    return "videos" if decodes(probe(tracklet.video), device) else "frames"


def _merge(parts: list[Part], clips: Sequence[Tensor]) -> Tensor:
    """(B, T, 3, H, W) from the parts' clips, each in its rows."""
    merged = clips[0].new_empty(sum(map(len, clips)), *clips[0].shape[1:])
    for part, own in zip(parts, clips):
        merged[part.rows] = own
    return merged


def _raise(error: BaseException):
    raise error
