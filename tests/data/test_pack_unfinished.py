"""Packing that does not come to its end, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media import encoded_picture, write_images
from packs import run_pack

from vreid_fast.data import Dataset, Tracklet, read_dataset
from vreid_fast.data.commands.pack_writer import new_folder
from vreid_fast.data.commands.packing import write_pack
from vreid_fast.data.reading.images import read_encoded
from vreid_fast.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_an_unreadable_image(source, tmp_path, capsys):
    (tmp_path / "source" / "jpg" / "F3.jpg").write_bytes((tmp_path / "source" / "jpg" / "F3.jpg").read_bytes()[:-60])
    (tmp_path / "source" / "png" / "F1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"jpg/F3.jpg cannot be decoded .*tracklet .*jpg .*--on_bad_frame skip"):
        run_pack(source, tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    data = read_dataset(run_pack(source, tmp_path / "pack", "--on-bad-frame", "skip"))
    assert (len(data.train[0]), len(data.query[0])) == (4, 2)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and "left out: image" in said[0] and "58 frames (2 left out)" in said[2]
    given = read_dataset(source)
    for ours, theirs in zip(range(4), (0, 1, 3, 4)):
        assert (read_encoded(data.train[0], ours) == read_encoded(given.train[0], theirs)).all()


def test_a_tracklet_without_a_readable_image(tmp_path):
    write_images(tmp_path / "source" / "a", 40)
    for path in (tmp_path / "source" / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"source/a .* no image can be read; the first: image .*F1.jpg is empty"):
        run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack", "--on_bad_frame", "skip")


class Interrupting:
    """Frames of which one is no frame but Ctrl-C."""

    def __len__(self):
        return 90

    def __getitem__(self, index):
        return f"a/{index}.jpg"

    def encoded(self, index):
        if index == 77:
            raise KeyboardInterrupt
        return encoded_picture(0)


def test_interrupted_in_the_middle(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_pack([Dataset("x:", [Tracklet(Interrupting())], [], [])], tmp_path / "pack")
    assert not list(tmp_path.iterdir())


SLOW = """
import sys, time
import numpy as np
from vreid_fast.data.reading.packed import description_digest
from vreid_fast.data.commands.packing import write_pack
from vreid_fast.data.tracklets import Dataset, Tracklet
sys.path.insert(0, "tests/support")
from media import encoded_picture
class Frames:
    def __len__(self): return 1_000_000
    def __getitem__(self, index): return f"a/{index}.bmp"
    def encoded(self, index): return image
image = encoded_picture(0, "BMP", height=128, width=128)
write_pack([Dataset("x:", [Tracklet(Frames())], [], [])], __import__("pathlib").Path(sys.argv[1]) / "pack")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle(tmp_path, how):
    process = subprocess.Popen([sys.executable, "-c", SLOW, tmp_path], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".pack*/00000.tar")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(how)
        assert process.wait(60) != 0
    finally:
        process.kill()
    left = list(tmp_path.iterdir())
    assert len(left) == (how == signal.SIGKILL) and not (tmp_path / "pack").exists()
    for path in left:
        with pytest.raises(InputError, match="no pack.json; it is no pack, or packing was stopped"):
            read_dataset(f"pack:{path}")
    write_images(tmp_path / "source" / "a", 1)
    assert len(read_dataset(run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "pack")).train) == 1


@pytest.mark.parametrize("limit, written", [(20_000, "20,000"), (100, "100"), (6_000, "518,000")])
def test_a_full_disk(tmp_path, limit, written):
    """RLIMIT_FSIZE stops a file where a full disk would; in the last case the index, all shards being smaller."""
    tracklets, shard_size = (100, "1") if limit == 6_000 else (1, "1G")
    for name in range(tracklets):
        write_images(tmp_path / "source" / str(name), 9 if tracklets == 1 else 1, ending="bmp", height=8, width=90)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
        "sys.path.insert(0, 'tests/support'); from pathlib import Path; from packs import run_pack; "
        "run_pack(f'folder:{sys.argv[2]}/source', Path(sys.argv[2], 'pack'), '--scenes', '--shard_size', sys.argv[3])"
    )
    arguments = [sys.executable, "-c", code, str(limit), tmp_path, shard_size]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert "InputError" in ran.stderr and ran.returncode == 1
    error = ran.stderr.splitlines()[-1]
    assert (
        f"{tmp_path}/pack: cannot be written (File too large) after {written} bytes" in error
        and "are free there" in error
    )
    assert "nothing is left of it: make room, or choose another disk" in error
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_there_is_kept_unless_told(source, packed, tmp_path):
    before = {path.name: path.read_bytes() for path in packed.iterdir()}
    with pytest.raises(InputError, match="pack is there already; choose another OUT, or replace it by --overwrite"):
        run_pack(source, packed)
    image = tmp_path / "source" / "mixed" / "F1.jpg"
    whole = image.read_bytes()
    image.write_bytes(b"torn")
    for how in ((), ("--video", "vp9")):
        with pytest.raises(InputError, match=r"F1.jpg cannot be decoded \(it is a file that begins"):
            run_pack(source, packed, "--overwrite", *how)
    image.write_bytes(whole)
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == before
    run_pack(source, packed, "--overwrite")
    assert len(list(packed.glob("*.tar"))) == 1 and sorted(os.listdir(tmp_path)) == ["pack", "source"]


def test_only_packs_are_replaced(source, packed, tmp_path):
    for name in ("notes.txt", "model.tar"):
        (packed / name).write_text("precious")
        with pytest.raises(InputError, match="is no pack, or holds other files too: --overwrite replaces packs only"):
            run_pack(source, packed, "--overwrite")
        (packed / name).unlink()
    with pytest.raises(InputError, match="is no pack"):
        run_pack(source, tmp_path / "source", "--overwrite")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(InputError, match="is no pack"):
        run_pack(source, tmp_path / "file", "--overwrite")
    (tmp_path / "empty").mkdir()
    run_pack(source, tmp_path / "empty")


def test_a_place_that_cannot_be_written(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/pack: cannot write to .*file"):
        run_pack(source, tmp_path / "file" / "pack")


def test_one_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(InputError, match="is there already"), new_folder(tmp_path / "pack", overwrite=False):
        (tmp_path / "pack").mkdir()
        (tmp_path / "pack" / "pack.json").write_text("another's")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"] and (tmp_path / "pack" / "pack.json").exists()
