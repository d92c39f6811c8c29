"""Tracklets become vectors, as a network is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from vreid_fast import ranks
from vreid_fast.data import Tracklet
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading.loader import Loader, ReadingOptions, Stream, TestPlan
from vreid_fast.data.sampling.clips import ClipRule
from vreid_fast.data.tracklets import spread
from vreid_fast.device import Precision
from vreid_fast.errors import Diverged
from vreid_fast.models import CameraStatistics, Statistics, VideoNetwork, using_statistics
from vreid_fast.models.state import not_finite

AT_ONCE = 64
"""Batches whose vectors stay on a GPU before they are fetched. On a CPU none do: small tensors that live on between
large ones keep the memory around them from use, and a process would grow by several MB a batch."""


@dataclass(frozen=True)
class Protocol:
    """How tracklets become vectors, and how these are compared: all that evaluation needs beside network and data."""

    frames: int
    """T, frames of a clip."""
    reading: ReadingOptions
    clips: ClipRule = "even"
    """Which clips represent a tracklet, see `TestPlan`."""
    batch: int = 64
    """Clips in a batch."""
    distance: Literal["cosine", "euclidean", "dot"] = "cosine"
    stride: int = 8
    """Of "begin" and "interleaved" clips."""


@torch.no_grad()
def embed(
    network: VideoNetwork,
    tracklets: Sequence[Tracklet],
    protocol: Protocol,
    precision: Precision,
    statistics: CameraStatistics | None = None,
    progress: Callable[[int], object] | None = None,
    half: int | None = None,
) -> Tensor:
    """The vectors (N, D) of tracklets, float32 on the CPU: the mean over the frames of a tracklet's test clips of what
    `network.describe` says of each clip, as `network.finish` leaves it.

    Each rank embeds its share of them, and has the vectors of all.

    With `half` 0 or 1 they are those of the first or the second half of each tracklet.

    `progress` is called with the number of clips of each batch that was given to the device.

    The network runs in evaluation mode, with the batch-norm statistics of each tracklet's camera where
    `statistics` has them and with its own elsewhere, and is left as it was.

    Raises:
        Diverged: vectors that are not finite, or so long that the protocol's distance between them is not; with the
            likely cause.
    """
    at_once = 1 if precision.device.type == "cpu" else AT_ONCE
    sums, counts = torch.zeros(len(tracklets), network.width), torch.zeros(len(tracklets), 1)
    with evaluating(network):
        for camera in dict.fromkeys(tracklet.camera if statistics else None for tracklet in tracklets):
            here = [row for row, tracklet in enumerate(tracklets) if not statistics or tracklet.camera == camera]
            if not (here := ranks.share(here)):
                continue
            chosen = [tracklets[row] for row in here]
            plan = TestPlan(
                [len(tracklet) for tracklet in chosen], protocol.frames, batch=protocol.batch, mode=protocol.clips,
                stride=protocol.stride, half=half,
            )  # fmt: skip
            own = statistics.get(camera) if statistics and camera is not None else None
            with using_statistics(network, own), Loader([Stream(chosen, plan)], protocol.reading) as loader:
                embedded: list[tuple[Tensor, Tensor, Tensor]] = []
                for (batch,) in loader:
                    clips, frames = batch.clips.shape[:2]
                    shares = torch.full((clips, 1), frames / protocol.frames)  # a clip of fewer frames counts for less
                    with precision.cast():
                        embedded.append((batch.tracklets, network.describe(batch.clips).to(sums.dtype), shares))
                    if progress:
                        progress(clips)
                    if len(embedded) == at_once:
                        _add(embedded, torch.tensor(here), sums, counts)
                _add(embedded, torch.tensor(here), sums, counts)
    vectors = network.finish(ranks.add_up(sums) / ranks.add_up(counts))
    _check(vectors, network, tracklets, protocol.distance)
    return vectors


@torch.no_grad()
def embed_clips(
    network: VideoNetwork, clips: Tensor, batch: int, precision: Precision, statistics: Statistics | None = None
) -> Tensor:
    """The vectors (N, D) of clips (N, T, 3, H, W), float32 on the CPU; otherwise as `embed`."""
    with evaluating(network), using_statistics(network, statistics), precision.cast():
        parts = [network.describe(part.to(precision.device).float()).float().cpu() for part in clips.split(batch)]
    return network.finish(torch.cat(parts)) if parts else torch.empty(0, network.width)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards, also after an error, it is in the mode that it was in."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _add(embedded: list[tuple[Tensor, Tensor, Tensor]], here: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Add the vectors of some batches to the sums of their tracklets, and empty the list; waits for the device."""
    if embedded:
        of, vectors, shares = (torch.cat(parts).cpu() for parts in zip(*embedded, strict=True))
        sums.index_add_(0, here[of], vectors * shares)
        counts.index_add_(0, here[of], shares)
    embedded.clear()


def _check(vectors: Tensor, network: VideoNetwork, tracklets: Sequence[Tracklet], distance: str) -> None:
    bad = ~vectors.isfinite().all(1)
    if distance != "cosine":
        # A squared distance is up to four times the longest vector's square; comparing with NaN gives False.
        bad = ~(vectors.square().sum(1) < torch.finfo(torch.float32).max / 4)
    if not bad.any():
        return
    name = not_finite(network.state_dict().items())
    cause = f"{name} is not finite" if name else "its weights are finite, but what it computes from them overflows"
    first = tracklets[int(bad.nonzero()[0])]
    raise Diverged(
        f"features of {int(bad.sum())} of {len(tracklets)} tracklets are not finite, as those of {first}: {cause}"
    )


def embed_domains(
    network: VideoNetwork,
    domains: Domains,
    protocol: Protocol,
    precision: Precision,
    statistics: CameraStatistics | None = None,
    most: int = 250,
) -> dict[str, np.ndarray]:
    """Vectors of up to `most` training tracklets of each domain, evenly spaced, for the map in the report.

    Returns:
        features (N, D) float32, domains (N,) 0 = source and 1 = target, cameras (N,), -1 where unknown.
    """
    chosen = [
        [tracklets[row] for row in spread(len(tracklets), most)]
        for tracklets in (domains.source_tracklets, domains.target_tracklets)
    ]
    vectors = [
        embed(network, chosen[0], protocol, precision), embed(network, chosen[1], protocol, precision, statistics)
    ]  # fmt: skip
    cameras = [-1 if tracklet.camera is None else tracklet.camera for tracklets in chosen for tracklet in tracklets]
    return {
        "features": network.drawn(torch.cat(vectors)).numpy(),
        "domains": np.repeat([0, 1], [len(tracklets) for tracklets in chosen]),
        "cameras": np.array(cameras),
    }
