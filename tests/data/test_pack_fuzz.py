"""Damaged packs: whatever bytes change, what is read is right or refused by an InputError."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from packs import run_pack, write_data

from vreid_fast.data import read_dataset
from vreid_fast.data.reading.images import read_video
from vreid_fast.data.reading.packed import description_digest
from vreid_fast.errors import InputError

HEADER_WORDS = (
    b"(((((", b'"""', b"\n\t", b"2**40", b"True", b"-1", b"'|O'", b"[" * 300, b"0x", b"\\", b"\0", b"lambda: 0",
)  # fmt: skip
SHAPES = ("(2**40,)", "(1099511627776,)", "(-1,)", "()", "(1, 1)", "(True,)", "None", "(0,)", "(3.0,)")
TYPES = ("'|O'", "'<f8'", "[('offset', '|O')]", "None", "'<V1000000000000'", "[]")
VALUES = (None, True, -1, 0, 1, 2**70, 1.5, "", "x", "../x", [], [1], {}, {"name": "00000.tar", "bytes": 1})


def facts(path: Path) -> list:
    """All that is known of the tracklets of a pack, in order; which of them are one object, too."""
    data = read_dataset(f"pack:{path}")
    rows = [(subset, tracklet) for subset in ("train", "query", "gallery") for tracklet in getattr(data, subset)]
    objects = list({id(tracklet): tracklet for _, tracklet in rows}.values())
    numbers = {id(tracklet): number for number, tracklet in enumerate(objects)}
    known = [
        (t.identity, t.camera, t.clothes, str(t.video), t.video and t.video.facts, t.frames if t.video else [*t.frames])
        for t in objects
    ]
    return [objects, [(subset, numbers[id(tracklet)]) for subset, tracklet in rows], known, data.splits]


def members(tracklet) -> list:
    """(name, how to get its bytes) of all that a tracklet holds."""
    if tracklet.video is not None:
        return [(str(tracklet.video), lambda: read_video(tracklet))]
    # Not read_encoded: whether a damaged image can be decoded is another matter.
    return [(name, lambda n=n: tracklet.frames.encoded(n)) for n, name in enumerate(tracklet.frames)]


def mutate(content: bytes, name: str, others: list[bytes], rng: random.Random) -> bytes:
    if name == "pack.json" and rng.random() < 0.5:
        description = json.loads(content)
        within = description
        while True:
            key = rng.choice(list(within) if isinstance(within, dict) else range(len(within)))
            if not isinstance(within[key], (dict, list)) or not within[key] or rng.random() < 0.3:
                break
            within = within[key]
        if rng.random() < 0.2:
            del within[key]
        else:
            within[key] = rng.choice(VALUES)
        return json.dumps(description).encode()
    if rng.random() < 0.05:
        return rng.choice(others)
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        where = rng.randrange(len(content) + 1)
        if name.endswith(".tar") and rng.random() < 0.5:
            where -= where % 512 - rng.choice((0, 9, 11, 124, 134, 156, 265, 280))  # of a header, perhaps
        length = min(rng.choice((1, 1, 2, 16, 512)), len(content) - where)
        how = rng.choice(("flip", "flip", "zero", "copy", "cut", "insert", "end"))
        if how == "flip" and where < len(content):
            content[where] ^= 1 << rng.randrange(8)
        elif how == "zero":
            content[where : where + length] = bytes(max(0, length))
        elif how == "copy":
            start = rng.randrange(len(content) - length + 1)
            content[where : where + length] = content[start : start + length]
        elif how == "cut":
            del content[where : where + length]
        elif how == "insert":
            content[where:where] = rng.randbytes(rng.choice((1, 3, 512)))
        elif how == "end":
            del content[where:]
        if not content:
            break
    return bytes(content)


