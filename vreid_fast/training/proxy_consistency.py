"""What `plus` makes of the unlabelled target: clusters of it once a pass, and camera proxies of these."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vreid_fast import ranks
from vreid_fast.config.groups import ClusterKnobs, ProxyKnobs
from vreid_fast.data.batches import Batches
from vreid_fast.data.domains import Domains
from vreid_fast.device import wide
from vreid_fast.kernels import kmeans
from vreid_fast.losses import CameraProxies, choose_list_size, cluster, cluster_facts, clustering, overlaps_met
from vreid_fast.metrics import pair_agreement

from .checkpoint_checks import check_state
from .consistency import Clustering, Consistency, Terms
from .teacher import MeanTeacher

FACTS = (
    "clusters", "cluster_size_smallest", "cluster_size_median", "cluster_size_largest", "cameras_per_cluster",
    "outliers", "pairs_kept", "clusters_stayed",
)  # fmt: skip
"""What is told of the clusters of a pass; see `report.words`."""
LISTED = ("neighbours",)
"""What is told beside of those that were found by neighbours."""
MET = ("overlaps_met",)
"""What is told beside where tracklets overlap in time."""
UNSEEN = ("unseen_pair_precision", "unseen_pair_recall")
"""What is told beside, where the target has labels, which nothing learns from."""


class ProxyConsistency(Consistency):
    """The camera proxies of `plus`, over clusters of the target as the teacher embeds it once a pass.

    Args:
        embed: a network -> a list of the (N, D) vectors of the target's tracklets, as at test, one for each of
            `halves`: 0, 1 = of the first or the second half of each, None = of the whole.
        width: D.
        identities: (N,) int64 of the target's tracklets, -1 = unknown; clusters are compared with them for the log
            alone. None = they have none.
    """

    def __init__(
        self,
        knobs: ProxyKnobs,
        clusters: ClusterKnobs,
        batches: Batches,
        embed: Callable[..., list[Tensor]],
        width: int,
        device: torch.device,
        identities: Tensor | None = None,
    ):
        super().__init__(knobs.factors(), clusters, batches)
        self.counted = clusters.cluster_by == "kmeans"
        self.temperature, self.negatives = knobs.proxy_temperature, knobs.proxy_negatives
        self.embed, self.device, self.identities = embed, device, identities
        self.apart = torch.from_numpy(batches.domains.overlaps())
        """(P, 2) pairs of tracklets that are two people."""
        self.listed = torch.tensor(clusters.cluster_neighbours)
        """Neighbours in the list of a tracklet, on the CPU; 0 = the first clustering is to choose."""
        self.names = (
            *FACTS, *(() if self.counted else LISTED), *(MET if len(self.apart) else ()),
            *(() if identities is None else UNSEEN),
        )  # fmt: skip
        self.facts = torch.zeros(len(self.names), device=device)
        """Of the last pass, by `names`; a recorded step reads them where they are."""
        self.proxies: CameraProxies | None = None
        if self.factors:
            self.proxies = CameraProxies(self.tracklets, width, self.cameras, knobs.proxy_momentum, device)

    @staticmethod
    def notes(clusters: ClusterKnobs, domains: Domains, target_batch: int) -> list[str]:
        if clusters.cluster_by == "kmeans":
            listed = clusters.cluster_neighbours
            ignored = f"--cluster_neighbours {listed} is for --cluster_by neighbours" if listed else None
        else:
            count, clusters = clusters.clusters, replace(clusters, clusters=0)
            ignored = f"--clusters {count} is for --cluster_by kmeans; neighbours need no number" if count else None
        notes = [*Consistency.notes(clusters, domains, target_batch), *([ignored] if ignored else [])]
        if clusters.cluster_by != "kmeans" and (pairs := len(domains.overlaps())):
            notes.append(f"{pairs:,} pairs of the target's tracklets were before one camera at once: two people each")
        return notes

    def clusters_before(self, step: int) -> bool:
        """Once a pass."""
        return self.proxies is not None and (step % self.every == 0 or self.proxies.labels is None)

    def look(self, step: int, teacher: MeanTeacher) -> Callable[[], None]:
        """Embed the whole target and cluster it."""
        choose = not self.listed and not self.counted
        features, *halves = self.embed(teacher.network, (None, 0, 1) if choose else (None,))
        listed = self._choose(halves) if choose else int(self.listed)
        features = F.normalize(wide(features.to(self.device)), dim=1)
        return partial(self._take, features, *self._find(features, listed, step), listed, step)

    def _take(self, features: Tensor, labels: Tensor, clusters: int, listed: int, step: int) -> None:
        """Keep what `look` has found: features (N, D) of unit length, clusters (N,) of them and their number."""
        assert self.proxies is not None
        self.listed.fill_(listed)
        self.proxies.features.copy_(features)
        before = None if self.proxies.labels is None else self.proxies.labels.clone().cpu()  # its memory is used again
        stays = clusters < 2 and not self.counted
        if not stays:
            self.proxies.represent(labels, clusters)
        elif before is None:
            self.proxies.represent(torch.full_like(labels, -1), 1)
        if stays and ranks.first():
            what = "all tracklets that are in a cluster are in one" if clusters else "no two tracklets are in a cluster"
            then = "the proxies' loss waits for the next pass" if before is None else "those of the pass before stay"
            tqdm.write(f"note: clusters at step {step} of adaptation: {what}; {then}", file=sys.stderr)
        self._tell(self.proxies, before, stays)

    def _find(self, features: Tensor, listed: int, step: int) -> tuple[Tensor, int]:
        """Clusters (N,) of the features, -1 = in none, and K."""
        if self.counted:
            count = min(self.clusters, len(features))
            found = ranks.of_first(lambda: kmeans(features, count, restarts=self.restarts, seed=step), features.device)
            return found.labels, count
        labels = ranks.of_first(lambda: cluster(features, self.cameras, listed, apart=self.apart.numpy()))
        return labels, int(labels.max()) + 1

    def _choose(self, halves: list[Tensor]) -> int:
        """Once, before anything is learned of clusters: a network that has learned them would agree with itself."""
        first, second = (half.to(self.device) for half in halves)

        def find() -> int:
            found = choose_list_size((first, second), self.cameras, self.apart.numpy())
            agree = ", ".join(f"{size}: {part:.2f}" for size, part in found.agreement.items())
            longer = f"; {found.too_long} was not tried, it shares too many neighbours" if found.too_long else ""
            tqdm.write(
                f"note: clusters by lists of {found.size} of each camera, chosen by how far clusters of first halves "
                f"and of second halves of tracklets agree (1 = wholly), by length of the lists: {agree}{longer}",
                file=sys.stderr,
            )
            return found.size

        return ranks.of_first(find)

    def _tell(self, proxies: CameraProxies, before: Tensor | None, stays: bool) -> None:
        """Put down what there is to say of the clusters; `before` are those of the pass before."""
        assert proxies.labels is not None  # they were just taken up
        labels = proxies.labels.cpu()
        found: dict[str, float | Tensor] = {
            **cluster_facts(labels, int(labels.max()) + 1, proxies.cameras.cpu()),
            "outliers": (labels < 0).sum(),
            "pairs_kept": 0.0 if before is None else pair_agreement(labels, before).recall,
            "clusters_stayed": float(stays),
            "neighbours": float(self.listed),
            "overlaps_met": overlaps_met(labels, self.apart),
        }
        put_down(self.facts, self.names, found, labels, self.identities)

    def losses(
        self, tracklets: Tensor, student: Tensor, teacher: Tensor, clustering: Clustering | None = None
    ) -> tuple[Terms, Terms]:
        if self.proxies is None:
            return {}, {}
        loss = self.proxies.loss(tracklets, student, self.temperature, self.negatives)
        return {"proxy": loss}, dict(zip(self.names, self.facts.unbind()))

    def after_step(self, tracklets: Tensor, teacher: Tensor) -> None:
        if self.proxies is not None:
            self.proxies.follow(tracklets, teacher)

    @property
    def labels(self) -> Tensor | None:
        return None if self.proxies is None else self.proxies.labels

    def state_dict(self) -> dict | None:
        return None if self.proxies is None else {
            **self.proxies.state_dict(), "facts": self.facts, "listed": self.listed
        }  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Take it back; of an earlier version, without facts, they are found again, but for `pairs_kept`.

        Raises:
            ValueError: it is of other tracklets, cameras or features, or holds what cannot be.
        """
        if self.proxies is None:
            return
        own = dict(state)
        facts, listed = own.pop("facts", None), own.pop("listed", None)
        self.proxies.load_state_dict(own)
        if listed is not None:
            check_state("proxies", {"listed": listed}, {"listed": self.listed})
            if listed < 0:
                raise ValueError(f"proxies: listed is {int(listed)}, wanted a number from 0")
            self.listed.copy_(listed)
        elif self.proxies.labels is not None and not self.listed:
            self.listed.fill_(clustering.LISTED)  # as it was before it was chosen
        if facts is not None and listed is not None:
            check_state("proxies", {"facts": facts}, {"facts": self.facts})
            self.facts.copy_(facts)
        elif self.proxies.labels is not None:
            self._tell(self.proxies, None, stays=False)


def put_down(
    facts: Tensor, names: Sequence[str], found: dict[str, float | Tensor], labels: Tensor, identities: Tensor | None
) -> None:
    """Write what was found of the labels of a pass where steps read it; with identities also how far they agree."""
    if identities is not None:
        found = {**found, **dict(zip(UNSEEN, pair_agreement(labels, identities)))}
    facts.copy_(torch.tensor([float(found[name]) for name in names]))
