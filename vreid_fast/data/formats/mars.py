"""MARS, Motion Analysis and Re-identification Set.

Reference: Zheng et al., MARS: A Video Benchmark for Large-Scale Person Re-identification, ECCV 2016.
URL: https://github.com/liangzheng06/MARS-evaluation
Layout: images `bbox_train/NAME[:4]/NAME` and `bbox_test/NAME[:4]/NAME`; in `info/` the lists `train_name.txt`
and `test_name.txt` and the tables `tracks_train_info.mat`, `tracks_test_info.mat` and `query_IDX.mat`.
Statistics: 1,261 people, 6 cameras; 8,298 training tracklets of 625 people, 12,180 test tracklets, of which
870 are junk (identity -1, dropped here) and 3,248 distractors (identity 0, kept).
X-MARS (https://github.com/andreas-eberle/x-mars) is another split of the same images, with tables of its own in the
same form, whose variables have other names; it is read likewise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import Dataset, FramePaths, Tracklet
from .matlab import check_rows, read_matrix
from .tables import read_lines, require_folders

GALLERY = {"with_query": "11,310 tracklets", "without_query": "9,330 tracklets"}
VARIABLES = {
    "train": ("track_train_info", "xmars_tracks_train_info"),
    "test": ("track_test_info", "xmars_track_test_info"),
    "query": ("query_IDX", "xmars_query_IDX"),
}

JUNK = -1
NAME_LENGTH = len("0001C1T0001F001.jpg")


def read_mars(path: str, *, mars_gallery: str = "with_query") -> Dataset:
    """Read MARS in its official layout. Images are not looked for until they are decoded.

    Args:
        path: the folder that holds bbox_train, bbox_test and info.
        mars_gallery: "with_query" = the official protocol: queries are in the gallery too;
            "without_query" = the gallery of torchreid and of the paper's authors when they adapt to MARS, in
            which 140 queries have no match.

    Raises:
        InputError: a missing file, a table of another shape, names that contradict their table.
    """
    if mars_gallery not in GALLERY:
        raise InputError(f"--mars_gallery {mars_gallery}: wanted one of {', '.join(GALLERY)}")
    root = Path(path)
    require_folders(f"mars:{path}", root, "bbox_train", "bbox_test", "info")
    train = _read_tracklets(root, "train")
    test = _read_tracklets(root, "test")
    queries_file = root / "info" / "query_IDX.mat"
    variable, queries = read_matrix(queries_file, *VARIABLES["query"])
    queries = queries.ravel()
    check_rows(queries_file, queries, len(test))
    queries = queries - 1
    official = {
        "train": "625 identities, 8,298 tracklets", "query": "626 identities, 1,980 tracklets",
        "gallery": GALLERY[mars_gallery],
    }  # fmt: skip
    kept = np.ones(len(test), dtype=bool)
    if mars_gallery == "without_query":
        kept[queries] = False
    return Dataset(
        name=f"mars:{path}",
        train=[tracklet for tracklet in train if tracklet.identity != JUNK],
        query=[test[row] for row in queries],
        gallery=[tracklet for tracklet, keep in zip(test, kept) if keep and tracklet.identity != JUNK],
        official=official if variable == "query_IDX" else {},
    )


def _read_tracklets(root: Path, part: str) -> list[Tracklet]:
    """Tracklets of all rows of tracks_PART_info.mat, junk included."""
    file, names_file = root / "info" / f"tracks_{part}_info.mat", root / "info" / f"{part}_name.txt"
    _, table = read_matrix(file, *VARIABLES[part])
    if table.shape[1] != 4:
        raise InputError(f"{file}: wanted rows of first line, last line, identity, camera; found shape {table.shape}")
    names = _read_names(names_file)
    first, last, identities, _ = table.T
    for wrong, wanted in (
        ((first < 1) | (first > last), "1 <= first line <= last line"),
        (last > len(names), f"at most the {len(names)} lines of {names_file.name}"),
        (identities < JUNK, "an identity of at least -1"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(f"{file}: row {row + 1} is {table[row].tolist()}; wanted {wanted}")
    _check_names(names, table, file, names_file)
    return [
        Tracklet(
            FramePaths(root / f"bbox_{part}" / names[start - 1][:4], names[start - 1 : stop]),
            identity,
            camera,
        )
        for start, stop, identity, camera in table.tolist()
    ]


def _read_names(file: Path) -> list[str]:
    names = read_lines(file, encoding="ascii")
    for line, name in enumerate(names, 1):
        if len(name) != NAME_LENGTH:
            raise InputError(f"{file}: line {line} is {name!r}; wanted a name such as 0001C1T0001F001.jpg")
    return names


def _check_names(names: list[str], table: np.ndarray, file: Path, names_file: Path) -> None:
    """Every name of a row must begin with the row's identity and camera: 0001C1, 00-1C2, 0000C6."""
    # All names at once: (lines, 6) characters.
    begins = np.frombuffer("".join(names).encode(), dtype=np.uint8).reshape(-1, NAME_LENGTH)[:, :6]
    wanted = [
        f"{'00-1' if identity == JUNK else f'{identity:04d}'}C{camera}" for *_, identity, camera in table.tolist()
    ]
    lengths = table[:, 1] - table[:, 0] + 1
    rows = np.repeat(np.arange(len(table)), lengths)
    lines = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + table[rows, 0] - 1
    expected = np.array([prefix[:6].ljust(6) for prefix in wanted], dtype="S6").view(np.uint8).reshape(-1, 6)
    wrong = (begins[lines] != expected[rows]).any(axis=1)
    if wrong.any():
        row, line = int(rows[wrong.argmax()]), int(lines[wrong.argmax()])
        raise InputError(
            f"{file}: row {row + 1} has identity {table[row, 2]} and camera {table[row, 3]}, but line "
            f"{line + 1} of {names_file.name} is {names[line]}; the two files do not belong together"
        )
