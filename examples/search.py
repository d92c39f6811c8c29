"""Search: the tracklets that look most like a query, for a network that was trained before.

Every tracklet becomes a vector, and the gallery is ranked by its distance to the query's. Where cameras are known only
other cameras are searched: that someone was seen where the query was filmed is no news. The query is one of the data's
queries, the gallery its gallery; in data without identities both are all of its training tracklets.

    python examples/search.py --checkpoint runs/mine/last.pt --data folder:/data/my_cameras --query 0 --top 5

On two cores the network `small` takes three seconds for 100 tracklets, most of them to start. `--query` counts from 0.
"""

from __future__ import annotations

import argparse
import sys

from vreid_fast.data import Tracklet, read_dataset
from vreid_fast.device import Precision, choose_device
from vreid_fast.errors import InputError
from vreid_fast.evaluation.embed import embed
from vreid_fast.metrics import pairwise_distances
from vreid_fast.training.build import load_network, make_protocol, reading_options


def search(checkpoint: str, data: str, number: int, top: int) -> tuple[Tracklet, list[tuple[float, Tracklet]]]:
    """Query `number` of a data set, and the `top` nearest tracklets with their distances, nearest first."""
    network, config, statistics = load_network(checkpoint)
    if data != config.data.target:
        statistics = None  # those of the cameras that it adapted to, which are of no use before others

    dataset = read_dataset(data, seed=config.data.synthetic_seed)
    queries, gallery = (dataset.query, dataset.gallery) if dataset.query else (dataset.train, dataset.train)
    if not 0 <= number < len(queries):
        raise InputError(f"--query {number}: {data} has {len(queries)} queries, counted from 0")
    query = queries[number]
    others = [tracklet for tracklet in gallery if tracklet is not query and elsewhere(tracklet, query)]
    if not others:
        raise InputError(f"--query {number}: {data} has no tracklet before another camera to compare it with")

    precision = Precision("auto", choose_device("auto"))
    protocol = make_protocol(config, reading_options(config, precision))
    vectors = embed(network.to(precision.device), [query, *others], protocol, precision, statistics)
    distances = pairwise_distances(vectors[:1], vectors[1:], protocol.distance)[0]
    return query, [(float(distances[place]), others[place]) for place in distances.argsort(stable=True)[:top].tolist()]


def elsewhere(tracklet: Tracklet, query: Tracklet) -> bool:
    """Whether a tracklet may be from another camera than the query."""
    return query.camera is None or tracklet.camera != query.camera


def main(argv: list[str] | None = None) -> tuple[Tracklet, list[tuple[float, Tracklet]]]:
    """What `search` finds, printed."""
    parser = argparse.ArgumentParser(description="Rank the tracklets of a data set by their distance to a query.")
    parser.add_argument("--checkpoint", required=True, help="last.pt of a run")
    parser.add_argument("--data", required=True, help="SPEC, as for vreid_fast.train")
    parser.add_argument("--query", type=int, default=0, help="which query, from 0")
    parser.add_argument("--top", type=int, default=10, help="how many tracklets to print")
    arguments = parser.parse_args(argv)
    query, ranking = search(arguments.checkpoint, arguments.data, arguments.query, arguments.top)
    print(f"query: {query}")
    for place, (distance, tracklet) in enumerate(ranking, 1):
        print(f"{place:3}. {distance:.3f}  {tracklet}")
    return query, ranking


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
