"""Files that promise frames which do not come out: counted truly, and another video's never shown instead."""

import argparse
import json

import numpy as np
import pytest
import torch
from ghosts import LACKING, SIZE, avi, cut, hide, make_invisible, mp4, with_a_second_stream, without_start
from loading import all_batches
from media import picture, write_video
from packs import run_pack

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.commands import check, crop
from vreid_fast.data.reading import video as reading_video
from vreid_fast.data.reading.bad_frames import BadFrames
from vreid_fast.data.reading.decoder import ReadingOptions
from vreid_fast.data.reading.loader import ClipRequest
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.data.reading.video import probe
from vreid_fast.data.reading.video_facts import VideoFacts
from vreid_fast.data.tracklets import BadFrame, Tracklet
from vreid_fast.errors import InputError

BRIGHTNESS = np.array([picture(number, **SIZE).mean() for number in range(34)])


def shown(frames):
    """Numbers of the pictures that frames show, by their brightness."""
    means = np.array([np.asarray(frame, dtype=float).mean() for frame in frames])
    nearest = np.abs(means[:, None] - BRIGHTNESS).argmin(1)
    assert np.abs(BRIGHTNESS[nearest] - means).max() < 2.2
    return nearest.tolist()


@pytest.fixture
def read(tmp_path, backend):
    """Reads frames of a tracklet with a decoder whose memory is full of another video's frame 29."""
    other = Tracklet(range(30), video=str(write_video(tmp_path / "other" / "good.webm", 30, **SIZE)))
    decoder = make_decoder(ReadingOptions(size=(128, 64), backend=backend))

    def read(tracklet, frames):
        for _ in range(3):
            decoder.decode(decoder.read([(other, np.full(len(frames), 29))]))
        pixels, rows = decoder.decode(decoder.read([(tracklet, np.asarray(frames))]))
        return shown(pixels.numpy()[rows])

    yield read
    decoder.rest()


def run(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(params=LACKING)
def lacking(request, tmp_path):
    """A file, and the pictures that come out of it."""
    make, pictures = LACKING[request.param]
    (tmp_path / "set").mkdir()
    return make(tmp_path / "set"), list(pictures)


def test_frames_are_counted_as_they_come_out(lacking, tmp_path):
    path, pictures = lacking
    assert probe(str(path)).frames == len(pictures)
    data = read_dataset(f"folder:{path.parent}")
    assert shown(read_frames(data.train[0], range(len(data.train[0])))) == pictures
    if path.suffix != ".webm":  # WebM has no count of its own
        assert f"{path}: {len(pictures)} of 30 come out" in data.notes[-1]
    report = tmp_path / "report.json"
    assert run(check, f"folder:{path.parent}", "--no_sheet", "--json", report) == 0
    found = json.loads(report.read_text())
    assert found["frames_read"] == len(pictures) and found["unreadable"] == []


def test_packs_have_the_true_count(lacking, tmp_path):
    path, pictures = lacking
    for options in ([], ["--video", "vp9", "--crf", "5"]):
        out = tmp_path / f"pack{len(options)}"
        (tracklet,) = read_dataset(run_pack(f"folder:{path.parent}", out, *options)).train
        assert len(tracklet) == probe(tracklet.video).frames == len(pictures)
        assert shown(read_frames(tracklet, range(len(tracklet)))) == pictures


def test_loaders_show_what_comes_out_and_refuse_the_rest(lacking, read):
    path, pictures = lacking
    tracklet = Tracklet(range(40), video=str(path))
    assert read(tracklet, range(len(pictures))) == pictures
    assert read(tracklet, [len(pictures) - 1, 0, 3, 3]) == [pictures[n] for n in (-1, 0, 3, 3)]
    for wanted in ([0, len(pictures), len(pictures) + 1], [len(pictures)] * 3):
        with pytest.raises(BadFrame, match=rf"{path}: frame {len(pictures)} cannot be decoded.*tracklet") as raised:
            read(tracklet, wanted)
        assert raised.value.frames == tuple(sorted(set(wanted) - {0}))


def test_skipped_frames_are_shown_by_their_neighbours(lacking, backend):
    path, pictures = lacking
    other = Tracklet(range(30), video=str(write_video(path.parent / "good.webm", 30, **SIZE)))
    last = len(pictures) - 1
    plan = [[ClipRequest(0, np.full(3, 29))]] * 5 + [[ClipRequest(1, np.array([0, last, last + 1]))]]
    options = {"backend": backend, "size": (128, 64)}
    skip, tracklets = BadFrames("skip"), [other, Tracklet(range(last + 3), video=str(path))]
    (clip,) = all_batches(tracklets, plan, bad_frames=skip, **options)[-1].clips
    frames = (clip.permute(0, 2, 3, 1).numpy() * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]) * 255
    assert shown(frames) == [pictures[n] for n in (0, last, last)] and len(skip.report()) == 1
    with pytest.raises(BadFrame, match=f"frame {last + 1} cannot be decoded"):
        all_batches(tracklets, plan, **options)


