"""What a method makes of the unlabelled target: clusters of it, and losses that student and teacher agree on them.

`PaperConsistency` is L^C of the paper (eq. 16); that of `plus` is in `proxy_consistency`. Another method is another
class, a line in `methods.METHODS` and one in `methods.make_consistency`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vreid_fast import ranks
from vreid_fast.config.groups import ClusterKnobs, ConsistencyKnobs
from vreid_fast.data.batches import Batches
from vreid_fast.data.domains import Domains
from vreid_fast.device import Precision
from vreid_fast.errors import InputError
from vreid_fast.losses import (
    FeatureMemory,
    assignment_loss,
    cluster_batch,
    compactness_loss,
    disagreement,
)
from vreid_fast.models.whole_batch import whole_batches

from .teacher import MeanTeacher

Terms = dict[str, Tensor]
"""Scalar tensors by the name they are logged under."""


class Clustering(NamedTuple):
    """Of clusters that are made in a step."""

    seed: int
    stoppable: Callable[[], AbstractContextManager] = nullcontext
    """Is entered around what may take long, see `asides.retractable`."""


class Consistency(ABC):
    """In each step of adaptation: `before_step`, then `losses` of the networks' outputs, last `after_step`."""

    def __init__(self, factors: dict[str, float], clusters: ClusterKnobs, batches: Batches):
        self.factors = {name: factor for name, factor in factors.items() if factor > 0}
        """Factor of each loss that is switched on."""
        self.clusters, self.restarts = count_clusters(clusters, batches), clusters.cluster_restarts
        self.every = clusters.cluster_every or batches.target_pass()
        """Steps between two clusterings."""
        self.tracklets = len(batches.domains.target_tracklets)
        self.cameras = batches.domains.cameras() if clusters.camera_aware else None

    @staticmethod
    def notes(clusters: ClusterKnobs, domains: Domains, target_batch: int) -> list[str]:
        """What the target does to the clusters that were asked for, known before anything is trained.

        Raises:
            InputError: clusters that there cannot be.
        """
        notes, count = [], len(domains.target_tracklets)
        if clusters.clusters > count:
            notes.append(
                f"--clusters {clusters.clusters}: the target has {count} tracklets, so there are {count} clusters"
            )
        if clusters.camera_aware and domains.cameras() is None:
            notes.append("the target's cameras are not known: clusters may fall apart by camera")
        return notes

    @property
    def learns(self) -> nn.Module | None:
        """What of it learns with the student; None = nothing."""
        return None

    def start(self, teacher: MeanTeacher) -> None:
        """What the first step finds; not called where a run goes on from a checkpoint."""

    def before_step(
        self, step: int, teacher: MeanTeacher, aside: Callable[[], AbstractContextManager] = nullcontext
    ) -> None:
        """Before the networks' forward; steps count from the start of adaptation.

        Args:
            aside: is entered around what may take long, see `asides.aside`.
        """
        if self.clusters_before(step):
            with aside():
                take = self.look(step, teacher)
            take()

    def clusters_before(self, step: int) -> bool:
        """Whether `before_step` makes clusters in this step."""
        return False

    def look(self, step: int, teacher: MeanTeacher) -> Callable[[], None]:
        """Find clusters of the target as the teacher sees it now; returns what takes them up.

        It may be ended anywhere, and changes nothing but the teacher's batch-norm statistics.
        """
        raise NotImplementedError

    def clusters_in_losses(self, step: int) -> bool:
        """Whether `losses` makes clusters in this step, for which the host waits."""
        return False

    def clusters_target_in_losses(self, step: int) -> bool:
        """Whether these are of the whole target, and so may take long."""
        return False

    @abstractmethod
    def losses(
        self, tracklets: Tensor, student: Tensor, teacher: Tensor, clustering: Clustering | None = None
    ) -> tuple[Terms, Terms]:
        """Losses of a target batch by name, and facts to log.

        Args:
            tracklets: (B,) rows of the target's tracklets.
            student, teacher: (B, D) clip features.
            clustering: with the step as its seed, where `clusters_in_losses` says so.
        """

    def after_step(self, tracklets: Tensor, teacher: Tensor) -> None:
        """After student and teacher have moved; `teacher` as in `losses`."""

    @property
    def labels(self) -> Tensor | None:
        """(N,) the last clusters of the target's tracklets, -1 = in none; None = there are none, or only of batches."""
        return None

    @abstractmethod
    def state_dict(self) -> dict | None:
        """What a checkpoint keeps; None = nothing."""

    @abstractmethod
    def load_state_dict(self, state: dict) -> None:
        """Take back what `state_dict` gave, where that is something."""


