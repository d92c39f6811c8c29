"""Where and when tracklets were recorded: from `crop` through tables and packs."""

import csv
import hashlib
import json
from datetime import datetime, timedelta, timezone

import pytest
from media import write_images, write_video
from packs import run_pack

from vreid_fast.data import read_dataset
from vreid_fast.data.__main__ import main
from vreid_fast.data.reading.packed import description_digest
from vreid_fast.data.sighting import Sighting
from vreid_fast.errors import InputError

EIGHT = datetime(2026, 5, 4, 8)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.avi", 40, codec="mjpeg", height=64, width=96)


def crop(video, out, *options, boxes=((5, 24), (10, 39))):
    tracks = out.parent / "tracks.txt"
    rows = [(n + 1, t, 4 + 40 * t, 10, 24, 40) for t, (first, last) in enumerate(boxes) for n in range(first, last + 1)]
    tracks.write_text("\n".join(",".join(map(str, row)) for row in rows))
    return main(["crop", str(video), str(tracks), str(out), *map(str, options)])


def write_table(root, columns, *rows):
    for row in rows:
        write_images(root / row.split(",")[0], 3)
    (root / "tracklets.csv").write_text("\n".join([f"path,identity,camera{columns}", *rows]) + "\n")
    return f"folder:{root}"


def test_times_follow_from_frames_and_start():
    seen = Sighting("cam1.mp4", 50, 75, 25.0, EIGHT)
    assert (seen.begins, seen.ends) == (EIGHT + timedelta(seconds=2), EIGHT + timedelta(seconds=3))
    assert Sighting("cam1.mp4", 50, 75, 25.0).begins is None and Sighting("a", 0, 1, None, EIGHT).ends is None


def test_crop_writes_recording_rate_and_clock(video, tmp_path):
    assert crop(video, tmp_path / "out", "--start", "2026-05-04T08:00:00", "--fps", 10) == 0
    data = read_dataset(f"folder:{tmp_path / 'out'}")
    assert [t.sighting for t in data.train] == [
        Sighting(str(video), 5, 24, 10.0, EIGHT), Sighting(str(video), 10, 39, 10.0, EIGHT)
    ]  # fmt: skip
    assert data.train[0].sighting.begins == EIGHT + timedelta(seconds=0.5)


def test_the_rate_is_the_videos_own(video, tmp_path):
    crop(video, tmp_path / "out")
    (first, _) = read_dataset(f"folder:{tmp_path / 'out'}").train
    assert first.sighting.fps == 25 and first.sighting.start is None


def test_images_have_no_rate(tmp_path, capsys):
    frames = tmp_path / "frames"
    write_images(frames, 12, height=64, width=96)
    assert crop(frames, tmp_path / "out", "--start", "2026-05-04T08:00:00", boxes=[(0, 11)]) == 2
    assert "does not say how many frames a second it has; give --fps" in capsys.readouterr().err
    assert crop(frames, tmp_path / "out", boxes=[(0, 11)]) == 0
    assert read_dataset(f"folder:{tmp_path / 'out'}").train[0].sighting == Sighting(str(frames), 0, 11)


@pytest.mark.parametrize("word", ["yesterday", "08:00", "2026-13-01T00:00:00"])
def test_starts_that_are_no_time(word, video, tmp_path, capsys):
    with pytest.raises(SystemExit):
        crop(video, tmp_path / "out", "--start", word)
    assert f"wanted a time such as 2026-05-04T08:00:00, found '{word}'" in capsys.readouterr().err


