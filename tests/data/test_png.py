"""PNG images: the bytes of pixels that a header promises are all there, of each kind and width."""

import struct
import zlib

import numpy as np
import pytest

from vreid_fast.data.reading.png import INTERLACED, START, check_parts, check_rows

KINDS = [(bits, 0, 1) for bits in (1, 2, 4, 8, 16)] + [(bits, 3, 1) for bits in (1, 2, 4, 8)]
KINDS += [(bits, colours, planes) for colours, planes in ((2, 3), (4, 2), (6, 4)) for bits in (8, 16)]
"""(bits, what a header calls the colours, planes): all that PNG has."""


def part(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bits, colours, interlaced, pixels):
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced)
    half = len(pixels) // 2
    packed = zlib.compress(pixels)
    parts = (b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IEND", b"")
    return START + part(b"IHDR", head) + b"".join(part(*each) for each in parts)


def bytes_of(width, height, bits, planes, interlaced):
    """By the pixels that each pass picks from a picture, a byte more a row for its filter."""
    steps = INTERLACED if interlaced else [(0, 0, 1, 1)]
    passes = [np.zeros((height, width))[top::down, left::right].shape for left, top, right, down in steps]
    return sum(rows * (1 + (across * bits * planes + 7) // 8) for rows, across in passes if across)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("bits, colours, planes", KINDS)
def test_a_byte_less_than_all_is_seen(bits, colours, planes, interlaced):
    for width, height in ((1, 1), (2, 3), (3, 2), (4, 9), (5, 5), (7, 4), (9, 8), (13, 17)):
        count = bytes_of(width, height, bits, planes, interlaced)
        sound = png(width, height, bits, colours, interlaced, bytes(count))
        check_parts(sound)
        check_rows(sound)
        check_rows(png(width, height, bits, colours, interlaced, bytes(count + 3)))
        with pytest.raises(ValueError, match=rf"a PNG with {count - 1:,} bytes of pixels, wanted {count:,}$"):
            check_rows(png(width, height, bits, colours, interlaced, bytes(count - 1)))
