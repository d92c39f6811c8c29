"""What is asked: a tracklet of the index, or a person in pictures that are not in it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vreid_fast.data import read_frames
from vreid_fast.data.commands.cuts import Cut, Limits, cut_tracks
from vreid_fast.data.commands.recording import look
from vreid_fast.data.commands.tracks import read_tracks
from vreid_fast.data.formats.single import tracklet_at, tracklet_of
from vreid_fast.data.tracklets import Tracklet, spread
from vreid_fast.errors import InputError
from vreid_fast.extraction.extractor import Extractor
from vreid_fast.files import sha256_of, why_no_file

from .index import SearchIndex
from .scale import compared

FRAMES = 64
"""Most that are cut out of a video for one question."""


@dataclass(frozen=True)
class Question:
    """A person to look for."""

    name: str
    vector: np.ndarray
    """(1, D) float32 of length 1."""
    camera: int | None
    row: int | None = None
    """Of the index, where it is in it."""
    tracklet: Tracklet | None = None
    """Its pictures, where it is not."""


def of_index(index: SearchIndex, name: str) -> Question:
    """A tracklet of the index, by its path or the last part of it; the data's path may stand before.

    Raises:
        InputError: no such tracklet, or several of the name.
    """
    by_path = [row for row in index.rows if row.path == name]
    found = by_path or [row for row in index.rows if row.name == name or index.full_path(row.row) == name]
    if not found:
        near = difflib.get_close_matches(name, [row.name for row in index.rows] + [row.path for row in index.rows], n=3)
        hint = f"near to it: {', '.join(near)}" if near else f"there are names such as {index.rows[0].name}"
        raise InputError(f"--tracklet {name}: not in the index; {hint}")
    if len(found) > 1:
        paths = ", ".join(index.full_path(row.row) for row in found[:3])
        raise InputError(f"--tracklet {name}: {len(found)} have this name; give the path of one, such as {paths}")
    (row,) = found
    return Question(row.path, index.unit_vectors([row.row]), row.camera, row.row)


def of_pictures(index: SearchIndex, paths: Sequence[str], camera: int | None, checkpoint: str | None) -> Question:
    """A person in a folder of images, a video, or images."""
    if len(paths) == 1:
        tracklet = tracklet_at(paths[0])
    else:
        tracklet = tracklet_of(_images(paths), paths[0])
    return _embedded(index, ", ".join(paths), tracklet, camera, checkpoint)


def of_video(
    index: SearchIndex, video: str, tracks: str, track: int, camera: int | None, checkpoint: str | None
) -> Question:
    """A person in a video of a whole scene: the longest piece of a track, as `crop` would cut it.

    Raises:
        InputError: no such track, or nothing of it that is large and long enough.
    """
    recording, every = look(video), read_tracks(tracks)
    if track not in every.ids:
        near = ", ".join(map(str, sorted(set(every.ids.tolist()))[:10]))
        raise InputError(f"--track {track}: not in {tracks}; there are {near}")
    cuts, left_out = cut_tracks(every, recording.facts.height, recording.facts.width, Limits())
    own = [cut for cut in cuts if cut.track == track]
    if not own:
        raise InputError(f"--track {track}: nothing of it can be cut out of {video}: {', '.join(left_out)}")
    cut = max(own, key=len)
    return _embedded(index, f"{video}, track {track}", tracklet_of(_crops(recording, cut), video), camera, checkpoint)


def _crops(recording, cut: Cut) -> list[np.ndarray]:
    chosen = spread(len(cut), FRAMES)
    boxes = {int(cut.frames[place]): cut.crops[place] for place in chosen}
    found = []
    for number, pixels in recording.frames(boxes):
        left, top, right, bottom = boxes[number]
        found.append(np.ascontiguousarray(pixels[top:bottom, left:right]))
    return found


def _images(paths: Sequence[str]) -> list[np.ndarray]:
    tracklets = [tracklet_at(path) for path in paths]
    for path, tracklet in zip(paths, tracklets, strict=True):
        if len(tracklet) > 1 or tracklet.video is not None:
            raise InputError(
                f"--pictures {path}: wanted images where several are named, found {len(tracklet)} frames in it; name "
                "one folder, one video, or images"
            )
    return [read_frames(tracklet, [0])[0] for tracklet in tracklets]


def _embedded(
    index: SearchIndex, name: str, tracklet: Tracklet, camera: int | None, checkpoint: str | None
) -> Question:
    path = checkpoint or index.facts["checkpoint"]
    if why := why_no_file(path):
        raise InputError(f"checkpoint {path}: {why}; the index was made with it, give it by --checkpoint")
    if sha256_of(path) != index.facts["sha256"]:
        raise InputError(f"checkpoint {path}: not the one that the index was made with; give that by --checkpoint")
    of_camera = camera if index.facts["statistics"].startswith("of each camera") else None
    extractor = Extractor(Path(path), index.facts["which"], camera=of_camera)
    vector = compared(extractor([tracklet]).numpy(), [camera], index.scale)
    return Question(name, vector, camera, tracklet=tracklet)
