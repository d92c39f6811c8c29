"""Find the people in a recording and follow them: MOT challenge text, as `crop` reads it.

A detector, an ONNX file, finds them frame by frame; ByteTrack, of the library trackers, says who is who.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.extras import needs
from vreid_fast.files import check_writable, replacing
from vreid_fast.terminal import progress_bar, say

from ..detectors import PIXELS, Detector, Wishes
from ..reading.video import CutVideo
from .options import add_option, height_width, number
from .recording import Recording, look

HELP = "Find and follow the people in a raw video, or a folder of its frames: VIDEO OUT.txt --detector people.onnx."
FPS = 25.0
"""Taken where a recording does not say how many frames a second it has."""
DIGITS = tuple(b"%d" % digit for digit in range(10))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = partial(add_option, parser)
    parser.add_argument("video", metavar="VIDEO", help="video file, or a folder of its frames as images")
    parser.add_argument("out", metavar="OUT", help="MOT challenge text to write; its first frame is 1")
    add("detector", required=True, metavar="FILE.onnx", help="finds people; which kinds are known: docs/own-data.md")
    add("min_confidence", type=number(float, 0, 1), default=0.1, help="leave out what is less sure (%(default)s)")
    add("new_track", type=number(float, 0, 1), default=0.5, help="confidence that begins a track (%(default)s)")
    add("every", type=number(int, 1), default=1, help="look at each N-th frame (%(default)s)")
    add("from", type=number(int, 1), default=1, dest="first", metavar="N", help="first frame, counted from 1")
    add("to", type=number(int, 1), dest="last", metavar="N", help="last frame (that of the video)")
    add("frame_rate", type=number(float, 1e-3, 1e4), help="frames a second (as the video says)")
    add(
        "detector_size", type=height_width, metavar="HxW", help="of the detector's input, where its file leaves it open"
    )
    add("pixels", choices=list(PIXELS), help="that it takes: 0..255, 0..1, ImageNet's mean and deviation (by its kind)")
    add("person", type=number(int, 0), help="number of its class of people (by its kind)")


def run(arguments: argparse.Namespace) -> int:
    needs("onnxruntime", "trackers", "supervision")
    started = time.perf_counter()
    recording = look(arguments.video)
    check_writable("OUT", arguments.out, DIGITS)
    for note in recording.notes:
        say(f"note: {note}")
    frames = recording.facts.frames
    last = min(arguments.last or frames, frames)
    if arguments.first > last:
        raise InputError(f"--from {arguments.first} --to {last}: no frame is left of the {frames} of {arguments.video}")
    detector = Detector(arguments.detector, Wishes(arguments.detector_size, arguments.pixels, arguments.person))
    fps = arguments.frame_rate or recording.fps
    if not fps:
        fps = FPS
        say(f"note: {arguments.video} does not say how many frames a second it has; {FPS:g} is taken (--frame_rate)")
    wanted = range(arguments.first - 1, last, arguments.every)
    tracker = make_tracker(fps / arguments.every, arguments.new_track)
    with replacing(arguments.out) as file:
        tally = Tally()
        try:
            follow(recording, wanted, detector, tracker, arguments.min_confidence, file, tally)
        except CutVideo as lost:
            say(f"note: {len(lost.frames):,} frames cannot be decoded and have no boxes: {lost.why}")
        if not tally.tracks:
            raise InputError(tally.nothing(arguments))
    seconds = time.perf_counter() - started
    print(
        f"{len(tally.tracks):,} tracks with {tally.followed:,} of {tally.found:,} boxes in {tally.frames:,} frames, by "
        f"a detector of kind {detector.kind}; {seconds:.1f} s, {tally.frames / seconds:.1f} frames a second; next: "
        f"crop {arguments.video} {arguments.out}"
    )
    return 0


class Tally:
    """What was found until now."""

    def __init__(self) -> None:
        self.frames = self.found = self.followed = 0
        self.surest = 0.0
        self.tracks: set[int] = set()

    def nothing(self, arguments: argparse.Namespace) -> str:
        """Why no track came of it."""
        if not self.found:
            return (
                f"{arguments.video}: {arguments.detector} finds nobody in {self.frames:,} frames at --min_confidence "
                f"{arguments.min_confidence:g}; is its class of people another (--person), or its pixels (--pixels)?"
            )
        return (
            f"{arguments.video}: no track comes of {self.found:,} boxes in {self.frames:,} frames, the surest "
            f"{self.surest:.2f}; tracks begin at --new_track {arguments.new_track:g}, in two frames that follow each "
            "other"
        )


def make_tracker(rate: float, new_track: float) -> Any:
    """ByteTrack, which forgets who is away for a second; `rate` frames a second are looked at."""
    from trackers import ByteTrackTracker

    return ByteTrackTracker(
        frame_rate=rate, track_activation_threshold=new_track, high_conf_det_threshold=new_track
    )  # fmt: skip


def follow(
    recording: Recording,
    wanted: range,
    detector: Detector,
    tracker: Any,
    least: float,
    file: BinaryIO,
    tally: Tally,
) -> None:
    """Write a line for each box of a track, frame by frame; one frame is held at a time.

    Raises:
        CutVideo: after the frames that can be read, where others cannot.
        InputError: a detector that gives no boxes.
    """
    from supervision import Detections

    with progress_bar(total=len(wanted), unit="frame", dynamic_ncols=True, disable=None) as bar:
        for index, pixels in recording.frames(wanted):
            found = detector(pixels, least)
            tally.frames += 1
            tally.found += len(found)
            tally.surest = max(tally.surest, float(found.scores.max(initial=0)))
            tracked = tracker.update(
                Detections(xyxy=found.boxes, confidence=found.scores, class_id=np.zeros(len(found), int))
            )
            ids = np.full(0, -1) if tracked.tracker_id is None else tracked.tracker_id
            for box, score, track in zip(tracked.xyxy.tolist(), tracked.confidence, ids.tolist()):
                if track >= 0:  # -1: seen once, which may be chance
                    left, top, right, bottom = box
                    row = f"{index + 1},{track + 1},{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f},"
                    file.write(f"{row}{score:.4f},-1,-1,-1\n".encode())
                    tally.tracks.add(track)
                    tally.followed += 1
            bar.update()
