"""Tables and tracks as people and programs write them, and worse: read right, or refused in a line."""

import random
import resource

import pytest
from media import write_images

from vreid_fast.data import read_dataset
from vreid_fast.data.commands.tracks import read_tracks
from vreid_fast.errors import InputError

DRAWS = 2000
MOST_MEMORY = 500_000  # KiB
WORDS = (
    "", " ", "0", "1", "-1", "007", "1.0", "1e3", "1e999", "nan", "inf", "None", "é", "\u0663", "\udcff", "\0",
    "9" * 30, "9" * 5000, "a" * 300, '"', '"a', "a,b", "train|query", "query", "test", "|", "../a", "/a",
    "a/../b", "./a", "b/", "a\\b", "a b", "\t", ";", "=1+1", "true", "0x10", "1_000", "--", "cam1", "\ufeff", "1;2",
)  # fmt: skip
ENDS = ("\n", "\n", "\r\n", "\r", "\n\n", "", ",\n", ";\n")
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")


def draw(rng, header, row):
    """Lines of a table, of which some cells, separators, ends and rows are others."""
    separator = rng.choice((",", ",", ",", ";", "\t", " ", ", "))
    damage = rng.choice((0, 0, 0.02, 0.1, 0.5))
    lines = [header] if rng.random() < 0.9 else []
    lines += [row(rng, number) for number in range(rng.choice((0, 1, 3, 8)))]
    if lines and rng.random() < 0.1:
        lines.append(rng.choice(lines))
    text = ""
    for cells in lines:
        cells = [rng.choice(WORDS) if rng.random() < damage else cell for cell in cells]
        if rng.random() < damage:
            cells = rng.sample(cells, rng.randint(0, len(cells)))
        text += separator.join(cells) + (rng.choice(ENDS) if rng.random() < damage else "\n")
    return text.encode(rng.choice(ENCODINGS), "surrogateescape" if damage else "replace")


def encode(rng, *arguments):
    while True:
        try:
            return draw(rng, *arguments)
        except UnicodeEncodeError:
            continue  # no such text can be in a file


def attempt(read, content):
    """What reading gives, or None where it was refused in a line; memory follows what is there."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        return read()
    except InputError as error:
        assert str(error) and "\n" not in str(error), content
    except Exception as error:
        error.add_note(repr(content[:2000]))
        raise
    finally:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY, content[:2000]
    return None


@pytest.mark.timeout(60)
def test_tables_of_tracklets(tmp_path):
    names = ("a", "b", "c d", "é", "9", "deep/er")
    for name in names:
        write_images(tmp_path / name, 2, height=8, width=8)
    rng, read = random.Random(0), 0

    def row(rng, number):
        return [
            names[number % len(names)],
            str(number // 2),
            rng.choice("12"),
            "",
            "2",
            rng.choice(("", "train", "query")),
        ]

    header = ["path", "identity", "camera", "clothes", "frames", "split"]
    for _ in range(DRAWS):
        content = encode(rng, header, row)
        (tmp_path / "tracklets.csv").write_bytes(content)
        data = attempt(lambda: read_dataset(f"folder:{tmp_path}"), content)
        if data is not None:
            read += 1
            every = {id(t): t for t in (*data.train, *data.query, *data.gallery)}.values()
            folders = [tracklet.frames.folder for tracklet in every]
            assert len(set(folders)) == len(folders) and all(len(tracklet) == 2 for tracklet in every)
            assert all(t.identity is not None and t.identity != -1 for t in (*data.query, *data.gallery))
    assert DRAWS // 10 < read < DRAWS * 9 // 10


@pytest.mark.timeout(60)
def test_tracks(tmp_path):
    rng, read, file = random.Random(0), 0, tmp_path / "tracks.txt"
    behind = (("1",), ("0.5", "-1", "-1", "-1"), ("1", "1", "0.5"), ("1", "1", "0", "2"), ("0", "3", "1"), ())

    def row(rng, number):
        return [str(number + 1), str(rng.choice((1, 2, 2**63))), "10", "20.5", "30", "60", *rng.choice(behind)]

    for _ in range(DRAWS):
        header = ["frame", "id", "left", "top", "width", "height", "confidence"]
        kind = rng.random() < 0.5
        content = encode(rng, header if kind else row(rng, 0), row)
        file.write_bytes(content)
        tracks = attempt(lambda: read_tracks(file), content)
        if tracks is not None:
            read += 1
            assert len(tracks) and (tracks.frames >= 0).all() and (tracks.boxes[:, 2:] >= 0).all()
            assert len(set(zip(tracks.ids.tolist(), tracks.frames.tolist()))) == len(tracks)
            assert len(tracks) + sum(tracks.left_out.values()) <= content.count(b"\n") + content.count(b"\r") + 1
    assert DRAWS // 10 < read < DRAWS * 9 // 10
