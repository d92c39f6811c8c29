"""Pack a data set for reading as pack:OUT: shards of its images and videos untouched, or of tracklets as videos.

The shards are plain WebDataset tar files, the index beside them is mapped into memory: see `packed`.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

from vreid_fast.errors import InputError

from . import read_dataset
from .packing import write_pack
from .video_encoder import CODECS, VideoEncoder

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="the data set, such as mars:PATH or folder:PATH")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument("--video", choices=CODECS, help="encode each tracklet as a short video of this codec")
    rates = ", ".join(f"{name} {codec.crf}" for name, codec in CODECS.items())
    parser.add_argument("--crf", type=int, help=f"loss of the videos, less is better (default: {rates})")
    parser.add_argument("--gop", type=int, default=8, help="frames from one key frame to the next (default: 8)")
    parser.add_argument("--size", type=_size, metavar="HxW", help="size of the videos (default: of the first frame)")
    parser.add_argument(
        *("--shard_size", "--shard-size"), type=_bytes, default="1G", help="bytes of a shard: 1G, 512M (default: 1G)"
    )
    parser.add_argument(
        *("--on_bad_frame", "--on-bad-frame"),
        choices=("error", "skip"),
        default="error",
        help="an unreadable image: stop (default), or leave it out and list it",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help=f"that read and encode (default: {cores})")
    parser.add_argument("--overwrite", action="store_true", help="replace the pack OUT when the new one is complete")


def run(arguments: argparse.Namespace) -> int:
    if arguments.threads < 1:
        raise InputError(f"--threads {arguments.threads}: wanted 1 or more")
    encoder = _encoder(arguments)
    began = time.monotonic()
    data = read_dataset(arguments.spec)
    writer, bad = write_pack(
        [data, *(read_dataset(arguments.spec, split=split) for split in range(1, data.splits))],
        arguments.out,
        shard_size=arguments.shard_size,
        encoder=encoder,
        threads=arguments.threads,
        skip=arguments.on_bad_frame == "skip",
        overwrite=arguments.overwrite,
    )
    seconds, megabytes = time.monotonic() - began, writer.bytes / 1e6
    for problem in bad:
        print(f"left out: {problem}")
    print(
        f"pack:{arguments.out}: {writer.tracklets:,} tracklets, {writer.frames:,} frames"
        f"{f' ({len(bad):,} left out)' if bad else ''}, {megabytes:,.1f} MB in {writer.shards:,} "
        f"shard{'s' * (writer.shards > 1)}, {seconds:.1f} s, {megabytes / seconds:,.1f} MB/s"
    )
    return 0


def _encoder(arguments: argparse.Namespace) -> VideoEncoder | None:
    if arguments.video is None:
        for name in ("crf", "size"):
            if getattr(arguments, name) is not None:
                raise InputError(f"--{name} is for videos: give --video {', '.join(CODECS)} too")
        return None
    codec = CODECS[arguments.video]
    crf = codec.crf if arguments.crf is None else arguments.crf
    if not 0 <= crf <= codec.worst_crf:
        raise InputError(f"--crf {crf}: wanted 0 to {codec.worst_crf} for {arguments.video}")
    if arguments.gop < 1:
        raise InputError(f"--gop {arguments.gop}: wanted 1 or more")
    return VideoEncoder(arguments.video, crf, arguments.gop, arguments.size)


def _size(word: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", word, re.ASCII)
    if not found or any(int(side) % 2 for side in found.groups()):
        raise argparse.ArgumentTypeError(f"wanted height x width in even numbers, such as 256x128; found {word!r}")
    return int(found[1]), int(found[2])


def _bytes(word: str) -> int:
    found = re.fullmatch(r"([1-9]\d*)([KMG]?)", word, re.ASCII)
    if not found:
        raise argparse.ArgumentTypeError(f"wanted bytes, such as 1G, 512M or 1000000; found {word!r}")
    return int(found[1]) * UNITS[found[2]]
