import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from media import write_images
from packs import run_pack, write_data

from vreid_fast.data import Dataset, Tracklet, read_dataset
from vreid_fast.data.images import read_encoded
from vreid_fast.data.pack_writer import new_folder
from vreid_fast.data.packed import description_digest
from vreid_fast.data.packing import write_pack
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def source(tmp_path):
    return write_data(tmp_path / "source")


@pytest.fixture
def packed(source, tmp_path):
    run_pack(source, tmp_path / "pack", "--shard_size", "4K")
    return tmp_path / "pack"


def describe(folder, **fields):
    """Change fields of a pack.json as a wrong writer might; None takes one away."""
    facts = json.loads((folder / "pack.json").read_text()) | fields
    facts = {name: value for name, value in facts.items() if value is not None}
    (folder / "pack.json").write_text(json.dumps(facts | {"digest": description_digest(facts)}))


def same_images(root, tracklets):
    """SPEC of tracklets of uncompressed images, all of one size; each data set has others."""
    for name in tracklets:
        write_images(root / name, 2, ending="bmp")
    return f"folder:{root}"


# --- Reading what is damaged ---


def test_a_shard_cut_short(packed):
    shard = packed / "00001.tar"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-700])
    with pytest.raises(InputError, match=f"shard .*00001.tar has {size - 700:,} bytes, pack.json {size:,}: it is cut"):
        read_dataset(f"pack:{packed}")
    shard.unlink()
    with pytest.raises(InputError, match=f"shard .*00001.tar is missing; pack.json has it with {size:,} bytes"):
        read_dataset(f"pack:{packed}")


def test_a_shard_cut_short_after_opening(packed):
    data = read_dataset(f"pack:{packed}")
    (packed / "00000.tar").write_bytes((packed / "00000.tar").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"the index does not match shard .*00000.tar"):
        [data.train[0].frames.encoded(number) for number in range(5)]


@pytest.mark.parametrize("content", [None, b""])
def test_a_shard_gone_after_opening(packed, content):
    data = read_dataset(f"pack:{packed}")
    (packed / "00000.tar").unlink()
    if content is not None:
        (packed / "00000.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"shard .*00000.tar cannot be read"):
        read_encoded(data.train[0], 0)


def test_shards_swapped(tmp_path):
    spec = run_pack(same_images(tmp_path / "source", "ab"), tmp_path / "pack", "--shard_size", "1")
    one, two = tmp_path / "pack" / "00000.tar", tmp_path / "pack" / "00001.tar"
    (kept := tmp_path / "kept").write_bytes(one.read_bytes())
    two.rename(one)
    kept.rename(two)
    data = read_dataset(spec)
    with pytest.raises(InputError, match=r"match shard .*00000.tar: wanted 00000000.0000.bmp .* found '00000001.0000"):
        read_encoded(data.train[0], 0)


def test_a_shard_of_another_pack_of_like_content(tmp_path):
    specs = [run_pack(same_images(tmp_path / f"source{n}", "ab"), tmp_path / f"pack{n}") for n in "12"]
    (tmp_path / "pack1" / "00000.tar").replace(tmp_path / "pack2" / "00000.tar")
    data = read_dataset(specs[1])
    with pytest.raises(InputError, match=r"found '00000000.0001.bmp' of a pack '[0-9a-f]{16}' \(this is '[0-9a-f]{16}"):
        data.train[0].frames.encoded(1)


def test_the_pack_is_replaced_while_it_is_open(tmp_path):
    source = same_images(tmp_path / "source", "ab")
    data = read_dataset(run_pack(source, tmp_path / "pack"))
    run_pack(source, tmp_path / "pack", "--overwrite")
    with pytest.raises(InputError, match="index does not match shard"):
        read_encoded(data.train[0], 0)
    assert len(read_encoded(read_dataset(f"pack:{tmp_path / 'pack'}").train[0], 0))


@pytest.mark.parametrize("name", ["tracklets.npy", "frames.npy", "subsets.npy"])
def test_an_index_that_is_not_the_packs(source, packed, tmp_path, name):
    run_pack(source, tmp_path / "other", "--shard_size", "4K", "--video", "vp9")
    (packed / name).write_bytes((tmp_path / "other" / name).read_bytes().replace(b"vp9", b"vp8") + b" ")
    with pytest.raises(InputError, match=f"{name} is damaged, or of another pack: sha256 "):
        read_dataset(f"pack:{packed}")
    (packed / name).unlink()
    with pytest.raises(InputError, match=f"{name} cannot be read .*part of the pack's index"):
        read_dataset(f"pack:{packed}")


@pytest.mark.parametrize(
    "name, column, row, value, message",
    [
        ("tracklets.npy", "shard", 0, 99, "tracklets.npy, shard: does not agree"),
        ("tracklets.npy", "first", 1, 4, "tracklets.npy, first: does not agree"),
        ("tracklets.npy", "frames", 0, 6, "tracklets.npy, frames: does not agree"),
        ("tracklets.npy", "codec", 0, b"vp9", "tracklets.npy, first: does not agree"),
        ("frames.npy", "offset", 2, 2**63, "frames.npy, offset: lies beyond"),
        ("frames.npy", "offset", 2, 0, "frames.npy, offset: does not agree"),
        ("frames.npy", "size", -1, 2**32 - 1, "frames.npy, offset: lies beyond"),
        ("frames.npy", "ending", 0, 60, "frames.npy, ending: does not agree"),
        ("subsets.npy", "row", 0, 6, "subsets.npy, row: does not agree"),
        ("subsets.npy", "split", 0, 1, "subsets.npy, split: does not agree"),
        ("subsets.npy", "subset", 0, 3, "subsets.npy, subset: does not agree"),
        ("frames.npy", None, None, None, r"frames.npy: wanted rows of .*, found float64 of shape \(2, 2\)"),
        ("frames.npy", None, None, b"no array", r"frames.npy cannot be read"),
    ],
)
def test_an_index_that_contradicts_itself(packed, name, column, row, value, message):
    """Not damage, which its digest shows, but a wrong writer."""
    import hashlib

    if column is None:
        (packed / name).write_bytes(value or b"")
        if value is None:
            np.save(packed / name, np.zeros((2, 2)))
    else:
        table = np.load(packed / name)
        table[column][row] = value
        np.save(packed / name, table)
    index = json.loads((packed / "pack.json").read_text())["index"]
    describe(packed, index=index | {name: hashlib.sha256((packed / name).read_bytes()).hexdigest()})
    with pytest.raises(InputError, match=message):
        read_dataset(f"pack:{packed}")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"format": "other"}, "wanted the format 'vreid-fast pack'"),
        ({"version": 2}, "version 2, wanted 1; pack again, or update"),
        ({"version": True}, "version True, wanted 1"),
        ({"version": None}, "version None, wanted 1"),
        ({"word": "../../etc"}, "field word: wanted 16 hexadecimal digits, found '../../etc'"),
        ({"spec": 3}, "field spec"),
        ({"tracklets": 7}, "tracklets.npy, rows: does not agree with pack.json"),
        ({"tracklets": 6.0}, "field tracklets: wanted a positive integer, found 6.0"),
        ({"frames": 61}, "tracklets.npy, frames: does not agree with pack.json"),
        ({"splits": 0}, "field splits: wanted a positive integer, found 0"),
        ({"endings": ["jpg/.."]}, "field endings"),
        ({"endings": []}, "frames.npy, ending: does not agree"),
        ({"notes": "text"}, "field notes: wanted a list of texts"),
        ({"notes": [1]}, "field notes"),
        ({"official": {"train": 1}}, "field official"),
        ({"shards": [{"name": "../00000.tar", "bytes": 1}]}, "field shards"),
        ({"shards": [{"name": "00000.tar", "bytes": "1"}]}, "field shards"),
        ({"shards": []}, "tracklets.npy, shard: does not agree"),
        ({"index": {}}, "field index: wanted the sha256 of tracklets.npy, frames.npy, subsets.npy, found {}"),
        ({"index": None}, "field index: .* found None"),
    ],
)
def test_a_description_that_does_not_hold(packed, fields, message):
    describe(packed, **fields)
    with pytest.raises(InputError, match=message):
        read_dataset(f"pack:{packed}")


