"""Cut a recording along tracks into tracklets.

OUT/tracklets/camera1_track7_1/F000123.jpg is frame 123, counted from 0, of the first tracklet of track 7;
OUT/tracklets.csv lists the tracklets. One run a recording: a run with another video and --camera adds to OUT, and so
does one with another video of the same camera and --recording.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.terminal import progress_bar, say

from ..reading.video import CutVideo
from ..reading.video_facts import VideoFacts
from ..table import aligned
from .cuts import Cut, Limits, cut_tracks, too_short
from .folder_writer import FolderWriter, Row
from .options import add_option, clock, height_width, number, word
from .recording import Recording, look
from .tracks import Tracks, read_tracks

SHOWN = 10

HELP = "Cut a raw video, or a folder of its frames, along tracks into tracklets, a folder data set: VIDEO TRACKS OUT."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = partial(add_option, parser)
    parser.add_argument("video", metavar="VIDEO", help="video file, or a folder of its frames as images")
    parser.add_argument("tracks", metavar="TRACKS", help="MOT challenge text, or CSV: frame,id,left,top,width,height")
    parser.add_argument("out", metavar="OUT", help="folder to write, or one of other cameras to add to")
    add("camera", type=number(int, 0), default=1, help="number of the camera (%(default)s)")
    add("recording", type=word, metavar="NAME", help="name of this recording, where the camera has several")
    add("start", type=clock, metavar="TIME", help="when its first frame was taken, such as 2026-05-04T08:00:00")
    add("fps", type=number(float, 1e-3, 1e4), help="frames a second (as the video says)")
    add("identities", action="store_true", help="track ids are people, the same in all cameras; else unknown")
    add("first_frame", type=int, choices=[0, 1], default=1, help="TRACKS' number of the first frame (%(default)s)")
    add("padding", type=number(float, 0, 100), help="added to each side, fraction of the box (%(default)s)")
    add("size", type=height_width, metavar="HxW", help="resize crops to H x W pixels (as they are)")
    add("min_confidence", type=number(float, -1e9, 1e9), help="leave out boxes of a lower confidence (no limit)")
    add("min_width", type=number(int, 1), help="leave out narrower boxes, pixels (%(default)s)")
    add("min_height", type=number(int, 1), help="leave out lower boxes, pixels (%(default)s)")
    add("max_gap", type=number(int, 0), help="cut tracks where more frames have no box (%(default)s)")
    add("every", type=number(int, 1), help="take each N-th frame of a tracklet (%(default)s)")
    add("max_length", type=number(int, 0), help="cut longer tracklets, frames; 0 = no limit (%(default)s)")
    add("min_length", type=number(int, 1), help="leave out shorter tracklets, frames (%(default)s)")
    add("quality", type=number(int, 1, 100), default=95, help="of the JPEG images, 1 to 100 (%(default)s)")
    parser.set_defaults(**{field.name: field.default for field in fields(Limits)})


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    limits = Limits(**{field.name: getattr(arguments, field.name) for field in fields(Limits)})
    recording = look(arguments.video)
    for note in recording.notes:
        say(f"note: {note}")
    tracks = read_tracks(arguments.tracks, first_frame=arguments.first_frame)
    for note in tracks.notes:
        say(f"note: {note}")
    _check_end(tracks, recording.facts, arguments)
    fps = arguments.fps or recording.fps
    if arguments.start and not fps:
        raise InputError(f"--start: {arguments.video} does not say how many frames a second it has; give --fps")
    cuts, left_out = cut_tracks(tracks, recording.facts.height, recording.facts.width, limits)
    with FolderWriter(arguments.out, arguments.camera, arguments.recording) as writer:
        names = [writer.name(cut.track, cut.number) for cut in cuts]
        size, lost = write_crops(
            recording, cuts, [writer.stage / name for name in names], arguments.size, arguments.quality
        )
        left = [cut.without(lost.frames) for cut in cuts] if lost else cuts
        kept = [(name, cut) for name, cut in zip(names, left) if len(cut) >= limits.min_length]
        if not kept:
            raise InputError(f"{lost}; no tracklet is left of --min_length {limits.min_length}")
        notes = writer.finish(
            [
                Row(
                    writer.path(name), cut.track if arguments.identities else "", arguments.camera, len(cut),
                    cut.track, int(cut.frames[0]), int(cut.frames[-1]), os.path.normpath(arguments.video),
                    "" if fps is None else round(fps, 6), arguments.start or "",
                )
                for name, cut in kept
            ]
        )  # fmt: skip
    if lost:
        left_out["in frames that cannot be decoded"] = sum(map(len, cuts)) - sum(map(len, left))
        if short := sum(len(cut) for cut in left if len(cut) < limits.min_length):
            reason = too_short(limits.min_length)
            left_out[reason] = left_out.get(reason, 0) + short
        notes.append(lost_note(lost, arguments.first_frame))
    for note in notes:
        say(f"note: {note}")
    cuts = [cut for _, cut in kept]
    lengths = [len(cut) for cut in cuts]
    print(
        aligned(
            [
                ("camera", "tracks", "tracklets", "images", "shortest", "median", "longest"),
                (arguments.camera, len({cut.track for cut in cuts}), len(cuts), sum(lengths), min(lengths),
                 int(np.median(lengths)), max(lengths)),
            ]
        )
    )  # fmt: skip
    print(aligned([("left out", "boxes"), *left_out.items()]) if left_out else f"all {len(tracks):,} boxes are in them")
    print(f"{size / 1e6:.1f} MB, {time.perf_counter() - started:.1f} s; to be read as folder:{arguments.out}")
    return 0


def _check_end(tracks: Tracks, facts: VideoFacts, arguments: argparse.Namespace) -> None:
    beyond = tracks.frames >= facts.frames
    if beyond.any():
        row = tracks.lines[beyond].argmin()
        frame = tracks.frames[beyond][row] + arguments.first_frame
        raise InputError(
            f"{tracks.name}: row {tracks.lines[beyond][row]}, column frame: {frame} is beyond the last frame "
            f"{facts.frames - 1 + arguments.first_frame} of {arguments.video} (the first is {arguments.first_frame}: "
            "--first_frame)"
        )


def lost_note(lost: CutVideo, first_frame: int) -> str:
    """Which frames were lost, numbered as the tracks are."""
    numbers = np.array(sorted(lost.frames)) + first_frame
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    words = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    named = ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more stretches" if len(words) > SHOWN else "")
    return f"{len(numbers):,} frames with boxes are lost: {named} (the first is {first_frame}): {lost.why}"


def write_crops(
    recording: Recording,
    cuts: Sequence[Cut],
    folders: Sequence[Path],
    size: tuple[int, int] | None,
    quality: int,
) -> tuple[int, CutVideo | None]:
    """Write the images of each cut to its folder, in one pass over the recording that holds one frame at a time.

    Returns:
        Bytes written, and which frames could not be decoded, if any.
    Raises:
        InputError: a recording that cannot be read, or an image that cannot be written.
    """
    wanted: dict[int, list[tuple[Path, np.ndarray]]] = {}
    for cut, folder in zip(cuts, folders):
        folder.mkdir()
        for frame, crop in zip(cut.frames.tolist(), cut.crops):
            wanted.setdefault(frame, []).append((folder / f"F{frame:06d}.jpg", crop))
    written = 0
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar(total=len(wanted), unit="frame", dynamic_ncols=True, disable=None) as bar,
    ):
        try:
            for number, pixels in recording.frames(wanted):
                jobs = [(pixels, crop, size, quality, file) for file, crop in wanted.pop(number)]
                written += sum(pool.map(_write, *zip(*jobs)))
                bar.update()
        except CutVideo as lost:
            return written, lost
    return written, None


def _write(pixels: np.ndarray, crop: np.ndarray, size: tuple[int, int] | None, quality: int, file: Path) -> int:
    from PIL import Image

    left, top, right, bottom = crop
    image = Image.fromarray(pixels[top:bottom, left:right])
    if size:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    encoded = io.BytesIO()
    image.save(encoded, "jpeg", quality=quality)
    try:
        return file.write_bytes(encoded.getbuffer())
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror})") from error
