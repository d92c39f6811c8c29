"""Single frames of a video whose layout is known, decoded from the key frame before each, and nothing else of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..tracklets import StoredVideo
from .limits import MOST_PIXELS
from .upright import UPRIGHT, turn_of, upright
from .video_colours import ToRgb
from .video_file import part_of
from .video_layout import Layout

if TYPE_CHECKING:
    import av

MOST_KEPT = 8
"""Decoders a thread keeps: one for each kind of video, as of one camera or one pack."""
OPTIONS = {
    # As in `opened`: damage is an error, and a reason to take the whole file to find out what is hit.
    "max_pixels": str(MOST_PIXELS), "err_detect": "explode",
    # A header need not say how late frames may come; a decoder of H.264 drops those that come later than it thinks.
    "has_b_frames": "16",
}  # fmt: skip

_kept = threading.local()


def clip_frames(
    video: str | StoredVideo, layout: Layout, size: tuple[int, int], wanted: set[int]
) -> dict[int, np.ndarray] | None:
    """Frames by number, (H, W, 3) uint8 RGB, from a decoder that this thread keeps open for such videos.

    They are those of decoding from the start, bit for bit: runs begin where the codec's standard lets a decoder begin.

    Args:
        size: (H, W) of each.
    Returns:
        None: not all came out as they should, and what is wrong is for a pass over the whole file to say.
    """
    kind = (layout.codec, layout.extradata)
    decoders = _kept.__dict__.setdefault("decoders", {})
    try:
        decoder, to_rgb = decoders.pop(kind, None) or (_decoder(*kind), ToRgb(threads=1))
        found = {
            number: upright(to_rgb(frame), turn_of(frame, UPRIGHT))
            for number, frame in _decoded(decoder, video, layout, wanted)
            if number in wanted and not frame.is_corrupt
        }
    except Exception:  # damaged videos make PyAV raise anything
        return None
    if len(decoders) >= MOST_KEPT:
        decoders.clear()
    decoders[kind] = decoder, to_rgb
    return found if len(found) == len(wanted) and all(f.shape[:2] == size for f in found.values()) else None


def _decoded(
    decoder: av.VideoCodecContext, video: str | StoredVideo, layout: Layout, wanted: set[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    import av

    for run in layout.runs(wanted):
        for content, number in zip(run.packets(part_of(video, *run.span)), run.numbers.tolist()):
            packet = av.Packet(content)
            packet.pts = number
            for frame in decoder.decode(packet):
                yield frame.pts, frame
        for frame in decoder.decode(None):
            yield frame.pts, frame
        decoder.flush_buffers()


def _decoder(codec: str, extradata: bytes) -> av.VideoCodecContext:
    import av

    decoder = av.CodecContext.create(codec, "r")
    decoder.extradata, decoder.thread_count, decoder.options = extradata or None, 1, OPTIONS
    return decoder
