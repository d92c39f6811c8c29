"""A data set of coloured noise, and runs of seconds on it."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from vreid_fast.config import Config
from vreid_fast.train import main
from vreid_fast.training.logbook import read_history

TINY = {
    "height": 32, "width": 16, "frames": 2, "people": 3, "target_batch": 6, "source_steps": 4, "adapt_steps": 4,
    "warmup_steps": 1, "clusters": 4, "cluster_restarts": 2, "log_every": 1, "checkpoint_every": 3,
    "domain_width": 8, "threads": 1, "device": "cpu", "loader": "torch",
}  # fmt: skip


def write_people(root, seed, people=6, cameras=2, per_camera=2, labelled=True):
    """A folder data set of coloured noise: a colour a person, a tint a camera."""
    rng = np.random.default_rng(seed)
    colours, tints = rng.integers(40, 200, (people, 3)), rng.integers(-30, 30, (cameras, 3))
    rows = []
    for person in range(people):
        for camera in range(cameras):
            for number in range(per_camera):
                folder = root / f"{person:04d}C{camera}T{number}"
                folder.mkdir(parents=True)
                for frame in range(3):
                    noise = rng.integers(-20, 20, (32, 16, 3))
                    image = (colours[person] + tints[camera] + noise).clip(0, 255).astype(np.uint8)
                    Image.fromarray(image).save(folder / f"{frame}.jpg")
                rows.append([folder.name, person, camera])
    if labelled:
        with open(root / "tracklets.csv", "w", newline="") as file:
            csv.writer(file).writerows([["path", "identity", "camera"], *rows])
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {
        "source": f"folder:{write_people(root / 'source', 0)}",
        "target": f"folder:{write_people(root / 'target', 1)}",
    }


def knobs(data, run, **changes):
    return Config.of(**{**TINY, **data, "run": str(run), **changes})


def flags(data, run, **changes):
    return [
        word for name, value in {**TINY, **data, "run": run, **changes}.items() for word in (f"--{name}", str(value))
    ]


def logged(run):
    """Rows of metrics.jsonl without what a clock decides."""
    rows = read_history(run / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in ("seconds", "clips_per_second")} for row in rows]


def states_equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def paper_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "paper"
    assert main(flags(data, run)) == 0
    return run
