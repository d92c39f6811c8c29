"""What goes into a pack: the tracklets of all splits once, read or encoded on several threads, in order."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError
from vreid_fast.terminal import progress_bar

from ..reading.images import decode_image, read_encoded, read_frames, read_video
from ..reading.packed import SUBSETS
from ..reading.video import contents
from ..reading.video_facts import VideoFacts
from ..tracklets import Dataset, Tracklet
from .pack_writer import PackWriter, new_folder
from .video_encoder import VideoEncoder, video_images

IMAGES_AT_ONCE = 32


@dataclass
class Piece:
    """Frames of a tracklet that are read together: some images, or all of a video."""

    row: int
    frames: range
    """Their numbers before reading."""
    members: list[tuple[str, bytes | np.ndarray]] = field(default_factory=list)
    """(ending, bytes) of each image, or of the video."""
    facts: VideoFacts | None = None
    """Of the video."""
    kept: list[int] = field(default_factory=list)
    """Numbers of the images that could be read."""
    bad: list[str] = field(default_factory=list)
    """Why each of the others could not."""


def write_pack(
    splits: Sequence[Dataset],
    out: Path,
    *,
    shard_size: int = 2**30,
    encoder: VideoEncoder | None = None,
    threads: int = 1,
    skip: bool = False,
    overwrite: bool = False,
) -> tuple[PackWriter, list[str]]:
    """Write the pack of a data set, given in all its splits; it is whole, or not there.

    Args:
        shard_size: bytes; a shard ends with the tracklet that reaches it.
        encoder: what makes a video of each tracklet; None = bytes as they are.
        skip: leave unreadable images out; a tracklet of none but such is an error.

    Returns:
        The writer, which has counted, and why each image that was left out was.

    Raises:
        InputError: no tracklets, something unreadable, `out` is there or cannot be written.
    """
    data = splits[0]
    tracklets, subsets = _rows(splits)
    if not tracklets:
        raise InputError(f"{data.name}: no tracklets to pack")
    within = [[[] for _ in splits] for _ in tracklets]
    for split, subset, row in subsets:
        within[row][split].append(SUBSETS[subset])
    root, bad = data.name.partition(":")[2], []

    def read(piece: Piece) -> Piece:
        return _read(piece, tracklets[piece.row], encoder, skip)

    with (
        new_folder(out, overwrite=overwrite) as folder,
        PackWriter(folder, shard_size) as writer,
        progress_bar(total=len(tracklets), unit="tracklet", dynamic_ncols=True, delay=0.5) as bar,
    ):
        pieces = _in_order(read, _pieces(tracklets, whole=encoder is not None), threads)
        for row, own in groupby(pieces, key=lambda piece: piece.row):
            writer.start()
            kept, facts, problems = _add(writer, own)
            if not kept and not facts:
                raise InputError(f"{tracklets[row]}: no image can be read; the first: {problems[0]}")
            writer.finish(tracklets[row], facts, {"splits": within[row], **_origin(tracklets[row], kept, root)})
            bad += problems
            bar.set_postfix_str(f"{writer.bytes / 1e6:,.0f} MB", refresh=False)
            bar.update()
        notes = list(data.notes)
        if encoder:
            notes.append(
                f"{data.name} was packed as {encoder.codec} video, crf {encoder.crf}: frames are not as they were"
            )
        writer.close(
            subsets, {"spec": data.name, "splits": len(splits), "notes": notes, "official": dict(data.official)}
        )
    return writer, bad


def _rows(splits: Sequence[Dataset]) -> tuple[list[Tracklet], list[tuple[int, int, int]]]:
    """Each tracklet once, and (split, subset, row) of all subsets, in order.

    Splits are read one by one: what has the same frames and labels is one tracklet, whatever object it is.
    """
    rows, known, subsets = {}, {}, []
    for split, data in enumerate(splits):
        for subset, name in enumerate(SUBSETS):
            for tracklet in getattr(data, name):
                if id(tracklet) not in known:
                    known[id(tracklet)] = rows.setdefault(_key(tracklet), (len(rows), tracklet))[0]
                subsets.append((split, subset, known[id(tracklet)]))
    return [tracklet for _, tracklet in rows.values()], subsets


def _key(tracklet: Tracklet) -> tuple:
    video = tracklet.video is not None
    names = [str(tracklet.video)] if video else (tracklet.frames[number] for number in range(len(tracklet)))
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogateescape")).digest()
    return digest, tracklet.identity, tracklet.camera, tracklet.clothes, tracklet.sighting


def _pieces(tracklets: Sequence[Tracklet], *, whole: bool) -> Iterator[Piece]:
    for row, tracklet in enumerate(tracklets):
        if not len(tracklet):
            raise InputError(f"{tracklet}: nothing to pack; take it out of the data set")
        step = len(tracklet) if whole or tracklet.video is not None else IMAGES_AT_ONCE
        for start in range(0, len(tracklet), step):
            yield Piece(row, range(start, min(start + step, len(tracklet))))


def _in_order(function: Callable[[Piece], Piece], pieces: Iterable[Piece], threads: int) -> Iterator[Piece]:
    """`function` of each, made by threads that are a few pieces ahead and no more."""
    pool, waiting = ThreadPoolExecutor(threads, "pack"), deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(piece: Piece, tracklet: Tracklet, encoder: VideoEncoder | None, skip: bool) -> Piece:
    """Fill a piece with its content."""
    if tracklet.video is not None:
        if encoder:
            encoded, piece.facts = encoder.encode(video_images(tracklet), f"video of {tracklet}")
            piece.members = [(encoder.ending, encoded)]
        else:
            piece.facts = _video_facts(piece, tracklet, skip)
            piece.members = [(_ending(str(tracklet.video)), read_video(tracklet))]
        if piece.facts.frames != len(tracklet) and not piece.bad:
            raise InputError(f"video of {tracklet} holds {piece.facts.frames} frames")
    elif encoder:
        images = (image for _, image in _images(piece, tracklet, _decoded, skip))
        encoded, piece.facts = encoder.encode(images, str(tracklet))
        piece.members = [(encoder.ending, encoded)]
    else:
        images = _images(piece, tracklet, _sound, skip)
        piece.members = [(_ending(tracklet.frames[number]), encoded) for number, encoded in images]
    return piece


def _video_facts(piece: Piece, tracklet: Tracklet, skip: bool) -> VideoFacts:
    """Facts of a video with the frames up to the last that comes out; the piece notes why others do not.

    Damaged ones in its middle stay in the pack, as a video is packed as it is, and are met when they are read.
    """
    found = contents(tracklet.video)
    readable = found.readable - len(found.lost)
    if readable < len(tracklet):
        why = f": {found.problem}" if found.problem else ""
        problem = f"video of {tracklet}: {readable} of {len(tracklet)} frames can be decoded{why}"
        if not skip or not found.readable:
            raise InputError(f"{problem}; --on_bad_frame skip leaves the others out" if found.readable else problem)
        piece.bad.append(problem)
    return replace(found.facts, frames=found.readable)


def _decoded(tracklet: Tracklet, number: int) -> np.ndarray:
    return read_frames(tracklet, [number])[0]


def _sound(tracklet: Tracklet, number: int) -> np.ndarray:
    """The bytes of an image that can be decoded."""
    encoded = read_encoded(tracklet, number)
    decode_image(encoded, tracklet, number)
    return encoded


def _images(piece: Piece, tracklet: Tracklet, read: Callable, skip: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(number, image) of those that can be read; the piece notes which they are, and what is wrong with the others."""
    for number in piece.frames:
        try:
            image = read(tracklet, number)
        except InputError as error:
            if not skip:
                raise InputError(f"{error}; --on_bad_frame skip leaves it out") from error
            piece.bad.append(str(error))
        else:
            piece.kept.append(number)
            yield number, image


def _add(writer: PackWriter, pieces: Iterable[Piece]) -> tuple[list[int], VideoFacts | None, list[str]]:
    """Write the members of a tracklet; the images kept, facts of its video, and problems."""
    kept, bad, facts = [], [], None
    for piece in pieces:
        facts = piece.facts
        for number, (ending, content) in enumerate(piece.members, len(kept)):
            writer.member(None if facts else number, ending, content)
        kept += piece.kept
        bad += piece.bad
    return kept, facts, bad


def _ending(name: str) -> str:
    ending = os.path.splitext(name)[1][1:].lower()
    return ending if re.fullmatch("[a-z0-9]{1,16}", ending) else "bin"


def _origin(tracklet: Tracklet, kept: Sequence[int], root: str) -> dict:
    """Where a tracklet's frames were, in a data set at `root`."""
    names = [tracklet.frames[number] for number in kept]
    source = os.path.dirname(names[0]) if names else str(tracklet.video)
    if root and source.startswith(os.path.join(root, "")):
        source = os.path.relpath(source, root)
    return {"source": source, "names": [os.path.basename(name) for name in names]}
