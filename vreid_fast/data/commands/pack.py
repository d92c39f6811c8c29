"""Write a data set as a pack, which is read as pack:OUT.

The shards are plain WebDataset tar files, the index beside them is mapped into memory: see `packed`.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path

from vreid_fast.errors import InputError
from vreid_fast.terminal import say

from .. import read_dataset
from ..reading.bad_frames import POLICIES
from ..scenes import find_scenes
from .options import (
    add_option,
    add_reading_options,
    add_scenes,
    byte_count,
    even_height_width,
    number,
    reading_options,
)  # fmt: skip
from .packing import write_pack
from .video_encoder import CODECS, VideoEncoder

HELP = "Pack a data set for reading as pack:OUT: shards of its images and videos untouched, or of tracklets as videos."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="the data set, such as mars:PATH or folder:PATH")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    add = partial(add_option, parser)
    add("video", choices=CODECS, help="encode each tracklet as a short video of this codec")
    rates, distances = (
        ", ".join(f"{name} {getattr(codec, field)}" for name, codec in CODECS.items()) for field in ("crf", "keyframes")
    )
    add("crf", type=int, help=f"loss of the videos, less is better ({rates})")
    add(
        "keyframes", type=number(int, 1, 2**31 - 1), metavar="N",
        help=f"a key frame every N frames of the videos: fewer are smaller, more load faster ({distances})",
    )  # fmt: skip
    add("size", type=even_height_width, metavar="HxW", help="size of the videos (that of the first frame)")
    add("shard_size", type=byte_count, default="1G", help="bytes of a shard, such as 512M (%(default)s)")
    add(
        "on_bad_frame", choices=POLICIES, default="error",
        help="an unreadable image: stop (%(default)s), or leave it out and list it",
    )  # fmt: skip
    add("threads", type=number(int, 1), default=os.cpu_count(), help="that read and encode (%(default)s, all cores)")
    add("overwrite", action="store_true", help="replace the pack OUT when the new one is complete")
    add_scenes(parser)
    add_reading_options(parser)


def run(arguments: argparse.Namespace) -> int:
    encoder = _encoder(arguments)
    began = time.monotonic()
    options = reading_options(arguments)
    data = read_dataset(arguments.spec, **options)
    if not arguments.scenes and (why := find_scenes(data).why):
        raise InputError(f"{data.name}: {why}")
    writer, bad = write_pack(
        [data, *(read_dataset(arguments.spec, split=split, **options) for split in range(1, data.splits))],
        arguments.out,
        shard_size=arguments.shard_size,
        encoder=encoder,
        threads=arguments.threads,
        skip=arguments.on_bad_frame == "skip",
        overwrite=arguments.overwrite,
    )
    seconds, megabytes = time.monotonic() - began, writer.bytes / 1e6
    for problem in bad:
        say(f"left out: {problem}")
    print(
        f"pack:{arguments.out}: {writer.tracklets:,} tracklets, {writer.frames:,} frames"
        f"{f' ({len(bad):,} left out)' if bad else ''}, {megabytes:,.1f} MB in {writer.shards:,} "
        f"shard{'s' * (writer.shards > 1)}, {seconds:.1f} s, {megabytes / seconds:,.1f} MB/s"
    )
    return 0


def _encoder(arguments: argparse.Namespace) -> VideoEncoder | None:
    if arguments.video is None:
        for name in ("crf", "keyframes", "size"):
            if getattr(arguments, name) is not None:
                raise InputError(f"--{name} is for videos: give --video {', '.join(CODECS)} too")
        return None
    codec = CODECS[arguments.video]
    crf = codec.crf if arguments.crf is None else arguments.crf
    if not 0 <= crf <= codec.worst_crf:
        raise InputError(f"--crf {crf}: wanted 0 to {codec.worst_crf} for {arguments.video}")
    return VideoEncoder(arguments.video, crf, arguments.keyframes or codec.keyframes, arguments.size)
