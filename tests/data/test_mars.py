import gzip
import shutil

import pytest
from trees import MARS_NAMES, MARS_TABLES, write_mars

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError

scipy_io = pytest.importorskip("scipy.io")
loadmat, savemat = scipy_io.loadmat, scipy_io.savemat


def test_a_small_tree(tmp_path):
    data = read_dataset(write_mars(tmp_path))
    assert [(t.identity, t.camera, len(t)) for t in data.train] == [(1, 1, 2), (1, 2, 1), (3, 6, 1)]
    assert list(data.train[0].frames) == [f"{tmp_path}/bbox_train/0001/{name}" for name in MARS_NAMES["train"][:2]]
    assert [(t.identity, t.camera) for t in data.query] == [(2, 1)]
    assert [(t.identity, t.camera) for t in data.gallery] == [(0, 4), (2, 1), (2, 3)]
    assert data.gallery[1] is data.query[0]
    without = read_dataset(f"mars:{tmp_path}", mars_gallery="without_query")
    assert [(t.identity, t.camera) for t in without.gallery] == [(0, 4), (2, 3)]


def test_the_real_tables(shared, tmp_path):
    given = shared("data/mars_meta")
    for folder in ("info", "bbox_train", "bbox_test"):
        (tmp_path / folder).mkdir()
    for table in ("tracks_train_info", "tracks_test_info", "query_IDX"):
        shutil.copy(given / f"{table}.mat", tmp_path / "info")
    for part in ("train", "test"):
        lines = gzip.decompress((given / f"reconstructed_{part}_name.txt.gz").read_bytes()).replace(b"\n", b"\r\n")
        (tmp_path / "info" / f"{part}_name.txt").write_bytes(lines)
    data = read_dataset(f"mars:{tmp_path}")
    assert len(data.train) == 8_298 and len({t.identity for t in data.train}) == 625
    assert sum(map(len, data.train)) == 509_914
    assert len(data.query) == 1_980 and len(data.gallery) == 11_310
    assert {t.camera for t in data.gallery} == {1, 2, 3, 4, 5, 6}
    assert sum(t.identity == 0 for t in data.gallery) == 3_248 and min(t.identity for t in data.gallery) == 0
    without = read_dataset(f"mars:{tmp_path}", mars_gallery="without_query")
    assert len(without.gallery) == 9_330 and len(without.query) == 1_980
    for read in (data, without):
        for row in read.table().splitlines()[1:]:
            subset, identities, tracklets, _, *official = row.split()
            assert official[-2:] == [tracklets, "tracklets"], subset
            assert subset == "gallery" or official[0] == identities


def test_the_real_tables_of_x_mars(shared, tmp_path):
    given = shared("data/mars_meta/x-mars")
    for folder in ("info", "bbox_train", "bbox_test"):
        (tmp_path / folder).mkdir()
    for part in ("train", "test"):
        shutil.copy(given / f"tracks_{part}_info.mat", tmp_path / "info")
        tables = loadmat(given / f"tracks_{part}_info.mat")
        (table,) = (value for key, value in tables.items() if key.startswith("xmars"))
        names = [
            f"{'00-1' if identity == -1 else f'{identity:04d}'}C{camera}T0001F{frame % 1000:03d}.jpg"
            for first, last, identity, camera in table.tolist()
            for frame in range(first, last + 1)
        ]
        (tmp_path / "info" / f"{part}_name.txt").write_text("\n".join(names))
    shutil.copy(given / "query_IDX.mat", tmp_path / "info")
    data = read_dataset(f"mars:{tmp_path}")
    assert len(data.train) == 7_986 and len({t.identity for t in data.train}) == 619
    assert len(data.query) == 2_003 and len(data.gallery) == 12_492 - 870
    assert len({t.identity for t in data.query}) == 632 and "official" not in data.table()


@pytest.mark.parametrize(
    "part, rows, message",
    [
        (
            "train",
            [[1, 2, 1, 1], [3, 3, 2, 2]],
            "row 2 has identity 2 and camera 2, but line 3 of train_name.txt is 0001",
        ),
        ("test", [[1, 1, -1, 2], [2, 3, 0, 5]], "row 2 has identity 0 and camera 5, but line 2 of test_name.txt"),
        ("train", [[1, 3, 1, 1]], "row 1 has identity 1 and camera 1, but line 3"),
        ("train", [[1, 2, 1, 1], [4, 5, 3, 6]], r"row 2 is \[4, 5, 3, 6\]; wanted at most the 4 lines of train_name"),
        ("train", [[2, 1, 1, 1]], "row 1 is .* wanted 1 <= first line <= last line"),
        ("train", [[0, 1, 1, 1]], "row 1 is .* wanted 1 <= first line"),
        ("train", [[1, 1, -2, 1]], "identity of at least -1"),
        ("train", [[1, 2.5, 1, 1]], r"track_train_info must be a matrix of integers; row 1 is \[1.0, 2.5"),
        ("train", [[1, 2, 1]], r"wanted rows of first line, last line, identity, camera; found shape \(1, 3\)"),
    ],
)
def test_tables_that_do_not_hold(tmp_path, part, rows, message):
    with pytest.raises(InputError, match=f"tracks_{part}_info.mat: .*{message}"):
        read_dataset(write_mars(tmp_path, tables={**MARS_TABLES, part: rows}))


@pytest.mark.parametrize("row", [0, 5])
def test_queries_beyond_the_table(tmp_path, row):
    with pytest.raises(InputError, match="query_IDX.mat: rows must be 1 to 4"):
        read_dataset(write_mars(tmp_path, queries=[[row]]))


def test_a_name_of_another_form(tmp_path):
    with pytest.raises(InputError, match="test_name.txt: line 1 is '0002C1T0001F1.jpg'; wanted a name such as"):
        read_dataset(write_mars(tmp_path, names={**MARS_NAMES, "test": ["0002C1T0001F1.jpg"]}))


@pytest.mark.parametrize("name", ["train_name.txt", "test_name.txt", "tracks_train_info.mat", "query_IDX.mat"])
def test_missing_and_damaged_tables(tmp_path, name):
    spec = write_mars(tmp_path)
    (tmp_path / "info" / name).write_bytes(b"\xff\x00damaged" * 20)
    with pytest.raises(InputError, match=f"{name}: "):
        read_dataset(spec)
    (tmp_path / "info" / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_dataset(spec)


def test_a_table_under_another_name(tmp_path):
    spec = write_mars(tmp_path)
    savemat(tmp_path / "info" / "query_IDX.mat", {"other": [[1]]})
    with pytest.raises(InputError, match="wanted the variable query_IDX or xmars_query_IDX, found other"):
        read_dataset(spec)
    savemat(tmp_path / "info" / "query_IDX.mat", {"query_IDX": "words"})
    with pytest.raises(InputError, match="query_IDX must be a matrix of integers"):
        read_dataset(spec)


def test_another_folder_is_no_mars(tmp_path):
    with pytest.raises(InputError, match="no folder bbox_train; wanted the folder that holds bbox_train"):
        read_dataset(f"mars:{tmp_path}")
    with pytest.raises(InputError, match="--mars_gallery both: wanted one of with_query, without_query"):
        read_dataset(write_mars(tmp_path), mars_gallery="both")
