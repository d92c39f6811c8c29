"""The batches of a run: which clips each step sees, as loaders."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .domains import Domains
from .loader import Loader, TrainPlan, make_loader
from .samplers import CameraSampler, IdentitySampler
from .tracklets import Tracklet

# Random streams, one a purpose, so that switching a loss off changes nothing that the others see.
SOURCE, TARGET, STATISTICS = range(3)


@dataclass
class Batches:
    """Loaders over both domains; every batch is a pure function of the seed and its step.

    Args:
        domains: source and target.
        frames: T.
        size: (H, W) of the network's input, pixels.
        people, per_person: P and K of a source batch.
        target_batch: clips of a target batch.
        flip, erase, pad: augmentation, see `draw_augmentation`.
        device, backend, threads: see `make_loader`.

    Raises:
        InputError: more people in a batch than the source has.
    """

    domains: Domains
    frames: int
    size: tuple[int, int]
    people: int
    per_person: int
    target_batch: int
    flip: float
    erase: float
    pad: int
    seed: int
    device: torch.device
    backend: str | None = None
    threads: int = 1

    def __post_init__(self):
        self._people = IdentitySampler(self.domains.labels.tolist(), self.people, self.per_person, self.seed)
        cameras = [tracklet.camera for tracklet in self.domains.unlabelled]
        self._cameras = CameraSampler(cameras, self.target_batch, self.seed)
        self.notes = self._cameras.notes
        """What a user should be told."""

    def source(self, start: int, steps: int) -> Loader:
        """Batches of P people x K labelled tracklets for the steps `start` to `steps` - 1."""
        return self._loader(self.domains.source, self._people, SOURCE, start, steps)

    def target(self, start: int, steps: int) -> Loader:
        """Unlabelled batches balanced over cameras, in two views: the student's and the teacher's."""
        return self._loader(self.domains.unlabelled, self._cameras, TARGET, start, steps, views=2)

    def statistics(self, steps: int = 0) -> Loader:
        """The unlabelled target without augmentation; `steps` 0 = one pass, at most 200 batches."""
        steps = steps or min(200, self.target_pass())
        return self._loader(self.domains.unlabelled, self._cameras, STATISTICS, 0, steps, augment=False)

    def target_pass(self) -> int:
        """Steps in which the target batches go once over the target."""
        return -(-len(self.domains.unlabelled) // self.target_batch)

    def _loader(
        self,
        tracklets: list[Tracklet],
        sampler,
        stream: int,
        start: int,
        steps: int,
        *,
        views: int = 1,
        augment=True,
    ) -> Loader:
        chances = (
            {"flip": self.flip, "erase": self.erase, "pad": self.pad} if augment else {"flip": 0, "erase": 0, "pad": 0}
        )
        plan = TrainPlan(
            [len(tracklet) for tracklet in tracklets], sampler, frames=self.frames, size=self.size, steps=steps,
            views=views, seed=self.seed, stream=stream, **chances,
        )  # fmt: skip
        return make_loader(
            tracklets,
            plan,
            size=self.size,
            device=self.device,
            backend=self.backend,
            threads=self.threads,
            start=start,
        )
