"""Kinds of videos through every reader: the same pixels, within 6 levels, or refused by all of them."""

from fractions import Fraction

import numpy as np
import pytest
from every_reader import FRAMES, HEIGHT, WIDTH, by_reader, coloured, write

from vreid_fast.data import read_dataset

VP9, X264 = ("libvpx-vp9", {"crf": "5", "b": "0"}), ("libx264", {"crf": "5"})
COLOURS = {  # matrix, primaries and range as in H.273
    "unflagged": (2, 0), "601": (5, 1), "601 full": (6, 2), "709": (1, 1), "709 full": (1, 2), "2020": (9, 1),
    "fcc": (4, 1), "240m": (7, 1),
}  # fmt: skip
KINDS = {
    **{f"vp9 {name}": (*VP9, "yuv420p", "webm", colours) for name, colours in COLOURS.items()},
    **{f"vp9 mp4 {name}": (*VP9, "yuv420p", "mp4", colours) for name, colours in COLOURS.items()},
    **{f"h264 {name}": (*X264, "yuv420p", "mp4", colours) for name, colours in COLOURS.items()},
    **{
        f"{name} {pixels}": (codec, options, pixels, ending, (2, 0))
        for name, codec, options, ending, formats in (
            ("vp9", *VP9, "webm", ["yuv444p", "yuv422p", "gbrp", "yuva420p"]),
            ("h264", *X264, "mp4", ["yuv422p", "yuv444p", "yuv420p10le", "gray", "yuvj420p"]),
            ("mjpeg", "mjpeg", {"q": "2"}, "avi", ["yuvj420p", "yuvj422p", "yuvj444p"]),
            ("ffv1", "ffv1", {}, "mkv", ["yuv420p", "bgra", "gray", "gray16le", "yuv420p16le"]),
            ("vp8", "libvpx", {"crf": "4", "b": "4M"}, "webm", ["yuv420p"]),
        )
        for pixels in formats
    },
    "mpeg4": ("mpeg4", {"q": "2"}, "yuv420p", "avi", (2, 0)),
    "mpeg2": ("mpeg2video", {"q": "2"}, "yuv420p", "mkv", (2, 0)),
    "h264 interlaced": ("libx264", {"crf": "5", "x264-params": "interlaced=1"}, "yuv420p", "mp4", (2, 0)),
    "h264 odd": (*X264, "yuv444p", "mp4", (2, 0), 127, 63),
    "vp9 odd": (*VP9, "yuv420p", "webm", (2, 0), 127, 63),
    "vp8 odd": ("libvpx", {"crf": "4", "b": "4M"}, "yuv420p", "webm", (2, 0), 127, 63),
    "mjpeg odd": ("mjpeg", {"q": "2"}, "yuvj420p", "avi", (2, 0), 127, 63),
    "h264 pixels twice as wide": (*X264, "yuv420p", "mp4", (2, 0), HEIGHT, WIDTH, 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_sees_the_same(tmp_path, kind):
    pytest.importorskip("nvidia.dali")
    (tmp_path / "set").mkdir()
    codec, options, pixels, ending, colours, *size = KINDS[kind]
    write(tmp_path / "set" / "a", codec, options, pixels, ending, colours, *size)
    found = by_reader(tmp_path / "set")
    one = found.pop("frames")
    assert len(one) == FRAMES and one.shape[1:3] == tuple(size[:2] or (HEIGHT, WIDTH))
    for name, other in found.items():
        assert not isinstance(other, str), (name, other)
        assert np.abs(one - other).max() <= 6, name
    if "gray" not in pixels:
        middle = one[:, 4:28, 4:28].mean((0, 1, 2)), one[:, 4:28, 36:60].mean((0, 1, 2))
        assert np.abs(np.array(middle) - [[200, 40, 40], [40, 40, 200]]).max() < 9


def test_a_size_that_changes_on_the_way_is_refused_by_all(tmp_path):
    import av

    pytest.importorskip("nvidia.dali")
    (tmp_path / "set").mkdir()
    with av.open(str(tmp_path / "set" / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"q": "2"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        for number, side in enumerate([WIDTH] * 3 + [WIDTH // 2] * 3):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = (
                HEIGHT,
                side,
                "yuvj420p",
                Fraction(1, 25),
            )
            encoder.framerate = 25
            frame = av.VideoFrame.from_ndarray(coloured(number, HEIGHT, side), format="rgb24")
            if not number:
                container.mux(stream.encode(frame))
                continue
            for packet in [*encoder.encode(frame), *encoder.encode(None)]:
                packet.stream, packet.pts, packet.dts = stream, number * 40, number * 40
                container.mux(packet)
    found = by_reader(tmp_path / "set")
    assert len(found) == 5
    for words in found.values():
        assert "frame 3 cannot be decoded; it has 128x32 pixels, the video 128x64" in words


@pytest.mark.parametrize("codec, ending", [("libx264", "mkv"), ("libvpx-vp9", "webm")])
def test_the_largest_of_several_streams_is_read_by_all(tmp_path, codec, ending):
    import av

    pytest.importorskip("nvidia.dali")
    (tmp_path / "set").mkdir()
    with av.open(str(tmp_path / "set" / f"a.{ending}"), "w") as container:
        sizes = [(32, 16), (HEIGHT, WIDTH)]
        streams = [container.add_stream(name, rate=25, options={"crf": "5", "b": "0"}) for name in (codec, codec)]
        for stream, size in zip(streams, sizes, strict=True):
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for stream, size in zip(streams, sizes, strict=True):
            for number in range(FRAMES):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(coloured(number, *size), format="rgb24")))
            container.mux(stream.encode())
    data = read_dataset(f"folder:{tmp_path / 'set'}")
    assert any("1 file holds several videos" in note for note in data.notes)
    found = by_reader(tmp_path / "set")
    for frames in found.values():
        assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3) and np.abs(frames - found["frames"]).max() <= 6
