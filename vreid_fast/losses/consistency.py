"""ID consistency on the unlabelled target: clusters (eq. 13), L1C (eq. 14) and L2C (eq. 15).

Student and teacher see the same clips. Both features are assigned to k-means clusters; L1C asks that the two
fall into one cluster, L2C that a feature is near the mean of its cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast import ranks
from vreid_fast.device import wide
from vreid_fast.kernels import kmeans, kmeans_assign

from .cluster_facts import check_restored, cluster_facts, kept


class Assignment(NamedTuple):
    """Where the clips of a batch stand."""

    student: Tensor
    """(B,) clusters of the student's features."""
    teacher: Tensor
    """(B,) clusters of the teacher's features."""
    means: Tensor
    """(K, D) means of the clusters, of L2-normalised features; no gradient."""


def assignment_loss(features: Tensor, assignment: Assignment, temperature: float = 0.1) -> Tensor:
    """L1C, the differentiable surrogate of eq. 14.

    Cross-entropy between the student's soft assignment, softmax(-|f - mean|^2 / temperature) over the
    clusters, and the teacher's cluster. Eq. 14 itself, the count of clips whose student and teacher
    differ, has no gradient: `disagreement` is that number.

    Args:
        features: (B, D) of the student.
    """
    features = F.normalize(wide(features), dim=1)
    squared = features.square().sum(1, keepdim=True) - 2 * features @ assignment.means.T
    squared = squared + assignment.means.square().sum(1)
    return F.cross_entropy(-squared / temperature, assignment.teacher)


def compactness_loss(features: Tensor, assignment: Assignment) -> Tensor:
    """L2C, eq. 15: mean Euclidean distance of the student's features (B, D) to the mean of their cluster."""
    difference = F.normalize(wide(features), dim=1) - assignment.means[assignment.student]
    return difference.square().sum(1).clamp_min(1e-12).sqrt().mean()


def disagreement(assignment: Assignment) -> Tensor:
    """Eq. 14: the fraction of clips whose student and teacher fall into different clusters."""
    return (assignment.student != assignment.teacher).float().mean()


@torch.no_grad()
def cluster_batch(student: Tensor, teacher: Tensor, clusters: int, restarts: int, seed: int) -> Assignment:
    """k-means over the features (B, D) of one batch, as the authors' code has it.

    The two features of one clip are near each other from the start, so student and teacher agree at once:
    a weak form of eq. 13, kept for comparison.
    """
    features = F.normalize(wide(torch.cat([student, teacher])), dim=1)
    found = ranks.of_first(lambda: kmeans(features, clusters, restarts=restarts, seed=seed), features.device)
    of_student, of_teacher = found.labels.chunk(2)
    return Assignment(of_student, of_teacher, found.centroids)


