"""Distances of tracklets under a network that compares pairs: each query with each gallery item, block by block."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from vreid_fast.errors import Diverged
from vreid_fast.models import VideoNetwork
from vreid_fast.terminal import say

from .embed import evaluating

QUERIES, ITEMS = 128, 512
"""Tracklets of a block."""
LONG = 60
"""Seconds of all blocks from which on it is said how long they take."""


@torch.no_grad()
def pair_distances(network: VideoNetwork, query: Tensor, gallery: Tensor) -> Tensor:
    """Minus the scores of each pair, (Q, G) float32 on the CPU; on a GPU computed in float16.

    How long it takes is said after the first block where that is a minute or more. The network runs in evaluation mode
    and is left as it was.

    Args:
        query: (Q, D), what `embed` gives of tracklets under this network.
        gallery: (G, D), likewise.

    Raises:
        Diverged: scores that are not finite.
    """
    device = next(network.parameters()).device
    dtype = torch.float16 if device.type == "cuda" else torch.promote_types(query.dtype, torch.float32)
    distances = torch.empty(len(query), len(gallery))
    blocks = [
        (slice(of, of + QUERIES), slice(by, by + ITEMS))
        for by in range(0, len(gallery), ITEMS)
        for of in range(0, len(query), QUERIES)
    ]
    started = time.perf_counter()
    with evaluating(network):
        for number, (of, by) in enumerate(blocks):
            scores = network.compare(query[of].to(device, dtype), gallery[by].to(device, dtype))
            distances[of, by] = -scores.cpu()
            seconds = (time.perf_counter() - started) * (len(blocks) - 1)
            if number == 0 and seconds >= LONG:
                say(f"note: {len(query):,} x {len(gallery):,} pairs are compared one by one: about {_minutes(seconds)}")
    if not distances.isfinite().all():
        raise Diverged("scores of pairs are not finite: what the matcher computes from finite maps overflows")
    return distances


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
