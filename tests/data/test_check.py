"""`python -m vreid_fast.data check`: every reading fault, what a data set can serve for, the contact sheet."""

import argparse
import json
import os
import subprocess
import sys

import pytest
from media import write_images, write_video
from PIL import Image
from small_runs import write_people

from vreid_fast.data import Dataset, Tracklet, read_dataset
from vreid_fast.data.checks import why_unscored
from vreid_fast.data.commands import check, frame_check
from vreid_fast.data.commands.contact_sheet import choose_rows, draw_contact_sheet
from vreid_fast.data.commands.frame_check import read_all, read_tracklet, spread
from vreid_fast.data.reading import video
from vreid_fast.errors import InputError


def run(*words):
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", 0, people=3)


def report(root, tmp_path, *options):
    """Exit code and JSON of a check without a contact sheet."""
    file = tmp_path / "report.json"
    code = run(f"folder:{root}", "--no-sheet", "--json", file, *options)
    return code, json.loads(file.read_text())


def test_a_good_set_is_counted_and_read_whole(people, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(people / "0000C0T0", 7, height=32, width=16)
    assert run(f"folder:{people}", "--threads", 2) == 0
    said = capsys.readouterr().out
    assert "43 of 43 frames of 12 tracklets read: 0.0 MB in " in said and "s; 0 cannot be read" in said
    assert "as --source: yes" in said and "as --target: yes" in said and "for scores: yes" in said
    assert f"longest: tracklet {people}/0000C0T0 (identity 0, camera 0, 10 frames)" in said
    assert "shortest: tracklet " in said and "median: tracklet " in said
    assert "tracklets of camera  train  query  gallery\n0                        6      6        6\n" in said
    assert f"contact sheet: {tmp_path}/contact_sheet.png" in said
    assert Image.open("contact_sheet.png").format == "PNG"
    assert "note: as --target: cameras with fewer than 12 tracklets count as one" in said and ": 0, 1; name" in said


def test_names_that_move_the_cursor_or_are_long_stand_each_on_a_line(people, tmp_path):
    odd = people / "a\n\x1b[2Jb\rc"
    (people / "0000C0T0").rename(odd)
    next(odd.iterdir()).write_bytes(b"damaged")
    table = (people / "tracklets.csv").read_text()
    (people / "tracklets.csv").write_text(table.replace("0000C0T0", f'"{odd.name}"'), newline="")
    words = [sys.executable, "-m", "vreid_fast.data", "check", f"folder:{people}", "--no-sheet"]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr == "" and "\x1b" not in ran.stdout and "\r" not in ran.stdout
    (line,) = [line for line in ran.stdout.splitlines() if "cannot be decoded" in line]
    assert f"{people}/a \\x1b[2Jb c" in line


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    "harm, reason",
    [
        (lambda file: file.write_bytes(b""), r"is empty \(0 bytes\)"),
        (cut, "cannot be decoded"),
        (
            lambda file: file.write_bytes(b"no image" * 20),
            "it is a file that begins 'no imageno i', no image of a kind that is read",
        ),
        (lambda file: (file.unlink(), file.symlink_to("nowhere")), "is missing"),
    ],
)
def test_each_fault_is_listed_with_file_tracklet_and_reason(people, tmp_path, capsys, harm, reason):
    file = people / "0001C1T0" / "1.jpg"
    harm(file)
    code, found = report(people, tmp_path)
    assert code == 1 and found["frames_read"] == 35
    (fault,) = found["unreadable"]
    assert fault["file"] == str(file) and fault["frames"] == [1]
    assert fault["tracklet"] == f"tracklet {people}/0001C1T0 (identity 1, camera 1, 3 frames)"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(fault["reason"])
    assert "1 cannot be read" in capsys.readouterr().out


def test_of_a_video_cut_short_all_lost_frames_are_listed(tmp_path, capsys):
    file = write_video(tmp_path / "set" / "walk.avi", 30, codec="mjpeg")
    write_images(tmp_path / "set" / "a", 2)
    # Its header still promises 30 frames.
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    code, found = report(tmp_path / "set", tmp_path)
    (fault,) = found["unreadable"]
    assert code == 1 and fault["file"] == str(file)
    first = fault["frames"][0]
    assert 5 < first < 25 and fault["frames"] == list(range(first, 30)) and found["frames_read"] == 2 + first
    assert f"{30 - first} frames from frame {first} on: video {file}: " in capsys.readouterr().out


def test_a_video_is_decoded_once(tmp_path, monkeypatch):

    file, opened = write_video(tmp_path / "walk.webm", 12), []
    monkeypatch.setattr(
        video, "decode", lambda *given, real=video.decode, **more: opened.append(given) or real(*given, **more)
    )
    reading = read_tracklet(Tracklet(range(12), video=str(file)), range(12))
    assert reading.frames == 12 and len(opened) == 1 and reading.encoded == file.stat().st_size
    assert read_tracklet(Tracklet(range(14), video=str(file)), range(14)).faults[0].frames == [12, 13]


