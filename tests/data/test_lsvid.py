import pytest
from trees import LSVID_ROWS, touch, write_lsvid

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError

h5py = pytest.importorskip("h5py")


def test_a_small_tree(tmp_path):
    data = read_dataset(write_lsvid(tmp_path))
    assert [(t.identity, t.camera, len(t)) for t in data.train] == [(3, 5, 4), (3, 12, 2), (11, 5, 3)]
    assert [(t.identity, t.camera, len(t)) for t in data.query] == [(842, 1, 3), (900, 15, 12)]
    assert [(t.identity, t.camera, len(t)) for t in data.gallery] == [(842, 7, 2), (900, 2, 1)]
    folder = tmp_path / "tracklet_test" / "0900"
    assert list(data.query[1].frames) == [f"{folder}/0900_0001_15_{frame:06d}.jpg" for frame in range(12)]
    assert "2,831 tracklets" in data.table() and data.splits == 1


def test_a_long_test_tracklet_is_not_cut(tmp_path):
    rows = {**LSVID_ROWS, "test": [("tracklet_test/0842/0842_0001", 842, 1, 200), *LSVID_ROWS["test"][1:]]}
    data = read_dataset(write_lsvid(tmp_path, rows))
    assert [len(t) for t in data.query] == [200, 12] and len(data.gallery) == 2


def test_the_authors_pieces(tmp_path):
    rows = {**LSVID_ROWS, "test": [("tracklet_test/0842/0842_0001", 842, 1, 13), *LSVID_ROWS["test"][1:]]}
    spec = write_lsvid(tmp_path, rows)
    data = read_dataset(spec, authors_pieces_train=2, authors_pieces_test=5)
    assert [len(t) for t in data.train] == [2, 2, 2, 3]
    assert [len(t) for t in data.query] == [5, 8, 5, 7] and [len(t) for t in data.gallery] == [2, 1]
    whole = read_dataset(spec).query[0]
    assert [frame for piece in data.query[:2] for frame in piece.frames] == list(whole.frames)
    assert {(t.identity, t.camera) for t in data.query[:2]} == {(842, 1)}
    assert "cut into pieces of 5 frames, 2 query tracklets became 4" in data.notes[1]
    with pytest.raises(InputError, match="--authors_pieces_test must be at least 0"):
        read_dataset(spec, authors_pieces_test=-1)


def test_a_number_is_not_the_beginning_of_a_longer_one(tmp_path):
    rows = {"train": [("tracklet_train/0003/0003_1", 3, 5, 2), ("tracklet_train/0003/0003_10", 3, 6, 3)]}
    data = read_dataset(write_lsvid(tmp_path, {**LSVID_ROWS, **rows}))
    assert [(t.camera, len(t)) for t in data.train] == [(5, 2), (6, 3)]


def test_each_directory_is_listed_once(tmp_path, monkeypatch):
    import os

    spec, listed = write_lsvid(tmp_path), []
    monkeypatch.setattr(os, "scandir", lambda path, real=os.scandir: listed.append(path) or real(path))
    read_dataset(spec)
    assert len(listed) == len(set(listed)) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tracklet_train/0003/0003_0001", "row 4 has 1 words; wanted path, person"),
        ("tracklet_train/0003/0003_0001 3", "row 4: tracklet_train/0003/0003_0001 is already in row 1"),
        ("tracklet_train//0003/0003_0001 3", "row 4: .* is already in row 1"),
        ("tracklet_train/0011/0011_0009 11", r"row 4: no images .*0011_0009\*"),
        ("tracklet_train/0099/0099_0001 99", "row 4: no folder .*tracklet_train/0099"),
        ("tracklet_train/0011/0011_00 x", "row 4: wanted an integer of at least 0, found 'x'"),
        ("tracklet_train/0011/0011_00 -1", "row 4: wanted an integer of at least 0, found '-1'"),
        ("../secret/0011_0009 11", "row 4: wanted a path inside"),
        ("/etc/0011 11", "row 4: wanted a path inside"),
    ],
)
def test_lines_that_do_not_hold(tmp_path, line, message):
    spec = write_lsvid(tmp_path)
    with open(tmp_path / "list_sequence" / "list_seq_train.txt", "a") as file:
        file.write(line + "\n")
    if "0011_00 " in line:
        touch(tmp_path / "tracklet_train" / "0011", ["0011_00_01_000001.jpg"])
    with pytest.raises(InputError, match=f"list_seq_train.txt: {message}"):
        read_dataset(spec)


def test_images_must_agree_on_a_camera(tmp_path):
    spec = write_lsvid(tmp_path)
    touch(tmp_path / "tracklet_train" / "0011", ["0011_0001_06_000009.jpg"])
    with pytest.raises(InputError, match="list_seq_train.txt: row 3: images of cameras 05, 06; wanted one camera"):
        read_dataset(spec)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (((1, 5),), "rows must be 1 to 4, found 5"),
        (((0,),), "rows must be 1 to 4, found 0"),
        (((1, 1),), "query names 1 rows twice"),
        (((1.5,),), "query must be a matrix of integers; row 1"),
        ((1, 2), r"query must be a matrix of integers, found float64, shape \(2,\)"),
        (((1, 2, 3, 4, 1),), "query must hold at most 4 numbers"),
    ],
)
def test_queries_that_do_not_hold(tmp_path, queries, message):
    with pytest.raises(InputError, match=f"info_test.mat: {message}"):
        read_dataset(write_lsvid(tmp_path, queries=queries))


def test_a_damaged_or_missing_query_list(tmp_path):
    spec = write_lsvid(tmp_path)
    file = tmp_path / "test" / "data" / "info_test.mat"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="info_test.mat: not a readable .mat file of version 7.3"):
        read_dataset(spec)
    with h5py.File(file, "w") as other:
        other["another"] = [[1]]
    with pytest.raises(InputError, match="wanted the variable query, found another"):
        read_dataset(spec)
    with h5py.File(file, "w") as other:
        other["query"] = [["one"]]
    with pytest.raises(InputError, match="query must be a matrix of integers, found object"):
        read_dataset(spec)
    with h5py.File(file, "w") as other:
        other.create_group("query")
    with pytest.raises(InputError, match="query must be a matrix of integers, found something else"):
        read_dataset(spec)
    file.unlink()
    with pytest.raises(InputError, match="info_test.mat is missing"):
        read_dataset(spec)
