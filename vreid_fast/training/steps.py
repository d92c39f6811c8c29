"""One step of training, of the first stage on the source and of the second on both domains.

Each is: the loss, the gradient step, the teacher's update, then log and checkpoint (`Session.advance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vreid_fast.config.knobs import AdversarialKnobs, IdentityKnobs, OptimiserKnobs, StageKnobs
from vreid_fast.data.reading.loader import Batch
from vreid_fast.losses import batch_hard_triplet, cross_entropy, gradient_norms, info_nce
from vreid_fast.models import NetworkOutput, reversal_strength

from .adversarial import Drawn, domain_losses, draw
from .learner import Adaptation
from .logbook import Scalars
from .profile import Profile
from .session import Session

Terms = dict[str, Tensor]
"""Losses by name."""


@dataclass(frozen=True)
class Inputs:
    """What the host decides for a step of adaptation."""

    step: int
    """From the start of adaptation."""
    learning_rate: float
    ramp: float
    """Part of the consistency losses' factor."""
    drawn: Drawn


@dataclass(frozen=True)
class Computed:
    """What a step of adaptation leaves on the device."""

    losses: Terms
    """What was minimised as "total", and its terms."""
    scalars: Scalars
    of_teacher: Tensor
    """Sum of the teacher's features, which is not finite where one is not."""


