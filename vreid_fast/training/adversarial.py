"""Adaptation: its losses L^S (eq. 10) and L^C (eq. 16) from the networks' outputs, what comes before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vreid_fast.data.batches import Batches
from vreid_fast.device import Precision
from vreid_fast.evaluation.scores import Protocol, embed
from vreid_fast.losses import (
    FeatureMemory,
    assignment_loss,
    clip_domain_loss,
    cluster_batch,
    compactness_loss,
    disagreement,
    draw_groups,
    frame_domain_loss,
)
from vreid_fast.models import CameraStatistics, DomainHeads, NetworkOutput, camera_statistics, recompute_statistics

from .learner import Learner


def domain_losses(
    heads: DomainHeads,
    source: NetworkOutput,
    target: NetworkOutput,
    strength: float | Tensor,
    *,
    terms: Sequence[str] = ("l1s", "l2s", "l3s"),
    groups: int = 16,
    sizes: Sequence[int] = (2, 4, 8),
    rng: np.random.Generator,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """L1S, L2S and L3S of a source and a target batch, as far as `terms` names them.

    Args:
        strength: of the gradient reversal; a 0-d tensor on the features' device where it changes by step.
        groups, sizes: J and S of the combined clips.
        rng: draws the combined clips and the dropout of their head.

    Returns:
        The losses by name, and the accuracies of the frame and clip classifiers.
    """
    frames = torch.cat([source.frames, target.frames]).float()
    clips = torch.cat([source.clip, target.clip]).float()
    domains = torch.arange(len(clips), device=clips.device).ge(len(source.clip)).long()
    found, accuracy = {}, {}
    if "l1s" in terms:
        logits = heads.classify_frames(frames, strength)
        found["l1s"] = frame_domain_loss(logits, domains)
        accuracy["domain_accuracy_frames"] = (logits.argmax(-1) == domains[:, None]).float().mean()
    if "l2s" in terms:
        logits = heads.classify_clips(clips, strength)
        found["l2s"] = clip_domain_loss(logits, domains)
        accuracy["domain_accuracy_clips"] = (logits.argmax(-1) == domains).float().mean()
    if "l3s" in terms:
        drawn = draw_groups(len(clips), groups, sizes, rng).to(clips.device)
        found["l3s"] = heads.regress_combined(clips, domains, drawn, strength, seed=int(rng.integers(2**31)))
    return found, accuracy


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
    unlabelled, teacher = batches.domains.unlabelled, learner.teacher.network
    statistics = measure_cameras(teacher, batches, precision) if per_camera else None
    if not per_camera:
        adopt_target_statistics(teacher, batches, precision)
    features = embed(teacher, unlabelled, protocol, precision, statistics)
    learner.memory.write(torch.arange(len(unlabelled), device=learner.device), features.to(learner.device))
    learner.memory.cluster(clusters, restarts, seed)


def adopt_target_statistics(network: nn.Module, batches: Batches, precision: Precision, steps: int = 0) -> None:
    """Recompute a network's batch-norm statistics on the unlabelled target, in place.

    Args:
        steps: target batches; 0 = one pass, at most 200.
    """
    with batches.statistics(steps) as loader, precision.cast():
        recompute_statistics(network, (batch.clips for (batch,) in loader))


def measure_cameras(network: nn.Module, batches: Batches, precision: Precision) -> CameraStatistics:
    """Batch-norm statistics of a network for each camera of the target, which all are known."""
    cameras = [tracklet.camera for tracklet in batches.domains.unlabelled]
    with batches.by_camera() as loader, precision.cast():
        return camera_statistics(network, ((cameras[int(batch.tracklets[0])], batch.clips) for (batch,) in loader))
