"""Domain losses L1S, L2S and the groups of L3S; the heads stand in models/domain.py.

L3S itself (eq. 9) is the op `vreid_fast.kernels.combined_regression`. Domain 0 is the source, 1 the target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.device import wide


def frame_domain_loss(logits: Tensor, domains: Tensor) -> Tensor:
    """L1S, eq. 7: logits (B, T, 2) of frames, domains (B,) of their clips -> mean cross-entropy."""
    return F.cross_entropy(wide(logits).flatten(0, 1), domains.repeat_interleave(logits.shape[1]))


def clip_domain_loss(logits: Tensor, domains: Tensor) -> Tensor:
    """L2S, eq. 8: logits (B, 2) of clips, domains (B,) -> mean cross-entropy."""
    return F.cross_entropy(wide(logits), domains)


def draw_groups(clips: int, groups: int, sizes: Sequence[int], rng: np.random.Generator) -> Tensor:
    """The combined clips of eq. 9: random groups of different clips from both domains.

    Args:
        clips: number of clips to draw from, source and target together.
        groups: J.
        sizes: S of a group, one of these at random, at most `clips`.

    Returns:
        (J, max S) int64 indices, padded with -1.
    """
    sizes = np.minimum(rng.choice(np.asarray(sizes), size=groups), clips)
    drawn = rng.random((groups, clips)).argsort(axis=1)[:, : sizes.max()]
    drawn[np.arange(drawn.shape[1]) >= sizes[:, None]] = -1
    return torch.from_numpy(drawn)
