"""What `glt` makes of the unlabelled target: groups of labels, which optimal transport moves once a pass.

Zheng et al., "Group-aware Label Transfer for Domain Adaptive Person Re-identification", CVPR 2021; clips are in the
place of images. k-means finds the labels of each group at first. A classifier learns them. What it says of the target
as the teacher embeds it gives the labels of the next pass, under the condition that each class keeps as many tracklets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast import ranks
from vreid_fast.config.groups import ClusterKnobs, TransportKnobs
from vreid_fast.data.batches import Batches
from vreid_fast.data.domains import Domains
from vreid_fast.device import wide
from vreid_fast.errors import InputError
from vreid_fast.kernels import kmeans
from vreid_fast.losses import cluster_facts, cross_entropy, soft_triplet, transport_plan
from vreid_fast.metrics import pair_agreement
from vreid_fast.models import VideoNetwork

from .checkpoint_checks import check_state
from .consistency import Clustering, Consistency, Terms
from .proxy_consistency import UNSEEN, put_down
from .teacher import MeanTeacher

FACTS = (
    "clusters", "cluster_size_smallest", "cluster_size_median", "cluster_size_largest", "cameras_per_cluster",
    "pairs_kept",
)  # fmt: skip
"""What is told of the first group's labels; see `report.words`."""
OF_TRIPLET = 1
"""The group whose labels the triplet loss takes, as in the authors' code."""


class TransportConsistency(Consistency):
    """Cross-entropy and triplet losses of the target's transported labels.

    Args:
        embed: a network -> a list of the (N, D) vectors of the target's tracklets, as at test.
        width: D.
        steps: of adaptation, over which the rounds are spread.
        identities: (N,) int64 of the target's tracklets, -1 = unknown; labels are compared with them for the log
            alone. None = they have none.
    """

    def __init__(
        self,
        knobs: TransportKnobs,
        clusters: ClusterKnobs,
        batches: Batches,
        embed: Callable[[VideoNetwork], list[Tensor]],
        width: int,
        steps: int,
        device: torch.device,
        identities: Tensor | None = None,
    ):
        super().__init__(knobs.factors(), clusters, batches)
        self.knobs, self.embed, self.device, self.identities = knobs, embed, device, identities
        self.round = math.ceil(steps / knobs.transport_rounds)
        counts = [min(max(2, round(part * self.clusters)), self.tracklets) for part in knobs.transport_groups]
        self.heads = nn.ModuleList(nn.Linear(width, count, bias=False) for count in counts).to(device)
        self.group_labels = torch.full((len(counts), self.tracklets), -1, device=device)
        self.labelled = False
        """Whether there are labels, as the host knows it: to ask them would be to wait for the device."""
        self.names = FACTS if identities is None else (*FACTS, *UNSEEN)
        self.facts = torch.zeros(len(self.names), device=device)

    @property
    def learns(self) -> nn.Module | None:
        return self.heads

    @staticmethod
    def notes(clusters: ClusterKnobs, domains: Domains, target_batch: int) -> list[str]:
        if clusters.cluster_by == "neighbours":
            raise InputError("--cluster_by neighbours is for --method plus; --method glt begins with k-means")
        if clusters.cluster_over == "batch":
            raise InputError("--cluster_over batch is for --method paper; --method glt labels the whole target")
        return Consistency.notes(clusters, domains, target_batch)

    def _begins_round(self, step: int) -> bool:
        return step % self.round == 0 or self.labels is None

    def clusters_before(self, step: int) -> bool:
        """Once a pass."""
        return bool(self.factors) and (self._begins_round(step) or step % self.every == 0)

    @torch.no_grad()
    def look(self, step: int, teacher: MeanTeacher) -> Callable[[], None]:
        """Embed the whole target and label it."""
        anew, labels, weights = self._begins_round(step), [], []
        features = F.normalize(self.embed(teacher.network)[0].to(self.device), dim=1)
        for group, head in enumerate(self.heads):
            assert isinstance(head, nn.Linear)
            if anew:
                find = partial(kmeans, features, head.out_features, restarts=self.restarts, seed=step + group)
                found = ranks.of_first(find, features.device)
                weights.append(F.normalize(found.centroids, dim=1))
                labels.append(found.labels)
            else:
                labels.append(transport_plan(head(features), self.knobs.transport_power).argmax(1))
        return partial(self._take, labels, weights)

    @torch.no_grad()
    def _take(self, labels: list[Tensor], weights: list[Tensor]) -> None:
        """Keep the labels (N,) of each group, and where a round begins the weights (K, D) of its classifier."""
        before = None if self.labels is None else self.group_labels[0].cpu()
        for kept, found in zip(self.group_labels, labels, strict=True):
            kept.copy_(found)
        self.labelled = True
        for head, weight in zip(self.heads, weights):
            assert isinstance(head, nn.Linear)
            head.weight.copy_(weight)
        self._tell(before)

    def _tell(self, before: Tensor | None) -> None:
        """Put down what there is to say of the first group; `before` are its labels of the pass before."""
        labels = self.group_labels[0].cpu()
        cameras = torch.zeros_like(labels) if self.cameras is None else self.cameras.unique(return_inverse=True)[1]
        head = self.heads[0]
        assert isinstance(head, nn.Linear)
        found: dict[str, float | Tensor] = {
            **cluster_facts(labels, head.out_features, cameras),
            "pairs_kept": 0.0 if before is None else pair_agreement(labels, before).recall,
        }
        put_down(self.facts, self.names, found, labels, self.identities)

    def losses(
        self, tracklets: Tensor, student: Tensor, teacher: Tensor, clustering: Clustering | None = None
    ) -> tuple[Terms, Terms]:
        features, losses = wide(student), {}
        labels = self.group_labels[:, tracklets]
        if "transport" in self.factors:
            groups = len(self.heads) if self.knobs.transport_over == "all" else 1
            terms = [cross_entropy(head(features), of) for head, of, _ in zip(self.heads, labels, range(groups))]
            losses["transport"] = torch.stack(terms).sum()
        if "transport_triplet" in self.factors:
            losses["transport_triplet"] = soft_triplet(features, labels[min(OF_TRIPLET, len(labels) - 1)])
        return losses, dict(zip(self.names, self.facts.unbind())) if self.factors else {}

    @property
    def labels(self) -> Tensor | None:
        return self.group_labels[0] if self.labelled else None

    def state_dict(self) -> dict | None:
        heads = {f"heads.{name}": tensor for name, tensor in self.heads.state_dict().items()}
        return {"labels": self.group_labels, "facts": self.facts, **heads}

    def load_state_dict(self, state: dict) -> None:
        """Take it back; ValueError for labels of other tracklets or classes."""
        check_state("labels by transport", state, self.state_dict() or {})
        for group, (labels, head) in enumerate(zip(state["labels"], self.heads, strict=True)):
            assert isinstance(head, nn.Linear)
            if labels.min() < -1 or labels.max() >= head.out_features:
                raise ValueError(
                    f"labels by transport: group {group} has labels beyond its {head.out_features} classes"
                )
        self.group_labels.copy_(state["labels"])
        self.labelled = int(state["labels"][0, 0]) >= 0
        self.facts.copy_(state["facts"])
        self.heads.load_state_dict({name[6:]: tensor for name, tensor in state.items() if name.startswith("heads.")})
