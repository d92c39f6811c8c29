"""Camera proxies: the contrastive loss of `--method plus` on the unlabelled target. Beyond the paper.

Each cluster of the whole target is represented once for every camera that sees it
(Wang et al., "Camera-aware Proxies for Unsupervised Person Re-Identification", AAAI 2021). A clip is drawn to
all proxies of its cluster, so to the other cameras' as much as to its own, and away from the hardest others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.device import wide

from .cluster_facts import check_restored, kept


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
        """(N,) clusters of the tracklets; -1 = in none: what is in none takes no part."""
        self.proxies: Tensor | None = None
        """(K * groups, D), L2-normalised; that of cluster k and camera c is in row k * groups + c. K is that of the
        pass that had most clusters."""
        self.present: Tensor | None = None
        """(K * groups,) whether a tracklet of that camera is in that cluster."""

    def write(self, tracklets: Tensor, features: Tensor) -> None:
        """Keep the features (B, D) of the tracklets (B,)."""
        self.features[tracklets] = F.normalize(wide(features.detach()), dim=1)

    @torch.no_grad()
    def represent(self, labels: Tensor, clusters: int) -> None:
        """Take up clusters of the tracklets, and make their proxies from the features that were written.

        Proxies stay where they are if their memory has room for them: a recorded step then goes on.

        Args:
            labels: (N,) int64; -1 = in no cluster.
            clusters: K.
        """
        self.labels = kept(self.labels, labels.to(self.features.device))
        rows = max(clusters * self.groups, 0 if self.proxies is None else len(self.proxies))
        sums, counts = self._sums(self._rows(self.labels, self.cameras), self.features, rows)
        self.proxies, self.present = kept(self.proxies, F.normalize(sums, dim=1)), kept(self.present, counts > 0)

    def loss(self, tracklets: Tensor, features: Tensor, temperature: float, negatives: int) -> Tensor:
        """Mean over a batch's clips that are in a cluster of -log(e^p / (e^p + sum of e^n)), mean over the positives p
        of a clip; 0 where none is.

        p and n are cosines over `temperature`, to the proxies of the clip's cluster and to the `negatives`
        nearest others.

        Args:
            tracklets: (B,) rows of the target.
            features: (B, D) of the student.
        """
        own = self.labels[tracklets]
        scores = F.normalize(wide(features), dim=1) @ self.proxies.T / temperature
        of_cluster = torch.arange(len(self.proxies), device=scores.device) // self.groups
        positive = (of_cluster == own[:, None]) & self.present
        others = scores.masked_fill(positive | ~self.present, -torch.inf)
        hardest = others.topk(min(negatives, others.shape[1]), dim=1).values.logsumexp(1, keepdim=True)
        losses = torch.logaddexp(scores, hardest) - scores
        of_clips = losses.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp_min(1)
        return of_clips.sum() / (own >= 0).sum().clamp_min(1)

    @torch.no_grad()
    def follow(self, tracklets: Tensor, features: Tensor) -> None:
        """Move the proxies of a batch's clusters and cameras towards its features (B, D), of the teacher."""
        rows = self._rows(self.labels[tracklets], self.cameras[tracklets])
        sums, counts = self._sums(rows, F.normalize(wide(features), dim=1), len(self.proxies))
        means = sums / counts.clamp_min(1)[:, None]
        moved = F.normalize(torch.lerp(self.proxies, means, self.momentum), dim=1)
        self.proxies.copy_(torch.where(counts[:, None] > 0, moved, self.proxies))

    def _rows(self, labels: Tensor, cameras: Tensor) -> Tensor:
        """Rows of the proxies; below 0 of what is in no cluster."""
        return labels * self.groups + cameras

    @staticmethod
    def _sums(rows: Tensor, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Sums (count, D) of the features by row, and how many went into each; rows below 0 go into none."""
        rows = torch.where(rows < 0, count, rows)  # one row more for them, as a mask would wait for the device
        sums = torch.zeros(count + 1, features.shape[1], device=features.device).index_add_(0, rows, features)
        counts = torch.zeros(count + 1, dtype=torch.int64, device=rows.device)  # not bincount, which waits for it too
        return sums[:count], counts.index_add_(0, rows, torch.ones_like(rows))[:count]

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
