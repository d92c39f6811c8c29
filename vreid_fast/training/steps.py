"""One step of training, of the first stage on the source and of the second on both domains.

Each is in three parts: what the host decides, what the device computes (`compute`) without any wait, and the log, which
looks at the numbers when a row is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vreid_fast import ranks
from vreid_fast.config.groups import AdversarialKnobs, ScheduleKnobs, StageKnobs
from vreid_fast.data.reading.loader import Batch
from vreid_fast.device import to_device
from vreid_fast.models import reversal_strength

from .adversarial import draw
from .asides import aside, retractable
from .compute import AdaptInputs, Compute, Computed, SourceInputs
from .consistency import Clustering
from .graph import Inputs, StepGraph
from .learner import Adaptation
from .logbook import Scalars
from .profile import Profile
from .session import Session


@dataclass
class Steps:
    """The steps of a run."""

    session: Session
    compute: Compute
    stages: StageKnobs
    schedule: ScheduleKnobs
    adversarial: AdversarialKnobs
    ramp: float
    """Part of adaptation over which the consistency losses rise to their full factor."""
    seed: int
    log_every: int
    gradients_every: int
    """Steps between two rows of the log, and between two looks at gradient norms; 0 = never."""
    profile: Profile
    graph: StepGraph | None = None
    """What replays the device's part; None = it runs as it is."""

    def source(self, batch: Batch) -> None:
        """On the labelled source alone: the first stage, and the second of `source` and `bn_adapt`."""
        inputs = SourceInputs(batch.clips, ranks.gather(batch.tracklets, self.compute.micro.count))
        with self._within_float32():
            schedules: Scalars = {"learning_rate": self._set_learning_rate()}
            if self._norms_are_due():
                done = self._run(partial(self.compute.source, norms=True), inputs)
            else:
                done = self._replay(self.compute.source, inputs)
        self._after(done, schedules, len(inputs.tracklets))

    def adapt(self, source: Batch, target: Batch) -> None:
        """Eq. 17 over a source batch and two views of a target batch."""
        adaptation = self.session.learner.adaptation
        assert adaptation is not None, "Learner.start_adaptation comes first"
        (step, _), norms = self._place(), self._norms_are_due()
        with self._within_float32():
            inputs, schedules = self._inputs(adaptation, source, target)
            with self._clustering(adaptation, step) as clustering:
                if norms or clustering is not None:
                    done = self._run(partial(self.compute.adapt, norms=norms, clustering=clustering), inputs)
                else:
                    done = self._replay(self.compute.adapt, inputs)
        self._after(done, schedules, len(inputs.source_tracklets) + len(inputs.target_tracklets))

    @contextmanager
    def _clustering(self, adaptation: Adaptation, step: int) -> Iterator[Clustering | None]:
        """Around the device's part of a step; gives the clustering within it, if there is one."""
        if adaptation.consistency.clusters_target_in_losses(step):
            with retractable(self.session) as stoppable:
                yield Clustering(step, stoppable)
        else:
            yield Clustering(step) if adaptation.consistency.clusters_in_losses(step) else None

    def _inputs(self, adaptation: Adaptation, source: Batch, target: Batch) -> tuple[AdaptInputs, Scalars]:
        """What the device gets, and the schedules of this step to log. Once a pass `plus` makes its clusters here."""
        learner, knobs, (step, steps) = self.session.learner, self.adversarial, self._place()
        with self.session.watching("teacher"):
            adaptation.consistency.before_step(step, adaptation.teacher, partial(aside, self.session))
        learner.reversal.fill_(knobs.reversal * reversal_strength(step / steps))
        ramp = min(1.0, (step + 1) / (self.ramp * steps)) if self.ramp else 1.0
        sources, targets = ranks.gather((source.tracklets, target.tracklets), self.compute.micro.count)
        drawn = draw(
            len(sources) + len(targets), knobs.combined_groups, knobs.combined_sizes,
            np.random.default_rng((self.seed, step)), learner.device,
        )  # fmt: skip
        inputs = AdaptInputs(
            source.clips, sources, target.views[0], target.views[1], targets,
            ramp=to_device(torch.tensor(ramp, dtype=torch.float64), learner.device),
            groups=drawn.groups, seed=drawn.seed,
        )  # fmt: skip
        return inputs, {
            "learning_rate": self._set_learning_rate(),
            "reversal": learner.reversal,
            "ema_decay": adaptation.teacher.updater.decay_now,
        }

    def _run(self, function: Callable[[Inputs], Computed], inputs: Inputs) -> Computed:
        """What looks at numbers on the host."""
        return function(inputs) if self.graph is None else self.graph.plain(function, inputs)

    def _replay(self, function: Callable[[Inputs], Computed], inputs: Inputs) -> Computed:
        """What looks at none. Its recordings hold for these losses, this optimiser, these heads and this memory."""
        if self.graph is None:
            return function(inputs)
        learner = self.session.learner
        memory = {} if learner.adaptation is None else learner.adaptation.consistency.state_dict() or {}
        clothed = learner.clothes is not None and learner.clothes.begun(learner.step)
        places = tuple((tensor.data_ptr(), tensor.shape) for tensor in memory.values() if tensor is not None)
        with self.profile.part("graph"):
            return self.graph(function, inputs, (clothed, learner.optimiser, learner.adaptation, places))

    def _after(self, done: Computed, schedules: Scalars, clips: int) -> None:
        """Log the step; save and stop where it is time to."""
        self.session.advance(done.losses, {**schedules, **done.scalars}, clips=clips, watched=done.watched)

    @contextmanager
    def _within_float32(self) -> Iterator[None]:
        """Within, a knob beyond the weights' numbers is Diverged, and named."""
        try:
            yield
        except RuntimeError as error:
            # Of torch, which has no class of its own for it.
            if "without overflow" not in str(error):
                raise
            step = self.session.learner.step + 1
            reason = "the learning rate or --weight_decay is beyond the largest float32 number"
            raise self.session.diverged(f"diverged at step {step}: {reason}") from None

    def _norms_are_due(self) -> bool:
        """Whether this step's row of the log is one that has gradient norms."""
        step, every = self.session.learner.step + 1, self.gradients_every
        return bool(every) and step % self.log_every == 0 and step % every < self.log_every

    def _set_learning_rate(self) -> float:
        """A cosine spans a stage, the authors' steps the run."""
        knobs, learner, place = self.schedule, self.session.learner, self._place()
        if knobs.schedule == "steps":
            place = learner.step, self.stages.source_steps + self.stages.adapt_steps
        return learner.set_learning_rate(
            *place, knobs.warmup_steps, knobs.schedule, drops=knobs.drops, drop_to=knobs.drop_to
        )

    def _place(self) -> tuple[int, int]:
        """Step within its stage, and the steps of that stage."""
        step, stages = self.session.learner.step, self.stages
        if step < stages.source_steps:
            return step, stages.source_steps
        return step - stages.source_steps, stages.adapt_steps
