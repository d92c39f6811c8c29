import json

import pytest
from trees import small_prid_splits, write_prid2011

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError


def test_a_small_tree(tmp_path):
    data = read_dataset(write_prid2011(tmp_path, small_prid_splits(), frames=12))
    assert [(t.identity, t.camera) for t in data.train] == [(1, 1), (1, 2), (12, 1), (12, 2)]
    assert [(t.identity, t.camera) for t in data.query] == [(3, 1), (200, 1)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(3, 2), (200, 2)]
    folder = tmp_path / "prid_2011" / "multi_shot" / "cam_b" / "person_0003"
    assert list(data.gallery[0].frames) == [f"{folder}/{n:04d}.png" for n in range(1, 13)]
    other = read_dataset(f"prid2011:{tmp_path}", split=1)
    assert [t.identity for t in other.query] == [1, 12] and other.splits == 10


def test_the_real_splits(shared, tmp_path):
    splits = json.loads((shared("data/prid2011_splits") / "splits_prid2011.json").read_text())
    spec = write_prid2011(tmp_path, splits, frames=1)
    for split in range(10):
        data = read_dataset(spec, split=split)
        assert [t.identity for t in data.query] == [int(person[-4:]) for person in splits[split]["test"]]
        for row in data.table().splitlines()[1:]:
            _, identities, tracklets, _, *official = row.split()
            assert official == [identities, "identities,", tracklets, "tracklets"]


def changed(change):
    splits = small_prid_splits()
    change(splits)
    return splits


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (small_prid_splits()[:9], "wanted a list of 10 splits, found 9"),
        ({"train": [], "test": []}, "wanted a list of 10 splits, found a dict"),
        (changed(lambda s: s.__setitem__(2, [])), 'split 2: wanted {"train"'),
        (changed(lambda s: s[3].pop("test")), 'split 3: wanted {"train"'),
        (changed(lambda s: s[3].update(test="person_0001")), 'split 3: wanted {"train"'),
        (changed(lambda s: s[3].update(test=[])), "split 3, test: names nobody"),
        (changed(lambda s: s[1]["train"].append("person_0777")), "split 1, train, row 3: no directory 'person_0777'"),
        (changed(lambda s: s[1]["train"].append("person_0385")), "split 1, train, row 3: no directory 'person_0385'"),
        (changed(lambda s: s[1]["train"].append(7)), "split 1, train, row 3: no directory 7"),
        (changed(lambda s: s[0]["test"].append("person_0001")), "split 0, test, row 3: person_0001 is there twice"),
    ],
)
def test_splits_that_do_not_hold(tmp_path, splits, message):
    people = [f"person_{number:04d}" for number in (1, 3, 12, 200)]
    with pytest.raises(InputError, match=f"splits_prid2011.json: {message}"):
        read_dataset(write_prid2011(tmp_path, splits, people))


@pytest.mark.parametrize("text", ["[" * 100_000, "[1,", "\udc80", "1" * 5000])
def test_a_damaged_file(tmp_path, text):
    spec = write_prid2011(tmp_path, small_prid_splits())
    (tmp_path / "splits_prid2011.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="splits_prid2011.json: not readable JSON"):
        read_dataset(spec)
    (tmp_path / "splits_prid2011.json").unlink()
    with pytest.raises(InputError, match="splits_prid2011.json is missing"):
        read_dataset(spec)


def test_an_empty_tracklet(tmp_path):
    spec = write_prid2011(tmp_path, small_prid_splits())
    for image in (tmp_path / "prid_2011" / "multi_shot" / "cam_b" / "person_0200").iterdir():
        image.unlink()
    with pytest.raises(InputError, match="cam_b/person_0200 holds no images"):
        read_dataset(spec)


@pytest.mark.parametrize("split", [10, -1])
def test_a_split_out_of_range(tmp_path, split):
    with pytest.raises(InputError, match=f"--split {split}: prid2011:.* has 10 splits"):
        read_dataset(write_prid2011(tmp_path, small_prid_splits()), split=split)
