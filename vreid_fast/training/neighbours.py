"""Who of the source a network takes for whom: measured before each epoch of `--per_epoch graph`."""

from __future__ import annotations

import torch

from vreid_fast.data.batches import Batches
from vreid_fast.data.sampling.graph import GraphSampler
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import Protocol, embed
from vreid_fast.evaluation.pairs import pair_distances
from vreid_fast.metrics import pairwise_distances
from vreid_fast.models import VideoNetwork


def measure_people(
    sampler: GraphSampler, step: int, network: VideoNetwork, batches: Batches, protocol: Protocol, precision: Precision
) -> None:
    """Begin the sampler's epoch at a step: one random tracklet of each person, as at test, against all others.

    Nothing is done where that epoch has begun, as in a run that is gone on with in the middle of one.
    """
    epoch = step // len(sampler)
    if sampler.epoch == epoch:
        return
    tracklets = [batches.domains.source_tracklets[row] for row in sampler.probes(epoch)]
    vectors = embed(network, tracklets, protocol, precision)
    with torch.no_grad():
        if network.compares_pairs:
            distances = pair_distances(network, vectors, vectors)
        else:
            distances = pairwise_distances(vectors, vectors, protocol.distance)
    sampler.begin(epoch, distances)
