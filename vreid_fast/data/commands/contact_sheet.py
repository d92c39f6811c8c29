"""A picture of a data set: a row a person, its tracklets under several cameras side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from vreid_fast.errors import InputError

from ..reading.images import read_frames
from ..tracklets import Tracklet, spread

PEOPLE, TRACKLETS, FRAMES = 8, 4, 4
HEIGHT, WIDTH = 128, 64
"""Of a frame, in pixels; other shapes are fitted in."""
GAP, LABEL, MARGIN = 14, 20, 20
PAPER, INK, FAINT, WRONG = "#ffffff", "#1f2430", "#8a90a0", "#c4314b"
EMPTY = "#eef0f4"


def choose_rows(tracklets: Sequence[Tracklet]) -> list[tuple[str, list[Tracklet]]]:
    """Label and tracklets of each row: at most 8 people evenly spaced among all, each with at most 4 tracklets.

    Cameras take turns, so that a person who has been seen by several shows it. Where no identity is known the
    rows are filled camera by camera.
    """
    known = [tracklet for tracklet in tracklets if tracklet.identity is not None]
    groups: dict[int | None, list[Tracklet]] = {}
    for tracklet in known or tracklets:
        groups.setdefault(tracklet.identity if known else tracklet.camera, []).append(tracklet)
    keys = sorted(groups, key=lambda key: (key is None, key))
    rows = []
    for key in (keys[index] for index in spread(len(keys), PEOPLE)):
        if known:
            rows.append((f"identity {key}", _in_turns(groups[key])))
            continue
        shares = max(1, PEOPLE // len(keys))
        members = [groups[key][index] for index in spread(len(groups[key]), shares * TRACKLETS)]
        rows += [
            ("identity unknown", members[start : start + TRACKLETS]) for start in range(0, len(members), TRACKLETS)
        ]
    return rows


def _in_turns(tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    """At most 4 tracklets: the first of every camera, then the second of every camera."""
    turns: dict[int | None, int] = {}
    ranked = []
    for tracklet in tracklets:
        turn = turns[tracklet.camera] = turns.get(tracklet.camera, -1) + 1
        ranked.append((turn, tracklet.camera is None, tracklet.camera or 0, len(ranked), tracklet))
    chosen = sorted(ranked, key=lambda entry: entry[:-1])[:TRACKLETS]
    # By camera, so that tracklets of one stand together.
    return [entry[-1] for entry in sorted(chosen, key=lambda entry: (*entry[1:3], entry[0]))]


def draw_contact_sheet(file: str | os.PathLike, title: str, tracklets: Sequence[Tracklet]) -> None:
    """Write the picture as PNG; a frame that cannot be read is a crossed box.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = choose_rows(tracklets)
    columns = max((len(members) for _, members in rows), default=1)
    strip = FRAMES * (WIDTH + 2) - 2
    width = max(2 * MARGIN + columns * (strip + GAP) - GAP, 640)
    sheet = Image.new("RGB", (width, 2 * MARGIN + 34 + len(rows) * (HEIGHT + 2 * LABEL + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    small, bold, large = (ImageFont.load_default(size) for size in (12, 14, 18))
    draw.text((MARGIN, MARGIN), title, INK, large)
    top = MARGIN + 40
    for label, members in rows:
        draw.line((MARGIN, top - 5, width - MARGIN, top - 5), EMPTY)
        draw.text((MARGIN, top), label, INK, bold)
        for column, tracklet in enumerate(members):
            left = MARGIN + column * (strip + GAP)
            draw.text((left, top + LABEL), _caption(tracklet), FAINT, small)
            for place, frame in enumerate(_frames(tracklet)):
                corner = (left + place * (WIDTH + 2), top + 2 * LABEL)
                box = (*corner, corner[0] + WIDTH - 1, corner[1] + HEIGHT - 1)
                draw.rectangle(box, EMPTY, WRONG if frame is None else None)
                if frame is None:
                    draw.line(box, WRONG, 2)
                    draw.line((box[0], box[3], box[2], box[1]), WRONG, 2)
                    continue
                image = Image.fromarray(frame)
                scale = min(WIDTH / image.width, HEIGHT / image.height)
                size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
                offset = (corner[0] + (WIDTH - size[0]) // 2, corner[1] + (HEIGHT - size[1]) // 2)
                sheet.paste(image.resize(size, Image.Resampling.LANCZOS), offset)
        top += HEIGHT + 2 * LABEL + GAP
    try:
        sheet.save(file, "png")
    except OSError as error:
        raise InputError(f"--sheet {file}: cannot be written ({error.strerror or error})") from error


def _caption(tracklet: Tracklet) -> str:
    camera = "camera unknown" if tracklet.camera is None else f"camera {tracklet.camera}"
    clothes = [] if tracklet.clothes is None else [f"clothes {tracklet.clothes}"]
    return " · ".join([camera, *clothes, f"{len(tracklet)} frames"])


def _frames(tracklet: Tracklet) -> list[np.ndarray | None]:
    frames = spread(len(tracklet), FRAMES)
    try:
        return read_frames(tracklet, frames) if frames else []
    except InputError:
        return [_frame(tracklet, frame) for frame in frames]


def _frame(tracklet: Tracklet, frame: int) -> np.ndarray | None:
    try:
        return read_frames(tracklet, [frame])[0]
    except InputError:
        return None
