"""Reading packs that are damaged, or of which a part is another's."""

import hashlib
import json
import os

import numpy as np
import pytest
from media import write_images
from packs import run_pack

from vreid_fast.data import Dataset, Tracklet, read_dataset
from vreid_fast.data.commands.packing import write_pack
from vreid_fast.data.reading.images import read_encoded
from vreid_fast.data.reading.packed import description_digest
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError


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


def test_a_shard_cut_short_while_it_is_read(packed):
    frames = read_dataset(f"pack:{packed}").train[0].frames
    frames.encoded(0)
    os.truncate(packed / "00000.tar", 700)
    with pytest.raises(InputError, match=r"the index does not match shard .*00000.tar"):
        frames.encoded(0)


@pytest.mark.parametrize("content, message", [(None, "cannot be read"), (b"", "wanted 00000000.0000.jpg")])
def test_a_shard_gone_after_opening(packed, content, message):
    data = read_dataset(f"pack:{packed}")
    (packed / "00000.tar").unlink()
    if content is not None:
        (packed / "00000.tar").write_bytes(content)
    with pytest.raises(InputError, match=rf"shard .*00000.tar.*{message}"):
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
        (
            "frames.npy",
            None,
            None,
            None,
            r"frames.npy .*wanted rows of .*, found '<f8' of shape \(2, 2\)\)",
        ),
        ("frames.npy", None, None, b"no array", r"frames.npy cannot be read"),
    ],
)
def test_an_index_that_contradicts_itself(packed, name, column, row, value, message):
    """Not damage, which its digest shows, but a wrong writer."""
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
        ({"index": {}}, "field index: wanted the sha256 of tracklets.npy, frames.npy, subsets.npy, .*, found {}"),
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


def test_labels_are_not_read_from_shards(tmp_path):
    """A tracklet's labels come from the index alone, checked whole; shards only hold bytes that bear its number."""
    write_images(tmp_path / "a", 1)
    tracklet = Tracklet(FramePaths(tmp_path / "a", ["F1.jpg"]), 5, 2)
    write_pack([Dataset("x:", [tracklet], [], [])], tmp_path / "pack")
    shard = tmp_path / "pack" / "00000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'"identity": 5', b'"identity": 6'))
    assert read_dataset(f"pack:{tmp_path / 'pack'}").train[0].identity == 5


def test_a_video_of_more_frames_than_bytes(packed):
    """Its frames would be counted in memory one by one."""
    table = np.load(packed / "tracklets.npy")
    row = int((table["codec"] != b"").argmax())
    more = 2**32 - 1 - int(table["frames"][row])
    table["frames"][row] += more
    np.save(packed / "tracklets.npy", table)
    facts = json.loads((packed / "pack.json").read_text())
    digest = hashlib.sha256((packed / "tracklets.npy").read_bytes()).hexdigest()
    describe(packed, index=facts["index"] | {"tracklets.npy": digest}, frames=facts["frames"] + more)
    with pytest.raises(InputError, match="frames.npy, size: does not agree"):
        read_dataset(f"pack:{packed}")


def test_a_shard_that_is_a_link_out_of_the_pack_is_noted(packed, tmp_path):
    (packed / "00000.tar").rename(tmp_path / "elsewhere.tar")
    (packed / "00000.tar").symlink_to(tmp_path / "elsewhere.tar")
    data = read_dataset(f"pack:{packed}")
    assert data.notes[-1].endswith(f"1 links lead out of the data set's folder and are followed, as {packed}/00000.tar")
    assert len(data.train[0].frames.encoded(0))


@pytest.mark.parametrize("name", ["tracklets.npy", "frames.npy", "subsets.npy"])
def test_records_of_the_same_size_and_another_kind(packed, name):
    table = np.load(packed / name)
    np.save(packed / name, table.astype(table.dtype.newbyteorder(">")))
    index = json.loads((packed / "pack.json").read_text())["index"]
    describe(packed, index=index | {name: hashlib.sha256((packed / name).read_bytes()).hexdigest()})
    with pytest.raises(InputError, match=f"{name} cannot be read .wanted rows of .*, found .*>u4"):
        read_dataset(f"pack:{packed}")
