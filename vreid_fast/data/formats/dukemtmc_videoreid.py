"""DukeMTMC-VideoReID: tracklets of DukeMTMC, 8 cameras of a campus.

Reference: Wu et al., Exploit the Unknown Gradually: One-Shot Video-Based Person Re-Identification by Stepwise
Learning, CVPR 2018.
URL: https://github.com/Yu-Wu/DukeMTMC-VideoReID
Layout: images `train|query|gallery/PERSON/TRACKLET/*.jpg`, named `0001_C6_F0099_X30823.jpg` or, in older copies,
`0001C6F0099X30823.jpg`: person, camera, number of the frame in the tracklet, number of the frame in the video.
Statistics: 702 training people, 702 test people, 408 distractors; 8 cameras; 2,196 training tracklets, 2,636 test
tracklets, of which 702 are queries.
"""

from __future__ import annotations

import re
from pathlib import Path

from vreid_fast.errors import InputError

from ..tracklets import Dataset, FramePaths, Tracklet
from .listing import list_folders, list_images
from .remarks import Remarks
from .tables import integer, require_folders

SUBSETS = ("train", "query", "gallery")
NAME = re.compile(r"(\d{1,9})_?C(\d{1,9})_?F(\d{1,9})_?X(\d{1,18})\.\w+", re.ASCII)


def read_dukemtmc_videoreid(path: str) -> Dataset:
    """Read DukeMTMC-VideoReID, its folders as they are; persons and cameras have the numbers of the files.

    Frames go by their number, also where some are missing. Whether the gallery repeats the queries is noted.

    Raises:
        InputError: a missing folder, a person directory that is no number, an image whose name contradicts it,
            a tracklet without images.
    """
    spec, root = f"dukemtmc-videoreid:{path}", Path(path)
    require_folders(spec, root, *SUBSETS)
    remarks = Remarks(spec, root)
    train, query, gallery = (_read_subset(root / subset, remarks) for subset in SUBSETS)
    first = {tracklet.frames.names[0] for tracklet in gallery}
    repeated = sum(tracklet.frames.names[0] in first for tracklet in query)
    note = f"{spec}: gallery holds {repeated or 'none'} of the {len(query)} queries too"
    return Dataset(
        spec, train, query, gallery, (note, *remarks.notes()),
        official={
            "train": "702 identities, 2,196 tracklets", "query": "702 identities, 702 tracklets",
            "gallery": "2,636 test tracklets",
        },
    )  # fmt: skip


def _read_subset(folder: Path, remarks: Remarks) -> list[Tracklet]:
    tracklets = []
    for person in list_folders(folder, str(folder), remarks):
        where = f"{folder}: directory {person}"
        identity = integer(where, person, least=0)
        found = list_folders(folder / person, where, remarks)
        if not found:
            raise InputError(f"{where} holds no tracklets")
        tracklets += [_read_tracklet(folder / person / name, identity, remarks) for name in found]
    if not tracklets:
        raise InputError(f"{folder}: holds no person directories")
    return tracklets


def _read_tracklet(folder: Path, identity: int, remarks: Remarks) -> Tracklet:
    places, cameras = [], set()
    for name in list_images(folder, str(folder), remarks):
        fields = NAME.fullmatch(name)
        if not fields or int(fields[1]) != identity:
            raise InputError(f"{folder}: image {name}; wanted a name such as {identity:04d}_C6_F0099_X30823.jpg")
        cameras.add(int(fields[2]))
        places.append((int(fields[3]), int(fields[4]), name))
    if len(cameras) > 1:
        raise InputError(f"{folder}: images of cameras {', '.join(map(str, sorted(cameras)))}; wanted one camera")
    return Tracklet(FramePaths(folder, [name for *_, name in sorted(places)]), identity, cameras.pop())
