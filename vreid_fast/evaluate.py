"""Checkpoint and data set -> CMC and mAP: `python -m vreid_fast.evaluate --checkpoint DIR/last.pt --data SPEC`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from .clothes import clothes_of, clothes_protocols
from .config import Config, underscored
from .data import Dataset, Tracklet, read_dataset
from .data.bad_frames import POLICIES, BadFrames
from .data.formats.tables import integer
from .data.loader import Loader, Reading, Stream, TestPlan
from .data.uses import why_unscored
from .device import Precision, choose_device
from .errors import InputError
from .metrics import camera_standardise, pairwise_distances, rank_metrics
from .networks import initial_network, load_network
from .report import bad_frames_list, score_table
from .splits import count_splits, summarise


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
def embed(network: nn.Module, tracklets: Sequence[Tracklet], protocol: Protocol, precision: Precision) -> Tensor:
    """The vectors (N, D) of tracklets, float32 on the CPU: the mean over a tracklet's test clips.

    The network runs in evaluation mode, with the batch-norm statistics it has, and is left as it was.
    """
    plan = TestPlan(
        [len(tracklet) for tracklet in tracklets], protocol.frames, batch=protocol.batch, mode=protocol.clips
    )
    sums, counts = torch.zeros(len(tracklets), network.width), torch.zeros(len(tracklets), 1)
    was_training = network.training
    network.eval()
    with Loader([Stream(tracklets, plan)], protocol.reading) as loader:
        for (batch,) in loader:
            with precision.cast():
                vectors = network.embed(batch.clips)
            rows = batch.tracklets.cpu()
            sums.index_add_(0, rows, vectors.float().cpu())
            counts.index_add_(0, rows, torch.ones(len(rows), 1))
    network.train(was_training)
    return sums / counts


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
        cls, network: nn.Module, data: Dataset, protocol: Protocol, precision: Precision, train: bool = False
    ) -> Evaluation:
        """Embed query and gallery, and the unlabelled training tracklets when `train`; each tracklet once.

        Of a data set that cannot be scored nothing is embedded.
        """
        if why_unscored(data):
            return cls(data, protocol, torch.empty(0), torch.empty(0))
        wanted = [*data.query, *data.gallery, *(data.train if train else [])]
        position = {id(tracklet): row for row, tracklet in enumerate({id(t): t for t in wanted}.values())}
        vectors = embed(network, list({id(t): t for t in wanted}.values()), protocol, precision)
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


def main(argv: list[str] | None = None) -> int:
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog="python -m vreid_fast.evaluate",
        description="Score a checkpoint on a data set's query and gallery; batch-norm statistics are the checkpoint's.",
    )
    parser.add_argument("--checkpoint", required=True, help="last.pt of a run")
    parser.add_argument("--data", required=True, help="SPEC = synthetic | synthetic:real | FORMAT:PATH")
    parser.add_argument("--network", choices=["student", "teacher"], default="student")
    parser.add_argument("--clips", choices=["even", "all"], default="even", help="T evenly spaced frames, or all")
    parser.add_argument(
        "--distance", choices=["cosine", "euclidean", "dot"], default="cosine",
        help="dot = negative inner product, not normalised (the authors, on data sets with clothes)",
    )  # fmt: skip
    parser.add_argument(
        "--split", type=str, default=None, help="N or all; default: the run's split of its own target, else 0"
    )
    parser.add_argument(
        "--mars_gallery", choices=["with_query", "without_query"], default=None,
        help="gallery of MARS; default: that of the run on its own target, else with_query (authors: without_query)",
    )  # fmt: skip
    parser.add_argument(
        "--authors_pieces_test", type=int, default=None,
        help="cut query and gallery tracklets into pieces of N frames; default: as the run, on its own target, else 0 "
        "(authors: 48 LS-VID)",
    )  # fmt: skip
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--on_bad_frame", choices=POLICIES, default="error", help="skip = take a frame's neighbour")
    parser.add_argument("--json", default=None, help="file to write the scores to")
    arguments = parser.parse_args(underscored(sys.argv[1:] if argv is None else argv))
    try:
        scores = evaluate(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(scores, indent=1) + "\n")
    return 0


def evaluate(arguments) -> dict:
    """Scores of the command line's network, by name of the row; of `--split all` what `summarise` returns."""
    network, config = load_network(arguments.checkpoint, arguments.network)
    own = arguments.data == config.target
    split = arguments.split or (config.split if own else "0")
    if split != "all":
        scores = evaluate_split(arguments, network, config, integer("--split", split, least=0))
        print(score_table(scores))
        return scores
    if own:
        print(f"note: the run adapted to split {config.split}; unlabelled, it saw test people of the others")
    results = []
    for number in range(count_splits(arguments.data)):
        print(f"split {number}")
        results.append(evaluate_split(arguments, network, config, number))
        print(score_table(results[-1]), end="\n\n")
    summary = summarise(results)
    print(score_table(summary["mean"], summary["std"]))
    return summary


def evaluate_split(arguments, network: nn.Module, config: Config, split: int) -> dict[str, dict]:
    """Scores of a network on one split, plain, standardised per camera, and by clothes where there are any;
    beside them those of the network before any training."""
    own = arguments.data == config.target
    pieces = arguments.authors_pieces_test
    if pieces is None:
        pieces = config.authors_pieces_test if own else 0
    data = read_dataset(
        arguments.data, seed=config.synthetic_seed, cache=config.synthetic_cache, split=split,
        mars_gallery=arguments.mars_gallery or (config.mars_gallery if own else "with_query"),
        authors_pieces_train=config.authors_pieces_train if own else 0, authors_pieces_test=pieces,
    )  # fmt: skip
    reason = why_unscored(data)
    if reason:
        raise InputError(f"--data {arguments.data}: {reason}; evaluation needs both, labelled")
    print(f"{data.name}\n{data.table()}")
    for note in (*data.notes, *clothes_protocols(data)[1]):
        print(f"note: {note}")
    precision = Precision(config.precision, choose_device(arguments.device))
    reading = reading_of(replace(config, on_bad_frame=arguments.on_bad_frame), precision)
    protocol = replace(Protocol.of(config, reading), clips=arguments.clips, distance=arguments.distance)
    evaluation = Evaluation.of(network.to(precision.device), data, protocol, precision, train=bool(data.train))
    scores = {arguments.network: evaluation.scores()}
    try:
        untrained = initial_network(config, network.classifier.out_features)[0].to(precision.device)
        scores = {"untrained": Evaluation.of(untrained, data, protocol, precision).scores(), **scores}
    except InputError as error:
        print(f"note: the untrained network is not scored: {error}")
    print(bad_frames_list(reading.bad_frames.report()), end="")
    if data.train:
        scores[f"{arguments.network}_camera"] = evaluation.camera_scores()
    return scores | evaluation.clothes_scores(arguments.network)


if __name__ == "__main__":
    sys.exit(main())
