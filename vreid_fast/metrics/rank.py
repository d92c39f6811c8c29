"""CMC and mAP of a ranking, with neither a loop over queries nor an argsort.

A gallery item of the query's own identity that the protocol does not ask for is junk: it is taken out
of that query's ranking. Everything else stays, in order of distance, and at equal distance in gallery
order. Gallery items of identity -1 are junk for every query (as in MARS and Market-1501).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from vreid_fast.errors import InputError

from .distance import all_finite, as_features, as_tensor, distance_rows

PROTOCOLS = ("market", "same_clothes", "clothes_change")
CMC_DEPTH = 50
_PAIRS = 1 << 20  # query x gallery pairs at a time: about 30 MB
_PAIRS_CPU = 1 << 18  # the same, about what the cache of a core holds
_QUERIES = 128  # whose distances are computed at a time, or more: each such product reads the whole gallery
_JUNK = torch.iinfo(torch.int64).max - 1  # a sort key behind every distance; even, so not a hit


class Labels(NamedTuple):
    """(N,) int64 identities, cameras and clothes of the queries or of the gallery; None where unknown."""

    identities: torch.Tensor
    cameras: torch.Tensor | None = None
    clothes: torch.Tensor | None = None

    @classmethod
    def of(cls, side: str, count: int, device, identities, cameras=None, clothes=None) -> "Labels":
        """Labels of `count` items from arrays, tensors or lists; `side` names them in errors."""

        def column(name, values):
            if values is None:
                return None
            values = as_tensor("rank_metrics", f"{side}_{name}", values, device)
            integers = not (values.is_floating_point() or values.is_complex())
            if values.shape != (count,) or (count and not integers):
                raise ValueError(
                    f"rank_metrics: {side}_{name} must be ({count},) integers, one for each {side} item, "
                    f"got {tuple(values.shape)} {values.dtype}"
                )
            return values.long()

        if identities is None:
            raise ValueError(f"rank_metrics: {side}_identities must be ({count},) integers, got None")
        return cls(column("identities", identities), column("cameras", cameras), column("clothes", clothes))

    def rows(self, part: slice) -> "Labels":
        return Labels(*(None if column is None else column[part] for column in self))


def rank_metrics(
    query_features,
    query_identities,
    query_cameras,
    gallery_features,
    gallery_identities,
    gallery_cameras,
    *,
    distance: str = "cosine",
    protocol: str = "market",
    query_clothes=None,
    gallery_clothes=None,
    ranks: tuple[int, ...] = (1, 5, 10, 20),
) -> dict:
    """Retrieval scores of query features against gallery features.

    The average precision of a query is the mean of the precision at each of its hits (not the trapezoid
    rule of the MARS scripts); scores are means over the queries that have a match at all.

    Args:
        query_features, gallery_features: (Q, D) and (G, D), tensors or arrays of any float type.
        query_identities, gallery_identities: (Q,) and (G,) integers.
        query_cameras, gallery_cameras: (Q,) and (G,) integers; both None when cameras are unknown, and
            then nothing is junk for its camera.
        distance: ``"cosine"``, ``"euclidean"`` or ``"dot"``, see `pairwise_distances`; compared in float32.
        protocol: ``"market"``, a match is the same person in another camera; ``"same_clothes"`` and
            ``"clothes_change"``, moreover in the same, or in other, clothes (CCVID).
        query_clothes, gallery_clothes: (Q,) and (G,) integers, for the last two protocols.
        ranks: the k of the rank-k scores.

    Returns:
        ``rank1``, ``rank5``, ... (fraction of the queries with a hit among the first k), ``map``,
        ``queries`` (counted), ``unmatched`` (left out: nothing to find) and ``cmc``, a float64 array
        over the first min(50, G) ranks.

    Raises:
        ValueError: a wrong shape, dtype, distance, protocol or rank, or features with NaN or infinity.
        InputError: no query has a match.
    """
    query_features = as_features("rank_metrics", "query_features", query_features)
    gallery_features = as_features("rank_metrics", "gallery_features", gallery_features)
    shape, device = (len(query_features), len(gallery_features)), query_features.device
    query = Labels.of("query", shape[0], device, query_identities, query_cameras, query_clothes)
    gallery = Labels.of("gallery", shape[1], device, gallery_identities, gallery_cameras, gallery_clothes)
    rows = distance_rows(query_features, gallery_features, distance)
    return _scores(*rank_queries(rows, query, gallery, protocol), shape[1], ranks)


def rank_distances(
    distances,
    query_identities,
    query_cameras,
    gallery_identities,
    gallery_cameras,
    *,
    protocol: str = "market",
    query_clothes=None,
    gallery_clothes=None,
    ranks: tuple[int, ...] = (1, 5, 10, 20),
) -> dict:
    """`rank_metrics` of a given (Q, G) matrix of distances, compared in float32."""
    distances = as_features("rank_distances", "distances", distances)
    shape, device = distances.shape, distances.device
    query = Labels.of("query", shape[0], device, query_identities, query_cameras, query_clothes)
    gallery = Labels.of("gallery", shape[1], device, gallery_identities, gallery_cameras, gallery_clothes)
    return _scores(*rank_queries(distances.__getitem__, query, gallery, protocol), shape[1], ranks)


def rank_queries(
    rows: Callable[[slice], torch.Tensor], query: Labels, gallery: Labels, protocol: str = "market"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank the gallery for every query, some queries at a time.

    Args:
        rows: gives the distances (q, G) of a slice of the queries.

    Returns:
        The average precision (Q,) float64, NaN for a query without a match, and the place of the first
        hit (Q,) int64, counted from 0 and meaningless without a match.
    """
    queries, items = len(query.identities), len(gallery.identities)
    average_precision = torch.full((queries,), torch.nan, dtype=torch.float64)
    first = torch.zeros(queries, dtype=torch.int64)
    chunk = max(1, (_PAIRS_CPU if query.identities.device.type == "cpu" else _PAIRS) // max(items, 1))
    for part, distances in _parts(rows, queries, chunk):
        good, junk = relevance(query.rows(part), gallery, protocol)
        query_of_hit, place = (axis.cpu() for axis in _hits(distances, good, junk))
        hits = query_of_hit.bincount(minlength=len(good))
        before = hits.cumsum(0) - hits  # hits of the earlier queries of this chunk
        nth = torch.arange(len(place)) - before[query_of_hit] + 1
        precision = nth.double() / (place + 1)
        total = torch.zeros(len(good), dtype=torch.float64).index_add_(0, query_of_hit, precision)
        average_precision[part] = total / hits  # 0 / 0 is the NaN of an unmatched query
        first[part][query_of_hit[nth == 1]] = place[nth == 1]
    return average_precision, first


def _parts(rows: Callable[[slice], torch.Tensor], queries: int, chunk: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Queries in chunks that are ranked at once, with their distances."""
    block = chunk * -(-_QUERIES // chunk)
    for begin in range(0, queries, block):
        distances = rows(slice(begin, begin + block))
        for start in range(0, len(distances), chunk):
            yield slice(begin + start, begin + start + chunk), distances[start : start + chunk]


def relevance(query: Labels, gallery: Labels, protocol: str = "market") -> tuple[torch.Tensor, torch.Tensor]:
    """The matches of each query and the gallery items that are junk for it: two (Q, G) bool masks."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"rank_metrics: protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if (query.cameras is None) != (gallery.cameras is None):
        raise ValueError("rank_metrics: query_cameras and gallery_cameras must be given both or neither")
    same = query.identities[:, None] == gallery.identities
    good = same & (gallery.identities != -1)
    if query.cameras is not None:
        good &= query.cameras[:, None] != gallery.cameras
    if protocol != "market":
        if query.clothes is None or gallery.clothes is None:
            raise ValueError(f"rank_metrics: protocol {protocol!r} needs query_clothes and gallery_clothes")
        same_clothes = query.clothes[:, None] == gallery.clothes
        good &= same_clothes if protocol == "same_clothes" else ~same_clothes
    return good, (same & ~good) | (gallery.identities == -1)


def _hits(distances: torch.Tensor, good: torch.Tensor, junk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and place (from 0) of every match, by query and then by place.

    Distance, gallery index and match go into one int64, so that sorting bare numbers ranks the gallery:
    no two are equal, hence no unstable order, and the matches are read off the lowest bit.
    """
    if not all_finite(distances):
        raise ValueError("rank_metrics: distances must be finite, got NaN or infinity; are the features too long?")
    # Read as integers, floats keep their order once the lower bits of negative ones are flipped;
    # adding 0.0 turns -0.0 into 0.0.
    bits = (distances.float() + 0.0).view(torch.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    places = torch.arange(0, 2 * bits.shape[1], 2, dtype=torch.int32, device=bits.device)
    keys = torch.stack([places + good, bits], -1).view(torch.int64)[..., 0]  # the lower half comes first
    keys.masked_fill_(junk, _JUNK)
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)  # SIMD: ten times as fast as torch.sort
    else:
        keys = keys.sort(dim=1).values
    return keys.bitwise_and_(1).nonzero(as_tuple=True)


def _scores(average_precision: torch.Tensor, first: torch.Tensor, items: int, ranks: tuple[int, ...]) -> dict:
    if not all(isinstance(k, int) and k >= 1 for k in ranks):
        raise ValueError(f"rank_metrics: ranks must be integers from 1, got {ranks}")
    matched = ~average_precision.isnan()
    queries = int(matched.sum())
    if queries == 0:
        raise InputError(
            f"no query of {len(matched)} has a match among {items} gallery items; a match is the same "
            "identity in another camera: look at the identities and cameras of both"
        )
    first = first[matched]
    found = first.bincount(minlength=CMC_DEPTH).cumsum(0).double() / queries
    return {
        **{f"rank{k}": (first < k).double().mean().item() for k in ranks},
        "map": average_precision[matched].mean().item(),
        "queries": queries,
        "unmatched": len(matched) - queries,
        "cmc": found[: min(CMC_DEPTH, items)].numpy(),
    }
