import pytest
from trees import SVREID_ROWS, write_svreid

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError


@pytest.mark.parametrize("inner", ["SVReID", "V3DGait_VIS", ""])
def test_the_three_places_of_the_lists(tmp_path, inner):
    data = read_dataset(f"svreid:{write_svreid(tmp_path, inner=inner)}")
    assert [(t.identity, t.camera) for t in data.train] == [(7, 1), (7, 4), (100, 10)]
    assert [(t.identity, t.camera) for t in data.query] == [(300, 1)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(300, 2), (300, 3)]
    folder = tmp_path / inner / "0100" / "b" / "10"
    assert list(data.train[2].frames) == [f"{folder}/{n}.jpg" for n in range(1, 13)]
    assert not data.notes and "1,164 tracklets" in data.table()


def test_the_three_variants(tmp_path):
    write_svreid(tmp_path)
    clothed = read_dataset(f"svreid_cc:{tmp_path}")
    assert [(t.identity, t.clothes) for t in clothed.train] == [(7, 0), (7, 1), (100, 2)]
    assert [t.clothes for t in clothed.query] == [3] and [t.clothes for t in clothed.gallery] == [3, 4]
    assert "3,187 tracklets" in clothed.table()
    plus = read_dataset(f"svreid_plus:{tmp_path}")
    assert [t.identity for t in plus.train] == [7, 200] and "official" not in plus.table()


def test_a_source_needs_neither_query_nor_gallery(tmp_path):
    write_svreid(tmp_path, {"train_svreid.txt": SVREID_ROWS["train_svreid.txt"]})
    data = read_dataset(f"svreid:{tmp_path}")
    assert len(data.train) == 3 and data.query == data.gallery == []
    assert ["no query.txt" in data.notes[0], "no gallery.txt" in data.notes[1]] == [True, True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0007/a/1 0007", "row 4 has 2 words"),
        ("0007/a/1 0007 a", "row 4: 0007/a/1 is already in row 1"),
        ("0007/a/9 0007 a", "row 4: no folder .*0007/a/9"),
        ("../../x/1 0007 a", "row 4: wanted a path inside"),
        ("0007/a/1\x00 0007 a", "row 4: wanted a path inside"),
        ("0007/a seven a", "row 4: wanted an integer of at least 0, found 'seven'"),
        ("0007/z 0007 a", "row 4, camera at the end of 0007/z: wanted an integer of at least 0, found 'z'"),
    ],
)
def test_lines_that_do_not_hold(tmp_path, line, message):
    write_svreid(tmp_path)
    (tmp_path / "SVReID" / "0007" / "z").mkdir()
    (tmp_path / "SVReID" / "0007" / "z" / "1.jpg").touch()
    with open(tmp_path / "SVReID" / "train_svreid.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=f"train_svreid.txt: {message}"):
        read_dataset(f"svreid:{tmp_path}")


def test_missing_and_unreadable_lists(tmp_path):
    with pytest.raises(InputError, match="no train_svreid_plus.txt in SVReID, in V3DGait_VIS or in the folder itself"):
        read_dataset(f"svreid_plus:{tmp_path}")
    write_svreid(tmp_path)
    (tmp_path / "SVReID" / "gallery.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="gallery.txt: not a readable list"):
        read_dataset(f"svreid:{tmp_path}")
