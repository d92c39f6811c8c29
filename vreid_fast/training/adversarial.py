"""L1S, L2S and L3S of one step: the adversarial losses L^S (eq. 10) from the networks' outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vreid_fast.losses import clip_domain_loss, draw_groups, frame_domain_loss
from vreid_fast.models import DomainHeads, NetworkOutput


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
