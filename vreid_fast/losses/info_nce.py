"""SINet's contrast between the frames of one person: InfoNCE (van den Oord et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vreid_fast.device import wide


def info_nce(projected: Tensor, per_identity: int, temperature: float = 0.07) -> Tensor:
    """Frames at one place of a person's clips attract each other, frames at other places are repelled.

    With s the cosine similarity over the temperature, a pair of frames t of two clips of a group gives
    -log(exp(s) / (exp(s) + the sum of exp(s') over the group's frames other than t)): the mean over a
    group's pairs, summed over groups. A clip of 8 frames counts as two of 4, side by side, and a group holds
    half as many clips then, as the authors have it.

    Args:
        projected: (B, T, D), T at least 2.
        per_identity: K; each K clips in a row are of one person and make a group.

    Raises:
        ValueError: another shape, B no multiple of K, K or T below 2.
    """
    clips, frames = projected.shape[:2]
    if frames == 8:
        clips, frames = 2 * clips, 4
    if projected.dim() != 3 or frames < 2 or per_identity < 2 or clips % per_identity:
        raise ValueError(
            f"info_nce: wanted (B, T, D) with T >= 2 and groups of {per_identity} >= 2 clips, "
            f"got {tuple(projected.shape)}"
        )
    # (groups, T, K) places, in this order, so that frames t of a group stand side by side.
    places = F.normalize(wide(projected), dim=2).reshape(-1, per_identity, frames, projected.shape[2])
    vectors = places.transpose(1, 2).flatten(1, 2)
    similarity = vectors @ vectors.mT / temperature
    place = torch.arange(frames, device=projected.device).repeat_interleave(per_identity)
    same = place[:, None] == place
    repelled = similarity.masked_fill(same, -torch.inf).logsumexp(2, keepdim=True)
    pairs = same & ~torch.eye(len(place), dtype=torch.bool, device=projected.device)
    losses = F.softplus(repelled - similarity).masked_fill(~pairs, 0.0)
    return losses.sum() / (frames * per_identity * (per_identity - 1))
