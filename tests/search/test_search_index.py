"""The index: what it finds, what it takes in and forgets, and files that do not hold."""

import json
import os
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from full_disk import largest_file
from safetensors.numpy import load_file, save_file

from vreid_fast.errors import InputError
from vreid_fast.extraction.features import read_features
from vreid_fast.extraction.table import Row, write_csv
from vreid_fast.extraction.writer import of_cameras
from vreid_fast.metrics import camera_standardise
from vreid_fast.search.filters import Filter
from vreid_fast.search.folder import read_index, write_index
from vreid_fast.search.index import SearchIndex
from vreid_fast.search.question import of_index
from vreid_fast.search.scale import compared

faiss = pytest.importorskip("faiss")


def write_features(folder, vectors, cameras, table="a", **facts):
    """A folder of features by hand, in shards of 100."""
    folder.mkdir()
    rows = [Row(n, f"{table}/walk{n}", camera=camera) for n, camera in enumerate(cameras)]
    write_csv(rows, folder / "tracklets.csv")
    stored = {
        "version": 1, "rows": len(rows), "width": vectors.shape[1], "shard": 100, "sha256": "0" * 64,
        "which": "student",
        "data": f"folder:/{table}", "network": "small", "distance": "cosine", "statistics": "of the whole target",
        "format": "safetensors", "dtype": "float32", "frames": 4, "clips": "even", "size": [64, 32],
        "checkpoint": "last.pt", "table_sha256": table, **facts,
    }  # fmt: skip
    (folder / "extract.json").write_text(json.dumps(stored))
    for first in range(0, len(rows), 100):
        shard = {"features": np.ascontiguousarray(vectors[first : first + 100], np.float32)}
        save_file(shard, folder / f"features-{first // 100:05d}.safetensors")
    if None not in cameras:
        save_file(of_cameras(read_features(folder)), folder / "cameras.safetensors")
    return read_features(folder)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(3, 1, (300, 16)).astype(np.float32)