@dataclass
class Steps:
    """The steps of a run."""

    session: Session
    labels: Tensor
    """(N,) classes of the source's tracklets, on the device."""
    stages: StageKnobs
    optimiser: OptimiserKnobs
    identity: IdentityKnobs
    adversarial: AdversarialKnobs
    per_person: int
    """K, tracklets a person in a source batch."""
    ramp: float
    """Part of adaptation over which the consistency losses rise to their full factor."""
    seed: int
    log_every: int
    gradients_every: int
    """Steps between two rows of the log, and between two looks at gradient norms; 0 = never."""
    profile: Profile

    def source(self, batch: Batch) -> None:
        """On the labelled source alone: the first stage, and the second of `source` and `bn_adapt`."""
        rate = self._set_learning_rate()
        losses, loss, weights, norms = self._source_compute(batch)
        scalars: Scalars = {"learning_rate": rate, "weights": weights, **norms}
        self.session.advance({**losses, "total": loss}, scalars, clips=len(batch.clips))

    def _source_compute(self, batch: Batch) -> tuple[Terms, Tensor, dict[str, float], Scalars]:
        learner, precision, factors = self.session.learner, self.session.precision, self.identity.factors()
        with self.profile.part("student"), precision.cast():
            output = learner.student(batch.clips)
        with self.profile.part("losses"):
            losses = self._identity_losses(output, batch)
            loss = weighted(losses, factors)
        weights = {name: factors[name] for name in losses}
        norms = self._gradient_norms(losses, weights)
        return losses, loss, weights, {**norms, "gradient_norm": self._gradient_step(loss)}

    def adapt(self, source: Batch, target: Batch) -> None:
        """Eq. 17 over a source batch and two views of a target batch.

        In three parts: what the host decides, what the device computes without any wait, and the log, which looks at
        the numbers when a row is due.
        """
        adaptation = self.session.learner.adaptation
        assert adaptation is not None, "Learner.start_adaptation comes first"
        clips = len(source.clips) + len(target.clips)
        inputs = self._inputs(adaptation, clips)
        done = self._compute(adaptation, inputs, source, target)
        self._after(adaptation, inputs, done, clips)

    def _inputs(self, adaptation: Adaptation, clips: int) -> Inputs:
        """The schedules of this step, and what chance decides in it. Once a pass clusters are made anew here."""
        learner, knobs, (step, steps) = self.session.learner, self.adversarial, self._place()
        with self.session.watching("teacher"):
            adaptation.consistency.before_step(step, adaptation.teacher)
        learner.reversal.fill_(knobs.reversal * reversal_strength(step / steps))
        return Inputs(
            step=step,
            learning_rate=self._set_learning_rate(),
            ramp=min(1.0, (step + 1) / (self.ramp * steps)) if self.ramp else 1.0,
            drawn=draw(
                clips, knobs.combined_groups, knobs.combined_sizes, np.random.default_rng((self.seed, step)),
                learner.device,
            ),
        )  # fmt: skip

    def _compute(self, adaptation: Adaptation, inputs: Inputs, source: Batch, target: Batch) -> Computed:
        """Forward, losses, backward, gradient step, the teacher's and the consistency's updates.

        Waits for the device nowhere, but in the steps that cluster the target or look at gradient norms.
        """
        learner, precision = self.session.learner, self.session.precision
        teacher, consistency = adaptation.teacher, adaptation.consistency
        # Source and target go forward apart, so that each is normalised by its own batch statistics.
        part = self.profile.part
        with part("student"), precision.cast():
            of_source = learner.student(source.clips)
            of_target = learner.student(target.views[0])
        with part("teacher"), precision.cast():
            of_teacher = teacher(target.views[1])

        with part("losses"):
            identity = self._identity_losses(of_source, source)
            terms = [name for name, factor in self.adversarial.factors().items() if factor > 0]
            domain, accuracy = domain_losses(
                adaptation.heads, of_source, of_target, learner.reversal, inputs.drawn, terms=terms
            )
            agreement, facts = consistency.losses(inputs.step, target.tracklets, of_target.clip, of_teacher)
        groups = {
            "identity": (identity, self.identity.factors(), 1.0),
            "domain": (domain, self.adversarial.factors(), 1.0),
            "consistency": (agreement, consistency.factors, inputs.ramp),
        }
        sums: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        learned = adaptation.weights.named()
        for group, (losses, factors, share) in groups.items():
            if losses:
                sums[group] = share * weighted(losses, factors)
                weights |= {name: share * factors[name] * learned[group] for name in losses}
        loss = adaptation.weights(sums)
        losses = {**identity, **domain, **agreement}
        norms = self._gradient_norms(losses, weights)

        norm = self._gradient_step(loss)
        with part("EMA"):
            teacher.follow()
        consistency.after_step(target.tracklets, of_teacher)
        scalars: Scalars = {**accuracy, **facts, "weights": weights, **norms, "gradient_norm": norm}
        return Computed({**losses, "total": loss}, scalars, of_teacher.float().sum())

    def _after(self, adaptation: Adaptation, inputs: Inputs, done: Computed, clips: int) -> None:
        """Log the step; save and stop where it is time to."""
        schedules: Scalars = {
            "learning_rate": inputs.learning_rate,
            "reversal": self.session.learner.reversal,
            "ema_decay": adaptation.teacher.updater.decay_now,
        }
        self.session.advance(
            done.losses, {**schedules, **done.scalars}, clips=clips,
            watched={"features of the teacher": done.of_teacher},
        )  # fmt: skip

    def _gradient_step(self, loss: Tensor) -> Tensor:
        """See `Precision.step`; Diverged where a knob is beyond the weights' numbers."""
        session = self.session
        try:
            clip, part = self.optimiser.clip_gradient, self.profile.part
            return session.precision.step(loss, session.learner.optimiser, clip, part)
        except RuntimeError as error:
            # Of torch, which has no class of its own for it.
            if "without overflow" not in str(error):
                raise
            step = session.learner.step + 1
            reason = "the learning rate or --weight_decay is beyond the largest float32 number"
            raise session.diverged(f"diverged at step {step}: {reason}") from None

    def _identity_losses(self, output: NetworkOutput, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, triplet and InfoNCE losses of a source batch, as far as they are switched on."""
        knobs, labels = self.identity, self.labels[batch.tracklets]
        losses = {}
        if knobs.cross_entropy:
            losses["cross_entropy"] = cross_entropy(output.logits, labels)
        if knobs.triplet:
            losses["triplet"] = batch_hard_triplet(output.clip, labels, knobs.margin, knobs.triplet_distance)
        if knobs.info_nce:
            assert output.projected is not None, "build.initial_network refuses networks without a projection"
            losses["info_nce"] = info_nce(output.projected, self.per_person, knobs.info_nce_temperature)
        return losses

    def _gradient_norms(self, losses: dict[str, Tensor], weights: Mapping[str, float | Tensor]) -> Scalars:
        """Weighted gradient norms at the backbone by loss, in the rows of the log that are due to have them."""
        step = self.session.learner.step + 1
        if not self.gradients_every or step % self.log_every or step % self.gradients_every >= self.log_every:
            return {}
        norms = gradient_norms(losses, self.session.learner.student.trunk.parameters())
        return {"gradient_norms": {name: norm * weights[name] for name, norm in norms.items()}}

    def _set_learning_rate(self) -> float:
        """A cosine spans a stage, the authors' steps the run."""
        knobs, learner, place = self.optimiser, self.session.learner, self._place()
        if knobs.schedule == "steps":
            place = learner.step, self.stages.source_steps + self.stages.adapt_steps
        return learner.set_learning_rate(*place, knobs.warmup_steps, knobs.schedule)

    def _place(self) -> tuple[int, int]:
        """Step within its stage, and the steps of that stage."""
        step, stages = self.session.learner.step, self.stages
        if step < stages.source_steps:
            return step, stages.source_steps
        return step - stages.source_steps, stages.adapt_steps


def weighted(losses: dict[str, Tensor], factors: dict[str, float]) -> Tensor:
    """The sum of losses, each times its factor."""
    return torch.stack([factors[name] * loss for name, loss in losses.items()]).sum()
