"""One step of training: of the first stage, on the source, and of the second, on both domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vreid_fast.config import Config
from vreid_fast.data.batches import Batches
from vreid_fast.data.reading.loader import Batch
from vreid_fast.evaluation.scores import Protocol
from vreid_fast.losses import CameraProxies, FeatureMemory, batch_hard_triplet, cross_entropy, gradient_norms, info_nce
from vreid_fast.models import NetworkOutput, reversal_strength

from .adversarial import consistency_losses, domain_losses, fill_memory, refresh_proxies
from .session import Session


@dataclass
class Steps:
    """The steps of a run."""

    config: Config
    session: Session
    batches: Batches
    protocol: Protocol
    per_camera: bool
    """Whether batch-norm statistics are those of each camera."""

    def source(self, batch: Batch) -> None:
        """On the labelled source alone: the first stage, and the second of `source` and `bn_adapt`."""
        config, learner = self.config, self.session.learner
        rate = self._set_learning_rate()
        with self.session.precision.cast():
            output = learner.student(batch.clips)
        losses = self._identity_losses(output, batch)
        weights = {name: getattr(config, name) for name in losses}
        self._advance(self._weighted(losses), losses, weights, {"learning_rate": rate}, clips=len(batch.clips))

    def adapt(self, source: Batch, target: Batch) -> None:
        """Eq. 17 over a source batch and two views of a target batch."""
        config, learner = self.config, self.session.learner
        step, steps = self._place()
        rate = self._set_learning_rate()
        learner.reversal.fill_(config.reversal * reversal_strength(step / steps))
        if isinstance(learner.memory, CameraProxies) and step % self._refresh_every() == 0:
            self._refresh_proxies(step)

        # Source and target go forward apart, so that each is normalised by its own batch statistics.
        with self.session.precision.cast():
            of_source = learner.student(source.clips)
            of_target = learner.student(target.views[0])
            of_teacher = learner.teacher(target.views[1])

        identity = self._identity_losses(of_source, source)
        domain, accuracy = domain_losses(
            learner.heads, of_source, of_target, learner.reversal, terms=self._on("l1s", "l2s", "l3s"),
            groups=config.combined_groups, sizes=config.combined_sizes, rng=np.random.default_rng((config.seed, step)),
        )  # fmt: skip
        consistency, clusters = self._consistency_losses(step, target, of_target.clip, of_teacher)
        if isinstance(learner.memory, CameraProxies):
            learner.memory.follow(target.tracklets, of_teacher)

        ramp = min(1.0, (step + 1) / (config.consistency_ramp * steps)) if config.consistency_ramp else 1.0
        parts = {"identity": (identity, 1.0), "domain": (domain, 1.0), "consistency": (consistency, ramp)}
        parts = {group: part for group, part in parts.items() if part[0]}
        loss = learner.weights({group: part * self._weighted(terms) for group, (terms, part) in parts.items()})
        learned = learner.weights.named()
        weights = {
            name: part * getattr(config, name) * learned[group]
            for group, (terms, part) in parts.items()
            for name in terms
        }
        schedules = {
            "learning_rate": rate,
            "reversal": learner.reversal,
            "ema_decay": learner.teacher.updater.decay_now,
        }
        self._advance(
            loss, {**identity, **domain, **consistency}, weights, {**schedules, **accuracy, **clusters},
            clips=len(source.clips) + len(target.clips),
        )  # fmt: skip

    def start_adaptation(self) -> None:
        """Begin the second stage: a fresh optimiser and, for `paper` and `plus`, teacher, heads and memory."""
        config, learner = self.config, self.session.learner
        if config.method not in ("paper", "plus"):
            learner.restart_optimiser(config.adapt_lr)
            return
        learner.start_adaptation(
            learning_rate=config.adapt_lr, head_learning_rate=config.head_lr, domain_width=config.domain_width,
            domain_dropout=config.domain_dropout, loss_weights=config.loss_weights, ema_decay=config.ema_decay,
            memory=self._make_memory(),
        )  # fmt: skip

    def fill_memory(self) -> None:
        """What the paper's memory holds before the first step; that of `plus` is filled at each clustering."""
        if isinstance(self.session.learner.memory, FeatureMemory):
            fill_memory(self.session.learner, self.batches, self.session.precision)

    def _make_memory(self) -> FeatureMemory | CameraProxies | None:
        config, learner = self.config, self.session.learner
        cameras = self.batches.domains.cameras() if config.camera_aware else None
        of_target = (len(self.batches.domains.unlabelled), learner.student.width, cameras)
        if config.method == "plus":
            return CameraProxies(*of_target, config.proxy_momentum, learner.device) if config.proxy else None
        if config.cluster_over == "memory" and self._on("l1c", "l2c"):
            return FeatureMemory(*of_target, learner.device)
        return None

    def _identity_losses(self, output: NetworkOutput, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, triplet and InfoNCE losses of a source batch, as far as they are switched on."""
        config, labels = self.config, self.batches.domains.labels[batch.tracklets]
        losses = {}
        if config.cross_entropy:
            losses["cross_entropy"] = cross_entropy(output.logits, labels)
        if config.triplet:
            losses["triplet"] = batch_hard_triplet(output.clip, labels, config.margin, config.triplet_distance)
        if config.info_nce:
            losses["info_nce"] = info_nce(output.projected, config.per_person, config.info_nce_temperature)
        return losses

    def _consistency_losses(
        self, step: int, target: Batch, student: Tensor, teacher: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """L1C and L2C of the paper, or the proxies' loss of `plus`; and facts about the clusters."""
        config, memory = self.config, self.session.learner.memory
        if config.method == "plus":
            if memory is None:
                return {}, {}
            loss = memory.loss(target.tracklets, student, config.proxy_temperature, config.proxy_negatives)
            return {"proxy": loss}, memory.cluster_facts()
        losses, agreement = consistency_losses(
            memory, target.tracklets, student, teacher, terms=self._on("l1c", "l2c"), clusters=self._clusters(),
            restarts=config.cluster_restarts, refresh=step % self._refresh_every() == 0, seed=step,
            temperature=config.cluster_temperature,
        )  # fmt: skip
        return losses, agreement | (memory.cluster_facts() if memory else {})

    def _refresh_proxies(self, step: int) -> None:
        refresh_proxies(
            self.session.learner, self.batches, self.protocol, self.session.precision, per_camera=self.per_camera,
            clusters=self._clusters(), restarts=self.config.cluster_restarts, seed=step,
        )  # fmt: skip

    def _refresh_every(self) -> int:
        return self.config.cluster_every or self.batches.target_pass()

    def _clusters(self) -> int:
        """M of eq. 13: the knob, or a guess from the number of tracklets, for a target whose people nobody counted."""
        config = self.config
        if config.clusters:
            return config.clusters
        if config.cluster_over == "memory":
            return max(2, len(self.batches.domains.unlabelled) // 7)
        return min(16, config.target_batch)

    def _on(self, *terms: str) -> list[str]:
        return [term for term in terms if getattr(self.config, term) > 0]

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        """The sum of terms, each times its knob."""
        return torch.stack([getattr(self.config, name) * loss for name, loss in losses.items()]).sum()

    def _set_learning_rate(self) -> float:
        """A cosine spans a stage, the authors' steps the run."""
        config, learner = self.config, self.session.learner
        place = (
            (learner.step, config.source_steps + config.adapt_steps) if config.schedule == "steps" else self._place()
        )
        return learner.set_learning_rate(*place, config.warmup_steps, config.schedule)

    def _place(self) -> tuple[int, int]:
        """Step within its stage, and the steps of that stage."""
        config, step = self.config, self.session.learner.step
        if step < config.source_steps:
            return step, config.source_steps
        return step - config.source_steps, config.adapt_steps

    def _advance(self, loss: Tensor, losses: dict[str, Tensor], weights: dict, scalars: dict, clips: int) -> None:
        """Note weights and, where it is time to, gradient norms at the backbone; then minimise."""
        config, student = self.config, self.session.learner.student
        scalars = {**scalars, "weights": weights}
        step = self.session.learner.step + 1
        if config.gradients_every and step % config.log_every == 0 and step % config.gradients_every < config.log_every:
            norms = gradient_norms(losses, student.trunk.parameters())
            scalars["gradient_norms"] = {name: norm * weights[name] for name, norm in norms.items()}
        self.session.advance(loss, losses, scalars, clips)
