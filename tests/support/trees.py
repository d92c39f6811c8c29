"""Small trees in the exact layouts of the official data sets; images are empty files, made in a shuffled order."""

import json
import random
from pathlib import Path

import numpy as np

MARS_NAMES = {
    "train": ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg", "0003C6T0002F001.jpg"],
    "test": [
        "00-1C2T0081F201.jpg",
        "0000C4T0001F001.jpg",
        "0000C4T0001F002.jpg",
        "0002C1T0001F001.jpg",
        "0002C3T0001F001.jpg",
    ],
}
MARS_TABLES = {
    "train": [[1, 2, 1, 1], [3, 3, 1, 2], [4, 4, 3, 6]],
    "test": [[1, 1, -1, 2], [2, 3, 0, 4], [4, 4, 2, 1], [5, 5, 2, 3]],
}
MARS_QUERIES = [[3]]
LSVID_ROWS = {
    "train": [("tracklet_train/0003/0003_0001", 3, 5, 4), ("tracklet_train/0003/0003_0002", 3, 12, 2),
              ("tracklet_train/0011/0011_0001", 11, 5, 3)],
    "test": [("tracklet_test/0842/0842_0001", 842, 1, 3), ("tracklet_test/0842/0842_0002", 842, 7, 2),
             ("tracklet_test/0900/0900_0001", 900, 15, 12), ("tracklet_test/0900/0900_0002", 900, 2, 1)],
}  # fmt: skip
CCVID_ROWS = {
    "train": ["session1/001_01\t001\tu0_l0", "session1/001_12\t001\tu1_l0", "session3/002_05\t002\tu0_l0"],
    "query": ["session1/076_01\t076\tu0_l0", "session2/077_03\t077\tu2_l1"],
    "gallery": ["session1/076_02\t076\tu0_l0", "session3/076_02\t076\tu0_l1", "session1/077_04\t077\tu2_l1"],
}
SVREID_ROWS = {
    "train_svreid.txt": ["0007/a/1 0007 a", "0007/a/4 0007 a", "0100/b/10 0100 b"],
    "train_svreid_cc.txt": ["0007/a/1 0007 a", "0007/c/1 0007 c", "0100/b/10 0100 b"],
    "train_svreid_plus.txt": ["0007/a/1 0007 a", "0200/a/2 0200 a"],
    "query.txt": ["rgb/0300/a/1 0300 a"],
    "gallery.txt": ["rgb/0300/a/2 0300 a", "rgb/0300/b/3 0300 b"],
}
DUKE_ROWS = {  # subset -> person, tracklet, camera, numbers of the frames
    "train": [("0001", "0001", 6, (1, 2, 3)), ("0001", "0002", 2, (2, 10, 99, 100)), ("0005", "0003", 6, (1,))],
    "query": [("0002", "0004", 1, (1, 2))],
    "gallery": [("0002", "0004", 1, (1, 2)), ("0002", "0005", 8, (1, 2)), ("7140", "0006", 3, (1,))],
}


