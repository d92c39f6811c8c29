"""Folders of features: what rows say, and folders that do not hold."""

import json
from datetime import datetime

import numpy as np
import pytest
from safetensors.numpy import save_file
from trees import write_mars

from vreid_fast.data import Dataset, Tracklet, read_dataset
from vreid_fast.data.sighting import Sighting
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError
from vreid_fast.extraction.features import read_features
from vreid_fast.extraction.rows import rows_of
from vreid_fast.extraction.table import COLUMNS, Row, read_table, write_csv


@pytest.fixture
def folder(tmp_path):
    """Three vectors in two shards."""
    facts = {
        "version": 1, "rows": 3, "width": 4, "shard": 2, "sha256": "0" * 64, "data": "folder:/x", "network": "small",
        "distance": "cosine", "statistics": "of the whole target", "format": "safetensors", "dtype": "float32",
    }  # fmt: skip
    (tmp_path / "extract.json").write_text(json.dumps(facts))
    write_csv([Row(number, f"walk{number}", camera=1) for number in range(3)], tmp_path / "tracklets.csv")
    for shard, rows in enumerate((2, 1)):
        save_file({"features": np.full((rows, 4), shard, np.float32)}, tmp_path / f"features-{shard:05d}.safetensors")
    return tmp_path


def test_a_folder_is_read(folder):
    features = read_features(folder)
    assert features.vectors().tolist() == [[0] * 4, [0] * 4, [1] * 4]


def change(folder, **facts):
    path = folder / "extract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.mark.parametrize(
    "harm, wrong",
    [
        (lambda f: change(f, version=2), "version 2, this vreid-fast reads 1"),
        (lambda f: change(f, rows=4), "tracklets.csv: 3 rows, extract.json has 4"),
        (lambda f: change(f, width="4"), "extract.json: not what extract wrote"),
        (lambda f: change(f, shard=0), "extract.json: not what extract wrote"),
        (lambda f: change(f, dtype="int8"), "extract.json: not what extract wrote"),
        (lambda f: change(f, width=5), "wanted 2 x 5 of float32, found 2 x 4 of float32; delete this file, and the"),
        (lambda f: (f / "extract.json").write_text("[]"), "extract.json: not what extract wrote"),
        (lambda f: (f / "extract.json").unlink(), "no extract.json in it; wanted a folder that"),
        (lambda f: (f / "tracklets.csv").unlink(), "no tracklets.csv in it"),
        (
            lambda f: (f / "tracklets.csv").write_text("row,path\n0,a\n"),
            "tracklets.csv: not a table that",
        ),
        (lambda f: (f / "features-00001.safetensors").unlink(), "1 of 2 shards are there, extracting was stopped"),
        (lambda f: (f / "features-00001.safetensors").write_bytes(b"x"), "features-00001.safetensors: cannot be read"),
    ],
)
def test_folders_that_do_not_hold(folder, harm, wrong):
    harm(folder)
    with pytest.raises(InputError, match=wrong):
        read_features(folder).vectors()


def test_vectors_that_are_not_finite_are_named(folder):
    save_file({"features": np.array([[0, 1, 2, np.nan]], np.float32)}, folder / "features-00001.safetensors")
    with pytest.raises(InputError, match="the vector of walk2 is not finite; delete this file, and the"):
        read_features(folder).vectors()


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        Row(0, 'odd, "name"\nof\udcff bytes', None, None),
        Row(1, "=1+1", 3, 7, "train|query", "cam1.mp4", 5, 9, datetime(2026, 5, 4, 8), datetime(2026, 5, 4, 8, 0, 1)),
    ]
    write_csv(rows, tmp_path / "tracklets.csv")
    assert read_table(tmp_path / "tracklets.csv") == rows
    assert (tmp_path / "tracklets.csv").read_bytes().startswith(",".join(COLUMNS).encode())


