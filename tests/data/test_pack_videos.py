import numpy as np
import pytest
from loading import make_loader
from media import picture, write_images, write_video
from packs import run_pack, write_data

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.reading.images import read_video
from vreid_fast.data.reading.loader import TestPlan
from vreid_fast.data.reading.video import probe
from vreid_fast.data.reading.video_facts import VideoFacts
from vreid_fast.errors import InputError

CODECS = {"vp9": "webm", "h264": "mp4", "hevc": "mp4"}
SIZE = {"height": 128, "width": 64}


def brightness(frames):
    return [np.asarray(frame).mean() for frame in frames]


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_comes_back_in_its_place(tmp_path, codec):
    write_images(tmp_path / "source" / "a", 30, **SIZE)
    write_video(tmp_path / "source" / "b.avi", 21, codec="mjpeg", **SIZE)
    data = read_dataset(run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--video", codec))
    assert f"packed as {codec} video" in data.notes[-1]
    for tracklet, frames in zip(data.train, (21, 30)):
        assert tracklet.frames == range(frames) and str(tracklet.video).endswith(CODECS[codec])
        assert probe(tracklet.video) == VideoFacts(codec, frames, 64, 128, "yuv420p")
        found = read_frames(tracklet, range(frames))
        assert np.abs(np.stack(found) - np.stack([picture(n, **SIZE) for n in range(frames)]).astype(int)).mean() < 3
        wanted = [picture(number, **SIZE).mean() for number in range(frames)]
        assert np.abs(np.subtract(brightness(found), wanted)).max() < 1.5
        path = tmp_path / f"alone.{CODECS[codec]}"
        path.write_bytes(read_video(tracklet).tobytes())
        probe.__globals__["_probe"].cache_clear()
        assert probe(str(path)) == probe(tracklet.video)
    with pytest.raises(InputError, match=rf"{CODECS[codec]}: frame 21 cannot be decoded"):
        read_frames(data.train[0], [21])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("every", [None, 1, 5, 50])
def test_key_frames_are_where_they_were_wanted(tmp_path, codec, every):
    import av

    write_images(tmp_path / "source" / "a", 12, **SIZE)
    spec = f"folder:{tmp_path / 'source'}"
    options = [] if every is None else ["--keyframes", str(every)]
    data = read_dataset(run_pack(spec, tmp_path / "pack", "--video", codec, *options))
    every = every or {"vp9": 8, "h264": 4, "hevc": 4}[codec]
    (tmp_path / "a").write_bytes(read_video(data.train[0]).tobytes())
    with av.open(str(tmp_path / "a")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [number % every == 0 for number in range(12)]


@pytest.mark.parametrize("backend", ["torch", "dali"])
@pytest.mark.parametrize("codec", CODECS)
def test_clips_of_one_tracklet_in_a_batch(tmp_path, backend, codec):
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
    for name, frames in (("a", 30), ("b", 5)):
        write_images(tmp_path / "source" / name, frames, **SIZE)
    spec = run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--video", codec, "--keyframes", "7")
    plan, seen = TestPlan([30, 5], 4, batch=6, mode="all"), set()
    with make_loader(read_dataset(spec).train, plan, size=(128, 64), backend=backend, threads=2) as loader:
        for (batch,), step in zip(loader, plan):
            for clip, request in zip(batch.clips, step):
                wanted = [picture(number, **SIZE).mean() for number in request.frames]
                assert np.abs(np.subtract(brightness((clip * 0.226 + 0.449) * 255), wanted)).max() < 3
                seen |= {(request.tracklet, number) for number in request.frames.tolist()}
    assert len(seen) == 35


def test_a_part_of_a_video_is_read_alone(tmp_path):
    write_images(tmp_path / "source" / "a", 6, **SIZE)
    pack = run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--video", "h264")
    (tracklet,) = read_dataset(pack).train
    whole = tracklet.video.encoded()
    for first, count in ((0, 9), (7, 100), (len(whole) - 3, 3)):
        assert np.array_equal(tracklet.video.part(first, count), whole[first : first + count])
    shard = tmp_path / "pack" / "00000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"00000000.mp4", b"00000007.mp4"))
    with pytest.raises(InputError, match=r"does not match shard .*wanted 00000000.mp4"):
        tracklet.video.part(7, 100)


def test_frames_of_other_sizes_are_scaled_to_the_first_ones(tmp_path):
    write_images(tmp_path / "source" / "a", 3, height=61, width=33)
    write_images(tmp_path / "source" / "more", 3, height=90, width=80)
    for number in (2, 3):
        (tmp_path / "source" / "more" / f"F{number}.jpg").replace(tmp_path / "source" / "a" / f"F{number}.jpg")
    (tmp_path / "source" / "more" / "F1.jpg").unlink()
    spec = f"folder:{tmp_path / 'source'}"
    for options, (height, width) in (([], (60, 32)), (["--size", "128x64"], (128, 64))):
        options = [*options, "--video", "vp9", "--crf", "5", "--overwrite"]
        (tracklet,) = read_dataset(run_pack(spec, tmp_path / "pack", *options)).train
        assert (probe(tracklet.video).height, probe(tracklet.video).width) == (height, width)
        for number, frame in enumerate(read_frames(tracklet, range(3))):
            assert frame.shape == (height, width, 3)
            assert np.abs(frame.astype(int) - picture(number, height, width)).mean() < 3


def test_less_quality_is_less_bytes(tmp_path):
    write_images(tmp_path / "source" / "a", 9, **SIZE)
    spec = f"folder:{tmp_path / 'source'}"
    sizes = []
    for crf in ("0", "50"):
        data = read_dataset(run_pack(spec, tmp_path / crf, "--video", "h264", "--crf", crf))
        sizes.append(len(data.train[0].video.encoded()))
    assert sizes[0] > 1.5 * sizes[1]


@pytest.mark.parametrize("backend", ["torch", "dali"])
@pytest.mark.parametrize("codec", CODECS)
def test_the_loaders_decode_them(tmp_path, backend, codec):
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
    for name, frames in (("a", 30), ("b", 5), ("c", 1)):
        write_images(tmp_path / "source" / name, frames, **SIZE)
    tracklets = read_dataset(run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--video", codec)).train
    plan = TestPlan([30, 5, 1], 4, batch=3)
    with make_loader(tracklets, plan, size=(128, 64), backend=backend) as loader:
        clips = [(clip, request) for (batch,), step in zip(loader, plan) for clip, request in zip(batch.clips, step)]
        assert codec != "vp9" or loader.notes == ()
    for clip, request in clips:
        found = brightness((clip * 0.226 + 0.449) * 255)
        wanted = [picture(number, **SIZE).mean() for number in request.frames]
        assert np.abs(np.subtract(found, wanted)).max() < 3


def test_an_image_that_cannot_be_decoded(tmp_path):
    write_images(tmp_path / "source" / "a", 4, **SIZE)
    (tmp_path / "source" / "a" / "F2.jpg").write_bytes(b"no image")
    spec = f"folder:{tmp_path / 'source'}"
    with pytest.raises(InputError, match=r"a/F2.jpg cannot be decoded .*tracklet .*/a .*--on_bad_frame skip"):
        run_pack(spec, tmp_path / "pack", "--video", "vp9")
    (tracklet,) = read_dataset(run_pack(spec, tmp_path / "pack", "--video", "vp9", "--on_bad_frame", "skip")).train
    wanted = [picture(number, **SIZE).mean() for number in (0, 2, 3)]
    assert np.abs(np.subtract(brightness(read_frames(tracklet, range(3))), wanted)).max() < 1.5


def test_a_video_cut_short(tmp_path):
    path = write_video(tmp_path / "source" / "a.avi", 30, codec="mjpeg", **SIZE)
    probe(str(path))  # what is known of it before it is cut
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a.avi: frame \d+ cannot be decoded.*tracklet|of 30 frames"):
        run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--video", "vp9")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_frames_too_small_for_the_codec(tmp_path):
    spec = write_data(tmp_path / "source")
    with pytest.raises(InputError, match=r"/jpg .* has frames of 48x32; hevc needs 64x64 or more: give --size"):
        run_pack(spec, tmp_path / "pack", "--video", "hevc")
    run_pack(spec, tmp_path / "pack", "--video", "hevc", "--size", "64x64")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--crf", "20"], "--crf is for videos"),
        (["--keyframes", "4"], "--keyframes is for videos"),
        (["--size", "64x32"], "--size is for videos"),
        (["--video", "h264", "--crf", "60"], "--crf 60: wanted 0 to 51 for h264"),
    ],
)
def test_options_that_do_not_hold(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        run_pack("folder:nowhere", tmp_path / "pack", *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--size", "63x32"],
        ["--size", "64"],
        ["--shard_size", "1T"],
        ["--keyframes", "0"],
        ["--keyframes", "9999999999"],
        ["--threads", "0"],
    ],
)
def test_words_that_are_no_options(tmp_path, options, capsys):
    with pytest.raises(SystemExit):
        run_pack("folder:nowhere", tmp_path / "pack", *options)
    assert options[0] in capsys.readouterr().err