class FeatureMemory:
    """Student and teacher features of every target tracklet, and their clusters (eq. 13).

    Each step writes the features of its batch, in place; `cluster` runs k-means over all that is written. Where
    cameras are known, clusters are sought among features standardised per camera, because plain ones
    fall apart by camera before they do by person; the means that the losses use are taken over plain
    features, and so pull a person's cameras together.

    Args:
        tracklets: N, tracklets of the target.
        width: D.
        cameras: (N,) int64, or None for camera-blind clusters.
    """

    def __init__(self, tracklets: int, width: int, cameras: Tensor | None, device: torch.device | str = "cpu"):
        self.features = torch.zeros(2, tracklets, width, device=device)
        self.written = torch.zeros(tracklets, dtype=torch.bool, device=device)
        self.labels = torch.full((tracklets,), -1, dtype=torch.int64, device=device)
        self.camera_aware = cameras is not None
        if cameras is None:
            cameras = torch.zeros(tracklets, dtype=torch.int64)
        _, cameras = cameras.unique(return_inverse=True)
        self.cameras = cameras.to(device)
        groups = int(cameras.max()) + 1
        self.camera_mean = torch.zeros(groups, width, device=device)
        self.camera_scale = torch.ones(groups, width, device=device)
        self.centroids: Tensor | None = None
        self.means: Tensor | None = None

    def write(self, tracklets: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Keep the features (B, D) of student and teacher for the tracklets (B,)."""
        self.features[0, tracklets] = F.normalize(wide(student.detach()), dim=1)
        self.features[1, tracklets] = F.normalize(wide(teacher.detach()), dim=1)
        self.written.index_fill_(0, tracklets, True)

    @torch.no_grad()
    def cluster(self, clusters: int, restarts: int, seed: int) -> None:
        """k-means over all written features, student's and teacher's; K is at most their number.

        Where it is ended in the middle, nothing has changed.
        """
        rows = self.written.nonzero().squeeze(1)
        plain = self.features[:, rows].flatten(0, 1)
        cameras = self.cameras[rows].repeat(2)
        mean, scale = self._measure_cameras(plain, cameras)
        count, features = min(clusters, len(plain)), _standardise(plain, mean[cameras], scale[cameras])
        found = ranks.of_first(lambda: kmeans(features, count, restarts=restarts, seed=seed), features.device)
        self.camera_mean.copy_(mean)
        self.camera_scale.copy_(scale)
        self.centroids = kept(self.centroids, found.centroids)
        sums = torch.zeros_like(found.centroids).index_add_(0, found.labels, plain)
        self.means = kept(self.means, sums / found.counts[:, None].clamp_min(1))
        self.labels.fill_(-1)
        self.labels[rows] = found.labels[: len(rows)]

    def cluster_facts(self) -> dict[str, Tensor]:
        """`cluster_facts` of the student's features in the last clustering, so that a size counts tracklets; none
        before the first. Cameras are told where the clusters know them."""
        if self.centroids is None:
            return {}
        return cluster_facts(self.labels, len(self.centroids), self.cameras if self.camera_aware else None)

    @torch.no_grad()
    def assign(self, tracklets: Tensor, student: Tensor, teacher: Tensor) -> Assignment:
        """Clusters of a batch: features (B, D) of the tracklets (B,) against the centroids of `cluster`."""
        features = F.normalize(wide(torch.cat([student, teacher])), dim=1)
        cameras = self.cameras[tracklets].repeat(2)
        standardised = _standardise(features, self.camera_mean[cameras], self.camera_scale[cameras])
        labels, _ = kmeans_assign(standardised, self.centroids, distances=False)
        of_student, of_teacher = labels.chunk(2)
        return Assignment(of_student, of_teacher, self.means)

    def _measure_cameras(self, features: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (cameras, D) of the features of each, but where clusters know no cameras."""
        if not self.camera_aware:
            return self.camera_mean, self.camera_scale
        groups = len(self.camera_mean)
        count = torch.bincount(cameras, minlength=groups).clamp_min(1)[:, None]
        mean = torch.zeros_like(self.camera_mean).index_add_(0, cameras, features) / count
        square = torch.zeros_like(mean).index_add_(0, cameras, (features - mean[cameras]).square()) / count
        return mean, square.sqrt().clamp_min(1e-6)

    def state_dict(self) -> dict[str, Tensor | None]:
        names = ("features", "written", "labels", "camera_mean", "camera_scale", "centroids", "means")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Take it back.

        Raises:
            ValueError: it is of other tracklets, cameras or features, or is not finite.
        """
        centroids = state.get("centroids")
        known = isinstance(centroids, Tensor)
        clusters = len(centroids) if known and centroids.dim() else 0
        means = torch.zeros(clusters, self.features.shape[2]) if known else None
        check_restored("memory", state, {**self.state_dict(), "centroids": means, "means": means}, clusters)
        for name, value in state.items():
            setattr(self, name, value if value is None else value.to(self.features.device))


def _standardise(features: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """The features (B, D), less the mean and over the scale of each, with unit length."""
    return F.normalize((features - mean) / scale, dim=1)
