"""CCVID and SVReID: lists of tracklets, a line a tracklet: its directory, the person, a label of the clothes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vreid_fast.errors import InputError

from ..tracklets import FramePaths, Tracklet
from .listing import list_images
from .remarks import Remarks
from .tables import inside, integer, read_columns


class Row(NamedTuple):
    where: str
    """Place for errors."""
    path: str
    identity: int
    label: str
    """Of the clothes; the same word on two people is two suits."""


def read_list(file: Path) -> list[Row]:
    """Rows of a list.

    Raises:
        InputError: no such file, a line that is not a directory, a number and a label, a directory twice.
    """
    rows = read_columns(file, "directory", "person", "clothes")
    return [Row(where, path, integer(where, person, least=0), label) for where, (path, person, label) in rows]


def tracklets_of(
    root: Path, lists: tuple[list[Row], ...], camera: Callable[[Row], int], remarks: Remarks
) -> tuple[list[Tracklet], ...]:
    """Tracklets of each list, with clothes numbered over all of them.

    Args:
        root: where the directories are.
        lists: of the subsets of one data set.
        camera: gives a row's camera.
        remarks: take what is worth a note in the directories.

    Raises:
        InputError: a directory that leaves the root, is missing or holds no images, or is in two lists with
            different persons or clothes.
    """
    suits = sorted({(row.identity, row.label) for rows in lists for row in rows})
    numbers = {suit: number for number, suit in enumerate(suits)}
    known: dict[str, tuple[Row, Tracklet]] = {}

    def of(row: Row) -> Tracklet:
        folder = inside(root, row.path, row.where)
        if folder not in known:
            frames = FramePaths(folder, list_images(folder, row.where, remarks))
            suit = numbers[row.identity, row.label]
            known[folder] = row, Tracklet(frames, row.identity, camera(row), suit)
        earlier, tracklet = known[folder]
        if (earlier.identity, earlier.label) != (row.identity, row.label):
            raise InputError(f"{row.where}: {row.path} has another person or other clothes in {earlier.where}")
        return tracklet

    return tuple([of(row) for row in rows] for rows in lists)
