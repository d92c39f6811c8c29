"""Who looks like this person: `python -m vreid_fast.search index FEATURES | query INDEX | forget INDEX`."""

from __future__ import annotations

import argparse
import math
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from vreid_fast.data.commands.options import add_option, clock, number
from vreid_fast.data.table import aligned
from vreid_fast.errors import InputError, exit_code
from vreid_fast.extraction.features import read_features
from vreid_fast.extras import needs
from vreid_fast.files import check_all_writable, replacing, with_home
from vreid_fast.terminal import end_with_reader, say

from .answers import COLUMNS, as_csv, as_lines, ask
from .filters import Filter
from .folder import INDEX, check_place, read_index, write_index
from .index import SearchIndex
from .page import write_page
from .question import Question, of_index, of_pictures, of_video
from .vectors import KINDS

CAMERA = number(int, -math.inf)
"""Data sets may number their cameras as they like."""
HTML, CSV = (b"<!DOCTYPE html>",), (COLUMNS[0].encode() + b",",)


def make_parser() -> argparse.ArgumentParser:
    """The words of the commands."""
    parser = argparse.ArgumentParser(prog="python -m vreid_fast.search", description="Who looks like this person")
    commands = parser.add_subparsers(dest="command", required=True)

    words = "Make an index of features, or add them to one: FEATURES."
    index = commands.add_parser("index", description=words, help=words)
    add = partial(add_option, index)
    index.add_argument("features", metavar="FEATURES", help="folder that vreid_fast.extract wrote")
    add("out", required=True, metavar="INDEX", help="folder to write; of an index that is there, to add to")
    add("kind", choices=KINDS, help="flat compares all (default); ivf and hnsw some, faster from 100,000 on")
    add("dtype", choices=["float32", "float16"], help="of the vectors (float32)")
    add("standardise", choices=["none", "camera"], help="take out each camera's own mean and spread (none)")

    words = "Rank the tracklets of an index by how alike they are: INDEX."
    query = commands.add_parser("query", description=words, help=words)
    query.add_argument("index", metavar="INDEX", help="folder of an index")
    add = partial(add_option, query)
    add("tracklet", metavar="NAME", help="who: a tracklet of the index")
    add("pictures", nargs="+", metavar="PATH", help="who: a folder of images, a video of one person, or images")
    add("video", metavar="FILE", help="who: in a video of a whole scene, with --tracks and --track")
    add("tracks", metavar="FILE", help="boxes in it, as crop reads them")
    add("track", type=number(int, 0), metavar="N", help="who of them")
    add("filmed_by", type=CAMERA, metavar="N", help="camera of --pictures or --video, one of the run's")
    add("checkpoint", metavar="FILE", help="for these, where it is not where it was")
    add("top", type=number(int, 1), default=20, metavar="N", help="answers (%(default)s)")
    add("rerank", action="store_true", help="order the nearest by the neighbours that they share")
    add("html", metavar="FILE", help="page of the answers to write")
    add("csv", metavar="FILE", help="table of the answers to write")
    _add_filter(query)
    add("other_cameras", action="store_true", help="other cameras than who is asked for was filmed by")

    words = "Take tracklets out of an index, with their vectors: INDEX."
    forget = commands.add_parser("forget", description=words, help=words)
    forget.add_argument("index", metavar="INDEX", help="folder of an index")
    add_option(forget, "tracklet", nargs="+", metavar="NAME", default=[], help="these")
    _add_filter(forget)
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    cameras = {"type": CAMERA, "nargs": "+", "metavar": "N", "default": []}
    add_option(parser, "camera", **cameras, help="of these cameras")
    add_option(parser, "not_camera", **cameras, help="of others than these")
    add_option(parser, "from", type=clock, metavar="TIME", help="seen at this time or later, as 2026-05-04T08:00")
    add_option(parser, "to", type=clock, metavar="TIME", help="seen at this time or earlier")


def main(argv: list[str] | None = None) -> int:
    def work() -> None:
        words = [with_home(word) for word in (sys.argv[1:] if argv is None else argv)]
        arguments = make_parser().parse_args(words)
        needs("faiss")
        {"index": index, "query": query, "forget": forget}[arguments.command](arguments)

    return exit_code(work)


