"""What a network scores on a data set: tracklets become vectors, vectors are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vreid_fast.config import Config
from vreid_fast.data import Dataset, Tracklet
from vreid_fast.data.checks import why_unscored
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading.bad_frames import BadFrames
from vreid_fast.data.reading.loader import Loader, Reading, Stream, TestPlan
from vreid_fast.device import Precision
from vreid_fast.metrics import camera_standardise, pairwise_distances, rank_metrics
from vreid_fast.models import CameraStatistics, using_statistics

from .clothes import clothes_of, clothes_protocols


@dataclass(frozen=True)
class Protocol:
    """How tracklets become vectors: all that evaluation needs beside a network and data."""

    frames: int
    reading: Reading
    clips: str = "even"
    batch: int = 64
    distance: str = "cosine"

    @staticmethod
    def of(config: Config, reading: Reading) -> Protocol:
        return Protocol(config.frames, reading, config.test_clips, config.test_batch, config.distance)


def reading_of(config: Config, precision: Precision) -> Reading:
    """How a run reads clips: as its network wants them."""
    return Reading(
        size=(config.height, config.width), device=precision.device, dtype=precision.dtype, channels_last=True,
        backend=None if config.loader == "auto" else config.loader, threads=config.loader_threads,
        bad_frames=BadFrames(config.on_bad_frame),
    )  # fmt: skip


@torch.no_grad()
def embed(
    network: nn.Module,
    tracklets: Sequence[Tracklet],
    protocol: Protocol,
    precision: Precision,
    statistics: CameraStatistics | None = None,
) -> Tensor:
    """The vectors (N, D) of tracklets, float32 on the CPU: the mean over a tracklet's test clips.

    The network runs in evaluation mode, with the batch-norm statistics of each tracklet's camera where
    `statistics` has them and with its own elsewhere, and is left as it was.
    """
    sums, counts = torch.zeros(len(tracklets), network.width), torch.zeros(len(tracklets), 1)
    was_training = network.training
    network.eval()
    for camera in dict.fromkeys(tracklet.camera if statistics else None for tracklet in tracklets):
        here = [row for row, tracklet in enumerate(tracklets) if not statistics or tracklet.camera == camera]
        chosen = [tracklets[row] for row in here]
        plan = TestPlan(
            [len(tracklet) for tracklet in chosen], protocol.frames, batch=protocol.batch, mode=protocol.clips
        )
        own = statistics.get(camera) if statistics else None
        with using_statistics(network, own), Loader([Stream(chosen, plan)], protocol.reading) as loader:
            for (batch,) in loader:
                with precision.cast():
                    vectors = network.embed(batch.clips)
                rows = torch.tensor(here)[batch.tracklets.cpu()]
                sums.index_add_(0, rows, vectors.float().cpu())
                counts.index_add_(0, rows, torch.ones(len(rows), 1))
    network.train(was_training)
    return sums / counts


def embed_domains(
    network: nn.Module,
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
        [tracklets[row] for row in np.linspace(0, len(tracklets) - 1, min(most, len(tracklets))).round().astype(int)]
        for tracklets in (domains.source, domains.unlabelled)
    ]
    vectors = [
        embed(network, chosen[0], protocol, precision), embed(network, chosen[1], protocol, precision, statistics)
    ]  # fmt: skip
    cameras = [-1 if tracklet.camera is None else tracklet.camera for tracklets in chosen for tracklet in tracklets]
    return {
        "features": torch.cat(vectors).numpy(),
        "domains": np.repeat([0, 1], [len(tracklets) for tracklets in chosen]),
        "cameras": np.array(cameras),
    }


@dataclass
class Evaluation:
    """Vectors of a data set's subsets under one network, and the scores they give."""

    data: Dataset
    protocol: Protocol
    query: Tensor
    gallery: Tensor
    train: Tensor | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        data: Dataset,
        protocol: Protocol,
        precision: Precision,
        train: bool = False,
        statistics: CameraStatistics | None = None,
    ) -> Evaluation:
        """Embed query and gallery, and the unlabelled training tracklets when `train`; each tracklet once.

        Of a data set that cannot be scored nothing is embedded.
        """
        if why_unscored(data):
            return cls(data, protocol, torch.empty(0), torch.empty(0))
        wanted = [*data.query, *data.gallery, *(data.train if train else [])]
        position = {id(tracklet): row for row, tracklet in enumerate({id(t): t for t in wanted}.values())}
        vectors = embed(network, list({id(t): t for t in wanted}.values()), protocol, precision, statistics)
        parts = vectors[[position[id(tracklet)] for tracklet in wanted]].split(
            [len(data.query), len(data.gallery), len(wanted) - len(data.query) - len(data.gallery)]
        )
        return cls(data, protocol, parts[0], parts[1], parts[2] if train else None)

    @property
    def scored(self) -> bool:
        """Whether the data set is labelled for scores."""
        return why_unscored(self.data) is None

    def scores(self) -> dict | None:
        """See `rank_metrics`; None where the data set has nothing to score."""
        return self._rank(self.query, self.gallery) if self.scored else None

    def clothes_scores(self, name: str) -> dict[str, dict]:
        """Scores under the clothes protocols that the data set allows, by NAME_PROTOCOL."""
        protocols = clothes_protocols(self.data)[0] if self.scored else []
        return {f"{name}_{protocol}": self._rank(self.query, self.gallery, protocol) for protocol in protocols}

    def distances(self) -> Tensor:
        """(Q, G) distances of the queries to the gallery."""
        return pairwise_distances(self.query, self.gallery, self.protocol.distance)

    def camera_scores(self) -> dict | None:
        """The same after standardising features per camera, by the statistics of unlabelled training clips."""
        return self._rank(*self.camera_standardised()) if self.scored else None

    def camera_standardised(self) -> tuple[Tensor, Tensor]:
        known = _cameras(self.data.train)
        return tuple(
            camera_standardise(features, _cameras(tracklets) if known else None, self.train, known)
            for features, tracklets in ((self.query, self.data.query), (self.gallery, self.data.gallery))
        )

    def _rank(self, query: Tensor, gallery: Tensor, protocol: str = "market") -> dict:
        data = self.data
        scores = rank_metrics(
            query, [t.identity for t in data.query], _cameras(data.query),
            gallery, [t.identity for t in data.gallery], _cameras(data.gallery),
            distance=self.protocol.distance, protocol=protocol,
            query_clothes=clothes_of(data.query), gallery_clothes=clothes_of(data.gallery),
        )  # fmt: skip
        return {**scores, "cmc": [round(float(value), 6) for value in scores["cmc"]]}


def _cameras(tracklets: Sequence[Tracklet]) -> list[int] | None:
    cameras = [tracklet.camera for tracklet in tracklets]
    return None if not cameras or None in cameras else cameras
