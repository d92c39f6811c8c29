"""A file is the old one or the new one, never a part."""

import os

import pytest

from vreid_fast.errors import InputError
from vreid_fast.files import check_writable, replacing, write_text


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists() and [found.name for found in tmp_path.iterdir()] == ["a.txt.partial"]
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old é")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        1 / 0  # noqa: B018
    assert path.read_text() == "old é" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "a.txt", "x")


def test_a_file_that_can_be_written_stays_as_it_is(tmp_path):
    (tmp_path / "old").write_text("old")
    check_writable("--json", tmp_path / "old")
    check_writable("--json", tmp_path / "new")
    assert (tmp_path / "old").read_text() == "old" and not (tmp_path / "new").exists()
    os.mkfifo(tmp_path / "pipe")
    check_writable("--json", tmp_path / "pipe")  # opened it would wait for a reader


@pytest.mark.parametrize("place", ["nowhere/file", ".", "old/file"])
def test_a_file_that_cannot_be_written_is_named_with_its_option(tmp_path, place):
    (tmp_path / "old").write_text("old")
    with pytest.raises(InputError, match=rf"--json {tmp_path}.*: cannot be written \("):
        check_writable("--json", tmp_path / place)
