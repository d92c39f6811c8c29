"""SVReID: rendered people, the labelled source of the paper; also with changes of clothes, and enlarged.

Reference: From Synthetic to Real, arXiv 2402.02108.
URL: https://arxiv.org/abs/2402.02108
Layout: `SVReID/` (or `V3DGait_VIS/`, or the root itself) holds the lists `train_svreid.txt`, `train_svreid_cc.txt`
and `train_svreid_plus.txt` of the three variants, and for all of them `query.txt` and `gallery.txt`; a line a
tracklet: its directory, the person, a label of the clothes. The directory's last part is the camera; it holds *.jpg.
Statistics: 1,164 training tracklets (svreid), 3,187 (svreid_cc); "333 identities" in the paper, which may count
test people. The size of svreid_plus is not published.
"""

from __future__ import annotations

import os
from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset
from .lists import Row, read_list, tracklets_of
from .remarks import Remarks
from .tables import integer

PLACES = ("SVReID", "V3DGait_VIS", ".")
OFFICIAL = {"svreid": {"train": "1,164 tracklets"}, "svreid_cc": {"train": "3,187 tracklets"}}


def read_svreid(path: str) -> Dataset:
    """Read SVReID, one suit a person. Persons and cameras have the numbers of the lists.

    A missing query.txt or gallery.txt is noted: a source for training needs neither.

    Raises:
        InputError: no training list, a line that does not hold, a tracklet without images.
    """
    return _read("svreid", path)


def read_svreid_cc(path: str) -> Dataset:
    """Read SVReID (w cc), with up to eight more sequences a person in other clothes; see `read_svreid`."""
    return _read("svreid_cc", path)


def read_svreid_plus(path: str) -> Dataset:
    """Read SVReID+; see `read_svreid`."""
    return _read("svreid_plus", path)


def _read(name: str, path: str) -> Dataset:
    train = f"train_{name}.txt"
    root = next((Path(path, place) for place in PLACES if Path(path, place, train).is_file()), None)
    if root is None:
        raise InputError(f"{name}:{path}: no {train} in SVReID, in V3DGait_VIS or in the folder itself")
    lists, notes = [read_list(root / train)], []
    for subset in ("query", "gallery"):
        found = (root / f"{subset}.txt").exists()
        lists.append(read_list(root / f"{subset}.txt") if found else [])
        if not found:
            notes.append(f"{name}:{path} has no {subset}.txt: it serves for training, nothing can be scored")
    remarks = Remarks(f"{name}:{path}", root)
    tracklets = tracklets_of(root, tuple(lists), _camera, remarks)
    notes += remarks.notes()
    return Dataset(f"{name}:{path}", *tracklets, tuple(notes), official=OFFICIAL.get(name, {}))


def _camera(row: Row) -> int:
    last = os.path.basename(os.path.normpath(row.path))
    return integer(f"{row.where}, camera at the end of {row.path}", last, least=0)
