"""How many neighbours a tracklet should list, told by the halves of all tracklets.

The two halves of one are one person. So clusters of the first halves alone and of the second halves alone should be
the same clusters. With lists that are too short people fall apart, and with lists that are too long they are mixed, in
one way among the first halves and in another among the second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from vreid_fast.metrics import adjusted_rand

from .clustering import CUT, Listing

SIZES = (1, 2, 3, 4, 6, 8, 12)
"""Neighbours of each camera that are tried, in this order."""
CUTS = (CUT - 0.1, CUT, CUT + 0.1)
"""Agreement is a mean over these, so that it hangs less on a single merge."""
GAIN = 0.04
"""What longer lists must add to the agreement: people who are mixed stay mixed, those in two parts may still meet."""
PAIRS = 2**25
"""Longer lists are not tried where there is more to compare. Of 8,000 tracklets of six cameras, 16 million pairs took
5 s and 1.5 GB on a core of an AMD EPYC, 160 million half a minute and 4.6 GB."""


class ListSize(NamedTuple):
    size: int
    """The smallest whose clusters agree as well as the best do, but for `GAIN`."""
    agreement: dict[int, float]
    """Of each size that was tried, up to the first that agrees less than the one before: adjusted Rand index of the
    clusters of the two halves."""
    too_long: int | None = None
    """The first size that was not tried, since it has too much to compare."""


def choose_list_size(
    halves: tuple[Tensor, Tensor], cameras: Tensor | None, apart: np.ndarray | None = None
) -> ListSize:
    """The length of lists for `cluster`.

    Args:
        halves: (N, D) features of the first and of the second half of each tracklet, on any device.
        cameras: (N,) int64; None = they are not known, and count as one.
        apart: (P, 2) int64 pairs that are two people, as of `cluster`.
    """
    listings = [Listing(features, cameras, SIZES[-1], apart) for features in halves]
    agreement: dict[int, float] = {}
    before, too_long = -1.0, None
    for size in SIZES:
        if agreement and max(listing.pairs(size) for listing in listings) > PAIRS:
            too_long = size
            break
        pairs = zip(*(listing.clusters(size, CUTS) for listing in listings), strict=True)
        agreement[size] = sum(adjusted_rand(one, other) for one, other in pairs) / len(CUTS)
        if agreement[size] < before:
            break
        before = agreement[size]
    enough = max(agreement.values()) - GAIN
    return ListSize(min(size for size, found in agreement.items() if found >= enough), agreement, too_long)
