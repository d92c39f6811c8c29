"""Damaged and edited checkpoints: read right, or refused in one line that names the entry."""

import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hostile_checkpoints import mutated
from small_runs import TINY

from vreid_fast.config import Config
from vreid_fast.config.groups import ClusterKnobs, ProxyKnobs, RunKnobs, StageKnobs
from vreid_fast.data.fingerprint import SUBSETS
from vreid_fast.device import Precision
from vreid_fast.errors import InputError
from vreid_fast.losses import FeatureMemory
from vreid_fast.models import NETWORKS, VideoNetwork, camera_statistics
from vreid_fast.training import checkpoint
from vreid_fast.training.build import load_network
from vreid_fast.training.learner import Learner
from vreid_fast.training.proxy_consistency import ProxyConsistency
from vreid_fast.training.resume import check_data
from vreid_fast.training.session import Session

CAMERAS = torch.tensor([0, 1, 0, 1, 0, 1])
DATA = json.dumps({"whole": True, **{subset: [] for subset in SUBSETS}})


class Trunk(torch.nn.Module):
    """One convolution, so that a checkpoint has few tensors and is read in milliseconds."""

    width = 2

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 2, 3, stride=4), torch.nn.BatchNorm2d(2)

    def forward(self, frames):
        return self.bn1(self.conv1(frames))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(NETWORKS, "tiny", lambda identities, frames, size: VideoNetwork(Trunk(), identities, frames))


class Clusters:
    """The consistency of a run, as far as a checkpoint knows it."""

    learns = None

    def __init__(self, kept):
        self.kept = kept
        self.state_dict, self.load_state_dict = kept.state_dict, kept.load_state_dict


def make_learner(kept):
    torch.manual_seed(0)
    learner = Learner(NETWORKS["tiny"](3, 2, (32, 16)), learning_rate=1e-3, weight_decay=0.0)

    def start_adaptation():
        learner.start_adaptation(Clusters(kept()), learning_rate=1e-3, head_learning_rate=1e-3, domain_width=2)

    return learner, start_adaptation


def memory():
    return FeatureMemory(len(CAMERAS), 2, CAMERAS)


def proxies():
    """With an embedding that is noise."""
    domains = SimpleNamespace(
        target_tracklets=range(6), cameras=lambda: CAMERAS, overlaps=lambda: np.zeros((0, 2), np.int64)
    )
    batches = SimpleNamespace(domains=domains, target_pass=lambda: 2, target_batch=6)
    clusters = ClusterKnobs(cluster_by="kmeans", clusters=2)

    def embed(_, halves):
        return [torch.randn(6, 2) for _ in halves]

    return ProxyConsistency(ProxyKnobs(), clusters, batches, embed, 2, torch.device("cpu"))


def session_of(folder, learner):
    return Session(
        folder, learner, Precision("fp32", torch.device("cpu")), StageKnobs(source_steps=2, adapt_steps=4), RunKnobs(),
        network="tiny", frames=2, identities=3, config={**Config.of(**TINY, network="tiny").knobs()},
        data=DATA,
    )  # fmt: skip


def make_state(folder, kept):
    """The checkpoint of a step of the second stage, all parts of it in use."""
    learner, start_adaptation = make_learner(kept)
    start_adaptation()
    features = torch.randn(6, 2)
    inside = learner.adaptation.consistency.kept
    if kept is memory:
        inside.write(torch.arange(6), features, features)
        inside.cluster(2, restarts=1, seed=0)
    else:
        inside.before_step(0, learner.adaptation.teacher)
    clips = torch.randn(2, 2, 3, 32, 16)
    for parameter in [p for group in learner.optimiser.param_groups for p in group["params"]]:
        parameter.grad = torch.ones_like(parameter)
    learner.student(clips)
    learner.optimiser.step()
    learner.adaptation.teacher.follow()
    learner.step = 3
    learner.statistics = {"student": camera_statistics(learner.student, [(0, clips), (1, clips)])}
    session = session_of(folder, learner)
    session.scores, session.before = {"source": {"map": 0.5, "rank1": 0.5, "cmc": [0.5]}}, torch.randn(4, 2)
    session.save()
    return torch.load(session.last, weights_only=True)


@pytest.fixture(scope="module", params=[memory, proxies], ids=["memory", "proxies"])
def kept(request):
    return request.param


def restore(folder, kept):
    learner, start_adaptation = make_learner(kept)
    session = session_of(folder, learner)
    session.restore(checkpoint.load(session.last), start_adaptation)
    return session


def test_a_checkpoint_as_it_was_written_is_right(tmp_path, kept):
    state = make_state(tmp_path, kept)
    session = restore(tmp_path, kept)
    assert session.learner.step == 3 and session.scores == state["scores"]
    assert torch.equal(session.learner.student.classifier.weight, state["student"]["classifier.weight"])
    network, config, statistics = load_network(session.last)
    assert config.network.network == "tiny" and statistics.keys() == {0, 1}
    assert torch.equal(network.classifier.weight, state["student"]["classifier.weight"])