def touch(folder: Path, names: list[str], content: bytes = b"") -> None:
    """Files of a folder, made in an order that is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in random.Random(str(names)).sample(names, len(names)):
        (folder / name).write_bytes(content)


def write_ilidsvid(root: Path, numbers=(1, 2, 5, 319), frames: int = 3, table=None) -> str:
    from scipy.io import savemat

    for camera in ("cam1", "cam2"):
        for number in random.Random(camera).sample(numbers, len(numbers)):
            person = f"person{number:03d}"
            names = [f"{camera}_{person}_{317 + frame:05d}.png" for frame in range(frames)]
            touch(root / "i-LIDS-VID" / "sequences" / camera / person, names)
    if table is None:
        rng = np.random.default_rng(0)
        table = np.stack([rng.permutation(len(numbers)) + 1 for _ in range(10)])
    (root / "train-test people splits").mkdir(exist_ok=True)
    savemat(
        root / "train-test people splits" / "train_test_splits_ilidsvid.mat",
        {"ls_set": np.asarray(table, dtype=np.float64)},
    )
    return f"ilidsvid:{root}"


def write_prid2011(root: Path, splits, people=None, frames: int = 3) -> str:
    """`people`: directories of both cameras, those of the splits where None; camera a has one more, unused."""
    people = people or sorted({person for split in splits for side in split.values() for person in side})
    for camera in ("cam_a", "cam_b"):
        for person in [*people, *(["person_0385"] if camera == "cam_a" else [])]:
            touch(root / "prid_2011" / "multi_shot" / camera / person, [f"{n:04d}.png" for n in range(1, frames + 1)])
    (root / "splits_prid2011.json").write_text(json.dumps(splits))
    return f"prid2011:{root}"


def small_prid_splits() -> list[dict]:
    people = [f"person_{number:04d}" for number in (1, 3, 12, 200)]
    return [{"train": people[split % 2 :: 2], "test": people[1 - split % 2 :: 2]} for split in range(10)]


def write_lsvid(root: Path, rows=LSVID_ROWS, queries=((1, 3),)) -> str:
    import h5py

    (root / "list_sequence").mkdir(exist_ok=True)
    for part, lines in rows.items():
        for prefix, _, camera, frames in lines:
            start = Path(prefix).name
            touch(root / Path(prefix).parent, [f"{start}_{camera:02d}_{frame:06d}.jpg" for frame in range(frames)])
        text = "".join(f"{prefix} {person}\n" for prefix, person, _, _ in lines)
        (root / "list_sequence" / f"list_seq_{part}.txt").write_text(text)
    (root / "test" / "data").mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "test" / "data" / "info_test.mat", "w", userblock_size=512) as file:
        file["query"] = np.asarray(queries, dtype=np.float64)
    return f"lsvid:{root}"


def write_ccvid(root: Path, rows=CCVID_ROWS, inner: str = "", frames: int = 3) -> str:
    base = root / inner
    for subset, lines in rows.items():
        for line in lines:
            touch(base / line.split()[0], [f"{number:05d}.jpg" for number in range(1, frames + 1)])
        (base / f"{subset}.txt").write_text("".join(f"{line}\n" for line in lines))
    return f"ccvid:{root}"


def write_svreid(root: Path, rows=SVREID_ROWS, inner: str = "SVReID", frames: int = 12) -> Path:
    """Frames are 1.jpg, 2.jpg, ..., 12.jpg, whose order as words is another."""
    base = root / inner
    for name, lines in rows.items():
        for line in lines:
            touch(base / line.split()[0], [f"{number}.jpg" for number in range(1, frames + 1)])
        (base / name).write_text("".join(f"{line}\r\n" for line in lines))
    return root


def write_duke(root: Path, rows=DUKE_ROWS, style: str = "{0}_C{1}_F{2:04d}_X{3}.jpg") -> str:
    for subset, tracklets in rows.items():
        for person, name, camera, numbers in tracklets:
            names = [style.format(person, camera, number, 30823 + int(name) * 1000 + number) for number in numbers]
            touch(root / subset / person / name, names)
    return f"dukemtmc-videoreid:{root}"


def write_mars(root, names=MARS_NAMES, tables=MARS_TABLES, queries=MARS_QUERIES):
    from scipy.io import savemat

    for folder in ("info", "bbox_train", "bbox_test"):
        (root / folder).mkdir(exist_ok=True)
    for part in ("train", "test"):
        (root / "info" / f"{part}_name.txt").write_bytes("".join(f"{name}\r\n" for name in names[part]).encode())
        savemat(root / "info" / f"tracks_{part}_info.mat", {f"track_{part}_info": np.array(tables[part])})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array(queries, np.uint16)})
    return f"mars:{root}"


# Format -> what writes a small tree of it below a folder and returns its SPEC.
TREES = {
    "mars": write_mars,
    "ilidsvid": write_ilidsvid,
    "prid2011": lambda root: write_prid2011(root, small_prid_splits()),
    "lsvid": write_lsvid,
    "ccvid": write_ccvid,
    "dukemtmc-videoreid": write_duke,
    "svreid_cc": lambda root: f"svreid_cc:{write_svreid(root)}",
}