@pytest.mark.parametrize("one, other", [('"splits": 1', '"splits": 2'), ("jpg", "jpe"), ("digest", "digits")])
def test_a_description_that_was_edited(packed, one, other):
    (packed / "pack.json").write_text((packed / "pack.json").read_text().replace(one, other))
    with pytest.raises(InputError, match="pack.json, field digest: is not that of the other fields"):
        read_dataset(f"pack:{packed}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"7", b"1" * 5_000])
def test_a_description_that_is_none(packed, content):
    (packed / "pack.json").write_bytes(content)
    with pytest.raises(InputError, match=r"pack.json: (not readable as JSON|wanted the format)"):
        read_dataset(f"pack:{packed}")


def test_what_is_no_pack(tmp_path):
    with pytest.raises(InputError, match="no pack.json; it is no pack, or packing was stopped: pack again"):
        read_dataset(f"pack:{tmp_path}")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="wanted the folder of a pack, found a file"):
        read_dataset(f"pack:{tmp_path / 'file'}")


# --- Packing that does not come to its end ---


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
        return np.full(3000, 7, np.uint8)


def test_interrupted_in_the_middle(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_pack([Dataset("x:", [Tracklet(Interrupting())], [], [])], tmp_path / "pack")
    assert not list(tmp_path.iterdir())


SLOW = """
import sys, time
import numpy as np
from vreid_fast.data.packed import description_digest
from vreid_fast.data.packing import write_pack
from vreid_fast.data.tracklets import Dataset, Tracklet
class Frames:
    def __len__(self): return 1_000_000
    def __getitem__(self, index): return f"a/{index}.jpg"
    def encoded(self, index): return np.full(50_000, 7, np.uint8)
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
        "sys.path.insert(0, 'tests'); from pathlib import Path; from packs import run_pack; "
        "run_pack(f'folder:{sys.argv[2]}/source', Path(sys.argv[2], 'pack'), '--shard_size', sys.argv[3])"
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
    (tmp_path / "source" / "mixed" / "F1.jpg").write_bytes(b"torn")
    with pytest.raises(InputError, match="F1.jpg is no image"):
        run_pack(source, packed, "--overwrite", "--video", "vp9")
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


def test_labels_are_not_read_from_shards(tmp_path):
    """A tracklet's labels come from the index alone, checked whole; shards only hold bytes that bear its number."""
    write_images(tmp_path / "a", 1)
    tracklet = Tracklet(FramePaths(tmp_path / "a", ["F1.jpg"]), 5, 2)
    write_pack([Dataset("x:", [tracklet], [], [])], tmp_path / "pack")
    shard = tmp_path / "pack" / "00000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"identity": 5', b'"identity": 6'))
    assert read_dataset(f"pack:{tmp_path / 'pack'}").train[0].identity == 5