@pytest.fixture
def features(vectors, tmp_path):
    return write_features(tmp_path / "features", vectors, [n % 3 for n in range(300)])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Indexes of 3,000 vectors without order, the worst case, and the vectors of length 1."""
    vectors = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
    features = write_features(tmp_path_factory.mktemp("archive") / "features", vectors, [0] * 3000)
    unit = compared(vectors, [0] * 3000, None)
    return {kind: (SearchIndex.of(features, kind), unit) for kind in ("ivf", "hnsw")}


def test_vectors_whose_squares_are_beyond_float32_have_length_one_too():
    vectors = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    large = vectors * np.float32(2.0**70)
    np.testing.assert_array_equal(compared(large, [0] * 5, None), compared(vectors, [0] * 5, None))


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize(
    "kind, dtype", [("flat", "float32"), ("flat", "float16"), ("hnsw", "float32"), ("hnsw", "float16")]
)
def test_the_nearest_by_cosine(features, vectors, tmp_path, kind, dtype):
    write_index(SearchIndex.of(features, kind, dtype), tmp_path / "index")
    index = read_index(tmp_path / "index")
    wanted = cosines(vectors)
    similar, rows = index.search(index.unit_vectors([5, 80]), 10)
    for asked, found, near in zip((5, 80), similar, rows):
        assert near[0] == asked and len(set(near) & set(np.argsort(-wanted[asked])[:10])) >= 9
        np.testing.assert_allclose(found, wanted[asked][near], atol=2e-3)
    assert (index.recall() is None) == (kind == "flat") and (index.recall() or 1) > 0.95


def test_ivf_finds_most_and_says_how_many(features, tmp_path):
    index = SearchIndex.of(features, "ivf")
    assert 0.3 < index.recall() <= 1
    allowed = np.zeros(300, bool)
    allowed[[7, 200]] = True
    assert sorted(index.search(index.unit_vectors([5]), 10, allowed)[1][0]) == [7, 200]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_only_allowed_rows_are_found(features, kind):
    index = SearchIndex.of(features, kind)
    allowed = np.arange(300) % 7 == 3
    found = index.search(index.unit_vectors([10]), 20, allowed)[1][0]
    assert len(found) == 20 and allowed[found[found >= 0]].all()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("share", [0.5, 0.2, 0.02, 0.002])
def test_a_filter_costs_no_recall(archive, kind, share):
    """Of a graph too little is allowed to be found on the way; some were missing, and most of the nearest."""
    index, unit = archive[kind]
    allowed = np.zeros(len(unit), bool)
    allowed[np.random.default_rng(1).choice(len(unit), int(share * len(unit)), replace=False)] = True
    wanted = np.where(allowed, unit[:20] @ unit.T, -2).argsort(1)[:, :-11:-1][:, : allowed.sum()]
    similar, rows = index.search(unit[:20], 10, allowed)
    assert rows.shape == wanted.shape and allowed[rows].all() and (np.diff(similar) <= 0).all()
    np.testing.assert_allclose(similar, np.take_along_axis(unit[:20] @ unit.T, rows, 1), atol=1e-5)
    assert np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(rows.tolist(), wanted.tolist())]) > 0.9


def test_cells_that_are_looked_into_do_not_grow_with_one_row_left_out(archive):
    index, unit = archive["ivf"]
    allowed = np.ones(len(unit), bool)
    allowed[7] = False
    plain, without = index.search(unit[:50], 10), index.search(unit[:50], 10, allowed)
    seldom = [near for near, others in zip(plain[1].tolist(), without[1].tolist()) if near != others and 7 not in near]
    assert not seldom


def test_cameras_are_standardised_as_by_the_metric(features, vectors, tmp_path):
    cameras = np.arange(300) % 3
    index = SearchIndex.of(features, standardise=True)
    write_index(index, tmp_path / "index")
    index = read_index(tmp_path / "index")
    wanted = camera_standardise(vectors, cameras, vectors, cameras).numpy()
    np.testing.assert_allclose(index.unit_vectors(np.arange(300)), compared(wanted, [None] * 300, None), atol=1e-4)
    assert index.standardise == "camera"
    asked = compared(vectors[4:5], [1], index.scale)
    assert index.search(asked, 1)[1][0, 0] == 4
    # A camera that is not known, or sees too few, takes the mean and the deviation of all.
    whole = camera_standardise(vectors, None, vectors, None).numpy()
    np.testing.assert_allclose(
        compared(vectors, [99] * 300, index.scale), compared(whole, [None] * 300, None), atol=1e-4
    )


def test_more_features_are_added(features, vectors, tmp_path):
    index = SearchIndex.of(features)
    index.add(write_features(tmp_path / "more", vectors[:50] + 1, [None] * 50, table="b"))
    assert len(index.rows) == 350 and index.rows[320].path == "b/walk20" and index.rows[320].row == 320
    assert index.source_of(299)["data"] == "folder:/a" and index.source_of(300)["data"] == "folder:/b"
    with pytest.raises(InputError, match="features: its tracklets are in the index already"):
        index.add(features)


def test_recordings_of_one_name_on_two_days_are_not_taken_for_one(vectors, tmp_path):
    def seen(row, number):
        return replace(row, video="cam1.mp4", first_frame=10 * number, last_frame=10 * number + 9)

    days = [write_features(tmp_path / day, vectors[:4] + n, [1] * 4, table=day) for n, day in enumerate("ab")]
    for day in days:
        write_csv([seen(row, row.row) for row in day.rows], day.folder / "tracklets.csv")
    index = SearchIndex.of(read_features(days[0].folder))
    index.add(read_features(days[1].folder))
    assert len(index.strangers) == 0
    index.rows[1] = seen(index.rows[1], 0)
    index.forget(np.arange(8) == 3)
    assert len(index.strangers) == 1


def test_tracklets_of_one_name_are_told_apart_by_their_data(features, vectors, tmp_path):
    index = SearchIndex.of(features)
    for day in "bc":
        more = write_features(tmp_path / day, vectors[:4], [1] * 4, table=day)
        write_csv([replace(row, path=f"walks/mine{row.row}") for row in more.rows], more.folder / "tracklets.csv")
        index.add(read_features(more.folder))
    with pytest.raises(InputError, match="2 have this name; give the path of one, such as /b/walks/mine2, /c/walks/m"):
        of_index(index, "mine2")
    with pytest.raises(InputError, match="such as /b/walks/mine2, /c/walks/m"):
        of_index(index, "walks/mine2")
    assert of_index(index, "/b/walks/mine2").row == 302 and of_index(index, "/c/walks/mine2").row == 306


def test_clocks_of_two_kinds(features):
    clock = datetime.fromisoformat("2026-05-04T08:00:00")
    rows = [replace(features.rows[0], start=clock, end=clock), replace(features.rows[1], start=clock, end=clock)]
    zoned = clock.replace(tzinfo=UTC)
    rows[1] = replace(rows[1], start=zoned, end=zoned)
    with pytest.raises(InputError, match="--from .*: clocks here are with a time zone, as 2026-05-04T08:00:00"):
        Filter(begins=clock)(rows)
    assert Filter(begins=clock)(rows[:1]).tolist() == [True] and Filter({1}, {2})([]).tolist() == []


@pytest.mark.parametrize(
    "facts, wrong",
    [
        ({"sha256": "1" * 64}, "features of another checkpoint than the index has"),
        ({"width": 8}, r"features of another width \(8\) than the index has \(16\)"),
        ({"statistics": "of each camera of the target"}, "features of another statistics"),
        ({"which": "teacher"}, r"features of another which \(teacher\)"),
    ],
)
def test_features_of_another_kind_are_refused(features, vectors, tmp_path, facts, wrong):
    width = facts.get("width", 16)
    other = write_features(tmp_path / "other", vectors[:20, :width], [0] * 20, table="b", **facts)
    with pytest.raises(InputError, match=wrong):
        SearchIndex.of(features).add(other)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_what_is_forgotten_is_gone(features, tmp_path, kind):
    index = SearchIndex.of(features, kind)
    write_index(index, tmp_path / "index")
    gone = np.arange(300) % 3 == 1
    kept = index.unit_vectors(np.flatnonzero(~gone))
    index.forget(gone)
    write_index(index, tmp_path / "index")
    index = read_index(tmp_path / "index")
    assert len(index.rows) == 200 == index.vectors.ntotal and index.rows[1].path == "a/walk2"
    np.testing.assert_allclose(index.unit_vectors(np.arange(200)), kept, atol=1e-6)
    assert "walk1\n" not in (tmp_path / "index" / "tracklets.csv").read_text()
    index.forget(np.ones(200, bool))
    write_index(index, tmp_path / "index")
    assert read_index(tmp_path / "index").rows == []


def test_files_are_whole_or_as_they_were(features, tmp_path):
    write_index(SearchIndex.of(features), tmp_path / "index")
    before = {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()}
    index = read_index(tmp_path / "index")
    with largest_file(2000), pytest.raises((InputError, OSError)):
        write_index(index, tmp_path / "index")
    assert {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["features", "index"]
    (tmp_path / "index" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="index: holds something else than an index"):
        write_index(index, tmp_path / "index")


@pytest.mark.parametrize(
    "harm, wrong",
    [
        (lambda f: (f / "index.json").unlink(), "no index.json in it .* wanted a folder that"),
        (lambda f: (f / "index.json").write_text("{"), "index.json is damaged"),
        (lambda f: (f / "index.json").write_text('{"version": 7}'), "an index of version 7, this reads 1"),
        (lambda f: (f / "vectors.faiss").write_bytes(b"x"), "the index is damaged .*another size"),
        (lambda f: (f / "vectors.faiss").unlink(), "the index is damaged"),
        (lambda f: (f / "tracklets.csv").write_text(""), "the index is damaged"),
        (lambda f: (f / "strangers.npy").write_bytes(b"x"), "the index is damaged"),
        (lambda f: write_csv([], f / "tracklets.csv"), "300 vectors of 16 for 0 rows"),
    ],
)
def test_an_index_that_is_damaged(features, tmp_path, harm, wrong):
    write_index(SearchIndex.of(features), tmp_path / "index")
    harm(tmp_path / "index")
    with pytest.raises(InputError, match=wrong):
        read_index(tmp_path / "index")


def test_an_index_that_is_older_than_its_features(features, tmp_path):
    write_index(SearchIndex.of(features), tmp_path / "index")
    facts = json.loads((features.folder / "extract.json").read_text())
    (features.folder / "extract.json").write_text(json.dumps(facts | {"clips": "all"}))
    with pytest.raises(InputError, match="the index is older than its features, .*features; make it again"):
        read_index(tmp_path / "index")
    shutil.rmtree(features.folder)  # features that are gone are no reason
    assert len(read_index(tmp_path / "index").rows) == 300


def test_vectors_that_are_not_finite_are_named(features):
    path = features.folder / "features-00001.safetensors"
    shard = load_file(path)
    shard["features"][4, 2] = np.nan
    save_file(shard, path)
    with pytest.raises(InputError, match="the vector of a/walk104 is not finite"):
        SearchIndex.of(features)


def test_vectors_of_zero_and_one_row(tmp_path):
    features = write_features(tmp_path / "f", np.zeros((1, 4), np.float32), [1])
    index = SearchIndex.of(features)
    assert index.search(index.unit_vectors([0]), 5)[1].tolist() == [[0]]
    assert stat.S_ISDIR((tmp_path / "f").stat().st_mode)


def test_data_that_has_grown_is_not_added_a_second_time(features, vectors, tmp_path):
    """Its tracklets would answer twice, and could not be asked for: two have each path."""
    index = SearchIndex.of(features, "hnsw", "float16")
    grown = write_features(tmp_path / "grown", np.concatenate([vectors, vectors[:4] + 1]), [n % 3 for n in range(304)])
    facts = json.loads((grown.folder / "extract.json").read_text()) | {"table_sha256": "grown"}
    (grown.folder / "extract.json").write_text(json.dumps(facts))
    labelled = [replace(row, identity=row.row, split="query") for row in grown.rows]
    write_csv(labelled, grown.folder / "tracklets.csv")
    with pytest.raises(InputError, match="grown: 300 of its 304 tracklets are in the index already, such as a/walk0"):
        index.add(read_features(grown.folder))
    assert len(index.rows) == index.vectors.ntotal == 300


def test_other_people_in_a_folder_of_the_same_name_are_added(features, vectors, tmp_path):
    index = SearchIndex.of(features)
    facts = {"table_sha256": "tuesday"}
    cameras = [n % 3 for n in range(20)]
    index.add(write_features(tmp_path / "tuesday", np.flip(vectors, 0)[:20], cameras, **facts))
    assert len(index.rows) == 320


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_that_was_emptied_takes_features(features, tmp_path, kind, dtype):
    index = SearchIndex.of(features, kind, dtype)
    index.forget(np.ones(300, bool))
    write_index(index, tmp_path / "index")
    index = read_index(tmp_path / "index")
    index.add(features)
    assert index.search(index.unit_vectors([7]), 1)[1].tolist() == [[7]]
    assert kind != "ivf" or index.vectors.nlist == SearchIndex.of(features, kind).vectors.nlist


def test_two_that_change_an_index_at_the_same_time_lose_nothing(features, tmp_path):
    write_index(SearchIndex.of(features), tmp_path / "index")
    one, other = read_index(tmp_path / "index"), read_index(tmp_path / "index")
    one.forget(np.arange(300) == 3)
    write_index(one, tmp_path / "index")
    other.forget(np.arange(300) == 4)
    with pytest.raises(InputError, match="index: was changed by something else meanwhile, and is as that left it; do"):
        write_index(other, tmp_path / "index")
    with pytest.raises(InputError, match="index: was changed by something else meanwhile"):
        write_index(SearchIndex.of(features), tmp_path / "index")  # made while there was none
    assert "a/walk3" not in [row.path for row in read_index(tmp_path / "index").rows]
    assert sorted(os.listdir(tmp_path)) == ["features", "index"]
    one.forget(np.arange(299) == 3)
    write_index(one, tmp_path / "index")  # its own writing is none of something else
    assert len(read_index(tmp_path / "index").rows) == 298


def test_cameras_are_not_standardised_without_what_is_known_of_them(features):
    """Of features whose extraction stopped just before the end; all cameras were taken for one without a word."""
    (features.folder / "cameras.safetensors").unlink()
    with pytest.raises(InputError, match="cameras.safetensors: is missing, extracting was stopped; the same command"):
        SearchIndex.of(features, standardise=True)
    assert SearchIndex.of(features).scale is None
