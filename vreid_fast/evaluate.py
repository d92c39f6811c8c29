"""Checkpoint and data set -> CMC and mAP: `python -m vreid_fast.evaluate --checkpoint DIR/last.pt --data SPEC`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import get_args

from . import ranks
from .config import Config, underscored
from .config.groups import DataKnobs
from .data import read_dataset
from .data.checks import notes_on_scores, why_unscored
from .data.formats.tables import integer
from .data.reading.bad_frames import POLICIES
from .data.sampling.clips import ClipRule
from .device import Precision, choose_device
from .errors import Diverged, InputError, exit_code
from .evaluation.cameras import statistics_for
from .evaluation.clothes import clothes_protocols
from .evaluation.scores import Evaluation
from .evaluation.splits import count_splits, summarise
from .files import JSON, check_writable
from .models import CameraStatistics, VideoNetwork
from .report import bad_frames_list, score_table
from .terminal import end_with_reader, say
from .training.build import initial_network, load_network, make_protocol, reading_options
from .training.network_checks import check_test_clips, compare_by


def make_parser() -> ArgumentParser:
    """The words of the command."""
    parser = ArgumentParser(
        prog="python -m vreid_fast.evaluate",
        allow_abbrev=False,
        description="Score a checkpoint on a data set's query and gallery; batch-norm statistics are the checkpoint's.",
    )
    parser.add_argument("--checkpoint", required=True, help="last.pt of a run")
    parser.add_argument("--data", required=True, help="SPEC = synthetic | synthetic:real | FORMAT:PATH")
    parser.add_argument("--network", choices=["student", "teacher"], default="student", help="(%(default)s)")
    parser.add_argument(
        "--clips", choices=get_args(ClipRule), default="even",
        help="T evenly spaced frames; all, spread; or as --test_clips of train says",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=0, help="T at test; 0 = as in the run's training (AP3D: 32)")
    parser.add_argument(
        "--distance", choices=["cosine", "euclidean", "dot"], default="cosine",
        help="dot = negative inner product, not normalised (the authors, on data sets with clothes)",
    )  # fmt: skip
    parser.add_argument(
        "--compare", choices=["maps", "frames"], default=None, help="as --compare of train; default: as the run"
    )  # fmt: skip
    parser.add_argument("--rerank", action="store_true", help="score a second time by k-reciprocal neighbours")
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
    parser.add_argument(
        "--same_cameras", action="store_true", help="DATA has the cameras of the run's target, with the same numbers"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="(%(default)s)")
    parser.add_argument("--on_bad_frame", choices=POLICIES, default="error", help="skip = take a frame's neighbour")
    parser.add_argument("--json", default=None, help="file to write the scores to")
    return parser


def main(argv: list[str] | None = None) -> int:
    def work() -> None:
        arguments = make_parser().parse_args(underscored(sys.argv[1:] if argv is None else argv))
        if arguments.json:
            check_writable("--json", arguments.json, JSON)
        else:
            end_with_reader()
        scores = evaluate(arguments)
        if arguments.json and ranks.first():
            try:
                Path(arguments.json).write_text(json.dumps(scores, indent=1) + "\n")
            except OSError as error:
                raise InputError(f"--json {arguments.json}: cannot be written ({error.strerror})") from error

    return exit_code(work, together=ranks)


def evaluate(arguments: Namespace) -> dict:
    """Scores of the command line's network, by name of the row; of `--split all` what `summarise` returns."""
    if arguments.rerank and arguments.distance == "dot":
        raise InputError("--rerank: it wants --distance cosine or euclidean, got dot; leave one of the two out")
    network, config, statistics = load_network(arguments.checkpoint, arguments.network)
    if network.compares_pairs and arguments.distance != "cosine":
        raise InputError(
            f"--distance {arguments.distance}: network {config.network.network} scores pairs itself, by no vectors; "
            "leave it out"
        )
    config = config.replace(test_clips=arguments.clips, test_frames=arguments.frames, distance=arguments.distance)
    config = config.replace(compare=arguments.compare or config.test.compare)
    check_test_clips(config, network)
    compare_by(config, network)
    own = arguments.data == config.data.target
    split = arguments.split or (config.data.split if own else "0")
    if split != "all":
        scores = evaluate_split(arguments, network, statistics, config, integer("--split", split, least=0))
        print(score_table(scores))
        return scores
    if own:
        print(f"note: the run adapted to split {config.data.split}; unlabelled, it saw test people of the others")
    results = []
    for number in range(count_splits(arguments.data)):
        print(f"split {number}")
        results.append(evaluate_split(arguments, network, statistics, config, number))
        print(score_table(results[-1]), end="\n\n")
    summary = summarise(results)
    print(score_table(summary["mean"], summary["std"]))
    return summary


def evaluate_split(
    arguments: Namespace, network: VideoNetwork, statistics: CameraStatistics | None, config: Config, split: int
) -> dict[str, dict]:
    """Scores of a network on one split, plain, standardised per camera, and by clothes where there are any;
    beside them those of the network before any training."""
    own = arguments.data == config.data.target
    knobs = config.data if own else DataKnobs()
    pieces = arguments.authors_pieces_test
    data = read_dataset(
        arguments.data, seed=config.data.synthetic_seed, cache=config.data.synthetic_cache, split=split,
        mars_gallery=arguments.mars_gallery or knobs.mars_gallery, authors_pieces_train=knobs.authors_pieces_train,
        authors_pieces_test=knobs.authors_pieces_test if pieces is None else pieces,
    )  # fmt: skip
    reason = why_unscored(data)
    if reason:
        raise InputError(f"--data {arguments.data}: {reason}; scores need a person whom two cameras saw, labelled")
    say(data.name)
    print(data.table())
    statistics, notes = statistics_for(
        statistics, {tracklet.camera for tracklet in (*data.query, *data.gallery)}, own=own,
        same_cameras=arguments.same_cameras,
    )  # fmt: skip
    for note in (*data.notes, *notes_on_scores(data), *clothes_protocols(data)[1], *notes):
        say(f"note: {note}")
    precision = Precision(config.device.precision, choose_device(arguments.device))
    reading = reading_options(config.replace(on_bad_frame=arguments.on_bad_frame), precision)
    protocol = make_protocol(config, reading)
    try:
        evaluation = Evaluation.of(
            network.to(precision.device), data, protocol, precision, train=bool(data.train), statistics=statistics
        )
    except Diverged as error:
        raise Diverged(
            f"checkpoint {arguments.checkpoint}, {arguments.network}: {error}; its training diverged or it was edited: "
            "take an earlier checkpoint"
        ) from None
    scores = {arguments.network: evaluation.scores()}
    try:
        untrained = initial_network(config, network.identities)[0].to(precision.device)
        scores = {"untrained": Evaluation.of(untrained, data, protocol, precision).scores(), **scores}
    except (InputError, Diverged) as error:
        say(f"note: the untrained network is not scored: {error}")
    reading.bad_frames.meet()
    print(bad_frames_list(reading.bad_frames.report()), end="")
    if arguments.rerank:
        scores[f"{arguments.network}_rerank"] = evaluation.reranked_scores(network)
    if data.train and (camera := evaluation.camera_scores()):
        scores[f"{arguments.network}_camera"] = camera
    return scores | evaluation.clothes_scores(arguments.network)


if __name__ == "__main__":
    sys.exit(main())
