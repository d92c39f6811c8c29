"""MOT challenge text of many hands: separators, ground truth, ids of no track and ids of 64 bits."""

import argparse

import pytest
from media import write_video

from vreid_fast.data import read_dataset
from vreid_fast.data.commands import crop
from vreid_fast.data.commands.tracks import read_tracks
from vreid_fast.errors import InputError

BOX = "5,6,20,40"


def write(tmp_path, *lines):
    file = tmp_path / "tracks.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def read(tmp_path, *lines, **options):
    return read_tracks(write(tmp_path, *lines), **options)


@pytest.mark.parametrize("separator", [",", ", ", " ", "  ", "\t", " \t ", ";", "; "])
@pytest.mark.parametrize("end", ["", "separator"])
def test_separators(tmp_path, separator, end):
    end = separator if end else ""
    rows = ((1, 7, 1.5, 2, 30, 40, 0.5), (2, 7, 2.5, 2, 30, 40, 0.25))
    lines = ["", *(separator.join(map(str, row)) + end for row in rows), ""]
    tracks = read(tmp_path, *lines)
    assert tracks.boxes.tolist() == [[1.5, 2, 30, 40], [2.5, 2, 30, 40]] and tracks.ids.tolist() == [7, 7]
    assert tracks.confidence.tolist() == [0.5, 0.25] and tracks.lines.tolist() == [2, 3]


@pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
def test_comments_and_empty_lines_are_no_rows_and_are_counted_as_lines(tmp_path, separator):
    rows = [separator.join(map(str, row)) for row in ((1, 7, 1.5, 2, 30, 40, 0.5), (2, 7, 2.5, 2, 30, 40, 0.25))]
    lines = ["# of a tracker, of May, 1, 2, 3, 4, 5, 6", "", "#", rows[0], "  # between", "", rows[1], "# end"]
    tracks = read(tmp_path, *lines)
    assert tracks.boxes.tolist() == [[1.5, 2, 30, 40], [2.5, 2, 30, 40]] and tracks.confidence.tolist() == [0.5, 0.25]
    assert tracks.lines.tolist() == [4, 7] and tracks.left_out == {} and tracks.notes == ()
    with pytest.raises(InputError, match="row 9 has 2 cells"):
        read(tmp_path, *lines, f"3{separator}7")
    with pytest.raises(InputError, match="no boxes; wanted rows of frame, id"):
        read(tmp_path, "# nothing", "")


@pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
def test_a_header_that_is_a_comment_is_one_still(tmp_path, separator):
    """numpy.savetxt(header=...) writes it so."""
    names = separator.join(("id", "frame", "left", "top", "width", "height", "score"))
    row = separator.join("7123456")
    tracks = read(tmp_path, "# made by us", f"# {names}", row, f"# {names}", separator.join("7223456"))
    assert (
        tracks.ids.tolist() == [7, 7] and tracks.frames.tolist() == [0, 1] and tracks.boxes[0].tolist() == [2, 3, 4, 5]
    )


@pytest.mark.parametrize("separator", [" ", "\t", ";"])
def test_headers(tmp_path, separator):
    names = ("id", '"frame"', "left", "top", "width", "height", "class")
    tracks = read(tmp_path, separator.join(names), separator.join(("7", "1", "1", "2", "3", '"4"', "person")))
    assert tracks.ids.tolist() == [7] and tracks.boxes.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(InputError, match="row 2 has 6 cells; wanted 7"):
        read(tmp_path, separator.join(names), separator.join("123456"))


def test_what_numpy_writes(tmp_path):
    tracks = read(tmp_path, " ".join(f"{value:.18e}" for value in (1, 7, 0.1, 2, 30, 40, 0.9, -1, -1, -1)))
    assert tracks.ids.tolist() == [7] and tracks.boxes.tolist() == [[0.1, 2, 30, 40]]


def test_decimal_commas_are_named(tmp_path):
    with pytest.raises(InputError, match="row 1, column left: wanted a number, found '5,5'"):
        read(tmp_path, "1;1;5,5;6,0;20,0;40,0;0,9")