def test_a_tracklet_without_frames_is_a_fault():
    reading = read_tracklet(Tracklet([]), [])
    assert reading.unreadable == 1 and "without frames" in str(reading.faults[0])


def test_twenty_faults_are_shown(people, tmp_path, capsys):
    for file in sorted(people.glob("*/*.jpg"))[:25]:
        file.write_bytes(b"")
    code, found = report(people, tmp_path)
    assert code == 1 and len(found["unreadable"]) == 25
    said = capsys.readouterr().out
    assert said.count("is empty (0 bytes)") == 20 and "  and 5 more\n" in said
    run(f"folder:{people}", "--no_sheet")
    assert "  and 5 more; --json FILE lists all" in capsys.readouterr().out


def test_some_frames_of_each_tracklet(people, tmp_path):
    (people / "0001C1T0" / "1.jpg").write_bytes(b"")
    code, found = report(people, tmp_path, "--frames", 2)
    assert code == 0 and found["frames_read"] == 24
    assert spread(10, 4) == [0, 3, 6, 9] and spread(3, 4) == [0, 1, 2] and spread(5, 1) == [0]


def test_unlabelled_tracklets_are_a_target_only(tmp_path, capsys):
    root = write_people(tmp_path / "people", 0, labelled=False)
    code, found = report(root, tmp_path)
    assert code == 0 and found["uses"]["target"] is None
    assert "24 of which 24 have no identity" in found["uses"]["source"]
    said = capsys.readouterr().out
    assert "as --source: no: wanted labelled" in said and "for scores: no: " in said and "\nunknown" in said


def test_neither_source_nor_target_fails(people, tmp_path, capsys):
    table = people / "tracklets.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},split", *(f"{row},query|gallery" for row in rows)]))
    code, found = report(people, tmp_path)
    assert code == 1 and not found["unreadable"]
    assert found["uses"]["target"] == "no training tracklets to adapt to" and found["uses"]["scored"] is None


def test_a_query_needs_a_match_under_another_camera():
    def tracklets(*known):
        return [Tracklet(["a.jpg"], identity, camera) for identity, camera in known]

    def reason(query, gallery):
        return why_unscored(Dataset("set", [], query, gallery))

    assert reason(tracklets((1, 1), (2, 1)), tracklets((1, 1), (2, 2))) is None
    assert "under another camera" in reason(tracklets((1, 1), (2, 1)), tracklets((1, 1), (3, 2)))
    assert "without camera" in reason(tracklets((1, None)), tracklets((1, 1)))


def test_clothes_are_counted():
    worn = [Tracklet(["a"], identity, 1, clothes) for identity, clothes in ((1, 1), (1, 2), (2, 1), (None, 4))]
    assert check.clothes_lines(Dataset("set", worn, [], [])) == ["clothes, train: 1 of 2 people wear several"]


def test_rows_of_the_sheet_are_people_with_cameras_in_turns():
    seen = [Tracklet(["a"], identity, camera) for identity in range(20) for camera in (1, 1, 1, 1, 2, 3)]
    rows = choose_rows(seen)
    assert [label for label, _ in rows] == [f"identity {n}" for n in (0, 3, 5, 8, 11, 14, 16, 19)]
    assert all([t.camera for t in members] == [1, 1, 2, 3] for _, members in rows)


def test_rows_of_unlabelled_tracklets_are_filled_camera_by_camera():
    rows = choose_rows([Tracklet(["a"], None, camera) for camera in (None, 2, 2, 5) for _ in range(10)])
    assert [label for label, _ in rows] == ["identity unknown"] * len(rows) and len(rows) <= 8
    assert [members[0].camera for _, members in rows] == [2, 2, 5, 5, None, None]


def test_the_sheet_shows_frames_and_crosses_out_what_it_cannot_read(tmp_path):
    write_images(tmp_path / "a", 4, height=128, width=64)
    paths = [str(tmp_path / "a" / f"F{n}.jpg") for n in range(1, 5)]
    draw_contact_sheet(tmp_path / "good.png", "title", [Tracklet(paths, 1, 1)])
    (tmp_path / "a" / "F3.jpg").write_bytes(b"")
    draw_contact_sheet(tmp_path / "bad.png", "title", [Tracklet(paths, 1, 1)])
    good, bad = (Image.open(tmp_path / name) for name in ("good.png", "bad.png"))
    # Middles of the first and of the third frame.
    first, third = ((20 + 66 * place + 32, 20 + 40 + 40 + 64) for place in (0, 2))
    assert abs(good.getpixel(first)[0] - 55) < 4 and abs(good.getpixel(third)[0] - 65) < 4
    assert bad.getpixel(first) == good.getpixel(first) and bad.getpixel(third) == (0xC4, 0x31, 0x4B)
    with pytest.raises(InputError, match="--sheet .*cannot be written"):
        draw_contact_sheet(tmp_path / "none" / "sheet.png", "title", [Tracklet(paths, 1, 1)])


