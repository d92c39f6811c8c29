"""Damaged lists, tables and splits: every reader gives a Dataset or an InputError, never anything else.

More cases by hand: `PYTHONPATH=.:tests/support python tests/data/test_formats_fuzz.py CASES SEED`.
"""

import faulthandler
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("scipy.io")
pytest.importorskip("h5py")

from media import write_images, write_video
from trees import TREES as FORMAT_TREES

from vreid_fast.data import Dataset, read_dataset
from vreid_fast.errors import InputError

CASES = 40
SECONDS = 20  # a reader that takes longer than this hangs
WORDS = [
    b"", b" ", b"\n", b"\r\n", b"\t", b",", b"\0", b"\xff", b'"', b"[", b"{", b"-1", b"0", b"1e999", b"nan", b"..",
    b"/", b"../../etc/passwd", b"9" * 30, b"9" * 5000,
    b"true", b"null", "\u0663".encode(), "é".encode(), b"\x85", b"\x1c",
    b"train|query", b"a" * 300, b"\\ud800",
]  # fmt: skip


def write_folder(root):
    write_images(root / "a", 3, height=8, width=8)
    write_images(root / "b", 2, height=8, width=8)
    write_video(root / "c.avi", 2, codec="mjpeg", height=16, width=16)
    (root / "tracklets.csv").write_text(
        "path,identity,camera,clothes,frames,split\na,1,1,red,3,train|query\nb,1,2,,2,\nc.avi,2,1,blue,2,gallery\n"
    )
    return f"folder:{root}"


TREES = {"folder": write_folder, **FORMAT_TREES}


def damage(content: bytes, rng: random.Random) -> bytes:
    """One to three changes: of bits, of words, of lines, of length."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(content))
        end = min(len(content), place + rng.choice((0, 1, 1, 2, 4, 8, 40)))
        kind = rng.randrange(7)
        if kind == 0 and place < len(content):
            content = content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + rng.choice(WORDS) + content[end:]
        elif kind == 2:
            content = content[:place] + content[end:]
        elif kind == 3:
            content = content[:place] + content[place:end] * rng.randint(2, 4) + content[end:]
        elif kind == 4:
            content = content[:place]
        elif kind == 5:
            content = content[:place] + rng.randbytes(end - place) + content[end:]
        else:
            lines = content.split(b"\n")
            one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            if rng.random() < 0.5:
                lines[one], lines[other] = lines[other], lines[one]
            else:
                lines.insert(one, lines[other])
            content = b"\n".join(lines)
    return content


def check(spec: str) -> str:
    """What reading gave; raises whatever else than an InputError it raises."""
    try:
        assert isinstance(read_dataset(spec, split=0), Dataset)
    except InputError as error:
        assert str(error)
        return "refused"
    return "read"


def fuzz(spec: str, root: Path, cases: int, seed: int, watch: bool = False) -> dict[str, int]:
    """How many damaged trees were read and refused. The tree is whole again afterwards; `watch` ends a hang."""
    rng, counts = random.Random(seed), {"read": 0, "refused": 0}
    files = sorted(path for path in root.rglob("*") if path.suffix in (".txt", ".mat", ".json", ".csv"))
    others = sorted(path for path in root.rglob("*") if path not in files)
    assert check(spec) == "read"
    for case in range(cases):
        if files and rng.random() < 0.9:
            file = rng.choice(files)
            content = file.read_bytes()
            changed = damage(content, rng)
            file.write_bytes(changed)
            undo = partial(file.write_bytes, content)
        else:
            path = rng.choice(others)
            changed = aside = path.with_name(rng.choice((f"{path.name}x", ".hidden", "x" + path.name, "0")))
            if aside.exists():
                continue
            path.rename(aside)
            undo = partial(aside.rename, path)
        if watch:
            faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            counts[check(spec)] += 1
        except BaseException as error:
            error.add_note(f"{spec}, seed {seed}, case {case}: {changed!r}")
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
            undo()
    assert check(spec) == "read"
    return counts


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TREES)
def test_damaged_trees_are_read_or_refused(name, tmp_path):
    counts = fuzz(TREES[name](tmp_path), tmp_path, CASES, seed=0)
    assert counts["refused"] > CASES // 4, counts


if __name__ == "__main__":
    for name, write in TREES.items():
        with tempfile.TemporaryDirectory() as folder:
            root, (cases, seed) = Path(folder), map(int, sys.argv[1:])
            print(name, fuzz(write(root), root, cases, seed, watch=True), flush=True)