def test_a_folder_of_an_earlier_version_grows(video, tmp_path):
    out = tmp_path / "out"
    crop(video, out)
    with open(out / "tracklets.csv", newline="") as file:
        rows = [row[:7] for row in csv.reader(file)]
    with open(out / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert all(tracklet.sighting is None for tracklet in read_dataset(f"folder:{out}").train)
    assert crop(video, out, "--camera", 2) == 0
    found = {t.camera: t.sighting for t in read_dataset(f"folder:{out}").train}
    assert found[1] is None and found[2].video == str(video)


def test_tables_by_hand(tmp_path):
    columns = ",video,first_frame,last_frame,fps,start"
    spec = write_table(tmp_path, columns, "a,1,1,v.mp4,3,5,,", "b,1,2,,3,5,25,", "c,1,2,v.mp4,0,2,12.5,2026-05-04")
    seen = {tracklet.camera: [] for tracklet in read_dataset(spec).train}
    for tracklet in read_dataset(spec).train:
        seen[tracklet.camera].append(tracklet.sighting)
    assert seen == {1: [Sighting("v.mp4", 3, 5)], 2: [None, Sighting("v.mp4", 0, 2, 12.5, datetime(2026, 5, 4))]}


@pytest.mark.parametrize(
    "row, wrong",
    [
        ("v.mp4,5,3,25,", "row 2: wanted 0 <= first_frame <= last_frame, found 5 and 3"),
        ("v.mp4,-2,3,25,", "row 2: wanted 0 <= first_frame <= last_frame, found -2 and 3"),
        ("v.mp4,1,3,0,", "row 2, column fps: wanted frames a second, above 0, found '0'"),
        ("v.mp4,1,3,nan,", "row 2, column fps: wanted frames a second, above 0, found 'nan'"),
        ("v.mp4,1,3,fast,", "row 2, column fps: wanted frames a second, above 0, found 'fast'"),
        ("v.mp4,1,3,25,noon", "row 2, column start: wanted a date and time such as 2026-05-04T08:00:00, found 'noon'"),
        ("v.mp4,x,3,25,", "row 2, column first_frame: wanted an integer, found 'x'"),
    ],
)
def test_rows_that_do_not_hold(row, wrong, tmp_path):
    spec = write_table(tmp_path, ",video,first_frame,last_frame,fps,start", f"a,1,1,{row}")
    with pytest.raises(InputError, match="tracklets.csv: ") as error:
        read_dataset(spec)
    assert wrong in str(error.value)


def test_times_with_and_without_a_zone_cannot_be_compared(tmp_path):
    columns = ",video,first_frame,last_frame,fps,start"
    zoned, plain = "a,1,1,v.mp4,0,2,25,2026-05-04T08:00:00+02:00", "b,1,2,v.mp4,0,2,25,2026-05-04T08:00:00"
    with pytest.raises(InputError, match=r"08:00:00\+02:00 has a time zone and 2026-05-04T08:00:00 has none"):
        read_dataset(write_table(tmp_path / "both", columns, zoned, plain))
    (tracklet,) = read_dataset(write_table(tmp_path / "one", columns, zoned)).train
    assert tracklet.sighting.start == EIGHT.replace(tzinfo=timezone(timedelta(hours=2)))


def test_packs_keep_them(video, tmp_path):
    crop(video, tmp_path / "out", "--start", "2026-05-04T08:00:00+02:00")
    given = read_dataset(f"folder:{tmp_path / 'out'}")
    packed = read_dataset(run_pack(given.name, tmp_path / "pack"))
    assert [t.sighting for t in packed.train] == [t.sighting for t in given.train] and packed.train[0].sighting.begins
    assert run_pack(given.name, tmp_path / "pack", "--overwrite")


@pytest.mark.parametrize(
    "content", ["[]", "{}", "[[1, 2, 3, 4, 5], null]", '[["v", 0, 2, 25, "noon"], null]', "[", "7"]
)
def test_sightings_of_a_pack_that_do_not_agree(content, video, tmp_path):
    crop(video, tmp_path / "out")
    spec = run_pack(f"folder:{tmp_path / 'out'}", tmp_path / "pack")
    (tmp_path / "pack" / "sightings.json").write_text(content)
    with pytest.raises(InputError, match=r"sightings.json is damaged, or of another pack"):
        read_dataset(spec)
    facts = json.loads((tmp_path / "pack" / "pack.json").read_text())
    facts["index"]["sightings.json"] = hashlib.sha256(content.encode()).hexdigest()
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(facts | {"digest": description_digest(facts)}))
    with pytest.raises(InputError, match=r"sightings.json: does not agree"):
        read_dataset(spec)


def test_a_time_that_no_calendar_has():
    seen = Sighting("cam.mp4", 0, 50, 25.0, datetime.max)
    with pytest.raises(InputError, match="cam.mp4: frame 50 at 25 frames a second from 9999.* is beyond the year 9999"):
        seen.ends  # noqa: B018