def test_every_broken_video_and_link_is_listed(tmp_path, capsys):
    root = tmp_path / "set"
    write_images(root / "good", 4)
    for name, content in (("empty.mp4", b""), ("page.avi", b"<html>"), ("text.mkv", b"version https://git-lfs")):
        (root / name).write_bytes(content)
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    code, found = report(root, tmp_path)
    said = capsys.readouterr().out
    assert code == 1 and "4 of 4 frames of 1 tracklets read" in said and "; 4 cannot be read" in said
    assert [entry["file"] for entry in found["unreadable"]] == [
        str(root / name) for name in ("empty.mp4", "gone.mp4", "page.avi", "text.mkv")
    ]
    assert all(entry["tracklet"] is None and entry["reason"] for entry in found["unreadable"])
    assert f"video {root}/gone.mp4: is missing" in said and f"video {root}/empty.mp4: is empty (0 bytes)" in said
    assert "as --target: no: 4 tracklets cannot be read at all" in said
    with pytest.raises(InputError, match=r"empty.mp4: is empty \(0 bytes\); it is the first of 4 that cannot be read"):
        read_dataset(f"folder:{root}")


def test_rows_without_their_tracklets_are_listed(people, tmp_path):
    for name in ("0000C0T0", "0001C1T0"):
        (people / name).rename(tmp_path / name)
    code, found = report(people, tmp_path)
    assert code == 1 and [fault["file"] for fault in found["unreadable"]] == [
        str(people / name) for name in ("0000C0T0", "0001C1T0")
    ]
    with pytest.raises(InputError, match="row .*no folder or video .*it is the first of 2"):
        read_dataset(f"folder:{people}")


def test_nothing_but_broken_videos(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(b"")
    code, found = report(tmp_path / "set", tmp_path)
    assert code == 1 and len(found["unreadable"]) == 1
    with pytest.raises(InputError, match=r"a.mp4: is empty \(0 bytes\)$"):
        read_dataset(f"folder:{tmp_path / 'set'}")


@pytest.mark.parametrize("option", ["--json", "--sheet"])
def test_a_file_that_cannot_be_written_is_known_before_the_work(people, tmp_path, option, monkeypatch):
    monkeypatch.setattr(check, "read_dataset", lambda *_, **__: pytest.fail("work"))
    for place in (tmp_path / "nowhere" / "file", tmp_path):
        with pytest.raises(InputError, match=f"{option} {place}: cannot be written"):
            run(f"folder:{people}", option, place)


def test_an_interrupt_ends_the_reading_at_once(tmp_path, monkeypatch):
    write_images(tmp_path / "a", 1)
    tracklet = Tracklet([f"{tmp_path}/a/F1.jpg"] * 100_000)
    decoded = []
    monkeypatch.setattr(frame_check, "decode_image", lambda *_: decoded.append(1))
    reading = read_all([Tracklet([f"{tmp_path}/a/F1.jpg"]), tracklet], None, 2)
    next(reading)
    reading.close()  # as an exception in its consumer does
    assert len(decoded) < 100_000


def test_a_gallery_of_one_person_is_noted(people, tmp_path, capsys):
    report(people, tmp_path)
    assert "of one person" not in capsys.readouterr().out
    write_images(tmp_path / "one" / "a", 2)
    write_images(tmp_path / "one" / "b", 2)
    (tmp_path / "one" / "tracklets.csv").write_text("path,identity,camera,split\na,1,1,query\nb,1,2,gallery\n")
    report(tmp_path / "one", tmp_path)
    assert "note: folder:" in (said := capsys.readouterr().out) and "its gallery is of one person" in said


def test_names_that_are_no_utf_8(tmp_path):
    root = tmp_path / os.fsdecode(b"n\xffme")
    write_images(root / os.fsdecode(b"\xe9"), 3)
    words = ["check", f"folder:{root}", "--sheet", root / "sheet.png", "--json", root / "report.json"]
    ran = subprocess.run(
        [sys.executable, "-m", "vreid_fast.data", *words], capture_output=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd(), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"n\\udcffme" in ran.stdout and b"3 of 3 frames" in ran.stdout
    assert json.loads((root / "report.json").read_text())["data"] == f"folder:{root}"
