"""What clusters look like: how many are used, how large they are, how many cameras meet in one; their state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vreid_fast.models.state import few, misfits


@torch.no_grad()
def cluster_facts(labels: Tensor, clusters: int, cameras: Tensor | None = None) -> dict[str, Tensor]:
    """Facts about the clusters that hold a sample, as 0-d tensors; all 0 where none does.

    Nothing waits for the device.

    Args:
        labels: (N,) int64 clusters of the samples; -1 = in no cluster.
        clusters: K.
        cameras: (N,) int64 from 0, or None where they are not known.

    Returns:
        clusters (that are used), cluster_size_smallest, cluster_size_median, cluster_size_largest and, of known
        cameras, cameras_per_cluster (mean of the number of different ones).
    """
    # Not bincount, which waits for the device. Place 0 takes the samples of no cluster.
    counts = torch.zeros(max(clusters, 1) + 1, dtype=torch.int64, device=labels.device)
    counts = counts.index_add_(0, labels + 1, torch.ones_like(labels))[1:]
    used = (counts > 0).sum()
    sizes = counts.sort(descending=True).values
    places = torch.stack([torch.zeros_like(used), (used - 1) // 2, used // 2, used - 1]).clamp_min(0)
    largest, *middle, smallest = sizes.gather(0, places).unbind()
    found = {
        "clusters": used,
        "cluster_size_smallest": smallest,
        "cluster_size_median": torch.stack(middle).float().mean(),
        "cluster_size_largest": largest,
    }
    if cameras is not None:
        # A number for each pair of cluster and camera; those that differ are counted, which costs no table of pairs.
        pairs = (labels * 2**32 + cameras).masked_fill(labels < 0, -1).sort().values
        new = pairs >= 0
        new[1:] &= pairs[1:] != pairs[:-1]
        found["cameras_per_cluster"] = new.sum() / used.clamp_min(1)
    return found


def overlaps_met(labels: Tensor, apart: Tensor) -> Tensor:
    """Share of pairs (P, 2) of two people that are in one cluster (labels (N,), -1 = in none); 0 where P is 0."""
    one, other = labels[apart].unbind(1)
    return ((one == other) & (one >= 0)).sum() / max(len(apart), 1)


def kept(place: Tensor | None, values: Tensor) -> Tensor:
    """The values, in the memory of `place` where they fit: what was recorded of it (a CUDA graph) then reads them."""
    return values if place is None or place.shape != values.shape else place.copy_(values)


def check_restored(what: str, state: Mapping, wanted: Mapping[str, Tensor | None], clusters: int) -> None:
    """Refuse a state of clusters that is not of these tracklets, cameras and features.

    Args:
        what: it is, for the error.
        wanted: by name a tensor of the right shape and type, or None where there must be none.
        clusters: K; the state's `labels` are below it, and -1 or more.

    Raises:
        ValueError: naming what differs.
    """
    bad = misfits(
        {name: value for name, value in state.items() if value is not None},
        {name: value for name, value in wanted.items() if value is not None},
    )
    bad += [f"{name} is missing" for name in wanted if name not in state and wanted[name] is None]
    if not bad and state["labels"] is not None and len(state["labels"]):
        least, most = int(state["labels"].min()), int(state["labels"].max())
        if least < -1 or most >= max(clusters, 1):
            bad = [f"labels are {least} to {most} of {clusters} clusters"]
    if bad:
        raise ValueError(f"{what}: {few(bad)}")
