import shutil

import numpy as np
import pytest
from trees import write_ilidsvid

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError

PEOPLE = (1, 2, 5, 319)
TABLE = np.array([[4, 1, 2, 3], [1, 2, 3, 4], *[[2, 3, 4, 1]] * 8])


def test_a_split_is_a_row_of_the_table(tmp_path):
    data = read_dataset(write_ilidsvid(tmp_path, PEOPLE, table=TABLE))
    assert [(t.identity, t.camera) for t in data.query] == [(319, 1), (1, 1)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(319, 2), (1, 2)]
    assert [(t.identity, t.camera) for t in data.train] == [(2, 1), (2, 2), (5, 1), (5, 2)]
    assert data.splits == 10 and data.official["train"] == "150 identities, 300 tracklets"
    second = read_dataset(f"ilidsvid:{tmp_path}", split=1)
    assert [t.identity for t in second.query] == [1, 2] and {t.identity for t in second.train} == {5, 319}


def test_frames_are_in_temporal_order(tmp_path):
    data = read_dataset(write_ilidsvid(tmp_path, PEOPLE, frames=5, table=TABLE))
    folder = tmp_path / "i-LIDS-VID" / "sequences" / "cam2" / "person319"
    assert list(data.gallery[0].frames) == [f"{folder}/cam2_person319_{n:05d}.png" for n in range(317, 322)]


def test_the_official_size(tmp_path):
    numbers = [number for number in range(1, 320) if number % 17][:300]
    data = read_dataset(write_ilidsvid(tmp_path, numbers, frames=1), split=9)
    for row in data.table().splitlines()[1:]:
        _, identities, tracklets, _, *official = row.split()
        assert official == [identities, "identities,", tracklets, "tracklets"]


@pytest.mark.parametrize("split", [10, -1])
def test_a_split_out_of_range(tmp_path, split):
    with pytest.raises(InputError, match=f"--split {split}: ilidsvid:.* has 10 splits, 0 to 9"):
        read_dataset(write_ilidsvid(tmp_path), split=split)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE[:9], r"10 rows of as many places as there are person directories, 4, .*found shape \(9, 4\)"),
        (TABLE[:, :2], r"found shape \(10, 2\)"),
        (np.where(TABLE == 3, 5, TABLE), "row 1 does not hold each of the places 1 to 4 once"),
        (np.vstack([TABLE[:4], [[1, 1, 2, 3]], TABLE[5:]]), "row 5 does not hold each"),
        (TABLE + 0.5, r"ls_set must be a matrix of integers; row 1 is \[4.5"),
        (np.where(TABLE == 2, np.nan, TABLE), "ls_set must be a matrix of integers; row 1"),
    ],
)
def test_tables_that_do_not_hold(tmp_path, table, message):
    with pytest.raises(InputError, match=f"train_test_splits_ilidsvid.mat: .*{message}"):
        read_dataset(write_ilidsvid(tmp_path, PEOPLE, table=table))


def test_people_that_contradict_the_layout(tmp_path):
    spec = write_ilidsvid(tmp_path, PEOPLE, table=TABLE)
    sequences = tmp_path / "i-LIDS-VID" / "sequences"
    for image in (sequences / "cam1" / "person002").iterdir():
        image.unlink()
    with pytest.raises(InputError, match="cam1/person002 holds no images"):
        read_dataset(spec)
    shutil.rmtree(sequences / "cam1" / "person002")
    with pytest.raises(InputError, match="person002 is before one camera only"):
        read_dataset(spec)
    (sequences / "cam1" / "stranger").mkdir()
    with pytest.raises(InputError, match="cam1: directory stranger; wanted personNUMBER"):
        read_dataset(spec)


def test_another_folder(tmp_path):
    with pytest.raises(InputError, match="no folder i-LIDS-VID; wanted the folder that holds i-LIDS-VID and train-te"):
        read_dataset(f"ilidsvid:{tmp_path}")
    write_ilidsvid(tmp_path)
    (tmp_path / "train-test people splits" / "train_test_splits_ilidsvid.mat").unlink()
    with pytest.raises(InputError, match="train_test_splits_ilidsvid.mat is missing"):
        read_dataset(f"ilidsvid:{tmp_path}")