class PaperConsistency(Consistency):
    """L1C and L2C over clusters of a memory of the whole target (eq. 13), or of each mini-batch.

    Args:
        width: D.
    """

    def __init__(
        self,
        knobs: ConsistencyKnobs,
        clusters: ClusterKnobs,
        batches: Batches,
        precision: Precision,
        width: int,
        device: torch.device,
    ):
        super().__init__(knobs.factors(), clusters, batches)
        self.temperature = knobs.cluster_temperature
        self.batches, self.precision = batches, precision
        self.memory: FeatureMemory | None = None
        if clusters.cluster_over == "memory" and self.factors:
            self.memory = FeatureMemory(self.tracklets, width, self.cameras, device)

    @staticmethod
    def notes(clusters: ClusterKnobs, domains: Domains, target_batch: int) -> list[str]:
        if clusters.cluster_by == "neighbours":
            raise InputError("--cluster_by neighbours is for --method plus; --method paper has k-means, of eq. 13")
        if clusters.cluster_over == "memory":
            return Consistency.notes(clusters, domains, target_batch)
        in_batch = 2 * target_batch
        if clusters.clusters > in_batch:
            raise InputError(
                f"--clusters {clusters.clusters}: a batch has {in_batch} features, student's and teacher's; lower it, "
                "or raise --target_batch"
            )
        return []

    @torch.no_grad()
    def start(self, teacher: MeanTeacher) -> None:
        """One pass over the target, so that the first clustering sees nearly all of it; here student = teacher."""
        if self.memory is None:
            return
        with self.batches.statistics() as loader, whole_batches(teacher.network):
            for (batch,) in loader:
                with self.precision.cast():
                    tracklets, features = ranks.gather((batch.tracklets, teacher(batch.clips)))
                self.memory.write(tracklets, features, features)

    def clusters_in_losses(self, step: int) -> bool:
        if not self.factors:
            return False
        return self.memory is None or step % self.every == 0 or self.memory.centroids is None

    def clusters_target_in_losses(self, step: int) -> bool:
        return self.memory is not None and self.clusters_in_losses(step)

    def losses(
        self, tracklets: Tensor, student: Tensor, teacher: Tensor, clustering: Clustering | None = None
    ) -> tuple[Terms, Terms]:
        """See `Consistency`; of the facts, `disagreement` is eq. 14 itself: the fraction of clips whose student and
        teacher fall into different clusters."""
        if not self.factors:
            return {}, {}
        if self.memory is None:
            assert clustering is not None, "clusters_in_losses says so"
            assignment = cluster_batch(student.detach(), teacher, self.clusters, self.restarts, clustering.seed)
        else:
            self.memory.write(tracklets, student, teacher)
            if clustering is not None:
                # What was just written, a step that is done again writes again.
                with clustering.stoppable():
                    self.memory.cluster(self.clusters, self.restarts, clustering.seed)
            assignment = self.memory.assign(tracklets, student.detach(), teacher)
        losses = {}
        if "l1c" in self.factors:
            losses["l1c"] = assignment_loss(student, assignment, self.temperature)
        if "l2c" in self.factors:
            losses["l2c"] = compactness_loss(student, assignment)
        facts = {} if self.memory is None else self.memory.cluster_facts()
        return losses, {"disagreement": disagreement(assignment), **facts}

    @property
    def labels(self) -> Tensor | None:
        return None if self.memory is None else self.memory.labels

    def state_dict(self) -> dict | None:
        return None if self.memory is None else self.memory.state_dict()

    def load_state_dict(self, state: dict) -> None:
        if self.memory is not None:
            self.memory.load_state_dict(state)


def count_clusters(knobs: ClusterKnobs, batches: Batches) -> int:
    """M of eq. 13: the knob, or a guess from the number of tracklets, for a target whose people nobody counted."""
    if knobs.clusters:
        return knobs.clusters
    if knobs.cluster_over == "memory":
        return max(2, len(batches.domains.target_tracklets) // 7)
    return min(16, batches.target_batch)
