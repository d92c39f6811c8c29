"""A tracklet as one short video, through PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vreid_fast.errors import InputError

from ..reading.video import each_frame, probe
from ..reading.video_facts import VideoFacts
from ..tracklets import Tracklet

if TYPE_CHECKING:
    import av


RATE = 25
"""Frames per second; nothing depends on it."""


@dataclass(frozen=True)
class Codec:
    encoder: str
    ending: str
    """Of the file: webm or mp4."""
    crf: int
    """Constant rate factor that keeps about 40 dB of signal to noise on crops of 64x128."""
    worst_crf: int
    keyframes: int
    """Frames from one key frame to the next: of H.264 and HEVC more would save little, and load much more slowly."""
    options: dict[str, str]
    least: int = 2
    """Least width and height, pixels."""


# No frame waits for a later one, so that a file's order is the frames' order; one thread, as tracklets
# are encoded side by side.
CODECS = {
    "vp9": Codec(
        *("libvpx-vp9", "webm", 20, 63, 8),
        {"b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0", "lag-in-frames": "0"},
    ),
    "h264": Codec("libx264", "mp4", 15, 51, 4, {"bf": "0", "sc_threshold": "0"}),
    # x265 writes beyond its buffers at widths below 64.
    "hevc": Codec(
        *("libx265", "mp4", 17, 51, 4),
        {"x265-params": "log-level=none:pools=none:frame-threads=1:bframes=0:scenecut=0:open-gop=0"},
        least=64,
    ),
}


@dataclass(frozen=True)
class VideoEncoder:
    codec: str
    crf: int
    keyframes: int
    """Frames from one key frame to the next."""
    size: tuple[int, int] | None = None
    """(H, W) of every video; None = that of its first frame, made even."""

    @property
    def ending(self) -> str:
        return CODECS[self.codec].ending

    def encode(self, images: Iterable[np.ndarray], what: str) -> tuple[bytes, VideoFacts]:
        """The video of (H, W, 3) uint8 RGB images, and what is in it. `what` names them in errors.

        Raises:
            InputError: frames too small for the codec, or not one that can be decoded.
        """
        import av
        from av.video.reformatter import Interpolation

        scaling = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
        codec, encoded, size, count, written = CODECS[self.codec], io.BytesIO(), self.size, 0, 0
        with av.open(encoded, "w", format=codec.ending) as container:
            stream = container.add_stream(codec.encoder, rate=RATE, options={**codec.options, "crf": str(self.crf)})
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size, stream.codec_context.thread_count = self.keyframes, 1
            for count, image in enumerate(images, 1):
                if count == 1:
                    size = size or tuple(max(2, side - side % 2) for side in image.shape[:2])
                    if min(size) < codec.least:
                        raise InputError(
                            f"{what} has frames of {size[0]}x{size[1]}; {self.codec} needs {codec.least}x{codec.least} "
                            "or more: give --size, or another --video"
                        )
                    stream.height, stream.width = size
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame = frame.reformat(size[1], size[0], "yuv420p", interpolation=scaling)
                frame.pts, frame.time_base = count - 1, Fraction(1, RATE)
                written += _mux(container, stream.encode(frame))
            if not count:
                raise InputError(f"{what} has no frames that can be decoded")
            written += _mux(container, stream.encode())
        if written != count:
            raise RuntimeError(f"{codec.encoder} made {written} frames of the {count} of {what}")
        return encoded.getvalue(), VideoFacts(self.codec, count, size[1], size[0], "yuv420p")


def _mux(container: av.container.OutputContainer, packets: list[av.Packet]) -> int:
    container.mux(packets)
    return len(packets)


def video_images(tracklet: Tracklet) -> Iterator[np.ndarray]:
    """All frames of a tracklet's video as (H, W, 3) uint8 RGB, one after the other.

    Raises:
        InputError: frames of it cannot be decoded.
    """
    try:
        for _, pixels in each_frame(tracklet.video, range(probe(tracklet.video).frames)):
            yield pixels
    except InputError as error:
        raise InputError(f"{error}; it is {tracklet}") from error
