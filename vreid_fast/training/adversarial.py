"""L1S, L2S and L3S of one step: the adversarial losses L^S (eq. 10) from the networks' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vreid_fast.device import to_device, wide
from vreid_fast.losses import clip_domain_loss, draw_groups, frame_domain_loss
from vreid_fast.models import DomainHeads, NetworkOutput


class Drawn(NamedTuple):
    """What chance decides for L3S, on the device."""

    groups: Tensor
    """(J, S) clips of each combined clip, see `draw_groups`."""
    seed: Tensor
    """0-d int64, of the dropout of its head."""


def draw(clips: int, groups: int, sizes: Sequence[int], rng: np.random.Generator, device: torch.device) -> Drawn:
    """Draw J = `groups` combined clips of S = `sizes` of `clips` clips; nothing waits for the device."""
    drawn, seed = draw_groups(clips, groups, sizes, rng), torch.tensor(int(rng.integers(2**31)))
    return Drawn(to_device(drawn, device), to_device(seed, device))


def domain_losses(
    heads: DomainHeads,
    source: NetworkOutput,
    target: NetworkOutput,
    strength: float | Tensor,
    drawn: Drawn,
    *,
    terms: Sequence[str] = ("l1s", "l2s", "l3s"),
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """L1S, L2S and L3S of a source and a target batch, as far as `terms` names them.

    Args:
        strength: of the gradient reversal; a 0-d tensor on the features' device where it changes by step.
        drawn: the combined clips, of source and target together.

    Returns:
        The losses by name, and the accuracies of the frame and clip classifiers.
    """
    frames = wide(torch.cat([source.frames, target.frames]))
    clips = wide(torch.cat([source.clip, target.clip]))
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
        found["l3s"] = heads.regress_combined(clips, domains, drawn.groups, strength, seed=drawn.seed)
    return found, accuracy
