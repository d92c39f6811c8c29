"""CCVID, Clothes-Changing Video person re-ID: walks of FVG, in which people come back in other clothes.

Reference: Gu et al., Clothes-Changing Person Re-identification with RGB Modality Only, CVPR 2022.
URL: https://github.com/guxinqian/Simple-CCReID
Layout: lists `train.txt`, `query.txt` and `gallery.txt`, a line a tracklet: its directory `sessionS/PERSON_NN`,
the person, a label of the clothes such as `u0_l0_s0_c0_a0`; images in that directory, `00001.jpg` and on. Lists and
sessions lie in the root, as the archive unpacks, or in `image/` below it, as the paper's authors keep them.
Statistics: 226 people, 12 directions of walk in 3 sessions; 948 training tracklets of 75 people, 834 queries and
1,074 gallery tracklets of 151 people; 347,833 images.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset
from .lists import Row, read_list, tracklets_of
from .remarks import Remarks

SUBSETS = ("train", "query", "gallery")
DIRECTIONS = 12


def read_ccvid(path: str) -> Dataset:
    """Read CCVID. Cameras are the 12 directions of walk, 13 to 24 in session 3; persons have their own numbers.

    Args:
        path: the folder that holds train.txt, query.txt and gallery.txt, or their folder `image`.

    Raises:
        InputError: a missing file, a line that does not hold, a tracklet without images.
    """
    root = next((place for place in (Path(path), Path(path, "image")) if (place / "train.txt").is_file()), None)
    if root is None:
        raise InputError(f"ccvid:{path}: no train.txt, and none in image; wanted the folder that holds the lists")
    lists = tuple(read_list(root / f"{subset}.txt") for subset in SUBSETS)
    remarks = Remarks(f"ccvid:{path}", root)
    subsets = tracklets_of(root, lists, _camera, remarks)
    return Dataset(
        f"ccvid:{path}",
        *subsets,
        tuple(remarks.notes()),
        official={
            "train": "75 identities, 948 tracklets", "query": "151 identities, 834 tracklets",
            "gallery": "151 identities, 1,074 tracklets",
        },
    )  # fmt: skip


def _camera(row: Row) -> int:
    found = re.fullmatch(r"session([123])/(\d{1,9})_(\d{1,9})", os.path.normpath(row.path), re.ASCII)
    if not found or not 1 <= int(found[3]) <= DIRECTIONS:
        raise InputError(
            f"{row.where}: directory {row.path}; wanted sessionS/PERSON_NN with S 1 to 3 and NN 1 to {DIRECTIONS}"
        )
    if int(found[2]) != row.identity:
        raise InputError(f"{row.where}: person {row.identity}, but the directory is {row.path}")
    return int(found[3]) + (DIRECTIONS if found[1] == "3" else 0)
