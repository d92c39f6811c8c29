"""How alike two maps of unit vectors are, by the best match of each place: no tensor of all places of all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vreid_fast.errors import InputError

TILE = 1 << 24
"""Products of places that are held at once, or one pair's: 64 MB in float32."""


class Matcher(nn.Module):
    """Maps (Q, C, h, w) and (G, C, h, w) -> scores (Q, G), symmetric in the two; higher is more alike.

    Each place of one map takes the largest product with any place of the other, both ways. A norm, a weight for each
    place and another norm make a score of these; in training the norms go over all pairs that are given.

    Args:
        size: (h, w).
    """

    authors: ClassVar[dict[str, str]] = {"norm.": "bn.", "places.": "fc.", "score_norm.": "logit_bn."}

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size
        places = size[0] * size[1]
        self.norm = nn.BatchNorm1d(1)
        self.places = nn.Linear(places, 1)
        nn.init.constant_(self.places.weight, 1 / places)
        self.score_norm = nn.BatchNorm1d(1)

    def forward(self, query: Tensor, gallery: Tensor) -> Tensor:
        """Raises InputError for maps of another size."""
        for maps in (query, gallery):
            if tuple(maps.shape[2:]) != self.size:
                came, wanted = (" x ".join(map(str, size)) for size in (maps.shape[2:], self.size))
                raise InputError(f"pair_score: wanted maps of {wanted} places, got {came}; give frames as built for")
        query, gallery = (maps.flatten(2).transpose(1, 2) for maps in (query, gallery))
        if self.training:
            rows = [
                torch.cat([self._best(query[of], gallery[by]) for by in _slices(len(gallery), len(gallery))], 2)
                for of in _slices(len(query), TILE // max(1, gallery.shape[0] * query.shape[1] ** 2))
            ]
            return self._score(torch.cat(rows, 1))
        side = max(1, int((TILE / query.shape[1] ** 2) ** 0.5))
        scores = query.new_empty(len(query), len(gallery), dtype=torch.promote_types(query.dtype, torch.float32))
        for of in _slices(len(query), side):
            for by in _slices(len(gallery), side):
                scores[of, by] = self._score(self._best(query[of], gallery[by]))
        return scores

    def _best(self, query: Tensor, gallery: Tensor) -> Tensor:
        """(q, hw, C) and (g, hw, C) -> (2, q, g, hw): of each place of one its best in the other. The products are made
        anew in the backward pass."""
        if torch.is_grad_enabled():
            return checkpoint(_best, query, gallery, use_reentrant=False, preserve_rng_state=False)
        return _best(query, gallery)

    def _score(self, best: Tensor) -> Tensor:
        """(2, q, g, hw) -> (q, g), in float32 or better."""
        with torch.autocast(best.device.type, enabled=False):
            wide = best.to(torch.promote_types(best.dtype, torch.float32))
            each = self.places(self.norm(wide.reshape(-1, 1, wide.shape[3]))).view(wide.shape[:3])
            return self.score_norm(each.sum(0).view(-1, 1)).view(wide.shape[1:3])


def _best(query: Tensor, gallery: Tensor) -> Tensor:
    places = query.shape[1]
    products = (query.flatten(0, 1) @ gallery.flatten(0, 1).T).view(len(query), places, len(gallery), places)
    return torch.stack([products.amax(3).transpose(1, 2), products.amax(1)])


def _slices(count: int, length: int) -> Iterator[slice]:
    length = max(1, length)
    return (slice(start, start + length) for start in range(0, count, length))
