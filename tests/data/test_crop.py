"""`python -m vreid_fast.data crop`: a made video, a real one with its ground truth, and what can go wrong."""

import argparse
import csv
import errno
import os
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from media import picture, write_video
from PIL import Image

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.commands import check, crop
from vreid_fast.data.commands.folder_writer import FolderWriter, Row
from vreid_fast.data.formats.folder import natural_key
from vreid_fast.errors import InputError

SIZE = {"height": 64, "width": 96}


def run(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.avi", 20, codec="mjpeg", **SIZE)


@pytest.fixture
def tracks(tmp_path):
    """Track 7 in frames 0 to 19, track 3 in frames 4 to 9."""
    file = tmp_path / "tracks.txt"
    rows = [f"{n + 1},7,{2 * n},10,24,40,1" for n in range(20)] + [f"{n + 1},3,60,4,20,50,1" for n in range(4, 10)]
    file.write_text("\n".join(rows))
    return file


def rows_of(out):
    with open(out / "tracklets.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_crops_are_the_boxes_of_their_frames(video, tracks, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(crop, video, tracks, out, "--max_length", 15, "--min-length", 6, "--quality", 100) == 0
    data = read_dataset(f"folder:{out}")
    assert [(t.identity, t.camera, len(t)) for t in data.train] == [(None, 1, 6), (None, 1, 15)]
    assert [os.path.basename(data.train[0].frames[index]) for index in (0, -1)] == ["F000004.jpg", "F000009.jpg"]
    for number, image in enumerate(read_frames(data.train[1], range(15))):
        wanted = picture(number, **SIZE)[10:50, 2 * number : 2 * number + 24]
        # The next frame is 4 to 5 levels brighter.
        assert image.shape == wanted.shape and np.abs(image.mean((0, 1)) - wanted.mean((0, 1))).max() < 2, number
    assert rows_of(out)[0] == {
        "path": "tracklets/camera1_track3_1", "identity": "", "camera": "1", "frames": "6", "track": "3",
        "first_frame": "4", "last_frame": "9", "video": str(video), "fps": "25.0", "start": "",
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "tracklet shorter than --min_length 6      5" in said and " MB, " in said


def test_size_identities_and_a_second_camera(video, tracks, tmp_path):
    out = tmp_path / "out"
    options = ["--identities", "--size", "128x64", "--min_length", 6]
    run(crop, video, tracks, out, *options)
    before = (out / "tracklets.csv").read_text()
    run(crop, video, tracks, out, *options, "--camera", 2)
    assert (out / "tracklets.csv").read_text().startswith(before)
    data = read_dataset(f"folder:{out}")
    assert sorted((t.identity, t.camera) for t in data.query) == [(3, 1), (3, 2), (7, 1), (7, 2)]
    assert read_frames(data.train[0], [0])[0].shape == (128, 64, 3)
    assert run(check, f"folder:{out}", "--no_sheet") == 0
    with pytest.raises(InputError, match="out holds camera 2 already; .* --recording, .* --camera"):
        run(crop, video, tracks, out, *options, "--camera", 2)
    assert sorted(os.listdir(out)) == ["tracklets", "tracklets.csv"]


def test_nothing_is_left_of_a_run_that_fails(video, tracks, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(crop, "_write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run(crop, video, tracks, out)
    assert not out.exists()
    monkeypatch.undo()
    run(crop, video, tracks, out, "--camera", 2)
    before = (out / "tracklets.csv").read_text(), sorted(os.listdir(out)), sorted(os.listdir(out / "tracklets"))
    monkeypatch.setattr(crop, "_write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run(crop, video, tracks, out)
    after = (out / "tracklets.csv").read_text(), sorted(os.listdir(out)), sorted(os.listdir(out / "tracklets"))
    assert after == before


def test_stopped_while_tracklets_take_their_place(video, tracks, tmp_path, monkeypatch):
    """Some tracklets without their rows: no data set, and no hindrance to the next run."""
    out, places = tmp_path / "out", []

    def rename(old, new, real=os.rename):
        if places:
            raise KeyboardInterrupt
        places.append(new)
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        run(crop, video, tracks, out, "--min_length", 1)
    assert places[0].exists()
    with pytest.raises(InputError, match="no rows below the header"):
        read_dataset(f"folder:{out}")
    monkeypatch.undo()
    run(crop, video, tracks, out, "--min_length", 1, "--max_length", 10)
    data = read_dataset(f"folder:{out}")
    assert [len(t) for t in data.train] == [6, 10, 10] and len(os.listdir(out / "tracklets")) == 3


def test_cameras_that_end_at_the_same_time_lose_no_rows(tmp_path, monkeypatch):
    def slow(writer, real=FolderWriter._read):
        rows = real(writer)
        time.sleep(0.02)
        return rows

    def add(camera):
        with FolderWriter(tmp_path / "out", camera) as writer:
            (writer.stage / f"camera{camera}_track1_1").mkdir()
            writer.finish([Row(writer.path(f"camera{camera}_track1_1"), "", camera, 1, 1, 0, 0)])

    monkeypatch.setattr(FolderWriter, "_read", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert sorted(row["camera"] for row in rows_of(tmp_path / "out")) == ["0", "1", "2", "3"]


def test_a_full_disk_names_the_file(video, tracks, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"F00\d+.jpg cannot be written \(No space left on device\)"):
        run(crop, video, tracks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_are_something_else_are_refused(video, tracks, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="wanted a folder, found a file"):
        run(crop, video, tracks, tmp_path / "file")
    with pytest.raises(InputError, match="holds files but no tracklets.csv; wanted a new or an empty folder"):
        run(crop, video, tracks, tmp_path)
    (tmp_path / "tracklets.csv").write_text("path,identity,camera\na,1,1\n")
    with pytest.raises(InputError, match="wanted the columns path,identity,.* found path,identity,camera; write to"):
        run(crop, video, tracks, tmp_path)


def test_a_recording_that_is_no_file_is_called_by_its_kind(tmp_path, tracks):
    os.mkfifo(tmp_path / "pipe")
    for name, why in ((tmp_path / "pipe", "is a named pipe"), ("rtsp://camera/1", "is an address")):
        with pytest.raises(InputError, match=f"video {name}: {why}.*; give a video, or a folder of its frames"):
            run(crop, name, tracks, tmp_path / "out")


def test_boxes_beyond_the_end_and_missing_videos(video, tracks, tmp_path):
    with pytest.raises(InputError, match="row 20, column frame: 20 is beyond the last frame 19 of .*--first_frame"):
        run(crop, video, tracks, tmp_path / "out", "--first_frame", 0)
    with pytest.raises(InputError, match="none.avi: no such file"):
        run(crop, tmp_path / "none.avi", tracks, tmp_path / "out")
    cut_short = tmp_path / "cut.avi"
    cut_short.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    cut_short.write_bytes(cut_short.read_bytes()[:600])
    with pytest.raises(InputError, match="cut.avi: (holds no|cannot be decoded)"):
        run(crop, cut_short, tracks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_frames_behind_the_end_of_a_cut_file_are_lost_and_named(video, tracks, tmp_path, capsys):
    cut_short = tmp_path / "cut.avi"
    cut_short.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert run(crop, cut_short, tracks, tmp_path / "out", "--min_length", 1) == 0
    said = capsys.readouterr().out
    frames = len(read_dataset(f"folder:{tmp_path / 'out'}").train[-1])
    assert 3 < frames < 12 and f"{20 - frames} frames with boxes are lost: {frames + 1} to 20 (the first is 1)" in said
    assert "in frames that cannot be decoded" in said


def test_what_losses_leave_too_short_is_left_out(video, tmp_path, capsys):
    cut_short, tracks = tmp_path / "cut.avi", tmp_path / "tracks.txt"
    cut_short.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    # Of track 7 most frames are lost, of track 3 none.
    lost, whole = [f"{n},7,2,10,24,40,1" for n in range(3, 21)], [f"{n},3,4,4,20,50,1" for n in range(1, 4)]
    tracks.write_text("\n".join(lost + whole))
    assert run(crop, cut_short, tracks, tmp_path / "out", "--min_length", 3) == 0
    kept = int({row["track"]: row["frames"] for row in rows_of(tmp_path / "out")}["7"])
    capsys.readouterr()
    with pytest.raises(InputError, match="no tracklet is left of --min_length 18"):
        tracks.write_text("\n".join(lost))
        run(crop, cut_short, tracks, tmp_path / "none", "--min_length", 18)
    assert not (tmp_path / "none").exists()
    tracks.write_text("\n".join(lost + [f"{n},3,4,4,20,50,1" for n in range(1, kept + 2)]))
    assert run(crop, cut_short, tracks, tmp_path / "some", "--min_length", kept + 1) == 0
    said = capsys.readouterr().out
    assert [row["track"] for row in rows_of(tmp_path / "some")] == ["3"]
    assert f"tracklet shorter than --min_length {kept + 1}" in said and f" {kept}\n" in said


def test_a_folder_of_frames_is_the_video(tracks, tmp_path, capsys):
    scene = tmp_path / "img1"
    scene.mkdir()
    for number in range(20):
        Image.fromarray(picture(number, **SIZE)).save(scene / f"{number + 1}.jpg", quality=100)
    (scene / "seqinfo.ini").write_text("[Sequence]")
    (scene / "5.jpg").write_bytes(b"")
    assert run(crop, scene, tracks, tmp_path / "out", "--min_length", 1, "--quality", 100) == 0
    assert "1 frames with boxes are lost: 5 (the first is 1): image" in capsys.readouterr().out
    tracklet = read_dataset(f"folder:{tmp_path / 'out'}").train[1]
    names = [int(os.path.basename(name)[1:7]) for name in tracklet.frames]
    assert names == [*range(4), *range(5, 20)]
    for number, image in zip(names, read_frames(tracklet, range(19)), strict=True):
        wanted = picture(number, **SIZE)[10:50, 2 * number : 2 * number + 24]
        assert np.abs(image.mean((0, 1)) - wanted.mean((0, 1))).max() < 2, number
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="crop: .*none holds no images"):
        run(crop, tmp_path / "none", tracks, tmp_path / "out2")


def test_tracks_in_a_folder_are_refused(video, tmp_path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="labels: is a folder; wanted one file of tracks"):
        run(crop, video, tmp_path / "labels", tmp_path / "out")


@pytest.mark.parametrize("name", ["2026-11-25T10:00:00.avi", "cam:main.avi", "file:x.avi", "concat:a.avi", "%03d.avi"])
def test_names_that_ffmpeg_takes_for_protocols(video, tracks, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(video.read_bytes())
    assert run(crop, name, tracks, "out") == 0
    Path(name).unlink()
    for missing in {name, "concat:other.avi"} - {"%03d.avi"}:
        with pytest.raises(InputError, match="no such file"):
            run(crop, missing, tracks, "out2")


@pytest.mark.parametrize(
    "option, message",
    [
        (["--size", "128"], "wanted HEIGHTxWIDTH such as 256x128, found 128"),
        (["--size", "10x70000"], "wanted at most 65,500 pixels a side, found 10x70000"),
        (["--padding", "-0.1"], "wanted 0 to 100, found -0.1"),
        (["--padding", "inf"], "wanted 0 to 100, found inf"),
        (["--padding", "1e308"], "wanted 0 to 100, found 1e308"),
        (["--min_confidence", "nan"], "found nan"),
        (["--camera", "9" * 20], "wanted an integer of at most 18 digits, found '9999"),
        (["--camera", "1_0"], "wanted an integer of at most 18 digits, found '1_0'"),
        (["--camera", "١"], "wanted an integer of at most 18 digits"),
        (["--quality", "101"], "wanted 1 to 100, found 101"),
        (["--every", "0"], "wanted at least 1, found 0"),
        (["--min_length", "x"], "wanted an integer of at most 18 digits, found 'x'"),
    ],
)
def test_options_say_what_they_want(option, message, capsys):
    with pytest.raises(SystemExit):
        run(crop, "a.avi", "b.txt", "out", *option)
    assert message in capsys.readouterr().err


def test_real_boxes_give_the_given_crops(shared, tmp_path):
    """PETS 2009: boxes without padding, rounded; 128x64 by an antialiased linear filter; JPEG of quality 92.

    The crops given were cut where a box crosses the middle of the view and where another person covers it, so
    that their frames are a part of ours; their names do not tell which.
    """
    given = shared("data/pets09")
    rows = []
    for frame in ElementTree.parse(given / "src" / "PETS2009-S2L1.xml").getroot():
        for person in frame.iter("object"):
            w, h, x, y = (float(person.find("box").get(key)) for key in ("w", "h", "xc", "yc"))
            rows.append(f"{int(frame.get('number')) + 1},{person.get('id')},{x - w / 2},{y - h / 2},{w},{h},1,-1,-1,-1")
    (tmp_path / "gt.txt").write_text("\n".join(rows))
    out = tmp_path / "out"
    run(
        crop, given / "src" / "vtest.avi", tmp_path / "gt.txt", out,
        "--size", "128x64", "--quality", 92, "--min_length", 1, "--identities",
    )  # fmt: skip
    ours = read_dataset(f"folder:{out}").train
    assert len(ours) == 19 and sum(map(len, ours)) == len(rows) == 4650
    crops = {t.identity: np.stack(read_frames(t, range(len(t)))) for t in ours}
    differences, correlations, found = [], [], 0
    with open(given / "tracklets.csv", newline="") as file:
        for row in csv.DictReader(file):
            track = crops[int(row["visit"])]
            place = None
            for name in sorted(os.listdir(given / row["path"]), key=natural_key):
                image = np.asarray(Image.open(given / row["path"] / name).convert("RGB"))
                # The first frame of a tracklet is sought in the whole track; then gaps are of two frames at most.
                near = range(len(track)) if place is None else range(place + 1, min(place + 4, len(track)))
                errors = [np.abs(track[n, ::4, ::4].astype(int) - image[::4, ::4]).mean() for n in near]
                place = near[int(np.argmin(errors))]
                differences.append(np.abs(track[place].astype(int) - image).mean())
                correlations.append(np.corrcoef(track[place].ravel(), image.ravel())[0, 1])
                found += 1
    print(
        f"{found} images, mean absolute difference {np.mean(differences):.2f}, at most {max(differences):.2f}; "
        f"correlation {np.mean(correlations):.5f}, at least {min(correlations):.5f}"
    )
    # JPEG of that quality alone costs 1.2 levels of the mean and 2.2 of the worst.
    assert found == 4362 and np.mean(differences) < 1.6 and max(differences) < 2.5 and min(correlations) > 0.998
    assert run(check, f"folder:{out}", "--no_sheet") == 0


def test_several_recordings_of_a_camera(video, tracks, tmp_path, capsys):
    """Each is added under a name of its own; the camera stays one."""
    out, options = tmp_path / "out", ["--min_length", 6]
    run(crop, video, tracks, out, *options)
    with pytest.raises(InputError, match="holds camera 1 already; if this is another recording .* --recording"):
        run(crop, video, tracks, out, *options)
    assert "added twice" not in capsys.readouterr().out
    run(crop, video, tracks, out, *options, "--recording", "again")
    assert "note: tracks and frames are those of camera1, which was there already" in capsys.readouterr().out
    assert len(rows_of(out)) == len(os.listdir(out / "tracklets")) == 4
    for name, length in (("noon", 7), ("track1", 8)):
        run(crop, video, tracks, out, "--min_length", length, "--max_length", length, "--recording", name)
    with pytest.raises(InputError, match="holds recording noon of camera 1 already"):
        run(crop, video, tracks, out, *options, "--recording", "noon")
    data = read_dataset(f"folder:{out}")
    assert {tracklet.camera for tracklet in data.train} == {1}
    names = [os.path.basename(tracklet.frames.folder) for tracklet in data.train]
    assert len(set(names)) == len(names) and any(name.startswith("camera1_noon_track") for name in names)
    assert any(name.startswith("camera1_track1_track") for name in names)
    assert sum(map(len, data.train)) == sum(len(os.listdir(tracklet.frames.folder)) for tracklet in data.train)


def test_a_recording_without_a_name_takes_none_of_those_with_one(video, tracks, tmp_path):
    out = tmp_path / "out"
    run(crop, video, tracks, out, "--min_length", 6, "--recording", "noon")
    run(crop, video, tracks, out, "--min_length", 7, "--max_length", 7)
    assert len(rows_of(out)) == len(os.listdir(out / "tracklets")) > 2
    assert all((out / row["path"]).is_dir() for row in rows_of(out))


@pytest.mark.parametrize("name", ["", "a_b", "../x", "a/b", ".hidden", "é", "x" * 101])
def test_the_name_of_a_recording(video, tracks, tmp_path, name):
    with pytest.raises(SystemExit):
        run(crop, video, tracks, tmp_path / "out", "--recording", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["gate\r1.avi", "gate\n1.avi", 'gate,"1".avi', os.fsdecode(b"gate\xff.avi")])
def test_recordings_of_any_name_make_a_table_that_can_be_read(video, tracks, tmp_path, name):
    """A carriage return ended a row, and the whole data set could not be read; what is no UTF-8 was a traceback."""
    os.link(video, tmp_path / name)
    for camera in (1, 2):
        assert run(crop, tmp_path / name, tracks, tmp_path / "out", "--camera", camera) == 0
    data = read_dataset(f"folder:{tmp_path / 'out'}")
    videos = {tracklet.sighting.video for tracklet in data.train}
    assert videos == {f"{tmp_path / name}".encode(errors="backslashreplace").decode()}
