import pytest

from vreid_fast.data import Dataset, Tracklet
from vreid_fast.data.pieces import in_pieces
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError


def tracklet(frames, **known):
    return Tracklet(FramePaths("/data", [f"F{number}.jpg" for number in range(frames)]), 7, 2, 3, **known)


@pytest.mark.parametrize(
    ("frames", "pieces"), [(1, [1]), (47, [47]), (48, [48]), (95, [95]), (96, [48, 48]), (150, [48, 48, 54])]
)
def test_the_last_piece_takes_the_remainder(frames, pieces):
    data = in_pieces(Dataset("x", [tracklet(frames)], [], []), train=48)
    assert [len(piece) for piece in data.train] == pieces
    assert [name for piece in data.train for name in piece.frames] == list(tracklet(frames).frames)
    assert {(piece.identity, piece.camera, piece.clothes) for piece in data.train} == {(7, 2, 3)}


def test_a_tracklet_of_two_subsets_has_the_same_pieces_in_both():
    both = tracklet(10)
    data = in_pieces(Dataset("x", [both], [both], [both], ("before",)), test=5)
    assert data.train == [both] and all(one is other for one, other in zip(data.query, data.gallery, strict=True))
    assert data.notes[0] == "before" and len(data.notes) == 3


def test_a_video_cannot_be_cut():
    with pytest.raises(InputError, match="tracklet a.mp4 .* is no folder of images"):
        in_pieces(Dataset("x", [Tracklet(range(9), video="a.mp4")], [], []), train=4)


def test_nothing_is_cut_unasked():
    data = Dataset("x", [tracklet(100)], [], [])
    assert in_pieces(data) is data