def fuzz(folder: Path, cases: int, seed: int) -> Counter:
    """How the cases ended; anything but right or refused raises."""
    rng, ended = random.Random(seed), Counter()
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    objects, *wanted = facts(folder)
    places = {}
    for tracklet in objects:
        for name, read in members(tracklet):
            shard, _, member = name.rpartition(":")
            shard = Path(shard).name
            encoded = read().tobytes()
            offset = files[shard].index(member.encode().ljust(100, b"\0")) + 512
            assert files[shard][offset : offset + len(encoded)] == encoded
            places[name] = shard, offset, len(encoded)
    for case in range(cases):
        target = rng.choice(list(files))
        mutated = mutate(files[target], target, list(files.values()), rng)
        if mutated == files[target]:
            continue
        (folder / target).write_bytes(mutated)
        kind, how = target.rpartition(".")[2], "refused"
        try:
            objects, *found = facts(folder)
            assert found == wanted, f"seed {seed}, case {case}: other tracklets out of a changed {target}"
            how = "right"
            for tracklet in objects:
                for name, read in members(tracklet):
                    shard, offset, size = places[name]
                    try:
                        encoded = read().tobytes()
                    except InputError:
                        assert shard == target, f"seed {seed}, case {case}: {name} refused for a changed {target}"
                        how = "frame refused"
                        continue
                    content = mutated if shard == target else files[shard]
                    assert encoded == content[offset : offset + size], (
                        f"seed {seed}, case {case}: {name} has other bytes"
                    )
        except InputError:
            pass
        finally:
            (folder / target).write_bytes(files[target])
        assert (kind, how) != ("npy", "right"), f"seed {seed}, case {case}: a changed {target} passed"
        ended[kind, how] += 1
    return ended


def hostile_header(content: bytes, rng: random.Random) -> bytes:
    """A .npy file whose header is damaged, or says something else than the rows that follow."""
    end = 10 + int.from_bytes(content[8:10], "little")
    header = bytearray(content[:end])
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 4)):
            header[rng.randrange(end)] = rng.randrange(256)
        return bytes(header) + content[end:]
    if kind == 1:
        return bytes(header[: rng.randrange(end)]) + content[end:]
    if kind == 2:
        place = rng.randrange(10, end)
        text = bytes(header[10:place]) + rng.choice(HEADER_WORDS) + bytes(header[place:])
    else:
        shape, descr = rng.choice(SHAPES), rng.choice(TYPES)
        text = f"{{'descr': {descr}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}}}".encode()
    return content[:8] + len(text).to_bytes(2, "little") + text + content[end:]


def test_hostile_headers_of_an_index_whose_digests_are_right_again(tmp_path):
    """numpy.load would end some of these in its tokenizer, in memory, or in objects."""
    run_pack(write_data(tmp_path / "source"), tmp_path / "pack", "--shard_size", "8K")
    folder, rng, ended = tmp_path / "pack", random.Random(0), Counter()
    description = json.loads((folder / "pack.json").read_text())
    wanted = facts(folder)[1:]
    for _ in range(600):
        name = rng.choice(("tracklets.npy", "frames.npy", "subsets.npy"))
        content = (folder / name).read_bytes()
        changed = hostile_header(content, rng)
        (folder / name).write_bytes(changed)
        described = description | {"index": description["index"] | {name: hashlib.sha256(changed).hexdigest()}}
        (folder / "pack.json").write_text(json.dumps(described | {"digest": description_digest(described)}))
        try:
            assert facts(folder)[1:] == wanted
            ended["right"] += 1
        except InputError as error:
            assert str(folder / name) in str(error)
            ended["refused"] += 1
        finally:
            (folder / name).write_bytes(content)
    assert ended["refused"] > 400, ended


@pytest.mark.parametrize("seed", [0, 1])
def test_a_damaged_pack_is_right_or_refused(tmp_path, seed):
    run_pack(write_data(tmp_path / "source"), tmp_path / "pack", "--shard_size", "8K")
    ended = fuzz(tmp_path / "pack", 200, seed)
    for outcome in (
        ("json", "refused"),
        ("npy", "refused"),
        ("tar", "refused"),
        ("tar", "frame refused"),
        ("tar", "right"),
    ):
        assert ended[outcome], f"{outcome} never came up in {ended}"
