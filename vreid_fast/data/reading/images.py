"""Encoded and decoded frames of a tracklet, with errors that name file and tracklet."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import BadFrame, Tracklet
from .jpeg import decode_jpeg, header_of, is_jpeg
from .pillow import check_size, decode_other, orientation, size_of_other
from .upright import turn_by_exif, upright
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
        BadFrame: a file that is missing, empty or no file.
    """
    packed = getattr(tracklet.frames, "encoded", None)
    try:
        encoded = packed(index) if packed else _read_file(tracklet.frames[index])
    except FileNotFoundError as error:
        raise _bad(tracklet, index, "is missing") from error
    except OSError as error:
        raise _bad(tracklet, index, f"cannot be read ({error.strerror or error})") from error
    if not len(encoded):
        raise _bad(tracklet, index, "is empty (0 bytes)")
    return encoded


def _read_file(path: str) -> np.ndarray:
    # Opened without waiting: for a pipe that nobody writes to, that would be for ever.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        return np.frombuffer(os.read(file, status.st_size), dtype=np.uint8)
    finally:
        os.close(file)


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
    """The encoded image `index` of a tracklet as (H, W, 3) uint8 RGB, upright.

    Raises:
        BadFrame: an image that cannot be decoded, is damaged, or is of a kind that is not read.
    """
    try:
        return decode(encoded.tobytes())
    except Exception as error:  # damaged bytes make decoders raise anything
        raise _bad(tracklet, index, f"cannot be decoded ({str(error) or type(error).__name__})") from error


def decode(content: bytes) -> np.ndarray:
    """An encoded image as (H, W, 3) uint8 RGB, upright. Both loaders and all commands read images by this.

    Raises:
        Exception: whatever decoders raise on damaged bytes; ValueError in words where it is known what is wrong.
    """
    if is_jpeg(content):
        header = header_of(content)
        check_size(*header.size)
        pixels = decode_jpeg(content, header.components)
        return upright(pixels, turn_by_exif(orientation(header.exif, header.xmp)))
    pixels, turned = decode_other(content)
    return upright(pixels, turn_by_exif(turned))


def image_size(content: bytes) -> tuple[int, int]:
    """(H, W) of an encoded image, upright, by its header.

    Raises:
        Exception: as `decode`.
    """
    if is_jpeg(content):
        header = header_of(content)
        size, turn = header.size, turn_by_exif(orientation(header.exif, header.xmp))
    else:
        size, turned = size_of_other(content)
        turn = turn_by_exif(turned)
    return size[::-1] if turn.transpose else size


def _bad(tracklet: Tracklet, index: int, problem: str) -> BadFrame:
    words = f"image {tracklet.frames[index]} {problem}; replace it or take it out of {tracklet}"
    return BadFrame(words, tracklet, [index])
