import pytest
from trees import CCVID_ROWS, write_ccvid

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError


@pytest.mark.parametrize("inner", ["", "image"])
def test_both_layouts(tmp_path, inner):
    data = read_dataset(write_ccvid(tmp_path, inner=inner, frames=12))
    assert [(t.identity, t.camera) for t in data.train] == [(1, 1), (1, 12), (2, 17)]
    assert [(t.identity, t.camera) for t in data.query] == [(76, 1), (77, 3)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(76, 2), (76, 14), (77, 4)]
    folder = tmp_path / inner / "session3" / "002_05"
    assert list(data.train[2].frames) == [f"{folder}/{n:05d}.jpg" for n in range(1, 13)]
    assert "834 tracklets" in data.table()


def test_clothes_are_of_a_person_and_the_same_in_query_and_gallery(tmp_path):
    data = read_dataset(write_ccvid(tmp_path))
    assert [t.clothes for t in data.train] == [0, 1, 2]  # u0_l0 of person 2 is another suit than of person 1
    assert [t.clothes for t in data.query] == [3, 5] and [t.clothes for t in data.gallery] == [3, 4, 5]


def test_a_tracklet_of_two_lists_is_one_object(tmp_path):
    rows = {**CCVID_ROWS, "gallery": [*CCVID_ROWS["gallery"], CCVID_ROWS["query"][0]]}
    data = read_dataset(write_ccvid(tmp_path, rows))
    assert data.gallery[-1] is data.query[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("session1/076_05 076", "row 4 has 2 words; wanted directory, person, clothes"),
        ("session1/076_02 076 u0_l0", "row 4: session1/076_02 is already in row 1"),
        ("session1/076_05 x76 u0_l0", "row 4: wanted an integer of at least 0, found 'x76'"),
        ("session1/076_05 076 u0_l0", "row 4: no folder .*session1/076_05"),
        ("session1/077_04/ 076 u0_l0", "row 4: session1/077_04/ is already in row 3"),
        ("session1/076_01 077 u0_l0", "row 4: session1/076_01 has another person or other clothes in .*query.txt"),
        ("session1/076_01 076 u9_l9", "row 4: session1/076_01 has another person or other clothes in .*query.txt"),
        ("../session1/076_05 076 u0_l0", "row 4: wanted a path inside"),
    ],
)
def test_lines_that_do_not_hold(tmp_path, line, message):
    spec = write_ccvid(tmp_path)
    with open(tmp_path / "gallery.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=f"gallery.txt: {message}"):
        read_dataset(spec)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("session4/076_05 076 u0_l0", "directory session4/076_05; wanted sessionS/PERSON_NN"),
        (
            "session1/076_13 076 u0_l0",
            "directory session1/076_13; wanted sessionS/PERSON_NN with S 1 to 3 and NN 1 to 12",
        ),
        ("session1/076_05 077 u0_l0", "person 77, but the directory is session1/076_05"),
    ],
)
def test_directories_that_contradict_their_line(tmp_path, line, message):
    rows = {**CCVID_ROWS, "gallery": [*CCVID_ROWS["gallery"], line]}
    with pytest.raises(InputError, match=f"gallery.txt: row 4: {message}"):
        read_dataset(write_ccvid(tmp_path, rows))


def test_missing_parts(tmp_path):
    with pytest.raises(InputError, match="no train.txt, and none in image"):
        read_dataset(f"ccvid:{tmp_path}")
    spec = write_ccvid(tmp_path)
    for image in (tmp_path / "session2" / "077_03").iterdir():
        image.unlink()
    with pytest.raises(InputError, match="query.txt: row 2: .*session2/077_03 holds no images"):
        read_dataset(spec)
    (tmp_path / "query.txt").unlink()
    with pytest.raises(InputError, match="query.txt is missing"):
        read_dataset(spec)
    (tmp_path / "query.txt").write_text("\n")
    with pytest.raises(InputError, match="query.txt: row 1 has 0 words"):
        read_dataset(spec)
