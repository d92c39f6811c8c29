"""Packets as a small Matroska file in memory: what a decoder needs that takes files alone (RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterable

CODECS = {"h264": b"V_MPEG4/ISO/AVC", "hevc": b"V_MPEGH/ISO/HEVC", "vp9": b"V_VP9"}
TICK = 10
"""Milliseconds from one frame to the next; nothing depends on it."""
CLUSTER = 1000
"""Frames of a cluster, whose times are 16-bit numbers."""


def matroska(codec: str, extradata: bytes, size: tuple[int, int], packets: Iterable[tuple[int, bool, bytes]]) -> bytes:
    """A file with one stream of video.

    Args:
        codec: as FFmpeg names it, one of `CODECS`.
        extradata: what a decoder is to know before the first packet.
        size: (H, W).
        packets: (place in the order of showing, whether it is a key frame, content) of each, in the order of decoding.
    """
    height, width = size
    shape = _element(0xB0, _number(width)) + _element(0xBA, _number(height))
    track = [
        _element(0xD7, b"\1"), _element(0x73C5, b"\1"), _element(0x83, b"\1"), _element(0x9C, b"\0"),
        _element(0x86, CODECS[codec]), _element(0x63A2, extradata) if extradata else b"", _element(0xE0, shape),
    ]  # fmt: skip
    kind = [_element(0x4282, b"matroska"), _element(0x4287, b"\4"), _element(0x4285, b"\2")]
    info = _element(0x2AD7B1, _number(1_000_000)) + _element(0x4D80, b"vreid-fast") + _element(0x5741, b"vreid-fast")
    blocks: dict[int, list[bytes]] = {}
    cluster = -1
    for number, (shown, key, content) in enumerate(packets):
        if number % CLUSTER == 0:
            cluster = shown
            blocks[cluster] = [_element(0xE7, _number(cluster * TICK))]
        head = b"\x81" + ((shown - cluster) * TICK).to_bytes(2, "big", signed=True) + (b"\x80" if key else b"\0")
        blocks[cluster].append(_element(0xA3, head + content))
    clusters = [_element(0x1F43B675, b"".join(own)) for own in blocks.values()]
    tracks = _element(0x1654AE6B, _element(0xAE, b"".join(track)))
    segment = b"".join((_element(0x1549A966, info), tracks, *clusters))
    return _element(0x1A45DFA3, b"".join(kind)) + _element(0x18538067, segment)


def _element(name: int, content: bytes) -> bytes:
    return _number(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, -(-value.bit_length() // 8)), "big")
