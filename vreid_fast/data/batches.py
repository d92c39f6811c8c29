"""The batches of a run: which clips each step sees, as loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .domains import Domains
from .reading.cache import FrameCache, make_caches
from .reading.loader import Loader, RankPlan, ReadingOptions, Stream, TrainPlan
from .sampling.clips import RandomRule
from .sampling.graph import GraphSampler
from .sampling.samplers import CameraPass, CameraSampler, IdentitySampler
from .tracklets import Tracklet

Sampler = Callable[[int], np.ndarray]

# Random streams, one a purpose, so that switching a loss off changes nothing that the others see.
SOURCE, TARGET, STATISTICS = range(3)


@dataclass
class Batches:
    """Loaders over both domains; every batch is a pure function of the seed and its step. Each rank reads its slice.

    Args:
        domains: source and target.
        reading: size, device and what decodes.
        frames: T.
        people, per_person: P and K of a source batch.
        target_batch: clips of a target batch.
        flip, erase, pad: augmentation, see `draw_augmentation`.
        rule, stride: which frames of a tracklet, see `random_clip`.
        micro: micro-batches of a training batch, of each of which every rank reads its slice.
        once: whether an epoch of the source has one group of each person, see `IdentitySampler`.
        cache: "none", "cpu" or "gpu", see `make_caches`.

    Raises:
        InputError: more people in a batch than the source has, or a cache that does not fit.
    """

    domains: Domains
    reading: ReadingOptions
    frames: int
    people: int
    per_person: int
    target_batch: int
    flip: float
    erase: float
    pad: int
    seed: int
    cache: str = "none"
    rule: RandomRule = "blocks"
    stride: int = 8
    micro: int = 1
    once: bool = False
    graph: bool = False
    """Whether a source batch is of people near to each other, see `GraphSampler`."""
    one_camera: bool = False
    """Whether each target batch is of one camera, so that it has statistics of its own."""

    def __post_init__(self):
        source, target, reading = self.domains.source_tracklets, self.domains.target_tracklets, self.reading
        labels, shape = self.domains.labels.tolist(), (self.people, self.per_person, self.seed)
        self.neighbours = GraphSampler(labels, *shape) if self.graph else None
        """What wants to know before each epoch who is near to whom."""
        self._people = self.neighbours or IdentitySampler(labels, *shape, self.once)
        cameras = [tracklet.camera for tracklet in target]
        self._cameras = CameraSampler(cameras, self.target_batch, self.seed, mixed=not self.one_camera)
        self._mixed = CameraSampler(cameras, self.target_batch, self.seed)
        self._whole = CameraPass(cameras, self.target_batch, self.seed)
        self._caches = make_caches(self.cache, (source, target), reading.size, reading.device)
        self.notes = self._cameras.notes
        """What a user should be told."""

    def source(self, start: int, steps: int) -> Loader:
        """Batches of P people x K labelled tracklets for the steps `start` to `steps` - 1."""
        return Loader([self._source(start, steps)], self.reading)

    def source_pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Steps from and to which batches of the source can be planned ahead: all, or those of an epoch."""
        while self.neighbours and start < stop:
            end = min(stop, (start // len(self.neighbours) + 1) * len(self.neighbours))
            yield start, end
            start = end
        if not self.neighbours:
            yield start, stop

    def both(self, start: int, steps: int, done: int) -> Loader:
        """The same, each beside an unlabelled batch balanced over cameras, in two views: the student's and the
        teacher's; `done` of these have been."""
        target = self._target(self._cameras, TARGET, steps - start + done, start=done, views=2, micro=self.micro)
        return Loader([self._source(start, steps), target], self.reading)

    def statistics(self, steps: int = 0) -> Loader:
        """The unlabelled target without augmentation; `steps` 0 = one pass, at most 200 batches."""
        steps = steps or min(200, self.target_pass())
        return Loader([self._target(self._mixed, STATISTICS, steps, augment=False)], self.reading)

    def by_camera(self) -> Loader:
        """All of the unlabelled target without augmentation, each batch of one camera."""
        return Loader([self._target(self._whole, STATISTICS, len(self._whole), augment=False)], self.reading)

    def target_pass(self) -> int:
        """Steps in which the target batches go once over the target."""
        return -(-len(self.domains.target_tracklets) // self.target_batch)

    def _source(self, start: int, steps: int) -> Stream:
        return self._stream(
            self.domains.source_tracklets, self._people, SOURCE, steps, self._caches[0], start=start, micro=self.micro
        )

    def _target(self, sampler: Sampler, stream: int, steps: int, **options) -> Stream:
        return self._stream(self.domains.target_tracklets, sampler, stream, steps, self._caches[1], **options)

    def _stream(
        self,
        tracklets: list[Tracklet],
        sampler: Sampler,
        stream: int,
        steps: int,
        cache: FrameCache | None,
        *,
        start: int = 0,
        views: int = 1,
        augment: bool = True,
        micro: int = 1,
    ) -> Stream:
        chances = (
            {"flip": self.flip, "erase": self.erase, "pad": self.pad} if augment else {"flip": 0, "erase": 0, "pad": 0}
        )
        plan = TrainPlan(
            [len(tracklet) for tracklet in tracklets], sampler, frames=self.frames, size=self.reading.size, steps=steps,
            views=views, seed=self.seed, stream=stream, rule=self.rule, stride=self.stride, **chances,
        )  # fmt: skip
        return Stream(tracklets, RankPlan(plan, micro), start, cache)
