"""From knobs to parts: each knob reaches what it is for, and what a method stands for is in one table."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vreid_fast.config import Config
from vreid_fast.device import Precision
from vreid_fast.errors import InputError
from vreid_fast.models import build as build_network
from vreid_fast.training import build, methods
from vreid_fast.training.consistency import PaperConsistency
from vreid_fast.training.graph import make_graph
from vreid_fast.training.learner import Learner
from vreid_fast.training.proxy_consistency import ProxyConsistency
from vreid_fast.training.transport_consistency import TransportConsistency

CPU = Precision("fp32", torch.device("cpu"))
PACKAGE = Path(build.__file__).resolve().parents[1]


def domains(cameras):
    cameras = None if cameras is None else torch.tensor(cameras)
    return SimpleNamespace(
        cameras=lambda: cameras, target_tracklets=range(9), notes=[], hidden_identities=lambda: None,
        overlaps=lambda: np.empty((0, 2), np.int64),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "wanted"), [("source", "running"), ("bn_adapt", "target"), ("paper", "target"), ("plus", "camera")]
)
def test_statistics_follow_the_method_unless_they_are_named(method, wanted):
    of = domains([0, 1, 1])
    assert build.choose_statistics(Config.of(method=method), of) == wanted and of.notes == []
    assert build.choose_statistics(Config.of(method=method, statistics="running"), of) == "running"


@pytest.mark.parametrize(("cameras", "said"), [(None, "not known"), ([2, 2, 2], "one only")])
def test_without_cameras_the_whole_target_gives_the_statistics(cameras, said):
    of = domains(cameras)
    assert build.choose_statistics(Config.of(method="plus"), of) == "target" and said in of.notes[0]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("source", None), ("bn_adapt", None), ("paper", PaperConsistency), ("plus", ProxyConsistency),
        ("glt", TransportConsistency),
    ],
)  # fmt: skip
def test_each_method_makes_its_own_of_the_target(method, kind):
    learner = Learner(build_network("small", identities=3, frames=2), learning_rate=1e-3, weight_decay=0.0)
    batches = SimpleNamespace(domains=domains([0, 1] * 4 + [0]), target_pass=lambda: 3, target_batch=4)
    made = methods.make_consistency(Config.of(method=method), learner, batches, None, CPU, per_camera=True)
    assert made is None if kind is None else type(made) is kind
    assert methods.METHODS.keys() == {"source", "bn_adapt", "paper", "plus", "glt"}


@pytest.mark.parametrize(
    ("method", "per_camera", "one"), [("plus", True, True), ("plus", False, False), ("paper", True, False)]
)
def test_target_batches_are_of_one_camera_where_the_method_has_them_so(data, method, per_camera, one):
    config = Config.of(**data, method=method, people=3, target_batch=6, frames=2, loader="torch", seed=7, pad=2)
    batches = build.make_batches(config, build.read_domains(config), CPU, per_camera)
    assert (batches.one_camera, batches.people, batches.target_batch, batches.seed, batches.pad) == (one, 3, 6, 7, 2)
    with batches.both(0, 2, done=0) as loader:
        cameras = [
            {batches.domains.target_tracklets[int(row)].camera for row in target.tracklets} for _, target in loader
        ]
    assert cameras == ([{0}, {1}] if one else [{0, 1}, {0, 1}])


def test_reading_and_protocol_take_their_knobs():
    config = Config.of(
        height=48, width=24, frames=3, loader="torch", loader_threads=2, on_bad_frame="skip", test_clips="all",
        test_batch=7, distance="dot",
    )  # fmt: skip
    reading = build.reading_options(config, CPU)
    assert (reading.size, reading.backend, reading.threads, reading.bad_frames.policy) == ((48, 24), "torch", 2, "skip")
    assert build.reading_options(Config(), CPU).backend is None
    protocol = build.make_protocol(config, reading)
    assert (protocol.frames, protocol.clips, protocol.batch, protocol.distance) == (3, "all", 7, "dot")


def test_steps_and_session_take_their_knobs(tmp_path):
    config = Config.of(
        seed=4, log_every=3, gradients_every=6, per_person=3, consistency_ramp=0.25, source_steps=5, adapt_steps=2,
        frames=2, l1s=0.5, triplet=2.0, warmup_steps=7,
    )  # fmt: skip
    learner = Learner(build_network("small", identities=3, frames=2), learning_rate=1e-3, weight_decay=0.0)
    session = build.make_session(config, tmp_path, learner, CPU, identities=3, data="{}")
    assert session.signature == {"network": "small", "frames": 2, "identities": 3}
    assert session.total == 7 and session.config == config.knobs()
    steps = build.make_steps(config, session, torch.zeros(3))
    assert (steps.seed, steps.log_every, steps.gradients_every, steps.ramp) == (4, 3, 6, 0.25)
    compute = steps.compute
    assert (steps.adversarial.l1s, compute.domain_factors["l1s"], compute.identity.triplet) == (0.5, 0.5, 2.0)
    assert (steps.schedule.warmup_steps, compute.clip_gradient, compute.per_person) == (7, 10.0, 3)
    assert steps.graph is None


@pytest.mark.parametrize(
    ("method", "unsaid", "said"),
    [
        ("paper", {"l1s": 1.0, "l2s": 1.0, "l3s": 1.0}, {"l1s": 1.0, "l2s": 0.5, "l3s": 1.0}),
        ("plus", {"l1s": 0.0, "l2s": 0.0, "l3s": 0.0}, {"l1s": 0.0, "l2s": 0.5, "l3s": 0.0}),
        ("glt", {}, {}),
    ],
)
def test_a_method_says_which_adversarial_losses_there_are_where_no_knob_does(tmp_path, method, unsaid, said):
    learner = Learner(build_network("small", identities=3, frames=2), learning_rate=1e-3, weight_decay=0.0)
    for knobs, factors in (({}, unsaid), ({"l2s": 0.5}, said)):
        config = Config.of(method=method, frames=2, **knobs)
        session = build.make_session(config, tmp_path, learner, CPU, identities=3, data="{}")
        assert build.make_steps(config, session, torch.zeros(3)).compute.domain_factors == factors


def test_steps_are_recorded_on_a_gpu_alone():
    cpu = torch.device("cpu")
    assert make_graph("auto", cpu) is None and make_graph("off", torch.device("cuda", 0)) is None
    with pytest.raises(InputError, match="--graph on: CUDA graphs need a GPU; use --graph auto or off"):
        make_graph("on", cpu)


def test_the_seed_alone_makes_the_network():
    one, other, third = (build.initial_network(Config.of(seed=seed), 3)[0] for seed in (1, 1, 2))
    assert torch.equal(one.classifier.weight, other.classifier.weight)
    assert not torch.equal(one.classifier.weight, third.classifier.weight)


def test_a_checkpoint_without_a_teacher_says_so(tmp_path):
    network = build_network("small", identities=3, frames=4)
    state = {
        "format": 2, "config": Config.of(method="source").knobs(), "identities": 3, "step": 9, "teacher": None,
        "student": network.state_dict(), "statistics": {},
    }  # fmt: skip
    torch.save(state, tmp_path / "last.pt")
    found, config, statistics = build.load_network(tmp_path / "last.pt")
    assert torch.equal(found.classifier.weight, network.classifier.weight) and not found.training
    assert config.stages.method == "source" and statistics is None
    with pytest.raises(InputError, match=r"no teacher \(method source, step 9\); use --network student"):
        build.load_network(tmp_path / "last.pt", "teacher")


def test_the_whole_configuration_is_seen_in_the_named_places_alone():
    seen = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bConfig\b", path.read_text()) and path.parent.name not in ("config", "ladder")
    }
    named = {"build", "methods", "network_checks", "rank_checks"}
    assert seen == {"train.py", "evaluate.py", *(f"training/{name}.py" for name in named)}
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"getattr\((self\.)?config\b", path.read_text()), path
    assert not re.search(r"isinstance|\.method\b", (PACKAGE / "training" / "steps.py").read_text())
