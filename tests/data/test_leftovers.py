"""What systems leave in folders is no part of a data set, in whatever format, and is counted."""

import shutil

import pytest

pytest.importorskip("scipy.io")
pytest.importorskip("h5py")

from media import write_images, write_video
from trees import TREES, write_duke

from vreid_fast.data import read_dataset
from vreid_fast.data.commands.folder_writer import FolderWriter

FOLDERS = (
    "@eaDir", "@eadir", "@tmp", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb", "__MACOSX",
    "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "lost+found", "~snapshot", ".snapshots", ".snapshot",
    ".Trash", ".Trash-1000", ".Trashes", ".Spotlight-V100", ".git",
)  # fmt: skip
FILES = ("Thumbs.db", "desktop.ini", "Desktop.ini", ".DS_Store", "ehthumbs.db", "._F1.jpg")


def content(data):
    return [
        [(list(map(str, t.frames)), t.identity, t.camera, t.clothes) for t in subset]
        for subset in (data.train, data.query, data.gallery)
    ]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_beside_images_drops_no_tracklet(tmp_path, name):
    for tracklet in ("a", "b"):
        write_images(tmp_path / tracklet, 3, height=8, width=8)
        write_images(tmp_path / tracklet / name / "F1.jpg", 1, height=8, width=8)
    write_images(tmp_path / name / "deep" / "er", 2, height=8, width=8)
    write_video(tmp_path / name / "deleted.avi", 2, codec="mjpeg", height=16, width=16)
    data = read_dataset(f"folder:{tmp_path}")
    assert [t.frames.folder for t in data.train] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    shown = name if not name.startswith(".") else ".*"
    assert data.notes[0].endswith(f"left out 3 hidden or system folders ({shown})") and len(data.notes) == 2


@pytest.mark.parametrize("labelled", [False, True])
def test_files_of_systems_are_counted(tmp_path, labelled):
    write_images(tmp_path / "a", 2, height=8, width=8)
    for name in FILES:
        (tmp_path / "a" / name).write_bytes(b"\0")
    if labelled:
        (tmp_path / "tracklets.csv").write_text("path,identity,camera\na,1,1\n")
    data = read_dataset(f"folder:{tmp_path}")
    assert [len(t) for t in data.train] == [2]
    assert "left out 6 system files (" in data.notes[0] and "._*" in data.notes[0] and "Thumbs.db" in data.notes[0]


def test_names_that_only_look_like_it_are_tracklets(tmp_path):
    for name in ("eaDir", "recycle", "MACOSX", "snapshot", "Trash", "_tmp", "#1", "@home", "$1", "System"):
        write_images(tmp_path / name, 1, height=8, width=8)
    data = read_dataset(f"folder:{tmp_path}")
    assert len(data.train) == 10 and len(data.notes) == 1


@pytest.mark.parametrize("name", TREES)
def test_every_format_is_read_as_its_clean_tree(tmp_path, name):
    spec = TREES[name](tmp_path)
    clean = read_dataset(spec, split=0)
    folders = [tmp_path, *sorted(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        for left in ("@eaDir", "__MACOSX", "$RECYCLE.BIN", ".snapshots"):
            (folder / left / "0001").mkdir(parents=True)
            (folder / left / "0001" / "0001_C1_F0001_X1.jpg").write_bytes(b"")
        for left in FILES:
            (folder / left).write_bytes(b"")
    data = read_dataset(spec, split=0)
    assert content(data) == content(clean)
    lists = name != "mars"  # which looks into no folder
    assert sum("left out" in note and "system files" in note for note in data.notes) == lists
    if name in ("dukemtmc-videoreid", "ilidsvid", "prid2011"):
        assert "hidden or system folders (" in data.notes[-1] and "@eaDir" in data.notes[-1]


def test_a_copied_person_in_an_archives_folder(tmp_path):
    spec = write_duke(tmp_path)
    shutil.copytree(tmp_path / "train" / "0001", tmp_path / "train" / "__MACOSX" / "0001")
    assert len(read_dataset(spec).train) == 3


def test_crop_writes_into_a_folder_that_a_system_has_seen(tmp_path):
    (tmp_path / "@eaDir").mkdir()
    with FolderWriter(tmp_path, 1) as writer:
        assert writer.stage.is_dir()
