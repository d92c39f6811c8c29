"""Videos that are stored lying on their side or mirrored are read upright, as players show them."""

import argparse
import io

import numpy as np
import pytest
from media import picture
from packs import run_pack

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.commands import check, crop
from vreid_fast.data.reading.decoder import ReadingOptions
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.data.reading.upright import may_be_turned
from vreid_fast.data.reading.video import contents, probe
from vreid_fast.errors import InputError

SIZE = {"height": 128, "width": 64}
KINDS = {
    "webm": ("libvpx-vp9", "yuv420p"), "vp8.webm": ("libvpx", "yuv420p"), "mkv": ("mjpeg", "yuvj420p"),
    "mp4": ("libx264", "yuv420p"), "mov": ("mjpeg", "yuvj420p"),
}  # fmt: skip
TURNS = [(degrees, mirrored) for mirrored in (False, True) for degrees in (0, 90, 180, -90)]


def write_turned(path, degrees, mirrored, frames=6):
    """A video that shows `picture(n)` when it is turned counterclockwise by `degrees`, and then mirrored."""
    import av

    codec, pixels = KINDS[path.name.partition(".")[2]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={} if codec == "mjpeg" else {"crf": "5", "b": "0"})
        stream.set_display_rotation(degrees, hflip=mirrored)
        for number in range(frames):
            stored = np.rot90(picture(number, **SIZE)[:, :: -1 if mirrored else 1], -degrees // 90)
            if not number:
                stream.height, stream.width, stream.pix_fmt = *stored.shape[:2], pixels
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")))
        container.mux(stream.encode())
    return path


def is_picture(frame, number, **size):
    wanted = picture(number, **(size or SIZE))
    return frame.shape == wanted.shape and np.abs(np.asarray(frame, dtype=int) - wanted).mean() < 2.5


def run(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in words]))


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("degrees, mirrored", TURNS)
def test_frames_and_facts_are_upright(tmp_path, ending, degrees, mirrored):
    path = write_turned(tmp_path / f"a.{ending}", degrees, mirrored)
    facts = probe(str(path))
    assert (facts.height, facts.width, facts.frames) == (128, 64, 6)
    assert contents(str(path)).plain == ((degrees, mirrored) == (0, False))
    (tracklet,) = read_dataset(f"folder:{tmp_path}").train
    assert all(is_picture(frame, number) for number, frame in enumerate(read_frames(tracklet, range(6))))
    assert run(check, f"folder:{tmp_path}", "--no_sheet") == 0


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("degrees, mirrored", [(90, False), (180, False), (-90, True)])
def test_loaders_show_them_upright(tmp_path, backend, ending, degrees, mirrored):
    write_turned(tmp_path / "set" / f"a.{ending}", degrees, mirrored)
    write_turned(tmp_path / "set" / f"b.{ending}", 0, False)
    spec = f"folder:{tmp_path / 'set'}"
    for data in (spec, run_pack(spec, tmp_path / "pack")):
        turned, plain = read_dataset(data).train
        decoder = make_decoder(ReadingOptions(size=(128, 64), backend=backend))
        pixels, rows = decoder.decode(decoder.read([(turned, np.array([5, 0])), (plain, np.array([1, 2]))]))
        for frame, number in zip(pixels.numpy()[rows], (5, 0, 1, 2), strict=True):
            assert is_picture(frame, number)
        decoder.rest()


@pytest.mark.parametrize("options", [[], ["--video", "vp9", "--crf", "5"]])
def test_packs_hold_them_upright(tmp_path, options):
    write_turned(tmp_path / "set" / "a.mp4", -90, False)
    (tracklet,) = read_dataset(run_pack(f"folder:{tmp_path / 'set'}", tmp_path / "pack", *options)).train
    assert (probe(tracklet.video).height, probe(tracklet.video).width) == (128, 64)
    assert all(is_picture(frame, number) for number, frame in enumerate(read_frames(tracklet, range(6))))


def test_boxes_are_those_of_upright_frames(tmp_path):
    path = write_turned(tmp_path / "a.mp4", -90, False)
    tracks = tmp_path / "tracks.txt"
    tracks.write_text("".join(f"{n},1,8,70,40,50,1,-1,-1,-1\n" for n in range(1, 7)))
    assert run(crop, path, tracks, tmp_path / "out", "--min_length", 1, "--quality", 100) == 0
    (tracklet,) = read_dataset(f"folder:{tmp_path / 'out'}").train
    for number, frame in enumerate(read_frames(tracklet, range(6))):
        wanted = picture(number, **SIZE)[70:120, 8:48]
        assert frame.shape == wanted.shape and np.abs(frame.astype(int) - wanted).mean() < 2.5
    tracks.write_text("1,1,70,8,50,40,1,-1,-1,-1\n")  # of a tracker that saw the frames as they are stored
    with pytest.raises(InputError, match="no tracklet is left"):
        run(crop, path, tracks, tmp_path / "other", "--min_length", 1)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0\0\0", b"\0\0\0\x08ftyp", b"\0\0\0\0moov", b"\0\0\0\x10moovtkhd\0",
        b"\0\0\0\x01moov" + b"\xff" * 8, b"\0\0\0\x01free" + b"\xff" * 8, b"\0\0\0\x01moov\0",
    ],
)  # fmt: skip
def test_boxes_that_end_early(content):
    assert not may_be_turned(io.BytesIO(content), "mov,mp4,m4a,3gp,3g2,mj2")
