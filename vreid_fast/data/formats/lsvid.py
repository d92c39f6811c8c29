"""LS-VID, Large-Scale Video dataset: 15 cameras of a campus, indoors and outdoors.

Reference: Li et al., Global-Local Temporal Representations for Video Person Re-Identification, ICCV 2019.
URL: https://www.pkuvmc.com/dataset.html
Layout: lists `list_sequence/list_seq_train.txt` and `list_seq_test.txt`, a line a tracklet: the path that its
images begin with, as `tracklet_train/0000/0000_0001`, a blank, the person. Images PERSON_TRACKLET_CAMERA_FRAME.jpg.
Queries: `test/data/info_test.mat` (HDF5), `query`, 1-based lines of the test list; the other lines are the gallery.
Statistics: 3,772 people, 15 cameras; 2,831 training tracklets of 842 people, 3,504 queries, 7,829 in the gallery.
"""

from __future__ import annotations

import bisect
import os
from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset, FramePaths, Tracklet
from .listing import list_images, ordered
from .matlab import check_rows, read_hdf5_matrix
from .remarks import Remarks
from .tables import inside, integer, read_columns, require_folders


def read_lsvid(path: str) -> Dataset:
    """Read LS-VID in its official layout; no tracklet is cut. Persons and cameras have the numbers of the files.

    Args:
        path: the folder that holds list_sequence, test, tracklet_train and tracklet_test.

    Raises:
        InputError: a missing file, a line that does not hold, a tracklet without images, queries beyond the list.
    """
    root = Path(path)
    require_folders(f"lsvid:{path}", root, "list_sequence", "test")
    remarks = Remarks(f"lsvid:{path}", root)
    train, test = (_read_tracklets(root, part, remarks) for part in ("train", "test"))
    file = root / "test" / "data" / "info_test.mat"
    queries = read_hdf5_matrix(file, "query", largest=len(test)).ravel()
    check_rows(file, queries, len(test))
    rows = set((queries - 1).tolist())
    if len(rows) < len(queries):
        raise InputError(f"{file}: query names {len(queries) - len(rows)} rows twice")
    return Dataset(
        name=f"lsvid:{path}",
        train=train,
        query=[test[row] for row in (queries - 1).tolist()],
        gallery=[tracklet for row, tracklet in enumerate(test) if row not in rows],
        notes=tuple(remarks.notes()),
        official={
            "train": "842 identities, 2,831 tracklets", "query": "3,504 tracklets", "gallery": "7,829 tracklets",
        },
    )  # fmt: skip


def _read_tracklets(root: Path, part: str, remarks: Remarks) -> list[Tracklet]:
    listings: dict[str, list[str]] = {}
    tracklets = []
    for where, (prefix, person) in read_columns(root / "list_sequence" / f"list_seq_{part}.txt", "path", "person"):
        folder, start = os.path.split(inside(root, prefix, where))
        if folder not in listings:
            listings[folder] = sorted(list_images(folder, where, remarks))
        names = ordered(folder, _beginning_with(start, listings[folder]), remarks)
        if not names:
            raise InputError(f"{where}: no images {os.path.join(folder, start)}*")
        tracklets.append(Tracklet(FramePaths(folder, names), integer(where, person, least=0), _camera(where, names)))
    return tracklets


def _beginning_with(start: str, listing: list[str]) -> list[str]:
    """Names of a sorted listing that begin with `start`; 0000_1 does not begin 0000_10."""
    first = bisect.bisect_left(listing, start)
    last = bisect.bisect_left(listing, start + "\U0010ffff")
    whole = start[-1:].isdigit()
    return [name for name in listing[first:last] if not (whole and name[len(start)].isdigit())]


def _camera(where: str, names: list[str]) -> int:
    """The camera, third of the fields of an image's name, on which all names must agree."""
    cameras = {(name.split("_") + [""] * 3)[2] for name in names}
    if len(cameras) > 1:
        raise InputError(f"{where}: images of cameras {', '.join(sorted(cameras))}; wanted one camera")
    return integer(f"{where}, camera of {names[0]}", cameras.pop(), least=0)