def test_tracklets_of_one_folder_go_by_their_first_image(tmp_path):
    """As those of MARS do."""
    data = read_dataset(write_mars(tmp_path))
    tracklets, rows = rows_of(data)
    paths = [row.path for row in rows]
    assert len(set(paths)) == len(paths) == len(tracklets) > 2
    assert all(path.endswith(".jpg") and not path.startswith("/") for path in paths)


def test_pieces_of_a_video_are_numbered_and_times_are_kept():
    when = datetime(2026, 5, 4, 8)
    pieces = [Tracklet(range(8), camera=1, video="/d/a.mp4"), Tracklet(range(8, 16), camera=1, video="/d/a.mp4")]
    seen = Tracklet(FramePaths("/d/b", ["1.jpg"]), 4, 2, sighting=Sighting("cam.mp4", 25, 50, 25.0, when))
    _, rows = rows_of(Dataset("folder:/d/", pieces, [seen], [seen]))
    assert [row.path for row in rows] == ["a.mp4#1", "a.mp4#2", "b"] and rows[2].name == "b"
    assert (rows[2].split, rows[2].video, rows[2].first_frame) == ("query|gallery", "cam.mp4", 25)
    assert (rows[2].start, rows[2].end) == (datetime(2026, 5, 4, 8, 0, 1), datetime(2026, 5, 4, 8, 0, 2))


def test_names_with_any_line_end_come_back(tmp_path):
    rows = [Row(0, "a\rb"), Row(1, "c\r\nd", video="e\rf"), Row(2, "g\nh\x85")]
    write_csv(rows, tmp_path / "tracklets.csv")
    assert read_table(tmp_path / "tracklets.csv") == rows


def test_a_row_that_was_cut_off_is_refused(folder):
    table = folder / "tracklets.csv"
    table.write_text(table.read_text()[:-10])
    with pytest.raises(InputError, match="tracklets.csv: not a table that extract wrote .row 2 has 2 cells, wanted 10"):
        read_features(folder)


@pytest.mark.parametrize(
    "columns, wrong",
    [
        ({"row": [0], "path": ["a"]}, "columns row, path, wanted row, path, camera"),
        ({column: [1] if column == "row" else [None] for column in COLUMNS}, "rows are not numbered"),
    ],
)
def test_other_parquet_tables_are_refused(tmp_path, columns, wrong):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), tmp_path / "tracklets.parquet")
    with pytest.raises(InputError, match=f"not a table that extract wrote .{wrong}"):
        read_table(tmp_path / "tracklets.parquet")


def test_files_of_other_tensors(folder):
    save_file({"vectors": np.zeros((1, 4), np.float32)}, folder / "features-00001.safetensors")
    with pytest.raises(InputError, match="features-00001.safetensors: has no features; delete this file, and the same"):
        read_features(folder).vectors()
    with pytest.raises(InputError, match="cameras.safetensors: is missing, extracting was stopped"):
        read_features(folder).cameras  # noqa: B018
    known = {"cameras": np.array([1]), "counts": np.array([3]), "means": np.zeros((1, 4), np.float32)}
    save_file(known, folder / "cameras.safetensors")
    with pytest.raises(InputError, match="cameras.safetensors: has no deviations; delete this file"):
        read_features(folder).cameras  # noqa: B018
    for harm in ({"deviations": np.zeros((1, 5), np.float32)}, {"cameras": np.array([2])}):
        save_file({"deviations": np.zeros((1, 4), np.float32), **known, **harm}, folder / "cameras.safetensors")
        with pytest.raises(InputError, match="cameras.safetensors: is of other cameras or vectors than the folder has"):
            read_features(folder).cameras  # noqa: B018


def test_numbered_pieces_take_no_name_that_is_there():
    names = ["a.mp4", "a.mp4", "a.mp4#1", "b//c.mp4", "b/c.mp4"]
    pieces = [Tracklet(range(8), camera=1, video=f"/d/{name}") for name in names]
    paths = [row.path for row in rows_of(Dataset("folder:/d", pieces, [], []))[1]]
    assert paths == ["a.mp4#2", "a.mp4#3", "a.mp4#1", "b/c.mp4#1", "b/c.mp4#2"]
