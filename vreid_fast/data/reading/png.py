"""PNG images: whether a file is whole. Pillow shows damaged and missing pixels as if they were the image's."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

START = b"\x89PNG\r\n\x1a\n"
INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps to the right and downwards, of each pass."""
PLANES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the kind of colours that a header names."""


def check_parts(content: bytes) -> None:
    """Pillow does not look at the checksums of pixels."""
    for _ in _parts(content):
        pass


def _parts(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, content) of each part up to the end.

    Raises:
        ValueError: in words, where a part is cut or damaged.
    """
    at, kind = len(START), b""
    while kind != b"IEND":
        head = content[at : at + 8]
        length, kind = int.from_bytes(head[:4]), head[4:]
        end = at + 12 + length
        if len(head) < 8 or end > len(content):
            raise ValueError(f"it is a PNG that ends at byte {len(content)}, in the middle of a part")
        part = memoryview(content)[at + 4 : end - 4]
        if zlib.crc32(part) != int.from_bytes(content[end - 4 : end]):
            raise ValueError(f"it is a PNG whose part at byte {at} does not match its checksum")
        yield kind, part[4:]
        at = end


def check_rows(content: bytes) -> None:
    """Pillow shows rows that are not there as black. Only of images that end black all is unpacked to look."""
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    steps = INTERLACED if interlaced else ((0, 0, 1, 1),)
    planes = PLANES[colours]
    wanted = 0
    for left, top, right, down in steps:
        across, rows = -(-(width - left) // right), -(-(height - top) // down)
        if across > 0:
            wanted += max(rows, 0) * (1 + -(-across * bits * planes // 8))
    packed = b"".join(part for kind, part in _parts(content) if kind == b"IDAT")
    found = len(zlib.decompressobj().decompress(packed, wanted))
    if found < wanted:
        raise ValueError(f"it is a PNG with {found:,} bytes of pixels, wanted {wanted:,}")