FIRST = "trunk.conv1.weight"
EDITS = {
    "nan": (lambda s: s["student"][FIRST].fill_(torch.nan), f"student: {FIRST} holds 54 NaN"),
    "inf": (lambda s: s["student"]["neck.running_var"].fill_(torch.inf), "neck.running_var holds 2 NaN"),
    "noise": (lambda s: s["student"]["neck.running_var"].fill_(-1), "neck.running_var holds variances below zero"),
    "missing": (lambda s: s["student"].pop(FIRST), f"student: {FIRST} is missing"),
    "extra": (lambda s: s["student"].update({"x.w": torch.ones(1)}), "student: x.w has no place in this network"),
    "shape": (lambda s: s["student"].update({FIRST: torch.ones(2, 1, 3, 3)}), f"{FIRST} has shape .2, 1, 3, 3."),
    "no_student": (lambda s: s.pop("student"), "has no student"),
    "list": (lambda s: s.update(student=[1]), "its student is list, wanted dict"),
    "no_statistics": (lambda s: s.pop("statistics"), "has no statistics"),
    "statistics": (lambda s: s["statistics"]["student"][1].popitem(), "in camera 1: .* is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_what_was_edited_is_named_in_scoring_and_going_on(tmp_path, kept, name):
    edit, wanted = EDITS[name]
    state = make_state(tmp_path, kept)
    edit(state)
    torch.save(state, tmp_path / "last.pt")
    for read in (lambda: load_network(tmp_path / "last.pt"), lambda: restore(tmp_path, kept)):
        with pytest.raises(InputError, match=f"^checkpoint {tmp_path}/last.pt.*{wanted}.*take another checkpoint"):
            read()


@pytest.mark.parametrize("name", ["nan", "missing", "extra", "shape", "list", "no_student"])
def test_and_in_beginning_from_it(tmp_path, name):
    edit, wanted = EDITS[name]
    state = make_state(tmp_path, memory)
    edit(state)
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match=wanted):
        session_of(tmp_path, make_learner(memory)[0]).start_from(tmp_path / "last.pt")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"no_such_knob": 1}, "--no_such_knob: no such knob"),
        ({"frames": "two"}, "--frames: wanted int, got 'two'"),
        ({"frames": None}, "--frames: wanted int, got None"),
        ({"distance": "far"}, "--distance: wanted cosine or euclidean or dot, got 'far'"),
        ({"combined_sizes": [1, "2"]}, "--combined_sizes: wanted"),
        ({"flip": 3.0}, "--flip must be between 0 and 1, got 3.0"),
        ({"network": "resnet18"}, "its config has network resnet18, its network tiny"),
        ({"network": "nothing"}, "its config has network nothing, its network tiny"),
    ],
)
def test_a_config_that_was_edited_is_named(tmp_path, change, wanted):
    state = make_state(tmp_path, memory)
    state["config"].update(change)
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match=f"checkpoint .*{wanted}"):
        load_network(tmp_path / "last.pt")


def test_frames_that_are_not_those_of_the_network_are_named(tmp_path):
    state = make_state(tmp_path, memory)
    del state["config"]["frames"]
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match="its config has frames 4, its network 2; it was damaged"):
        load_network(tmp_path / "last.pt")


def test_a_network_that_is_not_the_one_named_is_refused(tmp_path):
    state = make_state(tmp_path, memory)
    state["config"]["network"] = state["network"] = "resnet18"
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match="student: trunk.layer1.0.conv1.weight is missing"):
        load_network(tmp_path / "last.pt")


def test_other_identities_are_named_before_a_network_is_built_for_them(tmp_path):
    state = make_state(tmp_path, memory)
    torch.save({**state, "identities": 10**15}, tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"\(3, 2\), wanted one for its 1000000000000000 identities"):
        load_network(tmp_path / "last.pt")


def test_old_checkpoints_lack_knobs_and_have_their_defaults(tmp_path):
    state = make_state(tmp_path, memory)
    del state["config"]["flip"]
    torch.save(state, tmp_path / "last.pt")
    assert load_network(tmp_path / "last.pt")[1].batch.flip == Config().batch.flip