class Stored:
    """A video of a pack whose facts were taken from the header."""

    def __init__(self, path, facts):
        self.path, self.facts = path, facts

    def __str__(self):
        return f"00000.tar:{self.path.name}"

    def encoded(self):
        return np.fromfile(self.path, np.uint8)

    def part(self, first, count):
        return self.encoded()[first : first + count]


def test_a_pack_s_false_count_is_not_believed(lacking, read):
    path, pictures = lacking
    stored = Stored(path, VideoFacts(probe(str(path)).codec, 40, 64, 128, probe(str(path)).pixels))
    tracklet = Tracklet(range(40), video=stored)
    assert read(tracklet, range(len(pictures))) == pictures
    with pytest.raises(BadFrame, match=rf"{path.name}: frame {len(pictures)} cannot be decoded"):
        read(tracklet, [0, len(pictures)])


@pytest.mark.parametrize("codec, name", [("libvpx-vp9", "a.webm"), ("libvpx", "a.mkv"), ("mjpeg", "a.mkv")])
def test_a_file_cut_after_it_was_counted(tmp_path, read, codec, name):
    path = write_video(tmp_path / name, 30, codec=codec, **SIZE)
    tracklet = Tracklet(range(probe(str(path)).frames), video=str(path))
    assert read(tracklet, [29, 3]) == [29, 3]
    cut(path, 0.6)
    frames = probe(str(path)).frames
    assert 5 < frames < 25 and read(tracklet, [0, frames - 1]) == [0, frames - 1]
    with pytest.raises(BadFrame, match=rf"{name}: frame {frames} cannot be decoded"):
        read(tracklet, [0, frames, 29])


def test_a_file_replaced_by_one_with_hidden_frames(tmp_path, read):
    path = mp4(tmp_path, "libvpx-vp9")
    tracklet = Tracklet(range(30), video=str(path))
    assert read(tracklet, [12, 29]) == [12, 29]
    hide(path, 12, 10)
    assert probe(str(path)).frames == 10 and read(tracklet, [0, 9]) == [12, 21]


@pytest.mark.parametrize("gop", [10, 30])
@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_a_start_without_its_key_frame(tmp_path, read, codec, gop):
    import av

    path = write_video(tmp_path / "a.mkv", 30, codec=codec, gop=gop, **SIZE)
    path, count = without_start(path, tmp_path / "b.mkv", 5), 0
    try:
        with av.open(str(path)) as container:
            for _ in container.decode(video=0):
                count += 1
    except av.FFmpegError:
        assert codec == "libvpx-vp9"
    # Where decoding ends in an error, or at once, the count is that of the packets, for check to name what is lost.
    assert not count or 15 < count < 25
    assert probe(str(path)).frames == (count or 25)
    with pytest.raises(InputError, match=f"frame {count} cannot be decoded"):
        read(Tracklet(range(30), video=str(path)), [count, 29])


