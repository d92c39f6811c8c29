"""Encoded and decoded frames of a tracklet, with errors that name file and tracklet."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import BadFrame, Tracklet
from .video import CutVideo, decode_video


def read_frames(tracklet: Tracklet, indices: Iterable[int]) -> list[np.ndarray]:
    """Frames by number as (H, W, 3) uint8 RGB; frames of one tracklet may differ in size.

    Raises:
        BadFrame: a frame that is missing or cannot be decoded.
        InputError: a video that cannot be read at all.
    """
    if tracklet.video is not None:
        try:
            return list(decode_video(tracklet.video, [int(index) for index in indices]))
        except CutVideo as error:
            raise BadFrame(f"{error}; it is {tracklet}", tracklet, error.frames) from error
        except InputError as error:
            raise InputError(f"{error}; it is {tracklet}") from error
    return [decode_image(read_encoded(tracklet, index), tracklet, index) for index in indices]


def read_encoded(tracklet: Tracklet, index: int) -> np.ndarray:
    """The bytes of an image, (bytes,) uint8.

    Raises:
        BadFrame: a file that is missing, empty or cut short.
    """
    packed = getattr(tracklet.frames, "encoded", None)
    try:
        encoded = packed(index) if packed else np.fromfile(tracklet.frames[index], dtype=np.uint8)
    except FileNotFoundError as error:
        raise _unreadable(tracklet, index, "is missing") from error
    except OSError as error:
        raise _unreadable(tracklet, index, error) from error
    if not len(encoded):
        raise _unreadable(tracklet, index, "is empty (0 bytes)")
    # Some decoders fill the rest of a cut JPEG with grey; one without its end marker is looked at closely.
    if encoded[:2].tobytes() == b"\xff\xd8" and encoded[-2:].tobytes() != b"\xff\xd9":
        decode_image(encoded, tracklet, index)
    return encoded


def read_video(tracklet: Tracklet) -> np.ndarray:
    """The bytes of a tracklet's video, (bytes,) uint8.

    Raises:
        InputError: a file that is missing or empty.
    """
    packed = getattr(tracklet.video, "encoded", None)
    try:
        encoded = packed() if packed else np.fromfile(tracklet.video, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"video of {tracklet} cannot be read ({error.strerror})") from error
    if not len(encoded):
        raise InputError(f"video of {tracklet} is empty (0 bytes)")
    return encoded


def decode_image(encoded: np.ndarray, tracklet: Tracklet, index: int) -> np.ndarray:
    """The encoded image `index` of a tracklet as (H, W, 3) uint8 RGB.

    Raises:
        InputError: an image that cannot be decoded.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded.tobytes())) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError as error:
        raise _unreadable(tracklet, index, "is no image that can be decoded") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(tracklet, index, error) from error


def _unreadable(tracklet: Tracklet, index: int, problem: str | Exception) -> BadFrame:
    if isinstance(problem, Exception):
        problem = f"cannot be decoded ({problem})"
    words = f"image {tracklet.frames[index]} {problem}; replace it or take it out of {tracklet}"
    return BadFrame(words, tracklet, [index])
