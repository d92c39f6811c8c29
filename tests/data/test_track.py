"""`python -m vreid_fast.data track`: from a scene to tracks that `crop` cuts along, and what can go wrong."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from detectors import write_bright, write_constant
from PIL import Image

from vreid_fast.data import read_dataset
from vreid_fast.data.__main__ import main
from vreid_fast.data.commands import track
from vreid_fast.data.commands.tracks import read_tracks

HIGH, WIDE, FRAMES = 64, 128, 24


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_bright(tmp_path_factory.mktemp("detector") / "bright.onnx", HIGH, WIDE)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two bright people: one walks right in the upper half, one left in the lower half."""
    folder = tmp_path_factory.mktemp("scene")
    for number in range(FRAMES):
        frame = np.full((HIGH, WIDE, 3), 20, np.uint8)
        for left, top in ((8 + 4 * number, 8), (104 - 4 * number, 40)):
            frame[top : top + 17, left : left + 17] = 250
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def run(*words):
    return main(["track", *map(str, words)])


def test_track_crop_check(scene, detector, tmp_path):
    out = tmp_path / "tracks.txt"
    assert run(scene, out, "--detector", detector, "--min_confidence", 0.5, "--new_track", 0.7) == 0
    tracks = read_tracks(str(out), first_frame=1)
    assert set(tracks.ids.tolist()) == {1, 2} and tracks.frames.max() == FRAMES - 1
    for number, identity, box in zip(tracks.frames, tracks.ids, tracks.boxes):
        lefts = (8 + 4 * number, 104 - 4 * number)
        tops = (8, 40)
        person = int(box[1] > 30)
        assert abs(box[0] - lefts[person]) <= 2 and abs(box[1] - tops[person]) <= 2, (number, identity, box)
    folder = tmp_path / "cameras"
    assert main(["crop", str(scene), str(out), str(folder), "--min_width", "8", "--min_height", "8"]) == 0
    data = read_dataset(f"folder:{folder}")
    assert len(data.train) == 2 and all(len(tracklet) >= FRAMES - 3 for tracklet in data.train)
    assert main(["check", f"folder:{folder}"]) in (0, 1)  # two tracklets are too few to train on


def test_some_frames(scene, detector, tmp_path):
    out = tmp_path / "tracks.txt"
    words = ("--detector", detector, "--min_confidence", 0.5, "--new_track", 0.7, "--from", 3, "--to", 20, "--every", 2)
    assert run(scene, out, *words) == 0
    frames = [int(line.split(",")[0]) for line in out.read_text().splitlines()]
    assert set(frames) <= set(range(3, 21, 2)) and max(frames) == 19 and len(set(frames)) >= 7


def test_nothing_found_leaves_nothing(scene, tmp_path, capsys):
    nobody = write_constant(tmp_path / "d.onnx", (1, 3, 32, 32), output0=np.zeros((1, 5, 99), np.float32))
    assert run(scene, tmp_path / "out.txt", "--detector", nobody) == 2
    assert "finds nobody in 24 frames" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_what_is_wrong_is_one_line(scene, detector, tmp_path, capsys):
    out = tmp_path / "out.txt"
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "video.txt").write_text("no tracks")
    for words, wanted in (
        ((scene, out, "--detector", tmp_path / "empty.mp4"), "is no ONNX file"),
        ((tmp_path / "empty.mp4", out, "--detector", detector), "empty.mp4"),
        ((scene, out, "--detector", detector, "--from", 25), "no frame is left of the 24"),
        ((scene, tmp_path / "none" / "out.txt", "--detector", detector), "cannot be written"),
        ((scene, tmp_path / "video.txt", "--detector", detector), "is there and something else"),
        ((scene, out, "--detector", detector, "--min_confidence", 0.5, "--new_track", 1), "no track comes of"),
    ):
        assert run(*words) == 2, words
        errors = capsys.readouterr().err
        assert wanted in errors and "Traceback" not in errors, errors
        assert not out.exists() and not (tmp_path / "out.txt.partial").exists()


def test_a_stop_keeps_the_earlier_file(scene, detector, tmp_path, monkeypatch):
    out = tmp_path / "out.txt"
    out.write_text("1,1,2,3,4,5,1\n")

    def follow(recording, wanted, detector, tracker, least, file, tally):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(track, "follow", follow)
    assert run(scene, out, "--detector", detector) == 130
    assert out.read_text() == "1,1,2,3,4,5,1\n" and list(tmp_path.iterdir()) == [out]


def test_true_boxes_of_real_people_become_their_tracks(shared):
    """PETS 2009 has 19 ids; ByteTrack gives 19 tracks, each of one id."""
    from supervision import Detections

    tracker, seen = track.make_tracker(10, 0.5), {}
    for frame in ElementTree.parse(shared("data/pets09") / "src" / "PETS2009-S2L1.xml").getroot():
        ids, boxes = [], []
        for person in frame.iter("object"):
            x, y, wide, high = (float(person.find("box").get(key)) for key in ("xc", "yc", "w", "h"))
            ids.append(int(person.get("id")))
            boxes.append([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2])
        found = tracker.update(
            Detections(np.float32(boxes).reshape(-1, 4), confidence=np.ones(len(ids)), class_id=np.array(ids, int))
        )
        for identity, number in zip(found.class_id.tolist(), found.tracker_id.tolist()):
            if number >= 0:
                seen.setdefault(number, set()).add(identity)
    assert len(seen) == len(set().union(*seen.values())) == 19
    assert all(len(ids) == 1 for ids in seen.values()), seen
