"""What the pages take for granted: a run on one's own cameras, its features and their index, small and made once."""

import csv
import importlib.util

import pytest
from small_runs import flags, write_people

from vreid_fast.extract import main as extract
from vreid_fast.search.__main__ import main as search
from vreid_fast.train import main as train


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """A folder with `my_cameras`, `runs/mine`, `features` and `index`, as the commands of the pages leave them."""
    home = tmp_path_factory.mktemp("story")
    source, target = (write_people(home / name, seed) for seed, name in enumerate(("source", "my_cameras")))
    add_clocks(target)
    data, run = {"source": f"folder:{source}", "target": f"folder:{target}"}, home / "runs" / "mine"
    assert train(flags(data, run, method="plus")) == 0
    words = ["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--out", str(home / "features")]
    assert extract(words) == 0
    if importlib.util.find_spec("faiss"):
        assert search(["index", str(home / "features"), "--out", str(home / "index")]) == 0
    return home


def add_clocks(folder):
    """Columns of a recording a camera, in which a tracklet begins each two seconds and lasts three."""
    with open(folder / "tracklets.csv", newline="") as file:
        header, *rows = csv.reader(file)
    counts = {}
    for row in rows:
        number = counts[row[2]] = counts.get(row[2], -1) + 1
        row += [f"cam{row[2]}.mp4", 20 * number, 20 * number + 30, 10, "2026-05-04T08:00:00"]
    with open(folder / "tracklets.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*header, "video", "first_frame", "last_frame", "fps", "start"], *rows])
