"""Consistency of student and teacher on the target: L^C (eq. 16), and what comes before and after a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vreid_fast.data.batches import Batches
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import Protocol, embed
from vreid_fast.losses import FeatureMemory, assignment_loss, cluster_batch, compactness_loss, disagreement

from .learner import Learner
from .target_statistics import adopt_target_statistics, measure_cameras


def consistency_losses(
    memory: FeatureMemory | None,
    tracklets: Tensor,
    student: Tensor,
    teacher: Tensor,
    *,
    terms: Sequence[str] = ("l1c", "l2c"),
    clusters: int = 16,
    restarts: int = 10,
    refresh: bool = False,
    seed: int = 0,
    temperature: float = 0.1,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """L1C and L2C of a target batch, as far as `terms` names them.

    Args:
        memory: the clusters' memory, which takes the batch in; None clusters each batch by itself.
        tracklets: (B,) rows of the memory.
        student, teacher: (B, D) clip features.
        refresh: cluster the memory anew.

    Returns:
        The losses by name, and eq. 14 itself: the fraction of clips whose student and teacher disagree.
    """
    if not terms:
        return {}, {}
    if memory is None:
        assignment = cluster_batch(student.detach(), teacher, clusters, restarts, seed)
    else:
        memory.write(tracklets, student, teacher)
        if refresh:
            memory.cluster(clusters, restarts, seed)
        assignment = memory.assign(tracklets, student.detach(), teacher)
    found = {}
    if "l1c" in terms:
        found["l1c"] = assignment_loss(student, assignment, temperature)
    if "l2c" in terms:
        found["l2c"] = compactness_loss(student, assignment)
    return found, {"disagreement": disagreement(assignment)}


@torch.no_grad()
def fill_memory(learner: Learner, batches: Batches, precision: Precision) -> None:
    """One pass over the target, so that the first clustering sees nearly all of it; here student = teacher."""
    with batches.statistics() as loader:
        for (batch,) in loader:
            with precision.cast():
                features = learner.teacher(batch.clips)
            learner.memory.write(batch.tracklets, features, features)


def refresh_proxies(
    learner: Learner,
    batches: Batches,
    protocol: Protocol,
    precision: Precision,
    *,
    per_camera: bool,
    clusters: int,
    restarts: int,
    seed: int,
) -> None:
    """Embed the whole target with the teacher, as at test, and cluster it anew."""
    unlabelled, teacher = batches.domains.target_tracklets, learner.teacher.network
    statistics = measure_cameras(teacher, batches, precision) if per_camera else None
    if not per_camera:
        adopt_target_statistics(teacher, batches, precision)
    features = embed(teacher, unlabelled, protocol, precision, statistics)
    learner.memory.write(torch.arange(len(unlabelled), device=learner.device), features.to(learner.device))
    learner.memory.cluster(clusters, restarts, seed)
