"""What commands write is their owner's alone, until that owner opens it."""

import os
import stat

import pytest

from vreid_fast.data.commands.folder_writer import FolderWriter, Row
from vreid_fast.data.synthetic.cache import cached_tree
from vreid_fast.errors import exit_code
from vreid_fast.files import replacing_folder, write_text
from vreid_fast.rights import private


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_every_command_writes_for_its_owner_alone(tmp_path):
    def work():
        (tmp_path / "new").mkdir()
        write_text(tmp_path / "new" / "a.txt", "a")

    assert exit_code(work) == 0
    assert rights(tmp_path / "new") == 0o700 and rights(tmp_path / "new" / "a.txt") == 0o600


def test_what_was_opened_stays_open(tmp_path):
    with private():
        write_text(tmp_path / "a.txt", "old")
        (tmp_path / "a.txt").chmod(0o640)
        write_text(tmp_path / "a.txt", "new")
        for _ in range(2):
            with replacing_folder(tmp_path / "index") as folder:
                (folder / "shared").write_text("a")
                (folder / "own").write_text("b")
            if not rights(tmp_path / "index") & 0o070:
                (tmp_path / "index").chmod(0o750)
                (tmp_path / "index" / "shared").chmod(0o660)
    assert rights(tmp_path / "a.txt") == 0o640 and (tmp_path / "a.txt").read_text() == "new"
    index = tmp_path / "index"
    assert [rights(path) for path in (index, index / "shared", index / "own")] == [0o750, 0o660, 0o600]


def test_a_camera_added_to_a_shared_folder_leaves_its_table_shared(tmp_path):
    with private():
        for camera in (1, 2):
            with FolderWriter(tmp_path / "people", camera) as writer:
                name = writer.name(3, 1)
                (writer.stage / name).mkdir()
                writer.finish([Row(writer.path(name), "", camera, 1, 3, 0, 0)])
            if camera == 1:
                assert rights(tmp_path / "people" / "tracklets.csv") == 0o600
                (tmp_path / "people" / "tracklets.csv").chmod(0o664)
    assert rights(tmp_path / "people" / "tracklets.csv") == 0o664


def test_rendered_people_are_open_to_all(tmp_path):
    def write(folder):
        (folder / "0001").mkdir()
        (folder / "0001" / "F0001.jpg").write_bytes(b"nobody")

    with private():
        home = cached_tree(tmp_path / "rendered", [], write)
    assert rights(home) == rights(home / "0001") == 0o755 and rights(home / "0001" / "F0001.jpg") == 0o644
