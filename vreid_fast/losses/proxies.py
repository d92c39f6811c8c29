"""Camera proxies: the contrastive loss of `--method plus` on the unlabelled target. Beyond the paper.

Clusters over the whole target as in eq. 13; each cluster is represented once for every camera that sees it
(Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021). A clip is drawn to
all proxies of its cluster, so to the other cameras' as much as to its own, and away from the hardest others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.kernels import kmeans

from .cluster_facts import check_restored, cluster_facts, kept


class CameraProxies:
    """Features of every target tracklet, their clusters, and a proxy for each cluster and camera.

    Args:
        tracklets: N, tracklets of the target.
        width: D.
        cameras: (N,) int64, or None where they are unknown: then a cluster has one proxy.
        momentum: part of a proxy that a step's features replace.
    """

    def __init__(
        self,
        tracklets: int,
        width: int,
        cameras: Tensor | None,
        momentum: float = 0.2,
        device: torch.device | str = "cpu",
    ):
        if cameras is None:
            cameras = torch.zeros(tracklets, dtype=torch.int64)
        known, cameras = cameras.unique(return_inverse=True)
        self.cameras = cameras.to(device)
        self.groups, self.momentum = len(known), momentum
        self.features = torch.zeros(tracklets, width, device=device)
        self.labels: Tensor | None = None
        """(N,) clusters of the tracklets."""
        self.proxies: Tensor | None = None
        """(K * groups, D), L2-normalised; that of cluster k and camera c is in row k * groups + c."""
        self.present: Tensor | None = None
        """(K * groups,) whether a tracklet of that camera is in that cluster."""

    def write(self, tracklets: Tensor, features: Tensor) -> None:
        """Keep the features (B, D) of the tracklets (B,)."""
        self.features[tracklets] = F.normalize(features.detach().float(), dim=1)

    @torch.no_grad()
    def cluster(self, clusters: int, restarts: int, seed: int) -> None:
        """k-means over all features, then proxies anew; K is at most the number of tracklets."""
        clusters = min(clusters, len(self.features))
        labels = kmeans(self.features, clusters, restarts=restarts, seed=seed).labels
        self.labels = kept(self.labels, labels)
        sums, counts = self._sums(self.labels * self.groups + self.cameras, self.features, clusters * self.groups)
        self.proxies, self.present = kept(self.proxies, F.normalize(sums, dim=1)), kept(self.present, counts > 0)

    def loss(self, tracklets: Tensor, features: Tensor, temperature: float, negatives: int) -> Tensor:
        """Mean over a batch of -log(e^p / (e^p + sum of e^n)), mean over the positives p of a clip.

        p and n are cosines over `temperature`, to the proxies of the clip's cluster and to the `negatives`
        nearest others.

        Args:
            tracklets: (B,) rows of the target.
            features: (B, D) of the student.
        """
        own = self.labels[tracklets]
        scores = F.normalize(features.float(), dim=1) @ self.proxies.T / temperature
        of_cluster = torch.arange(len(self.proxies), device=scores.device) // self.groups
        positive = (of_cluster == own[:, None]) & self.present
        others = scores.masked_fill(positive | ~self.present, -torch.inf)
        hardest = others.topk(min(negatives, others.shape[1]), dim=1).values.logsumexp(1, keepdim=True)
        losses = torch.logaddexp(scores, hardest) - scores
        return (losses.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()

    @torch.no_grad()
    def follow(self, tracklets: Tensor, features: Tensor) -> None:
        """Move the proxies of a batch's clusters and cameras towards its features (B, D), of the teacher."""
        rows = self.labels[tracklets] * self.groups + self.cameras[tracklets]
        sums, counts = self._sums(rows, F.normalize(features.float(), dim=1), len(self.proxies))
        means = sums / counts.clamp_min(1)[:, None]
        moved = F.normalize(torch.lerp(self.proxies, means, self.momentum), dim=1)
        self.proxies.copy_(torch.where(counts[:, None] > 0, moved, self.proxies))

    def cluster_facts(self) -> dict[str, Tensor]:
        """`cluster_facts` of the last clustering."""
        return cluster_facts(self.labels, len(self.proxies) // self.groups, self.cameras)

    @staticmethod
    def _sums(rows: Tensor, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Sums (count, D) of the features by row, and how many went into each."""
        sums = torch.zeros(count, features.shape[1], device=features.device).index_add_(0, rows, features)
        counts = torch.zeros(count, dtype=torch.int64, device=rows.device)  # not bincount, which waits for the device
        return sums, counts.index_add_(0, rows, torch.ones_like(rows))

    def state_dict(self) -> dict[str, Tensor | None]:
        return {name: getattr(self, name) for name in ("features", "labels", "proxies", "present")}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Take it back.

        Raises:
            ValueError: it is of other tracklets, cameras or features, or is not finite.
        """
        proxies = state.get("proxies")
        known = isinstance(proxies, Tensor)
        clusters = len(proxies) // self.groups if known and proxies.dim() else 0
        rows = clusters * self.groups
        wanted = {
            "features": self.features,
            "labels": torch.zeros(len(self.features), dtype=torch.int64) if known else None,
            "proxies": torch.zeros(rows, self.features.shape[1]) if known else None,
            "present": torch.zeros(rows, dtype=torch.bool) if known else None,
        }
        check_restored("proxies", state, wanted, clusters)
        for name, value in state.items():
            setattr(self, name, value if value is None else value.to(self.features.device))
