"""`python -m vreid_fast.data track`: from a video to tracks that `crop` reads."""

import os
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("trackers")
from detectors_made import answering, finding_what_is_bright

from vreid_fast.data import read_dataset
from vreid_fast.data.__main__ import main
from vreid_fast.data.commands import track
from vreid_fast.data.commands.tracks import read_tracks

HEIGHT, WIDTH = 96, 160


@pytest.fixture
def walk(tmp_path):
    """A folder of frames: something bright goes to the right, then nothing is there, then it comes back lower."""
    (tmp_path / "walk").mkdir()
    for number in range(60):
        frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        if number < 25:
            frame[20:60, 20 + 3 * number : 40 + 3 * number] = 250
        Image.fromarray(frame).save(tmp_path / "walk" / f"{number:03d}.png")
    finding_what_is_bright(tmp_path / "people.onnx", HEIGHT, WIDTH, (20.0, 40.0))
    return tmp_path


def run(home, *words):
    return main(
        [
            "track",
            str(home / "walk"),
            str(home / "tracks.txt"),
            "--detector",
            str(home / "people.onnx"),
            *map(str, words),
        ]
    )


def test_from_frames_to_tracklets(walk, capsys):
    assert run(walk) == 0
    assert "1 tracks, " in capsys.readouterr().out
    tracks = read_tracks(walk / "tracks.txt")
    assert set(tracks.ids.tolist()) == {1} and len(tracks) >= 22
    for frame, (left, top, width, height) in zip(tracks.frames.tolist(), tracks.boxes.tolist()):
        assert (left, top, width, height) == pytest.approx((20 + 3 * frame, 20, 20, 40), abs=3), frame
    assert main(["crop", str(walk / "walk"), str(walk / "tracks.txt"), str(walk / "out")]) == 0
    assert main(["check", f"folder:{walk / 'out'}", "--no_sheet"]) == 0
    (tracklet,) = read_dataset(f"folder:{walk / 'out'}").train
    assert len(tracklet) == len(tracks)


def test_some_frames_alone(walk):
    assert run(walk, "--from", 5, "--to", 20, "--every", 2) == 0
    frames = read_tracks(walk / "tracks.txt").frames
    assert frames.min() >= 4 and frames.max() <= 19 and (np.diff(frames) % 2 == 0).all()


def test_nobody_is_found(walk, capsys):
    assert run(walk, "--from", 30) == 2
    assert "the detector (yolo, class 0) found nobody in 31 frames; is it one of people" in capsys.readouterr().err
    assert not (walk / "tracks.txt").exists() and not (walk / "tracks.txt.partial").exists()


@pytest.mark.parametrize(
    "words, wrong",
    [
        (["--from", 90], "--from 90: .*walk has 60 frames"),
        (["--detector", "nowhere.onnx"], "--detector nowhere.onnx: no such file"),
    ],
)
def test_bad_input(walk, capsys, words, wrong):
    assert run(walk, *words) == 2
    error = capsys.readouterr().err
    assert re.search(wrong, error) and error.startswith("error: ") and error.count("\n") == 1


def test_other_files_are_not_written_over(walk, capsys):
    (walk / "tracks.txt").write_text("my notes")
    assert run(walk) == 2
    assert "is there and something else" in capsys.readouterr().err and (walk / "tracks.txt").read_text() == "my notes"


def test_a_stopped_run_leaves_nothing(walk, monkeypatch):
    plain, calls = track.tracker, []

    def stopping(fps):
        step = plain(fps)

        def one(*words):
            calls.append(1)
            if len(calls) == 10:
                raise KeyboardInterrupt
            return step(*words)

        return one

    monkeypatch.setattr(track, "tracker", stopping)
    assert run(walk) == 130
    assert sorted(os.listdir(walk)) == ["people.onnx", "walk"]


def test_true_boxes_of_a_real_video_give_its_tracks(shared):
    """PETS 2009, S2.L1: as many tracks as people have stretches in it."""
    import xml.etree.ElementTree as ElementTree

    (file,) = sorted(shared("data/pets09").rglob("*.xml"))[:1]
    frames = {}
    for frame in ElementTree.parse(file).getroot().iter("frame"):
        rows = []
        for thing in frame.iter("object"):
            box = {name: float(value) for name, value in thing.find("box").attrib.items()}
            x, y, w, h = box["xc"], box["yc"], box["w"], box["h"]
            rows.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        frames[int(frame.attrib["number"])] = np.array(rows).reshape(-1, 4)
    step, ids = track.tracker(7.0), set()
    for number in sorted(frames):
        ids |= {one for one, _, _ in step(frames[number], np.ones(len(frames[number])))}
    assert len(ids) == 19


def test_a_detector_of_other_things(walk, capsys):
    answers = {"boxes": np.float32([[9, 9, 40, 60]]), "labels": np.array([3]), "scores": np.float32([0.9])}
    answering(walk / "people.onnx", [1, 3, HEIGHT, WIDTH], **answers)
    assert run(walk) == 2
    assert "the detector (boxes, class 1) found nobody" in capsys.readouterr().err
