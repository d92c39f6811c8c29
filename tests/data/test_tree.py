"""Symbolic links: each real folder is visited once, under its own path where it has one."""

import errno
import os
from pathlib import Path

import pytest
from media import write_images

from vreid_fast.data import read_dataset
from vreid_fast.data.reading.video import probe
from vreid_fast.errors import InputError


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "data" / "a", 3, height=8, width=8)
    write_images(tmp_path / "data" / "group" / "b", 2, height=8, width=8)
    write_images(tmp_path / "outside" / "c", 1, height=8, width=8)
    return tmp_path / "data"


def folders(root):
    data = read_dataset(f"folder:{root}")
    return [os.path.relpath(t.frames.folder, root) for t in data.train], data.notes[:-1]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "links",
    [
        {"again": "."},
        {"again": ".", "parent": ".."},
        {"a/again": "."},
        {"a/up": ".."},
        {"group/b/top": "../../.."},
        {"group/b/root": "/"},
        {"group/x": "../group", "group/y": "..", "a/z": "../group"},
        {"twin": "a"},
        {"0": "group", "1": "group/b"},
        {"a/sibling": "../group/b"},
    ],
)
def test_links_to_what_is_there_add_and_drop_nothing(root, links):
    for name, target in links.items():
        os.symlink(target, root / name)
    found, notes = folders(root)
    assert found == ["a", "group/b"]
    assert len(notes) == 1 and f"{len(links)} links lead to folders that are read anyway" in notes[0]
    assert str(root) in notes[0]


def test_links_to_elsewhere_are_followed_once_and_in_order(root):
    os.symlink("../../outside", root / "group" / "a_link")
    os.symlink("../outside/c", root / "zz")
    os.symlink("../data", root.parent / "outside" / "back")
    found, notes = folders(root)
    assert found == ["a", "group/b", "zz"]
    assert len(notes) == 2 and "1 links lead to folders" in notes[0] and notes[0].endswith("group/a_link/back")
    assert notes[1].endswith(f": 2 links lead out of the data set's folder and are followed, as {root}/zz")
    (root / "zz").unlink()
    assert folders(root)[0] == ["a", "group/a_link/c", "group/b"]


def test_links_that_lead_nowhere(root):
    os.symlink("nothing", root / "broken")
    os.symlink("self", root / "self")
    os.symlink("self.jpg", root / "a" / "self.png")
    assert folders(root)[0] == ["a", "group/b"]


def test_a_root_that_is_a_link(root):
    os.symlink("data", root.parent / "link")
    os.symlink("../link", root / "again")
    assert folders(root.parent / "link")[0] == ["a", "group/b"]


def test_many_folders_are_in_natural_order(tmp_path):
    for number in range(1200):
        folder = tmp_path / f"cam{number % 3}" / f"t{number}"
        folder.mkdir(parents=True)
        (folder / "F1.jpg").write_bytes(b"")
    found, notes = folders(tmp_path)
    assert found == [f"cam{camera}/t{number}" for camera in range(3) for number in range(camera, 1200, 3)]
    assert not notes


def test_folders_that_cannot_be_read_are_named(root, monkeypatch):
    def scandir(path, real=os.scandir):
        if os.fspath(path).endswith("group"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, notes = folders(root)
    assert found == ["a"] and "group cannot be read (Permission denied) and is left out" in notes[0]


def test_where_all_that_there_is_cannot_be_reached_it_is_said(tmp_path, monkeypatch):
    """Folders in folders, until a path to the images has more than the 4,096 bytes that Linux takes."""
    monkeypatch.chdir(tmp_path)
    for _ in range(30):
        os.mkdir("d" * 150)
        os.chdir("d" * 150)
    write_images(Path("images"), 2, height=8, width=8)
    with pytest.raises(
        InputError, match=r"no images .* below it; .*/ddd.* cannot be read \(File name too long\) and is left"
    ):
        read_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize("path", ["d" * 256, "d/" * 2500])
def test_a_path_that_is_too_long_is_called_so(tmp_path, path):
    with pytest.raises(InputError, match=r"d: cannot be read \(File name too long\)$"):
        probe(str(tmp_path / path))
    (tmp_path / "tracklets.csv").write_text(f"path,identity,camera\n{path},1,1\n")
    with pytest.raises(
        InputError, match=r"row 2, column path: no folder or video .*d; it cannot be read \(File name too long"
    ):
        read_dataset(f"folder:{tmp_path}")
