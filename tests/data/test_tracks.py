"""Tracks from MOT challenge text and CSV, and which tracklets limits and gaps make of them."""

import numpy as np
import pytest

from vreid_fast.data.commands.cuts import Limits, cut_tracks
from vreid_fast.data.commands.tracks import Tracks, read_tracks
from vreid_fast.errors import InputError

HEADER = "frame,id,left,top,width,height"


def write(tmp_path, *lines):
    file = tmp_path / "tracks.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_mot_text_is_sorted_by_track_and_counted_from_0(tmp_path):
    tracks = read_tracks(
        write(tmp_path, "2,7,1.5,2,3,4,0.5,-1,-1,-1", "", "1,7,0,2,3,4,1,1", "1,3.0,-9,2,3e1,4,-1,x,y")
    )
    assert tracks.ids.tolist() == [3, 7, 7] and tracks.frames.tolist() == [0, 0, 1]
    assert tracks.boxes.tolist() == [[-9, 2, 30, 4], [0, 2, 3, 4], [1.5, 2, 3, 4]]
    assert tracks.confidence.tolist() == [-1, 1, 0.5] and tracks.lines.tolist() == [4, 3, 1]


def test_csv_names_its_columns(tmp_path):
    file = write(tmp_path, "\ufeffid, frame,left,top,width,height,class", "7,0,1,2,3,4,person", "7,1,1,2,3,4,person")
    tracks = read_tracks(file, first_frame=0)
    assert tracks.frames.tolist() == [0, 1] and tracks.ids.tolist() == [7, 7] and tracks.confidence is None
    tracks = read_tracks(write(tmp_path, f"confidence,{HEADER}", "0.25,1,7,1,2,3,4"))
    assert tracks.confidence.tolist() == [0.25] and tracks.boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "no boxes; wanted rows of frame, id"),
        ([HEADER], "no boxes"),
        (["frame,id,x,y,w,h", "1,1,1,1,1,1"], "no column left, top, width, height; wanted a header"),
        (["1,2,3"], "row 1 has 3 cells; wanted at least frame"),
        (["1,1,1,1,1,1,1", "2,1,1,1"], "row 2 has 4 cells; wanted 7"),
        ([HEADER, "1,1,1,1,1,1,1"], "row 2 has 7 cells; wanted 6"),
        ([HEADER, "1,1,1,1,left,1"], "row 2, column width: wanted a number, found 'left'"),
        (["1,1,1,1,1,nan"], "row 1, column height: wanted a number, found 'nan'"),
        (["1,1,1,inf,1,1"], "row 1, column top: wanted a number, found 'inf'"),
        (["1,1,1,1,1,1", "1.5,1,1,1,1,1"], "row 2, column frame: wanted an integer, found '1.5'"),
        (["1,1e30,1,1,1,1"], "row 1, column id: wanted an integer, found '1e30'"),
        ([HEADER, "1,anna,1,1,1,1"], "row 2, column id: wanted an integer, found 'anna'"),
        (["0,1,1,1,1,1"], "row 1, column frame: wanted at least 1, found 0; --first_frame"),
        (["1,-1,1,1,1,1"], r"row 1, column id: wanted at least 0, found -1; detections that belong to no track"),
        (["1,1,1,1,-2,1"], "row 1, column width: wanted at least 0 pixels, found -2"),
        (["1,1,1,1,1,-2.5"], "row 1, column height: wanted at least 0 pixels, found -2.5"),
        (["3,4,1,1,1,1", "1,1,1,1,1,1", "3,4,2,2,2,2"], "row 3: track 4 has a box in frame 3 already, in row 1"),
    ],
)
def test_what_does_not_hold_names_file_and_row(tmp_path, lines, message):
    with pytest.raises(InputError, match=f"tracks.txt(:|,) ?{message}"):
        read_tracks(write(tmp_path, *lines))


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(InputError, match="none.txt: no such file"):
        read_tracks(tmp_path / "none.txt")
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="a.bin: not a readable table"):
        read_tracks(tmp_path / "a.bin")


