"""Checkpoint and data set -> a folder of features: `python -m vreid_fast.extract --checkpoint DIR/last.pt ...`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import get_args

from . import ranks
from .data import read_dataset
from .data.commands.options import add_option, add_scenes, number
from .data.reading.bad_frames import POLICIES
from .data.sampling.clips import ClipRule
from .data.scenes import find_scenes
from .device import Precision, choose_device
from .errors import Diverged, InputError, exit_code
from .evaluation.cameras import EACH, WHOLE, statistics_for
from .evaluation.embed import embed
from .extraction.features import FORMATS, VERSION
from .extraction.rows import rows_of
from .extraction.table import TABLES, Row
from .extraction.writer import FeatureWriter
from .files import sha256_of, with_home
from .report import bad_frames_list
from .terminal import progress_bar, say
from .training.build import load_network, make_protocol, reading_options
from .training.network_checks import check_test_clips, check_vectors
from .training.rank_agreement import check_same


def make_parser() -> argparse.ArgumentParser:
    """The words of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m vreid_fast.extract",
        description="Write the vectors of a data set's tracklets to a folder. A stopped run goes on where it was.",
    )
    add = partial(add_option, parser)
    add("checkpoint", required=True, metavar="FILE", help="last.pt of a run")
    add("data", required=True, metavar="SPEC", help="synthetic | synthetic:STYLE | FORMAT:PATH")
    add("out", required=True, metavar="DIR", help="folder to write")
    add("network", choices=["student", "teacher"], default="student", help="(%(default)s)")
    add("same_cameras", action="store_true", help="DATA has the cameras of the run's target, with the same numbers")
    add("clips", choices=get_args(ClipRule), default="even", help="as --test_clips of train (%(default)s)")
    add("frames", type=number(int, 0), default=0, metavar="T", help="of a clip; 0 = as in training (%(default)s)")
    add("split", type=number(int, 0), default=0, help="of a data set that has several (%(default)s)")
    add("dtype", choices=["float32", "float16"], default="float32", help="of the vectors (%(default)s)")
    add("format", choices=FORMATS, default=FORMATS[0], help="of the vectors' files (%(default)s)")
    add("table", choices=[name.partition(".")[2] for name in TABLES], default="csv", help="(%(default)s)")
    add("shard", type=number(int, 1), default=4096, metavar="N", help="tracklets in a file (%(default)s)")
    add("batch", type=number(int, 1), default=64, help="clips that the network sees at once (%(default)s)")
    add("device", choices=["auto", "cpu", "cuda"], default="auto", help="(%(default)s)")
    add("on_bad_frame", choices=POLICIES, default="error", help="skip = take a frame's neighbour (%(default)s)")
    add_scenes(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    def work() -> None:
        words = [with_home(word) for word in (sys.argv[1:] if argv is None else argv)]
        extract(make_parser().parse_args(words))

    return exit_code(work, together=ranks)


def extract(arguments: argparse.Namespace) -> None:
    """Embed the tracklets of a data set shard by shard; of several processes the first writes."""
    network, config, statistics = load_network(arguments.checkpoint, arguments.network)
    check_vectors(network, "extract")
    config = config.replace(
        test_clips=arguments.clips, test_frames=arguments.frames, test_batch=arguments.batch,
        on_bad_frame=arguments.on_bad_frame,
    )  # fmt: skip
    check_test_clips(config, network)
    data = read_dataset(
        arguments.data, seed=config.data.synthetic_seed, cache=config.data.synthetic_cache, split=arguments.split
    )
    scenes = find_scenes(data)
    if scenes.why and not arguments.scenes:
        raise InputError(f"--data {data.name}: {scenes.why}")
    tracklets, rows = rows_of(data)
    if not tracklets:
        raise InputError(f"--data {data.name}: no tracklets to extract")
    own = arguments.data == config.data.target
    statistics, notes = statistics_for(
        statistics, {tracklet.camera for tracklet in tracklets}, own=own, same_cameras=arguments.same_cameras
    )
    for note in (*data.notes, *scenes.notes(data.name), *notes):
        say(f"note: {note}")
    precision = Precision(config.device.precision, choose_device(arguments.device))
    reading = reading_options(config, precision)
    protocol = make_protocol(config, reading)
    facts = {
        "version": VERSION, "checkpoint": str(arguments.checkpoint), "sha256": sha256_of(arguments.checkpoint),
        "network": config.network.network, "trunk": config.network.trunk, "which": arguments.network,
        "method": config.stages.method, "width": network.width, "frames": protocol.frames, "clips": protocol.clips,
        "size": list(reading.size), "precision": precision.name, "distance": protocol.distance,
        "statistics": EACH if statistics else WHOLE, "data": data.name, "split": arguments.split,
        "synthetic_seed": config.data.synthetic_seed, "rows": len(rows), "shard": arguments.shard,
        "dtype": arguments.dtype, "format": arguments.format, "table_sha256": _digest(rows),
    }  # fmt: skip
    writer = FeatureWriter(Path(arguments.out), facts, rows, f"tracklets.{arguments.table}")
    check_same({"words, checkpoint or data": facts})
    started, missing = time.perf_counter(), ranks.of_first(writer.begin)
    wanted = sum(map(len, missing))
    if wanted < len(rows):
        say(f"note: {len(rows) - wanted:,} of {len(rows):,} tracklets are there already")
    network = network.to(precision.device)
    with progress_bar(
        total=wanted, unit="tracklet", dynamic_ncols=True, disable=None if ranks.first() else True
    ) as bar:
        for shard in missing:
            try:
                vectors = embed(
                    network,
                    [tracklets[row] for row in shard],
                    protocol,
                    precision,
                    statistics,
                    progress=lambda clips: bar.update(ranks.whole(clips)),
                )
            except Diverged as error:
                raise Diverged(f"checkpoint {arguments.checkpoint}, {arguments.network}: {error}") from None
            ranks.of_first(partial(writer.write, shard, vectors))
    ranks.of_first(writer.finish)
    reading.bad_frames.meet()
    print(bad_frames_list(reading.bad_frames.report()), end="")
    seconds = time.perf_counter() - started
    say(f"{arguments.out}: {len(rows):,} vectors of {network.width}, {wanted:,} made in {seconds:.1f} s")


def _digest(rows: list[Row]) -> str:
    """That of the rows as a JSON list."""
    digest = hashlib.sha256(b"[")
    for place, row in enumerate(rows):
        digest.update((", " * (place > 0) + json.dumps(asdict(row), default=str)).encode())
    digest.update(b"]")
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
