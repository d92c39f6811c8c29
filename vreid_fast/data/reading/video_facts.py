"""What is known of a video before its frames are wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoFacts:
    codec: str
    """As FFmpeg names it: h264, hevc, vp8, vp9, mjpeg, av1, ..."""
    frames: int
    """That come out, one after the other; of a damaged file those that should."""
    width: int
    """Of upright frames."""
    height: int
    pixels: str
    """FFmpeg's pixel format, such as yuv420p."""
