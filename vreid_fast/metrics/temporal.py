"""Temporal lifting: who was seen with the query before its camera is seen with it before others too.

Liao and Shao, "Interpretable and Generalizable Person Re-identification with Query-Adaptive Convolution and Temporal
Lifting", ECCV 2020.
"""

import torch

from .distance import all_finite, as_features, as_tensor


@torch.no_grad()
def temporal_lift(
    scores,
    query_cameras,
    query_times,
    gallery_cameras,
    gallery_times,
    *,
    within: float = 100.0,
    spread: float = 200.0,
    neighbours: int = 10,
    floor: float = 0.2,
) -> torch.Tensor:
    """Scores times how likely the time of each gallery item is, by where those are found that were near the query.

    Of all queries of the query's camera in less than `within` of it, itself too, the `neighbours` highest scores with
    items of one camera are taken. An item of that camera is likely by exp(-(difference of times / spread)^2), mean over
    those, and `floor` is added. Only the order within one query means something.

    Args:
        scores: (Q, G) floats of at least 0, higher is more alike.
        query_cameras, gallery_cameras: (Q,) and (G,) integers.
        query_times, gallery_times: (Q,) and (G,) in one unit, as are `within` and `spread` (the authors': frames).

    Returns:
        (Q, G), of the scores' dtype and device.

    Raises:
        ValueError: another shape, a score below 0 or not finite, a time that is not finite, a parameter out of range.
    """
    scores = as_features("temporal_lift", "scores", scores)
    if scores.numel() and scores.min() < 0:
        raise ValueError(f"temporal_lift: scores must be at least 0, got {float(scores.min()):g}")
    if not (within > 0 and spread > 0 and neighbours >= 1 and 0 <= floor < float("inf")):
        raise ValueError(
            "temporal_lift: within, spread and neighbours must be above 0 and floor at least 0, got "
            f"{within}, {spread}, {neighbours} and {floor}"
        )

    def column(name: str, values, count: int) -> torch.Tensor:
        values = as_tensor("temporal_lift", name, values, scores.device)
        if values.shape != (count,):
            raise ValueError(f"temporal_lift: {name} must be ({count},), got {tuple(values.shape)}")
        return values

    queries, count = scores.shape
    cameras, items = column("query_cameras", query_cameras, queries), column("gallery_cameras", gallery_cameras, count)
    times, seen = column("query_times", query_times, queries), column("gallery_times", gallery_times, count)
    times, seen = times.double(), seen.double()
    if not (all_finite(times) and all_finite(seen)):
        raise ValueError("temporal_lift: query_times and gallery_times must be finite, got NaN or infinity")
    lifted = torch.empty_like(scores)
    of_cameras = [(items == camera).nonzero()[:, 0] for camera in items.unique()]
    for query in range(len(scores)):
        together = ((cameras == cameras[query]) & ((times - times[query]).abs() < within)).nonzero()[:, 0]
        for own in of_cameras:
            pooled = scores[together][:, own].flatten()
            found = pooled.topk(min(neighbours, len(pooled))).indices % len(own)
            away = (seen[own, None] - seen[own][found]) / spread
            likely = (-away.square()).exp().mean(1) + floor
            lifted[query, own] = scores[query, own] * likely.to(scores.dtype)
    return lifted
