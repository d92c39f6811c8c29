"""A file is the old one or the new one, never a part."""

import csv
import os

import pytest
from full_disk import largest_file

from vreid_fast.errors import InputError
from vreid_fast.files import (
    JSON,
    absence,
    append_text,
    check_all_writable,
    check_writable,
    replacing,
    why_no_file,
    write_rows,
    write_text,
)  # fmt: skip


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
    (tmp_path / "old").write_text('{"old": 1}')
    check_writable("--json", tmp_path / "old", JSON)
    check_writable("--json", tmp_path / "new", JSON)
    assert (tmp_path / "old").read_text() == '{"old": 1}' and not (tmp_path / "new").exists()
    os.mkfifo(tmp_path / "pipe")
    check_writable("--json", tmp_path / "pipe", JSON)  # opened it would wait for a reader


@pytest.mark.parametrize("place", ["nowhere/file", ".", "old/file"])
def test_a_file_that_cannot_be_written_is_named_with_its_option(tmp_path, place):
    (tmp_path / "old").write_text("old")
    with pytest.raises(InputError, match=rf"--json {tmp_path}.*: cannot be written \("):
        check_writable("--json", tmp_path / place, JSON)


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    for size in (20_000, 2_000_000):  # through the buffer and past it
        with largest_file(10_000), pytest.raises(OSError) as error:
            write_text(path, "x" * size)
        assert (error.value.filename, error.value.strerror) == (str(path), "File too large after 10,000 bytes")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_that_another_one_hides_is_told(tmp_path):
    with largest_file(10), pytest.raises(OSError, match="File too large"), replacing(tmp_path / "a") as file:
        try:
            file.write(b"x" * 100_000)
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0") from None
    with pytest.raises(RuntimeError, match="ours"), replacing(tmp_path / "a"):
        raise RuntimeError("ours")


def test_text_is_added_or_the_file_named(tmp_path):
    path = tmp_path / "a.txt"
    append_text(path, "one\n")
    append_text(path, "two é\n")
    assert path.read_text() == "one\ntwo é\n"
    with largest_file(12), pytest.raises(OSError) as error:
        append_text(path, "three\n")
    assert error.value.filename == str(path) and path.read_text()[:10] == "one\ntwo é\n"


def test_a_name_that_is_no_utf8_is_written(tmp_path):
    write_text(tmp_path / "a.txt", "x\udcff")
    assert (tmp_path / "a.txt").read_text() == "x\\udcff"


def test_a_file_of_another_kind_is_not_overwritten(tmp_path):
    for content in (b"PK\x03\x04 a checkpoint", b"path,identity,camera\n"):
        (tmp_path / "precious").write_bytes(content)
        with pytest.raises(InputError, match="--json .*precious: is there and something else, which would be lost"):
            check_writable("--json", tmp_path / "precious", JSON)
        assert (tmp_path / "precious").read_bytes() == content
    (tmp_path / "empty").touch()
    check_writable("--json", tmp_path / "empty", JSON)


def test_why_nothing_can_be_read_at_a_path(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_bytes(b"")
    assert absence(tmp_path) is None and absence(tmp_path / "file") is None
    for missing in ("none", "file/below", "none/below", "a\0b"):
        assert absence(f"{tmp_path}/{missing}") == "is missing"
    for long in ("a" * 256, "a/" * 2500):
        assert absence(f"{tmp_path}/{long}") == "cannot be read (File name too long)"
    assert "symbolic links" in absence(tmp_path / "circle")


def test_what_is_no_file_is_called_by_its_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    for folder in ("folder", "run", "http:"):
        os.mkdir(folder)
    os.symlink("gone", "link")
    for file in ("file", "run/last.pt", "http:/file"):
        write_text(file, "")
    assert why_no_file("file") is None and why_no_file("http://file") is None
    for name, why in {
        "": "an empty name", "gone": "no such file", "link": "is a link to nowhere", "folder": "is a folder",
        "run": "is a folder; its last.pt may be meant", "pipe": "is a named pipe, and wanted is a file",
        "/dev/null": "is a device or a socket, and wanted is a file", "http://a/b.pt": "is an address, and nothing is",
        "s3://a/b": "is an address, and nothing is fetched",
    }.items():  # fmt: skip
        assert why_no_file(name).startswith(why)
    assert why_no_file("a" * 256) == "cannot be read (File name too long)"


def test_a_link_stays_and_leads_to_the_new_file(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "file").read_text() == "new"
    assert os.listdir(tmp_path / "disk") == ["file"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "new")
    assert os.read(end, 10) == b"new" and (tmp_path / "pipe").is_fifo()
    os.close(end)


def test_two_options_do_not_write_one_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    check_all_writable([("--json", tmp_path / "a", JSON), ("--html", None, ()), ("--csv", tmp_path / "b", JSON)])
    with pytest.raises(InputError, match="--csv .*link: is the file of --json too; give it another name"):
        check_all_writable([("--json", tmp_path / "a", JSON), ("--csv", tmp_path / "link", JSON)])


def test_rows_come_back_whatever_their_cells_hold(tmp_path):
    rows = [["a", "b"], ["c\rd", 'e"f'], ["g,h", "i\nj"], ["", "k\r\n"]]
    with open(tmp_path / "table.csv", "w", newline="") as file:
        write_rows(file, rows)
    with open(tmp_path / "table.csv", newline="") as file:
        assert list(csv.reader(file)) == rows
