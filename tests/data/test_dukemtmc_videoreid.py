import pytest
from trees import DUKE_ROWS, touch, write_duke

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError

OLD = "{0}C{1}F{2:04d}X{3}.jpg"


@pytest.mark.parametrize("style", ["{0}_C{1}_F{2:04d}_X{3}.jpg", OLD])
def test_both_styles_of_names(tmp_path, style):
    data = read_dataset(write_duke(tmp_path, style=style))
    assert [(t.identity, t.camera, len(t)) for t in data.train] == [(1, 6, 3), (1, 2, 4), (5, 6, 1)]
    assert [(t.identity, t.camera) for t in data.query] == [(2, 1)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(2, 1), (2, 8), (7140, 3)]
    wanted = [style.format("0001", 2, number, 32823 + number) for number in (2, 10, 99, 100)]
    assert list(data.train[1].frames) == [f"{tmp_path}/train/0001/0002/{name}" for name in wanted]
    assert "2,196 tracklets" in data.table()


def test_frames_go_by_their_number_also_without_leading_zeros(tmp_path):
    rows = {**DUKE_ROWS, "train": [("0001", "0001", 6, (9, 10, 100))]}
    data = read_dataset(write_duke(tmp_path, rows, style="{0}_C{1}_F{2}_X{3}.jpg"))
    assert [name.split("_")[2] for name in data.train[0].frames.names] == ["F9", "F10", "F100"]


@pytest.mark.parametrize(("gallery", "said"), [(DUKE_ROWS["gallery"], "1"), (DUKE_ROWS["gallery"][1:], "none")])
def test_whether_the_gallery_repeats_the_queries_is_said(tmp_path, gallery, said):
    data = read_dataset(write_duke(tmp_path, {**DUKE_ROWS, "gallery": gallery}))
    assert data.notes[0].endswith(f"gallery holds {said} of the 1 queries too") and len(data.gallery) == len(gallery)


@pytest.mark.parametrize(
    ("folder", "names", "message"),
    [
        ("train/abc/0001", ["0001_C6_F0001_X1.jpg"], "directory abc: wanted an integer of at least 0, found 'abc'"),
        ("train/0009", [], "directory 0009 holds no tracklets"),
        ("train/0009/0001", ["notes.txt"], "train/0009/0001 holds no images"),
        ("train/0009/0001", ["0009_C6_X1.jpg"], "image 0009_C6_X1.jpg; wanted a name such as 0009_C6_F0099_X30823.jpg"),
        ("train/0009/0001", ["0008_C6_F0001_X1.jpg"], "image 0008_C6_F0001_X1.jpg; wanted a name such as 0009_"),
        ("train/0009/0001", ["0009_C6_F0001_X1.jpg", "0009_C7_F0002_X2.jpg"], "images of cameras 6, 7; wanted one"),
    ],
)
def test_trees_that_do_not_hold(tmp_path, folder, names, message):
    spec = write_duke(tmp_path)
    touch(tmp_path / folder, names)
    with pytest.raises(InputError, match=message):
        read_dataset(spec)


def test_missing_folders(tmp_path):
    with pytest.raises(InputError, match="no folder train; wanted the folder that holds train, query and gallery"):
        read_dataset(f"dukemtmc-videoreid:{tmp_path}")
    for subset in ("train", "query", "gallery"):
        (tmp_path / subset).mkdir()
    with pytest.raises(InputError, match="train: holds no person directories"):
        read_dataset(f"dukemtmc-videoreid:{tmp_path}")