def test_a_second_stream_is_not_counted(tmp_path, read):
    path = with_a_second_stream(tmp_path / "two.mkv", 20, 7)
    tracklet = Tracklet(range(20), video=str(path))
    assert probe(str(path)).frames == 20 and read(tracklet, [19, 0, 11]) == [19, 0, 11]
    with pytest.raises(BadFrame, match="frame 20 cannot be decoded"):
        read(Tracklet(range(30), video=str(path)), [19, 20])


def test_a_damaged_video_is_packed_with_the_frames_there_are(tmp_path):
    (tmp_path / "set").mkdir()
    path = cut(avi(tmp_path / "set"), 0.6)
    assert probe(str(path)).frames == 30  # so that check lists what was lost
    with pytest.raises(InputError, match=r"mjpeg.avi .*of 30 frames can be decoded.*--on_bad_frame skip"):
        run_pack(f"folder:{path.parent}", tmp_path / "pack")
    (tracklet,) = read_dataset(run_pack(f"folder:{path.parent}", tmp_path / "pack", "--on_bad_frame", "skip")).train
    frames = len(tracklet)
    assert 5 < frames < 25 and probe(tracklet.video).frames == frames
    assert shown(read_frames(tracklet, range(frames))) == list(range(frames))
    with pytest.raises(BadFrame, match=f"frame {frames} cannot be decoded"):
        read_frames(tracklet, [frames])


def test_boxes_of_hidden_frames_are_refused(tmp_path):
    path = hide(mp4(tmp_path, "libx264"), 12, 10)
    tracks = tmp_path / "tracks.txt"
    for frames in (30, 10):
        tracks.write_text("".join(f"{n},1,0,0,64,128,1,-1,-1,-1\n" for n in range(1, frames + 1)))
        if frames == 30:
            with pytest.raises(InputError, match="row 11, column frame: 11 is beyond the last frame 10"):
                run(crop, path, tracks, tmp_path / "out")
    assert run(crop, path, tracks, tmp_path / "out") == 0
    (tracklet,) = read_dataset(f"folder:{tmp_path / 'out'}").train
    assert shown(read_frames(tracklet, range(10))) == list(range(12, 22))


@pytest.mark.parametrize(
    "make",
    [
        lambda at: mp4(at, "libvpx-vp9"),
        lambda at: mp4(at, "mjpeg"),
        lambda at: mp4(at, "libx264"),
        lambda at: mp4(at, "libx265"),
        avi,
        lambda at: write_video(at / "a.webm", 30, codec="libvpx", **SIZE),
        lambda at: cut(write_video(at / "a.webm", 30, **SIZE), 0.6),
        lambda at: hide(mp4(at, "libvpx-vp9"), 12, 10),
    ],
)
def test_no_whole_file_is_decoded_to_be_counted(tmp_path, monkeypatch, make):
    monkeypatch.setattr(reading_video, "decode", lambda video, *_: pytest.fail(f"{video} was decoded"))
    assert probe(str(make(tmp_path))).frames


def test_only_whole_files_of_common_colours_are_for_the_gpu(tmp_path):
    dali = pytest.importorskip("vreid_fast.data.reading.dali")
    paths = [
        write_video(tmp_path / "a.mp4", 30, codec="libx264", **SIZE),
        avi(tmp_path / "b"),
        make_invisible(write_video(tmp_path / "c.webm", 30, codec="libvpx", **SIZE), {10}),
    ]
    tracklets = [Tracklet(range(probe(str(path)).frames), video=str(path)) for path in paths]
    for device, kinds in (("cuda", ["videos", "frames", "frames"]), ("cpu", ["frames"] * 3)):
        decoder = dali.DaliDecoder(ReadingOptions(size=(128, 64), device=torch.device(device)))
        assert [decoder._kind(tracklet, np.array([0, len(tracklet) - 1])) for tracklet in tracklets] == kinds
        decoder.rest()
    codecs, files = dali.video_notes(tracklets, torch.device("cuda"))
    assert "mjpeg video is decoded by PyAV" in codecs
    assert f"1 of 3 videos, as {paths[2]}, are decoded by PyAV" in files
    assert dali.video_notes(tracklets, torch.device("cpu")) == ()