def test_half_precision_and_no_teacher_can_be_scored(tmp_path):
    state = make_state(tmp_path, memory)
    half = {name: value.half() if value.is_floating_point() else value for name, value in state["student"].items()}
    torch.save({**state, "student": half, "teacher": None}, tmp_path / "last.pt")
    assert load_network(tmp_path / "last.pt")[0].classifier.weight.dtype == torch.float32
    with pytest.raises(InputError, match="has no teacher .*; use --network student"):
        load_network(tmp_path / "last.pt", "teacher")


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda s: s["teacher"]["network"][FIRST].fill_(torch.nan), f"teacher: {FIRST} holds 54 NaN"),
        (lambda s: s["teacher"].pop("updater"), "teacher: its updater is missing"),
        (lambda s: s["teacher"]["updater"]["decay"].fill_(2), "ema: decay must be in"),
        (lambda s: s.update(heads=None), "heads: there is none at step 3"),
        (lambda s: s["heads"].popitem(), "heads: combined_out.bias is missing"),
        (lambda s: s["optimiser"]["param_groups"].pop(), "optimiser: wanted 3 groups"),
        (lambda s: s["optimiser"]["param_groups"][0].update(lr=math.nan), "optimiser: lr is nan, wanted a number"),
        (lambda s: s["optimiser"]["param_groups"][0].update(betas=(2, 3)), "optimiser: betas is"),
        (lambda s: s["optimiser"]["state"][0]["exp_avg"].fill_(math.inf), "optimiser, parameter 0: exp_avg holds"),
        (lambda s: s["optimiser"]["state"][0].update(exp_avg=torch.ones(1)), "parameter 0: exp_avg has shape"),
        (lambda s: s["memory"].update(features=s["memory"]["features"][:, :5]), "memory: features has shape"),
        (lambda s: s["memory"]["labels"].fill_(9), "memory: labels are 9 to 9 of 2 clusters"),
        (lambda s: s["memory"].update(means=None), "memory: means is missing"),
        (lambda s: s.update(random=torch.zeros(3)), "checkpoint .* cannot be used: "),
        (lambda s: s.update(scores={"source": 3}), "its scores of 'source' are 3"),
        (lambda s: s.update(step=-1), "its step is -1, wanted 0 or more"),
        (lambda s: s.update(step="3"), "its step is str, wanted int"),
    ],
)  # fmt: skip
def test_what_only_going_on_needs_is_named(tmp_path, edit, wanted):
    state = make_state(tmp_path, memory)
    edit(state)
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match=wanted):
        restore(tmp_path, memory)


def test_the_proxies_of_plus_are_looked_at_too(tmp_path):
    state = make_state(tmp_path, proxies)
    for change, wanted in (
        ({"labels": torch.tensor([0, 1, 2, 0, 1, 0])}, "labels are 0 to 2 of 2 clusters"),
        ({"proxies": torch.zeros(5, 2)}, "proxies has shape"),
        ({"present": None}, "present is missing"),
        ({"facts": torch.zeros(3)}, "facts has shape"),
        ({"facts": torch.full((8,), math.nan)}, "facts holds 8 NaN"),
        ({"listed": torch.tensor(-1)}, "listed is -1, wanted a number from 0"),
        ({"listed": torch.zeros(2, dtype=torch.int64)}, "listed has shape"),
    ):
        torch.save({**state, "memory": state["memory"] | change}, tmp_path / "last.pt")
        with pytest.raises(InputError, match=wanted):
            restore(tmp_path, proxies)


def test_any_change_is_read_right_or_refused_in_one_line(tmp_path, kept, monkeypatch):
    """In scoring with the student, with the teacher, in going on and in beginning from it; one in twenty as a file."""
    state = make_state(tmp_path, kept)
    own = {name: value.shape for name, value in state["student"].items()}
    learner, start_adaptation = make_learner(kept)
    start_adaptation()
    fresh = copy.deepcopy(learner.state_dict())
    plain, read, refused = checkpoint.read_torch, 0, 0
    for seed in range(1000):
        other, said = mutated(state, seed)
        monkeypatch.setattr(checkpoint, "read_torch", plain)
        if seed % 20 == seed // 20 % 4:
            torch.save(other, tmp_path / "last.pt")
        else:
            monkeypatch.setattr(checkpoint, "read_torch", lambda *_, given=other: given)
        try:
            if seed % 4 == 0:
                network = load_network(tmp_path / "last.pt")[0]
            elif seed % 4 == 1:
                network = load_network(tmp_path / "last.pt", "teacher")[0]
            elif seed % 4 == 2:
                learner.load_state_dict(fresh)
                session = session_of(tmp_path, learner)
                given = checkpoint.load(session.last)
                check_data(tmp_path, given, DATA)
                session.restore(given, lambda: None)
                network = learner.student
                usable(learner)
            else:
                session_of(tmp_path, learner).start_from(tmp_path / "last.pt")
                network = learner.student
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and "last.pt" in str(error), said
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}: {said}: {type(error).__name__} {error}") from error
        read += 1
        values = network.state_dict()
        assert {name: value.shape for name, value in values.items()} == own, said
        assert all(value.isfinite().all() for value in values.values() if value.is_floating_point()), said
    assert checkpoint.FORMAT == 2 and read > 100 and refused > 300


def usable(learner):
    """A step can follow."""
    for parameter in learner.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimiser.step()
    learner.adaptation.teacher.follow()
    kept = learner.adaptation.consistency.kept
    if isinstance(kept, FeatureMemory):
        kept.cluster_facts()
        return
    kept.before_step(1, learner.adaptation.teacher)
    losses, facts = kept.losses(torch.arange(6), torch.randn(6, 2), torch.randn(6, 2))
    assert losses["proxy"].isfinite() and all(fact.isfinite() for fact in facts.values())
    kept.after_step(torch.arange(6), torch.randn(6, 2))
