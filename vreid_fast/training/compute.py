"""What the device computes in a step: networks, losses, gradients, and what follows the student.

`source` and `adapt` are functions of tensors on the device. They read no number back, and what they change (weights,
moments, teacher, memory) they change in place: a step can be recorded and replayed, see `graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor

from vreid_fast import ranks
from vreid_fast.config.groups import IdentityKnobs
from vreid_fast.device import Precision
from vreid_fast.losses import batch_hard_triplet, cross_entropy, gradient_norms, info_nce, score_triplet
from vreid_fast.models import NetworkOutput
from vreid_fast.models.running_statistics import statistics_of_slices

from .adversarial import Drawn, domain_losses
from .consistency import Clustering
from .learner import Adaptation, Learner
from .logbook import Scalars
from .micro_batches import MicroBatches
from .profile import Profile

Terms = dict[str, Tensor]
"""Losses by name."""


class SourceInputs(NamedTuple):
    """Of a step on the source alone."""

    clips: Tensor
    """(B / ranks, T, 3, H, W), of this rank, see `MicroBatches`."""
    tracklets: Tensor
    """(B,) rows of the source's tracklets, of the whole batch."""


class AdaptInputs(NamedTuple):
    """Of a step of adaptation: a source batch, a target batch in two views, and what the host decides. Clips are of
    this rank, all else of the whole batch."""

    source_clips: Tensor
    source_tracklets: Tensor
    student_view: Tensor
    teacher_view: Tensor
    target_tracklets: Tensor
    ramp: Tensor
    """0-d float64, part of the consistency losses' factor."""
    groups: Tensor
    seed: Tensor
    """Of L3S, see `adversarial.Drawn`."""


class Computed(NamedTuple):
    """What a step leaves: 0-d tensors by name."""

    losses: Terms
    """What was minimised as "total", and its terms."""
    scalars: Scalars
    """Other numbers to log."""
    watched: Terms
    """What must be finite beside the losses."""


