"""PRID2011: people seen by two cameras above a street, the 178 of them that appear in both long enough.

Reference: Hirzer et al., Person Re-Identification by Descriptive and Discriminative Classification, SCIA 2011.
URL: https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/prid11/
Layout: images `prid_2011/multi_shot/cam_a/person_NNNN/*.png`, likewise cam_b; the ten splits of the literature in
`splits_prid2011.json`: a list of {"train": [directories], "test": [directories]}.
Statistics: 178 of the 200 people in both cameras; 356 tracklets; 89 people for training, 89 for test.
"""

from __future__ import annotations

from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset
from .remarks import Remarks
from .tables import read_json, require_folders
from .two_cameras import SPLITS, assemble, check_split, people_of

SIDES = ("train", "test")


def read_prid2011(path: str, *, split: int = 0) -> Dataset:
    """Read one split of PRID2011. Query = camera a, gallery = camera b; identities are the persons' own numbers.

    Args:
        path: the folder that holds `prid_2011` and `splits_prid2011.json`.
        split: 0 to 9; the literature averages over all ten.

    Raises:
        InputError: a missing file, splits that name unknown people or one twice, a person without images.
    """
    spec, root = f"prid2011:{path}", Path(path)
    require_folders(spec, root, "prid_2011")
    check_split(spec, split)
    shots = root / "prid_2011" / "multi_shot"
    cameras = (shots / "cam_a", shots / "cam_b")
    remarks = Remarks(spec, root)
    people, others = (people_of(camera, "person_", remarks) for camera in cameras)
    sides = _read_splits(root / "splits_prid2011.json", people.keys() & others.keys())[split]
    return assemble(spec, cameras, people, remarks, train=sides["train"], test=sides["test"], half=89)


def _read_splits(file: Path, people: set[str]) -> list[dict[str, list[str]]]:
    """The splits, each person of which is in both cameras and at one place."""
    splits = read_json(file)
    if not isinstance(splits, list) or len(splits) != SPLITS:
        found = f"{len(splits)}" if isinstance(splits, list) else f"a {type(splits).__name__}"
        raise InputError(f"{file}: wanted a list of {SPLITS} splits, found {found}")
    for number, sides in enumerate(splits):
        where = f"{file}: split {number}"
        if not isinstance(sides, dict) or not all(isinstance(sides.get(side), list) for side in SIDES):
            raise InputError(f'{where}: wanted {{"train": [directories], "test": [directories]}}')
        seen = set()
        for side in SIDES:
            if not sides[side]:
                raise InputError(f"{where}, {side}: names nobody")
            for row, person in enumerate(sides[side], 1):
                if not isinstance(person, str) or person not in people:
                    raise InputError(f"{where}, {side}, row {row}: no directory {person!r} in both cameras")
                if person in seen:
                    raise InputError(f"{where}, {side}, row {row}: {person} is there twice")
                seen.add(person)
    return splits
