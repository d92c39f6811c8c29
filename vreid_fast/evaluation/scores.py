"""What a network scores on a data set: its tracklets' vectors are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vreid_fast.data import Dataset, Tracklet
from vreid_fast.data.cameras import pool_cameras
from vreid_fast.data.checks import why_unscored
from vreid_fast.data.tracklets import all_known
from vreid_fast.device import Precision
from vreid_fast.metrics import (
    camera_standardise,
    pairwise_distances,
    rank_distances,
    rank_metrics,
    rerank,
    rerank_distances,
)
from vreid_fast.metrics.distance import unit
from vreid_fast.models import CameraStatistics, VideoNetwork

from .clothes import clothes_of, clothes_protocols
from .embed import Protocol, embed
from .pairs import pair_distances


@dataclass
class Evaluation:
    """Vectors of a data set's subsets under one network, and the scores they give."""

    data: Dataset
    protocol: Protocol
    query: Tensor
    gallery: Tensor
    train: Tensor | None = None
    pairs: Tensor | None = None
    """(Q, G) distances, of a network that compares pairs: its vectors are compared by nothing else."""

    @classmethod
    def of(
        cls,
        network: VideoNetwork,
        data: Dataset,
        protocol: Protocol,
        precision: Precision,
        train: bool = False,
        statistics: CameraStatistics | None = None,
    ) -> Evaluation:
        """Embed query and gallery, and the unlabelled training tracklets when `train`; each tracklet once.

        Of a data set that cannot be scored only the training tracklets are.
        """
        if why_unscored(data):
            vectors = embed(network, data.train, protocol, precision, statistics) if train else None
            return cls(data, protocol, torch.empty(0), torch.empty(0), vectors)
        wanted = [*data.query, *data.gallery, *(data.train if train else [])]
        position = {id(tracklet): row for row, tracklet in enumerate({id(t): t for t in wanted}.values())}
        vectors = embed(network, list({id(t): t for t in wanted}.values()), protocol, precision, statistics)
        parts = vectors[[position[id(tracklet)] for tracklet in wanted]].split(
            [len(data.query), len(data.gallery), len(wanted) - len(data.query) - len(data.gallery)]
        )
        pairs = pair_distances(network, parts[0], parts[1]) if network.compares_pairs else None
        return cls(data, protocol, parts[0], parts[1], parts[2] if train else None, pairs)

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

    def reranked_scores(self, network: VideoNetwork) -> dict:
        """Scores after `rerank`, of unit vectors where the distance is the cosine; `network` is the one of these, which
        is asked for more pairs where it compares pairs."""
        query, gallery, data = self.query, self.gallery, self.data
        if self.pairs is not None:
            known = self.pairs, pair_distances(network, query, query), pair_distances(network, gallery, gallery)
            least = min(float(part.min()) for part in known)  # minus scores have no zero of their own
            between, queries, items = (part - least for part in known)
            distances = rerank_distances(between, queries, items)
        elif self.protocol.distance == "cosine":
            distances = rerank(unit(query), unit(gallery))
        else:
            distances = rerank(query, gallery)
        scores = rank_distances(
            distances, [t.identity for t in data.query], _cameras(data.query),
            [t.identity for t in data.gallery], _cameras(data.gallery),
        )  # fmt: skip
        return _rounded(scores)

    def distances(self) -> Tensor:
        """(Q, G) distances of the queries to the gallery."""
        if self.pairs is not None:
            return self.pairs
        return pairwise_distances(self.query, self.gallery, self.protocol.distance)

    def camera_scores(self) -> dict | None:
        """The same after standardising features per camera, by the statistics of unlabelled training clips; None
        also where pairs are compared, which has no features to standardise."""
        return self._rank(*self.camera_standardised()) if self.scored and self.pairs is None else None

    def camera_standardised(self) -> tuple[Tensor, Tensor]:
        """Query and gallery features (Q, D) and (G, D), standardised per camera."""
        known = pool_cameras([tracklet.camera for tracklet in self.data.train])
        query, gallery = (
            camera_standardise(features, _cameras(tracklets) if known else None, self.train, known)
            for features, tracklets in ((self.query, self.data.query), (self.gallery, self.data.gallery))
        )
        return query, gallery

    def _rank(self, query: Tensor, gallery: Tensor, protocol: str = "market") -> dict:
        data = self.data
        identities = [[t.identity for t in side] for side in (data.query, data.gallery)]
        clothes = [clothes_of(side) for side in (data.query, data.gallery)]
        if self.pairs is not None:
            scores = rank_distances(
                self.pairs, identities[0], _cameras(data.query), identities[1], _cameras(data.gallery),
                protocol=protocol, query_clothes=clothes[0], gallery_clothes=clothes[1],
            )  # fmt: skip
        else:
            scores = rank_metrics(
                query, identities[0], _cameras(data.query), gallery, identities[1], _cameras(data.gallery),
                distance=self.protocol.distance, protocol=protocol,
                query_clothes=clothes[0], gallery_clothes=clothes[1],
            )  # fmt: skip
        return _rounded(scores)


def _rounded(scores: dict) -> dict:
    """As they are written down."""
    return {**scores, "cmc": [round(float(value), 6) for value in scores["cmc"]]}


def _cameras(tracklets: Sequence[Tracklet]) -> list[int] | None:
    return all_known(tracklet.camera for tracklet in tracklets)
