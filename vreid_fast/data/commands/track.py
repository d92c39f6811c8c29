"""Find people in a recording and follow them: MOT text, as `crop` reads it.

A detector (an ONNX file) finds people in each frame, ByteTrack of the library `trackers` joins them into tracks.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extras import needs
from vreid_fast.files import check_writable, replacing
from vreid_fast.terminal import progress_bar, say

from ..detectors import Detector, load_detector
from ..reading.video import CutVideo
from .options import add_option, height_width, number
from .recording import Recording, look

HELP = "Find people in a raw video with a detector (ONNX) and follow them: VIDEO TRACKS."
MOT = tuple(str(digit).encode() for digit in range(1, 10))
FALLBACK_FPS = 25.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = partial(add_option, parser)
    parser.add_argument("video", metavar="VIDEO", help="video file, or a folder of its frames as images")
    parser.add_argument("tracks", metavar="TRACKS", help="MOT challenge text to write, as crop reads it")
    add("detector", required=True, metavar="FILE", help="ONNX: YOLO, DETR, or boxes, scores and labels")
    add("min_confidence", type=number(float, 0, 1), default=0.1, help="of a box that is looked at (%(default)s)")
    add("size", type=height_width, metavar="HxW", help="to show the detector frames in (as its graph says)")
    add("person", type=number(int, 0), metavar="N", help="the detector's class of people (as is usual of its kind)")
    add("normalise", choices=["none", "imagenet"], help="what is taken out of pixels (as is usual of its kind)")
    add("every", type=number(int, 1), default=1, metavar="N", help="look at each N-th frame (%(default)s)")
    add("from", type=number(int, 1), default=1, metavar="FRAME", help="first frame, from 1 (%(default)s)")
    add("to", type=number(int, 1), metavar="FRAME", help="last frame (the video's)")
    add("fps", type=number(float, 1e-3, 1e4), help="frames a second (as the video says)")


def run(arguments: argparse.Namespace) -> int:
    needs("onnxruntime", "trackers")
    check_writable("TRACKS", arguments.tracks, MOT)
    started = time.perf_counter()
    normalise = None if arguments.normalise is None else arguments.normalise == "imagenet"
    detector = load_detector(
        arguments.detector, size=arguments.size, person=arguments.person, normalise=normalise
    )  # fmt: skip
    recording = look(arguments.video)
    for note in recording.notes:
        say(f"note: {note}")
    last = min(arguments.to or recording.facts.frames, recording.facts.frames)
    frames = range(getattr(arguments, "from") - 1, last, arguments.every)
    if not frames:
        raise InputError(f"--from {getattr(arguments, 'from')}: {arguments.video} has {recording.facts.frames} frames")
    fps = arguments.fps or recording.fps or FALLBACK_FPS
    boxes, tracks, lost = follow(recording, frames, detector, fps / arguments.every, arguments)
    if lost:
        say(f"note: {lost}")
    seconds = time.perf_counter() - started
    say(f"{arguments.tracks}: {tracks:,} tracks, {boxes:,} boxes in {len(frames):,} frames, {seconds:.1f} s")
    return 0


def follow(
    recording: Recording, frames: range, detector: Detector, fps: float, arguments: argparse.Namespace
) -> tuple[int, int, CutVideo | None]:
    """Write the tracks, one frame in memory at a time; boxes and tracks, and what could not be decoded.

    Raises:
        InputError: nobody is found; then nothing is written.
    """
    step, boxes, ids, lost = tracker(fps), 0, set(), None
    with (
        replacing(arguments.tracks) as file,
        progress_bar(total=len(frames), unit="frame", dynamic_ncols=True, disable=None) as bar,
    ):
        try:
            for frame, pixels in recording.frames(frames):
                found, scores = detector(pixels, arguments.min_confidence)
                for track, (left, top, right, bottom), score in step(found, scores):
                    size = f"{right - left:.2f},{bottom - top:.2f}"
                    file.write(f"{frame + 1},{track},{left:.2f},{top:.2f},{size},{score:.4f},-1,-1,-1\n".encode())
                    boxes += 1
                    ids.add(track)
                bar.update()
        except CutVideo as error:
            lost = error
        if not boxes:
            raise InputError(
                f"{arguments.video}: the detector ({detector.kind}, class {detector.person}) found nobody in "
                f"{len(frames):,} frames; is it one of people, is --person its class of people, is --min_confidence "
                "too high?"
            )
    return boxes, len(ids), lost


Step = Callable[[np.ndarray, np.ndarray], Iterator[tuple[int, np.ndarray, float]]]
"""Boxes (N, 4) and scores (N,) of a frame -> track, box and score of those that are followed."""


def tracker(fps: float) -> Step:
    """ByteTrack, with tracks numbered from 1."""
    from supervision import Detections
    from trackers import ByteTrackTracker

    tracks = ByteTrackTracker(frame_rate=fps)

    def step(boxes: np.ndarray, scores: np.ndarray) -> Iterator[tuple[int, np.ndarray, float]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = tracks.update(Detections(xyxy=boxes.reshape(-1, 4), confidence=scores))
        if seen.tracker_id is None:
            return
        for track, box, score in zip(seen.tracker_id.tolist(), seen.xyxy, seen.confidence, strict=True):
            if track >= 0:
                yield track + 1, box, float(score)

    return step
