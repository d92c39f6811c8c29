"""iLIDS-VID: 300 people, each seen once by two cameras of an airport's arrival hall.

Reference: Wang et al., Person Re-Identification by Video Ranking, ECCV 2014.
URL: http://www.eecs.qmul.ac.uk/~xiatian/downloads_qmul_iLIDS-VID_ReID_dataset.html
Layout: images `i-LIDS-VID/sequences/cam1/personNNN/*.png`, likewise cam2; the ten splits in `train-test people
splits/train_test_splits_ilidsvid.mat`, matrix `ls_set`: a row a split, the first half of its columns the test
people, the second the training people, as 1-based places in the sorted list of person directories.
Statistics: 300 people, numbered up to 319; 2 cameras, 600 tracklets; 150 people for training, 150 for test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vreid_fast.errors import InputError

from ..tracklets import Dataset
from .matlab import read_matrix
from .remarks import Remarks
from .tables import require_folders
from .two_cameras import SPLITS, assemble, check_split, people_of


def read_ilidsvid(path: str, *, split: int = 0) -> Dataset:
    """Read one split of iLIDS-VID. Query = camera 1, gallery = camera 2; identities are the persons' own numbers.

    Args:
        path: the folder that holds `i-LIDS-VID` and `train-test people splits`.
        split: 0 to 9, a row of the table; the literature averages over all ten.

    Raises:
        InputError: a missing file, a table that does not split the people found, a person without images.
    """
    spec, root = f"ilidsvid:{path}", Path(path)
    require_folders(spec, root, "i-LIDS-VID", "train-test people splits")
    check_split(spec, split)
    sequences = root / "i-LIDS-VID" / "sequences"
    cameras = (sequences / "cam1", sequences / "cam2")
    remarks = Remarks(spec, root)
    people, others = (people_of(camera, "person", remarks) for camera in cameras)
    alone = sorted(people.keys() ^ others.keys())
    if alone:
        raise InputError(f"{sequences}: {alone[0]} is before one camera only; wanted all people in cam1 and cam2")
    names = sorted(people)
    row = _read_splits(root / "train-test people splits" / "train_test_splits_ilidsvid.mat", len(names))[split]
    chosen = [names[place - 1] for place in row.tolist()]
    half = len(names) // 2
    return assemble(spec, cameras, people, remarks, train=chosen[half:], test=chosen[:half], half=150)


def _read_splits(file: Path, people: int) -> np.ndarray:
    """(10, people) 1-based places, each row a permutation."""
    _, table = read_matrix(file, "ls_set")
    if table.shape != (SPLITS, people) or people % 2:
        raise InputError(
            f"{file}: wanted {SPLITS} rows of as many places as there are person directories, {people}, an even "
            f"number; found shape {table.shape}"
        )
    wrong = (np.sort(table, axis=1) != np.arange(1, people + 1)).any(axis=1)
    if wrong.any():
        raise InputError(f"{file}: row {int(wrong.argmax()) + 1} does not hold each of the places 1 to {people} once")
    return table
