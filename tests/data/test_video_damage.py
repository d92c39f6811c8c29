"""Videos that are damaged or lie: what is sound is read under its true number, the rest is named."""

import random
import subprocess
import sys

import numpy as np
import pytest
from ghosts import SIZE, packets
from media import picture, write_video

from vreid_fast.data.reading.limits import MOST_PIXELS
from vreid_fast.data.reading.video import CutVideo, contents, decode_video, each_frame, probe
from vreid_fast.errors import InputError

KINDS = {
    "mjpeg.avi": "mjpeg", "mjpeg.mkv": "mjpeg", "h264.mp4": "libx264", "h264.ts": "libx264", "mpeg4.avi": "mpeg4",
    "hevc.mp4": "libx265", "vp9.webm": "libvpx-vp9", "vp9.mp4": "libvpx-vp9", "vp8.mkv": "libvpx",
    "vp8.webm": "libvpx",
}  # fmt: skip
LARGER = {"height": 128, "width": 96}  # x265 writes beyond its buffers at widths below 64


def brightness(frames):
    return np.array([np.asarray(frame, dtype=float).mean() for frame in frames])


WANTED = brightness(picture(number, **LARGER) for number in range(30))


def read_all(path):
    """Numbers of the frames that come out, each checked for its picture, and those that are named as lost."""
    found, lost = {}, ()
    try:
        found.update(each_frame(str(path), range(probe(str(path)).frames)))
    except CutVideo as error:
        lost = error.frames
    for number, frame in found.items():
        assert abs(frame.astype(float).mean() - WANTED[number]) < 2.2, number
    return sorted(found), sorted(lost)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_frame_costs_no_more_than_those_that_refer_to_it(tmp_path, name):
    path = write_video(tmp_path / name, 30, codec=KINDS[name], gop=5, **LARGER)
    data, (place, content) = bytearray(path.read_bytes()), packets(path)[12]
    at = data.find(content[:40], max(place, 0)) if not name.endswith(".ts") else len(data) // 2 // 188 * 188
    if name.endswith(".ts"):
        del data[at : at + 3 * 188]
    else:
        data[at : at + len(content)] = bytes(len(content))
    path.write_bytes(data)
    found, lost = read_all(path)
    assert sorted(found + lost) == list(range(30)) and 1 <= len(lost) <= 8
    assert {0, 29} <= set(found)
    if name != "h264.ts":
        assert 12 in lost and (KINDS[name] != "mjpeg" or lost == [12])


@pytest.mark.parametrize("codec, ending", [("libvpx-vp9", "webm"), ("libvpx", "webm"), ("mjpeg", "avi")])
def test_a_frame_alone_is_the_frame_among_others(tmp_path, codec, ending):
    path = write_video(tmp_path / f"a.{ending}", 30, codec=codec, gop=7, **SIZE)
    every = decode_video(str(path), range(30))
    for number in (29, 0, 7, 13, 6):
        assert (decode_video(str(path), [number])[0] == every[number]).all()
    assert (decode_video(str(path), [20, 3]) == every[[20, 3]]).all()


def test_only_what_is_needed_is_decoded(tmp_path):
    path = write_video(tmp_path / "a.webm", 30, gop=7, **SIZE)
    found = contents(str(path)).packets
    assert np.flatnonzero(found.needed({15})).tolist() == [14, 15]
    assert np.flatnonzero(found.needed({1, 29})).tolist() == [0, 1, 28, 29]


def test_a_frame_of_another_size_is_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", 12, codec="mjpeg", **SIZE)
    data, (place, _) = bytearray(path.read_bytes()), packets(path)[5]
    at = data.find(b"\xff\xc0", place)
    data[at + 7 : at + 9] = (112).to_bytes(2, "big")
    path.write_bytes(data)
    with pytest.raises(CutVideo, match="frame 5 cannot be decoded") as raised:
        decode_video(str(path), range(12))
    assert raised.value.frames == (5,)


def test_fields_in_packets_of_their_own_are_the_same_alone_and_among_others(tmp_path):
    path = write_video(tmp_path / "a.avi", 12, codec="mjpeg", **SIZE)
    data = bytearray(path.read_bytes())
    at = data.find(b"strf") + 16
    assert data[at : at + 4] == SIZE["height"].to_bytes(4, "little")
    data[at : at + 4] = (2 * SIZE["height"]).to_bytes(4, "little")  # each JPEG is half a frame
    path.write_bytes(data)
    every, numbers = {}, range(probe(str(path)).frames)
    try:
        every.update(each_frame(str(path), numbers))
    except CutVideo as error:
        assert set(every) == set(numbers) - set(error.frames)
    assert every
    for number, pixels in every.items():
        assert (decode_video(str(path), [number])[0] == pixels).all()