def tracks(*boxes, confidence=None):
    """Of (track, frame, left, top, width, height)."""
    ids, frames, *box = np.array(sorted(boxes), float).T
    known = None if confidence is None else np.array(confidence, float)
    order = np.arange(len(boxes)) + 1
    return Tracks("tracks.txt", ids.astype(int), frames.astype(int), np.stack(box, 1), known, order)


def walk(track, frames):
    return [(track, frame, 10, 20, 30, 60) for frame in frames]


def cut(given, height=100, width=200, **limits):
    return cut_tracks(given, height, width, Limits(**{"min_length": 1, **limits}))


def frames_of(cuts):
    return [(one.track, one.number, one.frames.tolist()) for one in cuts]


def test_tracks_are_cut_at_long_gaps():
    given = tracks(*walk(1, [0, 1, 4, 8]), *walk(2, [9]))
    assert frames_of(cut(given, max_gap=2)[0]) == [(1, 1, [0, 1, 4]), (1, 2, [8]), (2, 1, [9])]
    assert frames_of(cut(given, max_gap=3)[0]) == [(1, 1, [0, 1, 4, 8]), (2, 1, [9])]


def test_every_maximum_and_minimum_length():
    cuts, left_out = cut(tracks(*walk(1, range(12)), *walk(3, [5])), every=2, max_length=4, min_length=2)
    assert frames_of(cuts) == [(1, 1, [0, 2, 4, 6]), (1, 2, [8, 10])]
    assert left_out == {"between those that --every 2 takes": 6, "tracklet shorter than --min_length 2": 1}


def test_boxes_are_cut_at_the_border_and_left_out_beyond():
    given = tracks((1, 0, -10, -5, 30, 30), (1, 1, 190, 90, 30, 30), (1, 2, 201, 0, 9, 9), (1, 3, 0, -9, 9, 8))
    cuts, left_out = cut(given, max_gap=9)
    assert cuts[0].crops.tolist() == [[0, 0, 20, 25], [190, 90, 200, 100]]
    assert left_out == {"outside the frame": 2}


def test_padding_is_a_fraction_of_each_side():
    assert cut(tracks((1, 0, 50, 10, 20, 40)), padding=0.25)[0][0].crops.tolist() == [[45, 0, 75, 60]]


def test_small_boxes_are_measured_where_they_are_seen():
    given = tracks((1, 0, -5, 0, 10, 50), (1, 1, 0, 0, 10, 50), (1, 2, 0, 0, 10, 9), (1, 3, 5, 5, 0, 10))
    cuts, left_out = cut(given, min_width=6, min_height=10)
    assert frames_of(cuts) == [(1, 1, [1])]
    assert left_out == {"narrower than --min_width 6": 2, "lower than --min_height 10": 1}


def test_a_crop_has_a_pixel_at_least():
    assert cut(tracks((1, 0, 1.5, 2.5, 1, 1)))[0][0].crops.tolist() == [[2, 2, 3, 4]]


def test_confidence():
    cuts, left_out = cut(tracks(*walk(1, range(3)), confidence=[0.2, 0.5, 0.9]), min_confidence=0.5)
    assert frames_of(cuts) == [(1, 1, [1, 2])] and left_out == {"confidence below --min_confidence 0.5": 1}
    with pytest.raises(InputError, match="tracks.txt has no column of confidences"):
        cut(tracks(*walk(1, [0])), min_confidence=0.5)


def test_nothing_left_says_which_limit_took_how_many():
    given = tracks((1, 0, 900, 0, 9, 9), *walk(2, range(3)))
    with pytest.raises(InputError, match="no tracklet is left of its 4 boxes .outside the frame: 1 boxes; "):
        cut(given, min_length=4)
