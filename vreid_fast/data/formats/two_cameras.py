"""iLIDS-VID and PRID2011: people seen once by each of two cameras, and ten splits of them into training and test."""

from __future__ import annotations

from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset, FramePaths, Tracklet
from .listing import list_folders, list_images
from .remarks import Remarks
from .tables import integer

SPLITS = 10


def check_split(spec: str, split: int) -> None:
    """InputError unless `split` is one of the ten."""
    if not 0 <= split < SPLITS:
        raise InputError(f"--split {split}: {spec} has {SPLITS} splits, 0 to {SPLITS - 1}, or all")


def people_of(folder: Path, prefix: str, remarks: Remarks) -> dict[str, int]:
    """Number of a person by the name of the directory, person001 or person_0001, in sorted order.

    Raises:
        InputError: no such folder, or a directory of another name.
    """
    people = {}
    for name in list_folders(folder, str(folder), remarks):
        if not name.startswith(prefix):
            raise InputError(f"{folder}: directory {name}; wanted {prefix}NUMBER")
        people[name] = integer(f"{folder}: directory {name}", name.removeprefix(prefix), least=0)
    return people


def assemble(
    spec: str,
    cameras: tuple[Path, Path],
    people: dict[str, int],
    remarks: Remarks,
    *,
    train: list[str],
    test: list[str],
    half: int,
) -> Dataset:
    """The data set of a split: both cameras of `train`; first camera of `test` = query, second = gallery.

    Args:
        cameras: the folder of each camera.
        people: number of a person by directory name.
        remarks: of the folders so far; becomes a note.
        train, test: directory names.
        half: people on each side, as published.
    """

    def of(person: str, camera: int) -> Tracklet:
        folder = cameras[camera - 1] / person
        return Tracklet(FramePaths(folder, list_images(folder, spec, remarks)), people[person], camera)

    subsets = {
        "train": [of(person, camera) for person in train for camera in (1, 2)],
        "query": [of(person, 1) for person in test],
        "gallery": [of(person, 2) for person in test],
    }
    return Dataset(
        name=spec,
        **subsets,
        notes=tuple(remarks.notes()),
        official={
            "train": f"{half} identities, {2 * half} tracklets",
            "query": f"{half} identities, {half} tracklets",
            "gallery": f"{half} identities, {half} tracklets",
        },
        splits=SPLITS,
    )
