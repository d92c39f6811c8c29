"""The fingerprint of data: the same after a move or a copy, other with anything that a run would notice."""

import csv
import os
import shutil

import pytest
from small_runs import write_people

from vreid_fast.data import fingerprint as module
from vreid_fast.data.__main__ import main as data_command
from vreid_fast.data.domains import Domains
from vreid_fast.data.fingerprint import differences, fingerprint


@pytest.fixture
def roots(tmp_path):
    return write_people(tmp_path / "source", 0), write_people(tmp_path / "target", 1)


def taken(roots):
    return fingerprint(Domains.read(*(f"folder:{root}" for root in roots)))


def rewrite(root, change):
    with open(root / "tracklets.csv", newline="") as file:
        header, *rows = csv.reader(file)
    with open(root / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *change(rows)])


def relabelled(column):
    def change(rows):
        rows[3][column] = "1" if column == 1 else "5"
        return rows

    return change


def test_a_move_and_a_copy_with_other_times_are_the_same_data(roots, tmp_path, monkeypatch):
    before = taken(roots)
    moved = [shutil.copytree(root, tmp_path / "else where" / "deep" / root.name) for root in roots]
    for root in moved:
        for path in root.rglob("*.jpg"):
            os.utime(path, (0, 0))
    assert taken(moved) == before and differences(before, taken(moved)) == []
    monkeypatch.chdir(moved[1])
    assert fingerprint(Domains.read(f"folder:{moved[0]}/", "folder:.")) == before


SUBSETS = ("target", "query", "gallery")
CHANGES = {
    "removed": (lambda rows: rows[:-1], SUBSETS, "23 tracklets, the checkpoint has 24; gone: 0005C1T1/0.jpg"),
    "two gone": (lambda rows: rows[:-5], SUBSETS, "gone: 0004C1T1/0.jpg, 0005C0T0/0.jpg, 0005C0T1/0.jpg and 2 more"),
    "order": (lambda rows: rows[::-1], SUBSETS, "the same tracklets in another order"),
    "camera": (relabelled(2), SUBSETS, "another camera: 0000C1T1/0.jpg 5, was 1"),
    "identity": (relabelled(1), SUBSETS[1:], "another identity: 0000C1T1/0.jpg 1, was 0"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_rows_are_named(roots, name):
    change, subsets, said = CHANGES[name]
    before = taken(roots)
    rewrite(roots[1], change)
    found = differences(before, taken(roots))
    assert [line.split(":")[0] for line in found] == list(subsets)
    assert all(said in line for line in found), found


def test_a_new_tracklet_is_named_and_the_source_has_its_identities(roots):
    before = taken(roots)
    shutil.copytree(roots[0] / "0000C0T0", roots[0] / "new")
    rewrite(roots[0], lambda rows: [*rows, ["new", 0, 0]])
    assert differences(before, taken(roots)) == ["source: 25 tracklets, the checkpoint has 24; new: new/0.jpg"]
    rewrite(roots[0], lambda rows: [*rows[:-1], ["new", 1, 0]])
    after = taken(roots)
    rewrite(roots[0], lambda rows: [*rows[:-1], ["new", 2, 0]])
    assert differences(after, taken(roots)) == ["source: another identity: new/0.jpg 2, was 1"]


@pytest.mark.parametrize("small", [True, False])
def test_other_frames_are_noticed(roots, small, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 10_000 if small else 10)
    before = taken(roots)
    folder = roots[1] / "0002C0T0"
    same_size = bytearray((folder / "1.jpg").read_bytes())
    same_size[len(same_size) // 2] ^= 1
    (folder / "1.jpg").write_bytes(same_size)
    found = differences(before, taken(roots))
    assert found == ([f"{subset}: other files: 0002C0T0/0.jpg" for subset in SUBSETS] if small else [])
    (folder / "1.jpg").write_bytes(b"longer" * 1000)
    assert differences(before, taken(roots))[0] == "target: other files: 0002C0T0/0.jpg"
    shutil.copy(folder / "0.jpg", folder / "7.jpg")
    assert differences(before, taken(roots))[0] == "target: other numbers of frames: 0002C0T0/0.jpg 4, was 3"
    (folder / "7.jpg").unlink()
    (folder / "1.jpg").unlink()
    os.mkfifo(folder / "1.jpg")
    assert "0002C0T0" in differences(before, taken(roots))[0]


def test_data_that_grew_large_are_told_by_their_tracklets_alone(roots, monkeypatch):
    before = taken(roots)
    monkeypatch.setattr(module, "SMALL", 10)
    assert differences(before, taken(roots)) == []
    rewrite(roots[1], lambda rows: rows[1:])
    assert "gone: 0000C0T0/0.jpg" in differences(before, taken(roots))[0]


def test_a_pack_is_told_by_its_word_and_rows(roots, tmp_path):
    packs = [tmp_path / "one", tmp_path / "two"]
    for pack in packs:
        assert data_command(["pack", f"folder:{roots[1]}", str(pack)]) == 0
    read = [fingerprint(Domains.read(f"folder:{roots[0]}", f"pack:{pack}")) for pack in packs]
    moved = packs[0].rename(tmp_path / "moved")
    assert fingerprint(Domains.read(f"folder:{roots[0]}", f"pack:{moved}")) == read[0]
    assert len(differences(*read)) == (read[0] != read[1]) * 3
    rewrite(roots[1], lambda rows: rows[1:])
    assert data_command(["pack", f"folder:{roots[1]}", str(tmp_path / "less")]) == 0
    less = fingerprint(Domains.read(f"folder:{roots[0]}", f"pack:{tmp_path / 'less'}"))
    assert "23 tracklets, the checkpoint has 24; gone: 00000.tar:00000023.0000.jpg" in differences(read[0], less)[0]
