"""A data set of coloured noise, and runs of seconds on it."""

import csv
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from vreid_fast.config import Config
from vreid_fast.device import Precision
from vreid_fast.train import main
from vreid_fast.training import build
from vreid_fast.training.learner import Learner
from vreid_fast.training.logbook import read_history
from vreid_fast.training.neighbours import measure_people
from vreid_fast.training.session import Session

TINY = {
    "height": 32, "width": 16, "frames": 2, "people": 3, "target_batch": 6, "source_steps": 4, "adapt_steps": 4,
    "warmup_steps": 1, "clusters": 4, "cluster_restarts": 2, "log_every": 1, "checkpoint_every": 3,
    "domain_width": 8, "threads": 1, "device": "cpu", "loader": "torch",
}  # fmt: skip


def write_people(root, seed, people=6, cameras=2, per_camera=2, labelled=True, dressed=False):
    """A folder data set of coloured noise: a colour a person, a tint a camera; in other clothes in each tracklet of a
    camera where they are `dressed`."""
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
                rows.append([folder.name, person, camera, *([number] if dressed else [])])
    if labelled:
        with open(root / "tracklets.csv", "w", newline="") as file:
            csv.writer(file).writerows([["path", "identity", "camera", *(["clothes"] if dressed else [])], *rows])
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


def real_steps(tmp_path, method, device, recordable=None, **knobs):
    """Steps of a small run that stands in its second stage: its session, its steps, and a loader for so many."""
    people = write_people(tmp_path / "people", seed=0, dressed=bool(knobs.get("clothes")))
    config = Config.of(**{
        **TINY, "source": f"folder:{people}", "target": f"folder:{people}", "method": method, "source_steps": 2,
        "adapt_steps": 40, "log_every": 100, "gradients_every": 0, "cluster_every": 10, "checkpoint_every": 100,
        "precision": "fp32", "run": str(tmp_path / "run"), **knobs,
    })  # fmt: skip
    precision, per_camera = Precision(config.device.precision, device), method == "plus"
    domains = build.read_domains(config)
    domains.labels = domains.labels.to(device)
    student, _ = build.initial_network(config, domains.identities)
    learner = Learner(student.to(device), learning_rate=1e-3, weight_decay=5e-4, recordable=recordable)
    learner.clothes = build.make_clothes(config, domains, learner)
    batches = build.make_batches(config, domains, precision, per_camera)
    session = build.make_session(config, tmp_path, learner, precision, domains.identities, "{}")
    learner.step, protocol = 2, build.make_protocol(config, batches.reading)
    build.start_adaptation(config, session, batches, protocol, per_camera)
    learner.neighbours = batches.neighbours

    def loader(steps):
        start, end = learner.step, learner.step + steps
        if batches.neighbours:
            measure_people(batches.neighbours, start, learner.student, batches, protocol, precision)
        return batches.source(start, end) if learner.adaptation is None else batches.both(start, end, done=start - 2)

    return session, build.make_steps(config, session, domains.labels), loader


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


@pytest.fixture
def interrupt_step(monkeypatch):
    """Ctrl-C in the step of a number, counted from 1 over all that is trained; returns the list of steps so far."""

    def interrupt(number):
        steps, plain = [], Session.advance

        def advance(self, *arguments, **keywords):
            steps.append(self.learner.step)
            if len(steps) == number:
                os.kill(os.getpid(), signal.SIGINT)
            plain(self, *arguments, **keywords)

        monkeypatch.setattr(Session, "advance", advance)
        return steps

    return interrupt