def test_a_jpeg_without_pixels_is_no_frame(tmp_path):
    path = write_video(tmp_path / "a.avi", 8, codec="mjpeg", **SIZE)
    data, (place, _) = bytearray(path.read_bytes()), packets(path)[5]
    data[data.find(b"\xff\xda", place) + 1] = 0xCA
    path.write_bytes(data)
    with pytest.raises(CutVideo, match="pixels are missing") as raised:
        decode_video(str(path), range(8))
    assert raised.value.frames == (5,)


def test_a_header_that_counts_billions_is_not_believed(tmp_path):
    path = write_video(tmp_path / "a.avi", 12, codec="mjpeg", **SIZE)
    data = bytearray(path.read_bytes())
    for chunk, at in ((b"avih", 24), (b"strh", 40)):
        place = data.find(chunk) + at
        data[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    assert contents(str(path)).promised > 2**30 and probe(str(path)).frames == 12
    path.write_bytes(data[: len(data) * 2 // 3])
    assert probe(str(path)).frames <= 12


def test_frames_of_too_many_pixels_are_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", 3, codec="mjpeg", **SIZE)
    data = bytearray(path.read_bytes())
    place = data.find(b"strf") + 12
    data[place : place + 8] = (14_000).to_bytes(4, "little") * 2
    for start, _ in packets(path):
        at = data.find(b"\xff\xc0", start)
        data[at + 5 : at + 9] = (14_000).to_bytes(2, "big") * 2
    path.write_bytes(data)
    assert MOST_PIXELS < 14_000**2
    with pytest.raises(InputError, match="a.avi: .*14000x14000"):
        probe(str(path))


def test_a_vp8_frame_of_too_many_pixels_is_never_decoded(tmp_path):
    path = write_video(tmp_path / "a.webm", 8, codec="libvpx", gop=4, **SIZE)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = (16_000).to_bytes(2, "little") * 2
    path.write_bytes(data)
    with pytest.raises(CutVideo, match="16000x16000; the limit is") as raised:
        decode_video(str(path), range(8))
    assert raised.value.frames == (4, 5, 6, 7)


@pytest.mark.parametrize(
    "content", ["ffconcat version 1.0\nfile b.webm\n", "#EXTM3U\n#EXT-X-TARGETDURATION:1\nb.webm\n"]
)
def test_a_list_of_other_files_is_no_video(tmp_path, content):
    write_video(tmp_path / "b.webm", 3)
    (tmp_path / "a.mp4").write_text(content)
    with pytest.raises(InputError, match="a.mp4: "):
        probe(str(tmp_path / "a.mp4"))


FUZZ = """
import sys
from pathlib import Path
import numpy as np
from vreid_fast.data.reading.decoder import ReadingOptions
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.data.reading.video import probe
from vreid_fast.data.tracklets import Tracklet
from vreid_fast.errors import InputError

def read(decoder, path):
    try:
        tracklet = Tracklet(range(probe(path).frames), video=path)
        pixels, rows = decoder.decode(decoder.read([(tracklet, np.arange(len(tracklet)))]))
    except InputError as error:
        assert path in str(error), error
        return str(error)
    return pixels.numpy()[rows].astype(int)

decoders = [make_decoder(ReadingOptions(size=(64, 48), backend=name)) for name in sys.argv[2:]]
for path in sorted(map(str, Path(sys.argv[1]).iterdir())):
    one, *others = [read(decoder, path) for decoder in decoders]
    for other in others:
        same = one == other if isinstance(one, str) else not isinstance(other, str) and np.abs(one - other).max() <= 6
        assert same, path
print("sound")
"""


@pytest.mark.parametrize("name", ["mjpeg.avi", "h264.mp4", "vp8.webm", "vp9.webm", "vp9.mp4"])
def test_damage_of_every_kind_ends_no_process_and_divides_no_loaders(tmp_path, name):
    pytest.importorskip("nvidia.dali")
    path = write_video(tmp_path / name, 12, codec=KINDS[name], gop=4, height=64, width=48)
    clean, rng = path.read_bytes(), random.Random(3)
    (tmp_path / "set").mkdir()
    for number in range(36):
        data, at = bytearray(clean), rng.randrange(len(clean))
        match number % 6:
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 16] = rng.randbytes(16)
            case 2:
                data[at:at] = rng.randbytes(7)
            case 3:
                del data[at : at + 9]
            case 4:
                data[at : at + 32] = bytes(len(data[at : at + 32]))
            case 5:
                del data[at:]
        (tmp_path / "set" / f"{number:02d}{path.suffix}").write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path / "set"), "torch", "dali"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0 and ran.stdout.endswith("sound\n"), ran.stderr[-2000:]