@pytest.mark.parametrize(
    "word", ["-1", "-1.0", "4294967295", "4294967295.0", "18446744073709551615", f"{2.0**64:.18e}"]
)
def test_untracked_boxes_are_left_out_and_counted(tmp_path, word):
    tracks = read(tmp_path, f"1,{word},{BOX}", f"1,3,{BOX}", f"2,{word},{BOX}", f"1,{word},0,0,-5,9", f"2,3,{BOX}")
    assert tracks.ids.tolist() == [3, 3] and tracks.lines.tolist() == [2, 5]
    assert tracks.left_out == {f"of no track (id {word})": 3}
    with pytest.raises(InputError, match="row 1, column id: wanted at least 0, found .*must be tracked first"):
        read(tmp_path, f"1,{word},{BOX}", f"2,{word},{BOX}")
    with_header = read(tmp_path, "frame,id,left,top,width,height", f"1,{word},{BOX}", f"1,3,{BOX}")
    assert len(with_header) == 1 and sum(with_header.left_out.values()) == 1


def test_cells_of_untracked_boxes_are_read(tmp_path):
    with pytest.raises(InputError, match="row 2, column width: wanted a number, found 'x'"):
        read(tmp_path, f"1,3,{BOX}", "1,-1,1,1,x,1")
    with pytest.raises(InputError, match="row 2, column frame: wanted at least 1, found 0"):
        read(tmp_path, f"1,3,{BOX}", f"0,-1,{BOX}")


def test_ids_of_64_bits(tmp_path):
    ids = [0, 2**32 - 2, 2**32, 2**53 + 1, (3 << 60) + 1, (3 << 60) + 2, 2**63, 2**64 - 3, 2**64 - 2]
    tracks = read(tmp_path, *(f"1,{track},{BOX}" for track in reversed(ids)))
    assert tracks.ids.tolist() == ids and tracks.left_out == {}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-2", "wanted at least 0, or -1 for no track, found -2"),
        ("18446744073709551616", "wanted an integer of at most 18446744073709551615, found '18446744073709551616'"),
        ("9" * 30, "wanted an integer of at most"),
        ("9007199254740994.0", "wanted an integer, found '9007199254740994.0'"),
        ("1.5", "wanted an integer, found '1.5'"),
        ("nan", "wanted an integer, found 'nan'"),
        ("", "wanted an integer, found ''"),
    ],
)
def test_ids_that_are_none(tmp_path, word, message):
    with pytest.raises(InputError, match=f"row 2, column id: {message}"):
        read(tmp_path, f"1,3,{BOX}", f"1,{word},{BOX}")


TRUTH = [f"1,{track},{BOX},{flag},{kind},{seen}" for track, flag, kind, seen in (
    (1, 1, 1, 1), (2, 0, 1, 0.5), (3, 0, 8, 1), (4, 1, 2, 0), (5, 1, 7, 0.25), (6, 1, 3, 1), (7, 1, 8, 1), (8, 1, 8, 0),
)]  # fmt: skip


@pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
def test_ground_truth_keeps_people_to_look_at(tmp_path, separator):
    tracks = read(tmp_path, *(line.replace(",", separator) for line in TRUTH))
    assert tracks.ids.tolist() == [1, 4, 5]
    assert tracks.left_out == {
        "ground truth that is to be ignored (flag 0)": 2,
        "ground truth of class 3, no person": 1,
        "ground truth of class 8, no person": 2,
    }


@pytest.mark.parametrize(
    "line",
    [
        f"2,9,{BOX},0.4,1,1",  # a confidence
        f"2,9,{BOX},0,-1,-1",
        f"2,9,{BOX},0,1,-1",
        f"2,9,{BOX},0,0,1",  # classes of COCO begin with 0
        f"2,9,{BOX},0,1.5,1",
        f"2,9,{BOX},0,1,17",  # the number of a detection
        f"2,9,{BOX},0,person,1",
        f"2,9,{BOX},0,nan,nan",
        f"2,9,{BOX},0,-1,-1,-1",
        f"2,9,{BOX},0",
    ],
)
def test_one_row_of_a_tracker_makes_it_a_trackers_file(tmp_path, line):
    tracks = read(tmp_path, *TRUTH, line)
    assert tracks.ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9] and tracks.left_out == {}


