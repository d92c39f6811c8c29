"""Videos whose headers or packets promise frames that do not come out, made of `write_video`'s."""

import struct
from collections.abc import Iterable
from pathlib import Path

from media import write_video

SIZE = {"height": 128, "width": 64}


def hide(path: Path, first: int, count: int, before: int = 0) -> Path:
    """Rewrite the edit list of an MP4 with one track, so that `count` of its frames are shown, from `first` on.

    Args:
        before: nothing is shown for the time of so many frames first: a second entry, so the boxes around it grow.
    """
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        scale, ticks = stream.time_base.denominator, int(1 / stream.average_rate / stream.time_base)
    data = bytearray(path.read_bytes())
    at = data.find(b"mvhd")
    movie = struct.unpack(">I", data[at + 16 : at + 20])[0]
    at = data.find(b"elst")
    assert struct.unpack(">I", data[at + 8 : at + 12])[0] == 1
    start = struct.unpack(">i", data[at + 16 : at + 20])[0] + first * ticks
    data[at + 12 : at + 20] = struct.pack(">Ii", count * ticks * movie // scale, start)
    if before:
        data[at + 8 : at + 12] = struct.pack(">I", 2)
        data[at + 12 : at + 12] = struct.pack(">IiI", before * ticks * movie // scale, -1, 1 << 16)
        for box in (b"elst", b"edts", b"trak", b"moov"):  # the samples lie before moov: no offset changes
            place = data.find(box) - 4
            data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + 12)
    path.write_bytes(data)
    return path


def drop(path: Path, frames: Iterable[int]) -> Path:
    """Empty the chunks of some frames of an AVI, as capture cards do with frames that they dropped."""
    data = path.read_bytes()
    start = data.find(b"movi")
    end = start - 4 + 4 + struct.unpack("<I", data[start - 4 : start])[0]
    out, index, at, number = bytearray(data[: start + 4]), [], start + 4, 0
    while at < end:
        kind, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        whole = 8 + size + size % 2
        if kind == b"00dc":
            empty = number in frames
            index.append(struct.pack("<4sIII", kind, 16, len(out) - start, 0 if empty else size))
            out += struct.pack("<4sI", kind, 0) if empty else data[at : at + whole]
            number += 1
        at += whole
    out[start - 4 : start] = struct.pack("<I", len(out) - start)
    out += struct.pack("<4sI", b"idx1", 16 * len(index)) + b"".join(index)
    out[4:8] = struct.pack("<I", len(out) - 8)
    path.write_bytes(out)
    return path


def packets(path: Path) -> list[tuple[int, bytes]]:
    """(position of its block, content) of each packet of the first video stream."""
    import av

    with av.open(str(path)) as container:
        return [(packet.pos, bytes(packet)) for packet in container.demux(video=0) if packet.size]


def make_invisible(path: Path, frames: Iterable[int]) -> Path:
    """Turn frames of a VP8 video into such that are not shown, as its encoder makes of frames that others refer to."""
    data, found = bytearray(path.read_bytes()), packets(path)
    for number in frames:
        position, content = found[number]
        data[data.find(content, position)] &= ~0x10
    path.write_bytes(data)
    return path


def without_start(path: Path, out: Path, frames: int) -> Path:
    """A copy without the first packets, and so without the key frame that the next ones need."""
    import av

    with av.open(str(path)) as source, av.open(str(out), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            if number >= frames:
                packet.stream = stream
                sink.mux(packet)
    return out


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def with_a_second_stream(path: Path, frames: int, others: int) -> Path:
    """VP9 of pictures 0, 1, ..., and beside it a shorter MJPEG stream."""
    import av
    from media import picture

    with av.open(str(path), "w") as container:
        first, second = container.add_stream("libvpx-vp9", rate=25), container.add_stream("mjpeg", rate=25)
        first.options = {"crf": "5", "b": "0"}
        for stream, pixels in ((first, "yuv420p"), (second, "yuvj420p")):
            stream.width, stream.height, stream.pix_fmt = SIZE["width"], SIZE["height"], pixels
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, **SIZE), format="rgb24")
            container.mux(first.encode(frame))
            if number < others:
                container.mux(second.encode(frame))
        container.mux(first.encode())
        container.mux(second.encode())
    return path


def mp4(folder: Path, codec: str) -> Path:
    return write_video(folder / f"{codec}.mp4", 30, codec=codec, **SIZE)


def avi(folder: Path) -> Path:
    return write_video(folder / "mjpeg.avi", 30, codec="mjpeg", **SIZE)


LACKING = {
    "edit list, VP9": (lambda at: hide(mp4(at, "libvpx-vp9"), 12, 10), range(12, 22)),
    "edit list, MJPEG": (lambda at: hide(mp4(at, "mjpeg"), 12, 10), range(12, 22)),
    "edit list, H.264": (lambda at: hide(mp4(at, "libx264"), 12, 10), range(12, 22)),
    "edit list of the start": (lambda at: hide(mp4(at, "libvpx-vp9"), 0, 7), range(7)),
    "edit list of the end": (lambda at: hide(mp4(at, "mjpeg"), 21, 9), range(21, 30)),
    "edit list that starts late": (lambda at: hide(mp4(at, "mjpeg"), 4, 10, before=5), range(4, 14)),
    "frames dropped at the start": (lambda at: drop(avi(at), {0, 1}), range(2, 30)),
    "frames dropped": (lambda at: drop(avi(at), {5, 6, 12}), [n for n in range(30) if n not in (5, 6, 12)]),
    "frames dropped at the end": (lambda at: drop(avi(at), {27, 28, 29}), range(27)),
    "VP8 frames not shown": (
        lambda at: make_invisible(write_video(at / "a.webm", 30, codec="libvpx", **SIZE), {10, 20}),
        [n for n in range(30) if n not in (10, 20)],
    ),
}
"""Makers of a video in a folder, and which pictures come out of it."""
