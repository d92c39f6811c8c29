"""Look at a data set: count it, read every frame, draw a contact sheet.

The exit code is 1 where training would fail: frames that cannot be read, or neither a source nor a target.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from functools import partial

from vreid_fast.files import JSON, PNG, check_all_writable, write_text
from vreid_fast.terminal import end_with_reader, progress_bar, say

from .. import read_dataset
from ..cameras import notes_on_cameras
from ..checks import notes_on_scores, why_no_source, why_no_target, why_unreadable, why_unscored
from ..scenes import find_scenes
from ..table import aligned
from ..tracklets import Dataset, Tracklet, distinct, spread
from .contact_sheet import draw_contact_sheet
from .frame_check import Fault, Tally, read_all
from .options import add_option, add_reading_options, add_scenes, number, reading_options

HELP = "Count a data set, read every frame, draw a contact sheet, and say what it can serve for: SPEC."
SUBSETS = ("train", "query", "gallery")
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="synthetic | synthetic:STYLE | FORMAT:PATH")
    add = partial(add_option, parser)
    add("frames", type=number(int, 1), metavar="N", help="read N frames a tracklet at most (all)")
    add("threads", type=number(int, 1), default=os.cpu_count(), help="that decode (%(default)s, all cores)")
    add("sheet", metavar="FILE", default="contact_sheet.png", help="contact sheet to draw, PNG (%(default)s)")
    add("no_sheet", action="store_true", help="draw none")
    add("json", metavar="FILE", help="write all of it, each unreadable frame too")
    add("split", type=number(int, 0), default=0, help="of a data set that has several (%(default)s)")
    add_scenes(parser)
    add_reading_options(parser)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.json:
        end_with_reader()
    sheet = None if arguments.no_sheet else os.path.abspath(arguments.sheet)
    check_all_writable([("--sheet", sheet, PNG), ("--json", arguments.json, JSON)])
    data = read_dataset(
        arguments.spec, split=arguments.split, keep_unreadable=True, **reading_options(arguments)
    )  # fmt: skip
    tracklets, scenes = distinct(data), find_scenes(data)
    pooled = [f"as --target: {note}" for note in notes_on_cameras([tracklet.camera for tracklet in data.train])]
    for note in (*data.notes, *scenes.notes(data.name), *notes_on_scores(data), *pooled):
        say(f"note: {note}")
    say(data.name)
    print(f"{data.table()}\n\n{aligned(camera_rows(data))}\n")
    say(*clothes_lines(data), *length_lines(tracklets))
    started = time.perf_counter()
    reading = read_with_bar(tracklets, arguments.frames, arguments.threads)
    seconds = time.perf_counter() - started
    reading.faults[:0] = [Fault(None, [], unreadable.path, unreadable.reason) for unreadable in data.unreadable]
    images = sum(map(len, tracklets))
    print(
        f"\n{reading.frames:,} of {images:,} frames of {len(tracklets):,} tracklets read: "
        f"{reading.encoded / 1e6:,.1f} MB in {seconds:.1f} s; {reading.unreadable:,} cannot be read"
    )
    for fault in reading.faults[:SHOWN]:
        say(f"  {fault}")
    if len(reading.faults) > SHOWN:
        rest = "" if arguments.json else "; --json FILE lists all"
        print(f"  and {len(reading.faults) - SHOWN} more{rest}")
    unfit = why_unreadable(data) or (None if arguments.scenes else scenes.why)
    reasons = {
        "source": why_no_source(data) or unfit, "target": why_no_target(data) or unfit,
        "scored": why_unscored(data) or why_unreadable(data),
    }  # fmt: skip
    for use, what in (("source", "as --source"), ("target", "as --target"), ("scored", "for scores")):
        say(f"{what}: {'yes' if reasons[use] is None else f'no: {reasons[use]}'}")
    sheet = sheet if tracklets else None
    if sheet:
        draw_contact_sheet(sheet, data.name, tracklets)
        say(f"contact sheet: {sheet}")
    if arguments.json:
        write_json(arguments.json, data, reading, {"uses": reasons, "seconds": seconds, "contact_sheet": sheet})
    usable = reasons["source"] is None or reasons["target"] is None
    return 0 if usable and not reading.faults else 1


def camera_rows(data: Dataset) -> list[tuple]:
    """Tracklets of each camera by subset."""
    counts: dict[int | None, list[int]] = {}
    for place, subset in enumerate(SUBSETS):
        for tracklet in getattr(data, subset):
            counts.setdefault(tracklet.camera, [0] * len(SUBSETS))[place] += 1
    cameras = sorted(counts, key=lambda camera: (camera is None, camera))
    return [
        ("tracklets of camera", *SUBSETS),
        *(("unknown" if camera is None else str(camera), *counts[camera]) for camera in cameras),
    ]


def clothes_lines(data: Dataset) -> list[str]:
    lines = []
    for subset in SUBSETS:
        outfits: dict[int, set[int]] = {}
        for tracklet in getattr(data, subset):
            if tracklet.clothes is not None and tracklet.identity is not None:
                outfits.setdefault(tracklet.identity, set()).add(tracklet.clothes)
        if outfits:
            several = sum(len(worn) > 1 for worn in outfits.values())
            lines.append(f"clothes, {subset}: {several:,} of {len(outfits):,} people wear several")
    return lines


def length_lines(tracklets: Sequence[Tracklet]) -> list[str]:
    if not tracklets:
        return []
    by_length = sorted(tracklets, key=len)
    places = {"shortest": 0, "median": (len(by_length) - 1) // 2, "longest": -1}
    return [f"{name}: {by_length[place]}" for name, place in places.items()]


def read_with_bar(tracklets: Sequence[Tracklet], most: int | None, threads: int) -> Tally:
    reading = Tally()
    wanted = [len(spread(len(tracklet), most)) for tracklet in tracklets]
    with progress_bar(total=sum(wanted), unit="frame", unit_scale=True, dynamic_ncols=True, disable=None) as bar:
        for frames, of_tracklet in zip(wanted, read_all(tracklets, most, threads)):
            reading.add(of_tracklet)
            bar.update(frames)
    return reading


def write_json(file: str, data: Dataset, reading: Tally, more: dict) -> None:
    content = {
        "data": data.name,
        "tracklets": {subset: len(getattr(data, subset)) for subset in SUBSETS},
        "notes": data.notes,
        "frames_read": reading.frames,
        "bytes_read": reading.encoded,
        **more,
        "unreadable": [
            {
                "file": fault.file, "tracklet": fault.tracklet and str(fault.tracklet), "frames": fault.frames,
                "reason": fault.reason,
            }
            for fault in reading.faults
        ],
    }  # fmt: skip
    write_text(file, json.dumps(content, indent=1) + "\n")