def test_a_trackers_zeros_and_ones_are_confidences(tmp_path):
    for more in ("", ",-1,-1,-1", ",1.5,2.5,0"):
        tracks = read(tmp_path, f"1,1,{BOX},1{more}", f"1,2,{BOX},0{more}")
        assert tracks.ids.tolist() == [1, 2] and tracks.confidence.tolist() == [1, 0]


def test_ground_truth_without_people(tmp_path):
    with pytest.raises(InputError, match=r"no boxes of people .ground truth that .* 1 boxes; .* class 8, .* 2 boxes"):
        read(tmp_path, *(TRUTH[row] for row in (1, 6, 7)))


def test_ignored_boxes_may_be_anything(tmp_path):
    """Only what is looked at must have a size, and be alone in its frame."""
    tracks = read(tmp_path, *TRUTH, TRUTH[2], "1,9,1,1,-5,9,0,1,1")
    assert tracks.ids.tolist() == [1, 4, 5]
    with pytest.raises(InputError, match="row 9, column width: wanted at least 0 pixels, found -5"):
        read(tmp_path, *TRUTH, "1,9,1,1,-5,9,1,1,1")


def test_crop_says_what_was_left_out(tmp_path, capsys):
    video = write_video(tmp_path / "walk.avi", 10, codec="mjpeg", height=64, width=96)
    rows = [
        f"{frame},{track},{BOX},{flag},{kind},1"
        for frame in range(1, 11)
        for track, flag, kind in ((2**64 - 2, 1, 1), (2, 0, 1), (3, 1, 8), (-1, 1, 1))
    ]
    parser = argparse.ArgumentParser()
    crop.add_arguments(parser)
    out = tmp_path / "out"
    words = [str(video), str(write(tmp_path, *rows)), str(out), "--identities"]
    assert crop.run(parser.parse_args(words)) == 0
    said = capsys.readouterr().out
    for reason in ("of no track (id -1)", "to be ignored (flag 0)", "ground truth of class 8, no person"):
        assert any(reason in line and line.endswith(" 10") for line in said.splitlines()), said
    data = read_dataset(f"folder:{out}")
    assert len(data.train) == 1 and len(data.train[0]) == 10 and data.train[0].identity is not None
    words = [*words[:2], str(tmp_path / "other"), "--min_length", "50"]
    with pytest.raises(InputError, match="no tracklet is left of its 40 boxes"):
        crop.run(parser.parse_args(words))


def test_ground_truth_of_visdrone(tmp_path):
    rows = [
        f"1,{track},{BOX},{flag},{kind},{cut},{hidden}"
        for track, flag, kind, cut, hidden in (
            (1, 1, 1, 0, 0), (2, 1, 2, 1, 2), (3, 0, 0, 0, 0), (4, 1, 4, 0, 1), (5, 0, 1, 0, 0), (6, 1, 11, 0, 0),
        )
    ]  # fmt: skip
    tracks = read(tmp_path, *rows)
    assert tracks.ids.tolist() == [1, 2] and tracks.notes == ()
    assert tracks.left_out == {
        "ground truth that is to be ignored (flag 0)": 2,
        "ground truth of class 4, no person": 1,
        "ground truth of class 11, no person": 1,
    }
    for line in (f"1,7,{BOX},0.5,1,0,0", f"1,7,{BOX},1,1,0,0.5", f"1,7,{BOX},1,-1,-1,-1", f"1,7,{BOX},1,1,1"):
        assert read(tmp_path, *rows, line).ids.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_flags_of_mot15_are_named(tmp_path):
    """They cannot be told from a tracker's confidences, which may be 0 and 1 too."""
    flags = read(tmp_path, f"1,1,{BOX},1,-1,-1,-1", f"1,2,{BOX},0,-1,-1,-1", f"2,1,{BOX},1,-1,-1,-1")
    assert len(flags) == 3 and "1 boxes have a confidence of 0" in flags.notes[0]
    assert "--min_confidence 1" in flags.notes[0]
    for others in ("1", "0.5", "0"):
        same = read(tmp_path, *(f"{frame},1,{BOX},{value},-1,-1,-1" for frame, value in ((1, others), (2, others))))
        assert same.notes == ()
