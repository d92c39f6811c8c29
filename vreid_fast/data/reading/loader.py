"""Batches of clips on the device, read, decoded and augmented ahead of need.

See `sampling.plans` for what is loaded, `decoder` for what decodes, `sampling.augment` for what is done to the pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vreid_fast.device import to_device
from vreid_fast.kernels import gather_clips
from vreid_fast.kernels.outputs import empty_clips

from ..sampling.plans import ClipRequest, RankPlan, TestPlan, TrainPlan
from ..tracklets import Tracklet
from .ahead import Ahead
from .cache import FrameCache
from .decoder import Decoder, ReadingOptions
from .make_decoder import make_decoder
from .memory import HostMemory
from .together import together

__all__ = ["Batch", "ClipRequest", "Loader", "RankPlan", "ReadingOptions", "Stream", "TestPlan", "TrainPlan"]


@dataclass(frozen=True)
class Batch:
    views: tuple[Tensor, ...]
    """Each (B, T, 3, H, W), of the reading's dtype and layout: RGB, minus ImageNet's mean, over its standard
    deviation."""
    tracklets: Tensor
    """(B,) int64 indices of the tracklets."""

    @property
    def clips(self) -> Tensor:
        """The first view."""
        return self.views[0]


@dataclass(frozen=True)
class Stream:
    """Clips of one set of tracklets: those of a plan, from step `start` on."""

    tracklets: Sequence[Tracklet]
    plan: Sequence[list[ClipRequest]]
    start: int = 0
    cache: FrameCache | None = None


@dataclass
class StepRequest:
    """What one step asks for: of each stream its requests, and which frames of them have to be decoded."""

    requests: list[list[ClipRequest]]
    frames: list[list[np.ndarray]]
    """Of each stream and request the frame numbers to decode."""
    encoded: object = None


class Loader(Iterator[tuple[Batch, ...]]):
    """An iterator over steps; each gives one batch of every stream, all decoded together.

    Three threads work at the same time: one reads, one decodes, one gathers clips; batches are ready two steps
    ahead. It ends with the shortest stream. Close it, or use it in a `with`.

    On a GPU all is put on a stream of its decoder's own. There it decodes into a buffer of DALI's, which is held until
    what reads it has run (`_hold`); stores into a cache and reads from it (`FrameCache` waits for all streams that
    stored); and writes the batches, which the stream of who asks for them then waits for.

    Raises on iteration:
        InputError: an image or video that is missing or cannot be decoded, with its tracklet.
    """

    def __init__(self, streams: Sequence[Stream], reading: ReadingOptions):
        self._streams, self._reading = streams, reading
        self._decoder: Decoder = reading.idle.pop() if reading.idle else make_decoder(reading)
        self._closed = False
        self.name = self._decoder.name
        """What decodes, and where: `DALI 2.4.0 (cpu)`."""
        self.notes = self._decoder.notes(tracklet for stream in streams for tracklet in stream.tracklets)
        """What a user should be told."""
        self._side = self._decoder.stream
        self._memory = HostMemory() if self._side is None else None
        self._held: deque[tuple[torch.cuda.Event, Tensor | None]] = deque()
        steps = max(0, min(len(stream.plan) - stream.start for stream in streams))
        encoded = Ahead(self._read, range(steps), steps, depth=1)
        decoded = Ahead(self._decode, encoded, steps, depth=1)
        self._ahead = Ahead(self._gather, decoded, steps)

    def __next__(self) -> tuple[Batch, ...]:
        batches, ready = next(self._ahead)
        if ready is not None:
            current = torch.cuda.current_stream(self._reading.device)
            current.wait_event(ready)
            for tensor in (tensor for batch in batches for tensor in (*batch.views, batch.tracklets)):
                tensor.record_stream(current)
        return batches

    def close(self) -> None:
        """Stop working ahead; waits for the step that is being made. The decoder is the next loader's then."""
        self._ahead.close()
        while self._held:
            self._held.popleft()[0].synchronize()
        if not self._closed:
            self._closed = True
            self._decoder.rest()
            self._reading.idle.append(self._decoder)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # The three stages, each on its own thread.

    def _read(self, number: int) -> StepRequest:
        requests = [stream.plan[stream.start + number] for stream in self._streams]
        frames = [
            [_missing(stream, request) for request in own] for stream, own in zip(self._streams, requests, strict=True)
        ]
        step = StepRequest(requests, frames)
        step.encoded = self._reading.bad_frames.attempt(lambda: self._read_encoded(step))
        return step

    def _read_encoded(self, step: StepRequest):
        """What the decoder takes, and where in its frames each frame wanted is; None where every frame is cached."""
        replaced = self._reading.bad_frames.replaced
        wanted = []
        for stream, requests, frames in zip(self._streams, step.requests, step.frames, strict=True):
            for request, numbers in zip(requests, frames, strict=True):
                if len(numbers):
                    tracklet = stream.tracklets[request.tracklet]
                    wanted.append((tracklet, replaced(tracklet, numbers)))
        if not wanted:
            return None
        joined, places = together(wanted)
        return self._decoder.read(joined), places

    def _decode(self, step: StepRequest) -> tuple[StepRequest, Tensor | None, np.ndarray]:
        def attempt():
            encoded, step.encoded = step.encoded, None
            if encoded is None:  # all is cached, or a bad frame was met
                encoded = self._read_encoded(step)
            if encoded is None:
                return None, np.empty(0, np.int64)
            pixels, rows = self._decoder.decode(encoded[0])
            return pixels, rows[encoded[1]]

        with self._on_side_stream():
            return step, *self._reading.bad_frames.attempt(attempt)

    def _gather(self, decoded: tuple[StepRequest, Tensor | None, np.ndarray]) -> tuple[tuple[Batch, ...], object]:
        step, pixels, rows = decoded
        with self._on_side_stream():
            batches, first = [], 0
            for stream, requests, frames in zip(self._streams, step.requests, step.frames, strict=True):
                counts = [len(numbers) for numbers in frames]
                own, first = rows[first : first + sum(counts)], first + sum(counts)
                batches.append(self._batch(stream, requests, frames, pixels, own))
            return tuple(batches), None if self._side is None else self._hold(pixels, self._side.record_event())

    def _hold(self, pixels: Tensor | None, read: torch.cuda.Event) -> torch.cuda.Event:
        """Keep DALI's buffer until the kernels before `read` have run: it fills a free one without asking them."""
        self._held.append((read, pixels))
        while len(self._held) > 2:
            self._held.popleft()[0].synchronize()
        return read

    def _batch(
        self,
        stream: Stream,
        requests: list[ClipRequest],
        frames: list[np.ndarray],
        pixels: Tensor | None,
        rows: np.ndarray,
    ) -> Batch:
        """One stream's batch; `rows` says where in `pixels` its decoded frames are."""
        device = self._reading.device
        if stream.cache is None:
            ends = np.cumsum([len(numbers) for numbers in frames])[:-1]
            places = np.stack(
                [
                    own[np.searchsorted(numbers, request.frames)]
                    for request, numbers, own in zip(requests, frames, np.split(rows, ends), strict=True)
                ]
            )
        else:
            if len(rows):
                at = [stream.cache.rows(request.tracklet, numbers) for request, numbers in zip(requests, frames)]
                stream.cache.store(np.concatenate(at), pixels, rows)
            places = np.stack([stream.cache.rows(request.tracklet, request.frames) for request in requests])
            pixels, places = stream.cache.fetch(places, device)
        places = torch.from_numpy(places)
        views = tuple(
            self._clips(pixels, places, torch.from_numpy(np.stack(rows_of_view)))
            for rows_of_view in zip(*([view.row() for view in request.views] for request in requests))
        )
        tracklets = to_device(np.array([request.tracklet for request in requests]), device)
        return Batch(views, tracklets)

    def _clips(self, pixels: Tensor, places: Tensor, augmentations: Tensor) -> Tensor:
        reading = self._reading
        shape = (*places.shape, *reading.size)
        if self._memory is None:
            out = empty_clips(shape, reading.dtype, reading.channels_last, reading.device)
            return gather_clips(pixels, to_device(places, out.device), to_device(augmentations, out.device), out=out)
        clips, frames, height, width = shape
        if reading.channels_last:
            out = self._memory.empty((clips, frames, height, width, 3), reading.dtype).permute(0, 1, 4, 2, 3)
        else:
            out = self._memory.empty((clips, frames, 3, height, width), reading.dtype)
        # This thread and its like share the machine with training: torch's own threads are left to that.
        parts = np.array_split(np.arange(clips), min(reading.threads, clips))
        self._decoder.each(
            lambda part: gather_clips(
                pixels,
                places[part[0] : part[-1] + 1],
                augmentations[part[0] : part[-1] + 1],
                out=out[part[0] : part[-1] + 1],
                parallel=False,
            ),
            parts,
        )
        return out

    def _on_side_stream(self):
        return nullcontext() if self._side is None else torch.cuda.stream(self._side)


def _missing(stream: Stream, request: ClipRequest) -> np.ndarray:
    """Frame numbers of a request that have to be decoded: each once, ascending."""
    numbers = np.unique(request.frames)
    return numbers if stream.cache is None else stream.cache.missing(request.tracklet, numbers)