@dataclass
class Compute:
    """The device's part of the steps of a run."""

    learner: Learner
    precision: Precision
    labels: Tensor
    """(N,) classes of the source's tracklets, on the device."""
    identity: IdentityKnobs
    domain_factors: dict[str, float]
    """Factor of each adversarial loss, by name."""
    clip_gradient: float
    per_person: int
    """K, tracklets a person in a source batch."""
    profile: Profile
    micro: MicroBatches

    def source(self, inputs: SourceInputs, norms: bool = False) -> Computed:
        """A step on the labelled source alone.

        Args:
            norms: whether gradient norms of each loss are looked at.
        """
        factors, part = self._factors(), self.profile.part
        with part("student"), self.precision.cast():
            output = self.micro(self.learner.student, inputs.clips, self.learner.student)
        with part("losses"):
            losses, facts = self._identity_losses(output, inputs.tracklets)
            loss = weighted(losses, factors)
        weights = {name: factors[name] for name in losses}
        looked = self._gradient_norms(losses, weights) if norms else {}
        scalars: Scalars = {**facts, "weights": weights, **looked, "gradient_norm": self._gradient_step(loss)}
        return Computed({**losses, "total": loss}, scalars, {})

    def adapt(self, inputs: AdaptInputs, norms: bool = False, clustering: Clustering | None = None) -> Computed:
        """A step of eq. 17: forward, losses, backward, gradient step, the teacher's and the consistency's updates.

        Args:
            norms: as in `source`.
            clustering: of clusters that are made anew before the losses of this step; this waits for the device.
                None = there are none to make.
        """
        adaptation = self.learner.adaptation
        assert adaptation is not None, "Learner.start_adaptation comes first"
        teacher, consistency, part = adaptation.teacher, adaptation.consistency, self.profile.part
        # Source and target go forward apart, so that each is normalised by its own batch statistics.
        with part("student"), self.precision.cast():
            of_source = self._of_source(adaptation, inputs.source_clips)
            of_target = self.micro(self.learner.student, inputs.student_view, self.learner.student)
        with part("teacher"), self.precision.cast():
            of_teacher = self.micro(teacher, inputs.teacher_view, teacher.network)

        with part("losses"):
            identity, of_clothes = self._identity_losses(of_source, inputs.source_tracklets)
            terms = [name for name, factor in self.domain_factors.items() if factor > 0]
            domain, accuracy = domain_losses(
                adaptation.heads, of_source, of_target, self.learner.reversal,
                Drawn(inputs.groups, inputs.seed), terms=terms,
            )  # fmt: skip
            agreement, facts = consistency.losses(inputs.target_tracklets, of_target.clip, of_teacher, clustering)
        groups: dict[str, tuple[Terms, dict[str, float], float | Tensor]] = {
            "identity": (identity, self._factors(), 1.0),
            "domain": (domain, self.domain_factors, 1.0),
            "consistency": (agreement, consistency.factors, inputs.ramp),
        }
        sums: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        learned = adaptation.weights.named()
        for group, (losses, factors, share) in groups.items():
            if losses:
                sums[group] = _single(share) * weighted(losses, factors)
                weights |= {name: _single(share * factors[name]) * learned[group] for name in losses}
        loss = adaptation.weights(sums)
        losses = {**identity, **domain, **agreement}
        looked = self._gradient_norms(losses, weights) if norms else {}

        norm = self._gradient_step(loss)
        with part("EMA"):
            teacher.follow()
        consistency.after_step(inputs.target_tracklets, of_teacher)
        scalars: Scalars = {**of_clothes, **accuracy, **facts, "weights": weights, **looked, "gradient_norm": norm}
        watched = {"features of the teacher": of_teacher.float().sum()}  # not finite where one is not
        return Computed({**losses, "total": loss}, scalars, watched)

    def _of_source(self, adaptation: Adaptation, clips: Tensor) -> NetworkOutput:
        student, norms = self.learner.student, adaptation.source_norms
        if norms is None:
            return self.micro(student, clips, student)
        return self.micro(partial(norms, student), clips, norms, student)

    def _factors(self) -> dict[str, float]:
        """Of the losses on the source."""
        clothes = self.learner.clothes
        return self.identity.factors() | ({} if clothes is None else clothes.knobs.factors())

    def _identity_losses(self, output: NetworkOutput, tracklets: Tensor) -> tuple[Terms, Terms]:
        """Cross-entropy, triplet, InfoNCE and clothes losses of a source batch, as far as they are switched on, and
        facts to log; the first two are summed over the network's streams."""
        knobs, labels, clothes = self.identity, self.labels[tracklets], self.learner.clothes
        streams = output.streams or (output,)
        losses: Terms = {}
        facts: Terms = {}
        if knobs.cross_entropy:
            with_margin = self.learner.student.with_margin
            losses["cross_entropy"] = _sum(
                cross_entropy(with_margin(one.logits, labels), labels, knobs.smoothing) for one in streams
            )
        if knobs.triplet and output.maps is not None:
            with self.precision.cast():
                scores = self.learner.student.pair_score(output.maps, output.maps)
            losses["triplet"] = score_triplet(scores, labels, knobs.margin)
        elif knobs.triplet:
            losses["triplet"] = _sum(
                batch_hard_triplet(one.clip, labels, knobs.margin, knobs.triplet_distance) for one in streams
            )
        if knobs.info_nce:
            assert output.projected is not None, "build.initial_network refuses networks without a projection"
            losses["info_nce"] = info_nce(output.projected, self.per_person, knobs.info_nce_temperature)
        if clothes is not None and clothes.begun(self.learner.step):
            losses["clothes"], facts = clothes.loss(output.clip, tracklets)
        return losses, facts

    def _gradient_step(self, loss: Tensor) -> Tensor:
        norm = self.precision.step(loss, self.learner.optimiser, self.clip_gradient, self.profile.part)
        # Behind the backward pass, which wants the statistics of the forward one to be as it left them.
        ranks.average(statistics_of_slices(self.learner.normed()))
        return norm

    def _gradient_norms(self, losses: Terms, weights: Mapping[str, float | Tensor]) -> Scalars:
        """Weighted gradient norms at the backbone by loss."""
        norms = gradient_norms(losses, self.learner.student.trunk.parameters())
        return {"gradient_norms": {name: norm * weights[name] for name, norm in norms.items()}}


def weighted(losses: Terms, factors: dict[str, float]) -> Tensor:
    """The sum of losses, each times its factor."""
    return torch.stack([factors[name] * loss for name, loss in losses.items()]).sum()


def _sum(losses: Iterable[Tensor]) -> Tensor:
    """As it is where there is one."""
    return reduce(torch.add, losses)


def _single(share: float | Tensor) -> float | Tensor:
    """In float32, as the losses are, where it is a tensor."""
    return share.float() if isinstance(share, Tensor) else share