def index(arguments: argparse.Namespace) -> None:
    """Make an index, or add to one."""
    out, started = Path(arguments.out), time.perf_counter()
    check_place(out)
    features = read_features(arguments.features)
    if features.facts["distance"] != "cosine":
        say(f"note: {features.folder}: its network is scored by another distance, {features.facts['distance']}; an "
            "index compares by the cosine")  # fmt: skip
    settings = {"kind": arguments.kind, "dtype": arguments.dtype, "standardise": arguments.standardise}
    if (out / INDEX).exists():
        made = read_index(out)
        has = {"kind": made.facts["kind"], "dtype": made.facts["dtype"], "standardise": made.standardise}
        for name, wanted in settings.items():
            if wanted not in (None, has[name]):
                raise InputError(f"--{name} {wanted}: the index at {out} has {has[name]}; leave it out to add to it")
        made.add(features)
    else:
        made = SearchIndex.of(
            features, arguments.kind or "flat", arguments.dtype or "float32", arguments.standardise == "camera"
        )
    write_index(made, out)
    taken = time.perf_counter() - started
    say(f"{out}: {len(made.rows):,} tracklets, {len(made.cameras())} cameras, {taken:.1f} s")
    say(f"pairs that one camera saw at the same time, so two people: {len(made.strangers):,}")
    recall = made.recall()
    if recall is not None:
        say(f"recall of the 50 nearest against --kind flat: {recall:.3f}")


def query(arguments: argparse.Namespace) -> None:
    """Ask who looks like a person."""
    if not (arguments.html or arguments.csv):
        end_with_reader()
    check_all_writable([("--html", arguments.html, HTML), ("--csv", arguments.csv, CSV)])
    made = _load(arguments.index)
    question = _question(arguments, made)
    wanted, words = _filter(arguments), _in_words(arguments)
    if arguments.other_cameras:
        if question.camera is None:
            raise InputError("--other_cameras: the camera of who is asked for is not known; say --not_camera N")
        words = [*words, f"not camera {question.camera}"]
        wanted = Filter(wanted.cameras, {*wanted.not_cameras, question.camera}, wanted.begins, wanted.ends)
    answers = ask(made, question, wanted, arguments.top, arguments.rerank)
    say(f"who looks like {question.name}, among {len(made.rows):,} tracklets")
    print(aligned(as_lines(answers)))
    say("alike is not the same person: look at the pictures")
    if arguments.csv:
        with replacing(arguments.csv) as file:
            file.write(as_csv(answers).encode(errors="backslashreplace"))
    if arguments.html:
        missing = write_page(
            Path(arguments.html), made, question, answers, filters=", ".join(words), reranked=arguments.rerank
        )
        for note in missing[:3]:
            say(f"note: {note}")


def forget(arguments: argparse.Namespace) -> None:
    """Take tracklets out of an index."""
    made, wanted = _load(arguments.index), _filter(arguments)
    if not arguments.tracklet and wanted.allows_all:
        raise InputError("forget: wanted what to forget: --tracklet, --camera, --not_camera, --from or --to")
    gone = wanted(made.rows)
    if arguments.tracklet:
        named = np.zeros(len(made.rows), bool)
        named[[of_index(made, name).row for name in arguments.tracklet]] = True
        gone &= named
    if not gone.any():
        raise InputError(f"forget: none of the index's {len(made.rows):,} tracklets is meant")
    features = [source["features"] for source in made.facts["sources"]]
    made.forget(gone)
    write_index(made, Path(arguments.index))
    say(f"{arguments.index}: {int(gone.sum()):,} tracklets forgotten, {len(made.rows):,} remain")
    say(f"note: their vectors are still in {', '.join(features)}, and their pictures in the data")


def _load(folder: str) -> SearchIndex:
    made = read_index(Path(folder))
    if not made.rows:
        raise InputError(f"{folder}: the index is empty, all of it was forgotten; add features to it")
    return made


def _question(arguments: argparse.Namespace, made: SearchIndex) -> Question:
    ways = [way for way in ("tracklet", "pictures", "video") if getattr(arguments, way)]
    if len(ways) != 1:
        raise InputError(f"wanted one of --tracklet, --pictures and --video, found {' and '.join(ways) or 'none'}")
    if arguments.tracklet:
        return of_index(made, arguments.tracklet)
    if arguments.pictures:
        return of_pictures(made, arguments.pictures, arguments.filmed_by, arguments.checkpoint)
    if arguments.tracks is None or arguments.track is None:
        raise InputError("--video: wanted --tracks and --track with it, to say who of those in the video is meant")
    return of_video(made, arguments.video, arguments.tracks, arguments.track, arguments.filmed_by, arguments.checkpoint)


def _filter(arguments: argparse.Namespace) -> Filter:
    begins, ends = (getattr(arguments, name) for name in ("from", "to"))
    return Filter(
        set(arguments.camera), set(arguments.not_camera),
        begins and datetime.fromisoformat(begins), ends and datetime.fromisoformat(ends),
    )  # fmt: skip


def _in_words(arguments: argparse.Namespace) -> list[str]:
    words = [f"camera {', '.join(map(str, arguments.camera))}"] if arguments.camera else []
    words += [f"not camera {', '.join(map(str, arguments.not_camera))}"] if arguments.not_camera else []
    return [*words, *(f"{name} {value}" for name in ("from", "to") if (value := getattr(arguments, name)))]


if __name__ == "__main__":
    sys.exit(main())
