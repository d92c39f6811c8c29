"""Containers, raw streams, times and frames of rarer kinds: every reader sees the same, or refuses alike."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from every_reader import FRAMES, HEIGHT, WIDTH, by_reader, coloured, write
from ghosts import packets

from vreid_fast.data import read_dataset
from vreid_fast.data.commands.frame_check import read_tracklet

AV1 = ("libsvtav1", {"crf": "8"})
X264 = ("libx264", {"crf": "5"})
X264_PLAIN = ("libx264", {"crf": "5", "bf": "0"})
X265 = ("libx265", {"x265-params": "log-level=none:crf=5"})
VP8, VP9 = ("libvpx", {"crf": "4", "b": "4M"}), ("libvpx-vp9", {"crf": "5", "b": "0"})
MPEG2, RAW = ("mpeg2video", {"q": "2"}), ("wrapped_avframe", {})
OPEN = "keyint=5:min-keyint=5:bframes=2:scenecut=0:b-adapt=0"
UNEVEN = (0, 1, 5, 6, 20, 99)
KINDS = {
    "av1 mp4": (*AV1, "yuv420p", "mp4"), "av1 webm": (*AV1, "yuv420p", "webm"), "av1 ivf": (*AV1, "yuv420p", "ivf"),
    "av1 10 bit": (*AV1, "yuv420p10le", "mkv"), "av1 odd": (*AV1, "yuv420p", "mp4", (2, 0), 127, 65),
    "av1 key frames": (*AV1, "yuv420p", "mp4", (2, 0), HEIGHT, WIDTH, 1, range(FRAMES), 3),
    "av1 wide pixels": (*AV1, "yuv420p", "mp4", (2, 0), HEIGHT, WIDTH, Fraction(4, 3)),
    **{f"y4m {pixels}": (*RAW, pixels, "y4m") for pixels in ("yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le")},
    "y4m odd": (*RAW, "yuv420p", "y4m", (2, 0), 127, 63),
    **{f"raw h264 .{ending}": (*X264, "yuv420p", ending) for ending in ("h264", "264")},
    **{f"raw hevc .{ending}": (*X265, "yuv420p", ending) for ending in ("hevc", "265", "h265")},
    "raw h264 without b-frames": (*X264_PLAIN, "yuv420p", "h264"),
    "raw mpeg2": (*MPEG2, "yuv420p", "m2v"), "mpeg2 mpg": (*MPEG2, "yuv420p", "mpg"),
    "mpeg2 mpeg": (*MPEG2, "yuv420p", "mpeg"), "mpeg2 vob": (*MPEG2, "yuv420p", "vob"),
    "mpeg2 mxf": (*MPEG2, "yuv420p", "mxf"),
    "h264 ts": (*X264, "yuv420p", "ts"), "h264 mts": (*X264, "yuv420p", "mts"), "h264 m2ts": (*X264, "yuv420p", "m2ts"),
    "h264 flv": (*X264, "yuv420p", "flv"), "h264 3gp": (*X264, "yuv420p", "3gp"), "vp8 ivf": (*VP8, "yuv420p", "ivf"),
    "vp9 ivf": (*VP9, "yuv420p", "ivf"), "wmv": ("wmv2", {"q": "2"}, "yuv420p", "wmv"),
    "asf": ("wmv2", {"q": "2"}, "yuv420p", "asf"), "vp8 ogv": (*VP8, "yuv420p", "ogv"),
    "h264 open": ("libx264", {"crf": "5", "x264-params": f"open-gop=1:{OPEN}"}, "yuv420p", "mp4"),
    "hevc open": ("libx265", {"x265-params": f"log-level=none:crf=5:open-gop=1:{OPEN}"}, "yuv420p", "mp4"),
    "h264 refreshed": ("libx264", {"crf": "5", "x264-params": "intra-refresh=1:keyint=4"}, "yuv420p", "mp4"),
    "hevc fields": ("libx265", {"x265-params": "log-level=none:crf=5:field=1"}, "yuv420p", "mkv"),
    "h264 bottom field first": ("libx264", {"crf": "5", "x264-params": "bff=1"}, "yuv420p", "ts"),
    "mpeg2 interlaced": ("mpeg2video", {"q": "2", "flags": "+ildct+ilme"}, "yuv420p", "mpg"),
    "h264 cropped": (*X264, "yuv420p", "mp4", (2, 0), 130, 70),
    **{f"hevc {pixels}": (*X265, pixels, "mp4")
       for pixels in ("yuv420p10le", "yuv422p10le", "yuv444p", "gray", "gray10le", "gbrp")},
    "vp8 alpha": ("libvpx", {"crf": "4", "b": "4M", "auto-alt-ref": "0"}, "yuva420p", "webm"),
    "prores": ("prores_ks", {}, "yuv422p10le", "mov"), "prores alpha": ("prores_ks", {}, "yuva444p10le", "mov"),
    "animation": ("qtrle", {}, "argb", "mov"), "png": ("png", {}, "rgba", "mov"),
    "rgb avi": ("rawvideo", {}, "bgr24", "avi"),
    **{f"uneven times {ending}": (*given, "yuv420p", ending, (2, 0), HEIGHT, WIDTH, 1, UNEVEN)
       for given, ending in ((X264, "mkv"), (X264, "mp4"), (VP9, "webm"))},
    "times below zero": (*X264, "yuv420p", "mkv", (2, 0), HEIGHT, WIDTH, 1, range(-4, 2)),
    "times that begin late": (*X264, "yuv420p", "mp4", (2, 0), HEIGHT, WIDTH, 1, range(1000, 1006)),
    **{f"one frame {ending}": (*given, pixels, ending, (2, 0), HEIGHT, WIDTH, 1, range(1))
       for given, pixels, ending in (
           (X264, "yuv420p", "mp4"), (X264, "yuv420p", "h264"), (X265, "yuv420p", "hevc"), (AV1, "yuv420p", "mp4"),
           (VP8, "yuv420p", "ivf"), (VP9, "yuv420p", "webm"), (RAW, "yuv420p", "y4m"), (X264, "yuv420p", "ts"),
           (("mjpeg", {"q": "2"}), "yuvj420p", "avi"), (MPEG2, "yuv420p", "m2v"))},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("nvidia.dali")
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def seen_by_all(folder):
    """What every reader sees, (T, H, W, 3)."""
    found = by_reader(folder)
    one = found.pop("frames")
    for name, other in found.items():
        assert not isinstance(other, str), (name, other)
        assert np.abs(one - other).max() <= 6, name
    (tracklet,) = read_dataset(f"folder:{folder}").train
    assert not read_tracklet(tracklet, range(len(tracklet))).faults
    return one


def slope(frames):
    """(T,) brightness of the part that tells frames apart: see `coloured`."""
    return np.stack([frame[HEIGHT // 2 : HEIGHT - 4, 4:60].mean() for frame in frames])


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_sees_every_frame(folder, kind):
    codec, options, pixels, ending, colours, height, width, aspect, times, *gop = (
        *KINDS[kind], *((2, 0), HEIGHT, WIDTH, 1, range(FRAMES))[len(KINDS[kind]) - 4 :]
    )  # fmt: skip
    write(folder / "a", codec, options, pixels, ending, colours, height, width, aspect, times, *gop)
    frames = seen_by_all(folder)
    assert frames.shape == (len(times), height, width, 3)
    wanted = [coloured(number, height, width) for number in range(len(times))]
    if pixels.startswith("gray"):
        wanted = [frame @ (0.299, 0.587, 0.114) for frame in wanted]
    assert np.abs(slope(frames) - slope(wanted)).max() < 2


def with_times(path, times):
    """Change when packets of a Matroska file are shown, milliseconds by packet."""
    data = bytearray(path.read_bytes())
    for number, (_, content) in enumerate(packets(path)):
        if number in times:
            at = data.find(content[:40]) - 4
            assert data[at] == 0x81  # the first track
            data[at + 1 : at + 3] = struct.pack(">h", times[number])
    path.write_bytes(data)


ODD_TIMES = {
    "two at once": ({3: 80}, [0, 1, 2, 3, 4, 5]), "all at once": (dict.fromkeys(range(6), 0), [0, 1, 2, 3, 4, 5]),
    "one goes back": ({4: 50}, [0, 1, 4, 2, 3, 5]), "two swapped": ({2: 120, 3: 80}, [0, 1, 3, 2, 4, 5]),
    "a leap": ({3: 30_000}, [0, 1, 2, 4, 5, 3]), "the first is negative": ({0: -40}, [0, 1, 2, 3, 4, 5]),
}  # fmt: skip


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1", "libvpx-vp9", "libvpx", "mjpeg"])
@pytest.mark.parametrize("odd", ODD_TIMES)
def test_odd_times_divide_no_readers_and_lose_no_frame(folder, odd, codec):
    """Frames that refer to later ones are in the order of their times, where these tell them apart; others are in that
    of the file."""
    options = dict([X264_PLAIN, AV1, VP8]) | {"libvpx-vp9": {**VP9[1], "lag-in-frames": "0"}, "mjpeg": {"q": "2"}}
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    times, by_time = ODD_TIMES[odd]
    path = write(folder / "a", codec, options[codec], pixels, "mkv")
    with_times(path, times)
    order = by_time if codec == "libx264" else range(FRAMES) if codec != "libsvtav1" else None
    frames = seen_by_all(folder)
    assert len(frames) == FRAMES
    if order:
        wanted = slope([coloured(number, HEIGHT, WIDTH) for number in order])
        assert np.abs(slope(frames) - wanted).max() < 2


@pytest.mark.parametrize("codec, options", [X264, X265])
def test_frames_whose_key_frame_was_cut_off_are_left_out_by_all(folder, codec, options):
    """A film that begins at the second key frame of an open group: two frames before it refer to what is gone."""
    import av

    params = {"libx264": "x264-params", "libx265": "x265-params"}[codec]
    words = f"open-gop=1:{OPEN}" + (":log-level=none:crf=5" if codec == "libx265" else "")
    whole = write(folder.parent / "whole", codec, {**options, params: words}, "yuv420p", "mkv", times=range(20))
    with av.open(str(whole)) as source, av.open(str(folder / "a.mkv"), "w") as out:
        given, keys = source.streams.video[0], 0
        stream = out.add_stream_from_template(given)
        for packet in source.demux(given):
            keys += packet.is_keyframe
            if packet.size and keys > 1:
                packet.stream = stream
                out.mux(packet)
    frames = seen_by_all(folder)
    wanted = slope([coloured(number, HEIGHT, WIDTH) for number in range(20 - len(frames), 20)])
    assert len(frames) in (15, 16) and np.abs(slope(frames) - wanted).max() < 2


def test_raw_streams_put_together_are_one_film(folder):
    one = write(folder.parent / "one", *X264, "yuv420p", "h264").read_bytes()
    (folder / "a.h264").write_bytes(one + one)
    frames = seen_by_all(folder)
    assert len(frames) == 2 * FRAMES and np.abs(frames[:FRAMES] - frames[FRAMES:]).max() <= 6


def test_transport_streams_put_together_have_lost_data_by_their_own_word(folder):
    one = write(folder.parent / "one", *X264_PLAIN, "yuv420p", "ts").read_bytes()
    (folder / "a.ts").write_bytes(one + one)
    for words in by_reader(folder).values():
        assert isinstance(words, str) and "a.ts" in words and "its data is damaged" in words


def write_empty(path, codec, pixels):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, pixels
        container.start_encoding()


def write_sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


NOTHING = {
    "a.mkv": (write_sound, "holds no video stream"),
    "a.ts": (write_sound, "holds no video stream"),
    "a.mp4": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "a.h264": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "a.y4m": (lambda path: path.write_bytes(b"YUV4MPEG2 W64 H128 F25:1 C420jpeg\n"), "holds no frames"),
    "a.webm": (lambda path: write_empty(path, "libvpx-vp9", "yuv420p"), "cannot be decoded (End of file)"),
    "a.avi": (lambda path: write_empty(path, "mjpeg", "yuvj420p"), "holds no frames"),
    "a.hevc": (lambda path: path.write_bytes(b"no video" * 99), "cannot be decoded (Invalid data"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_files_without_a_picture_are_refused_by_all(folder, name):
    make, reason = NOTHING[name]
    make(folder / name)
    for words in by_reader(folder).values():
        assert f"{name}: {reason}" in words
