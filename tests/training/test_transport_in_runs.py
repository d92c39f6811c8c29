"""Labels by optimal transport in runs: what a pass makes of them, batch norms of each domain, and resumes."""

import pytest
import torch
from small_runs import data, flags, interrupt_step, knobs, logged, real_steps  # noqa: F401

from vreid_fast.errors import Stopped
from vreid_fast.models import DomainNorms, build
from vreid_fast.train import main, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def glt_run(data, tmp_path_factory):  # noqa: F811
    run = tmp_path_factory.mktemp("run") / "glt"
    train(knobs(data, run, method="glt", adapt_steps=8))
    return run


def test_a_run_logs_its_losses_and_its_labels(glt_run):
    rows = [row for row in logged(glt_run) if "losses" in row]
    assert set(rows[-1]["losses"]) == {"cross_entropy", "triplet", "transport", "transport_triplet"}
    assert {"clusters", "pairs_kept", "cameras_per_cluster", "unseen_pair_precision"} <= set(rows[-1])
    # Four clusters of 24 tracklets: three groups of 3, 4 and 4 classes.
    state = torch.load(glt_run / "last.pt", weights_only=True)["memory"]
    assert [len(state[f"heads.{group}.weight"]) for group in range(3)] == [3, 4, 4]
    assert state["labels"].shape == (3, 24) and state["labels"].min() >= 0
    # Each class keeps as many tracklets, as far as whole tracklets can.
    counts = torch.bincount(state["labels"][0], minlength=3)
    assert counts.tolist() == [8, 8, 8]


def test_a_resume_is_the_same_bit_for_bit(data, glt_run, tmp_path, interrupt_step):  # noqa: F811
    run = tmp_path / "run"
    interrupt_step(9)
    with pytest.raises(Stopped):
        train(knobs(data, run, method="glt", adapt_steps=8))
    assert main(["--resume", str(run)]) == 0
    assert logged(run) == logged(glt_run)
    one, other = (torch.load(path / "last.pt", weights_only=True) for path in (run, glt_run))
    for part in ("student", "source_norms", "memory"):
        assert all(torch.equal(tensor, other[part][name]) for name, tensor in one[part].items()), part


@pytest.mark.parametrize(("over", "learning"), [("first", [True, False, False]), ("all", [True, True, True])])
def test_groups_in_the_cross_entropy(tmp_path, over, learning):
    session, steps, batches = real_steps(tmp_path, "glt", CPU, transport_over=over)
    heads = session.learner.adaptation.consistency.heads
    with session, batches(1) as loader:
        for both in loader:
            steps.adapt(*both)
    assert [head.weight.grad is not None for head in heads] == learning


def test_rounds_begin_with_k_means_and_passes_between_transport(tmp_path, monkeypatch):
    from vreid_fast.training import transport_consistency

    session, steps, batches = real_steps(tmp_path, "glt", CPU, cluster_every=5, transport_rounds=2)
    called = []
    for name in ("kmeans", "transport_plan"):
        plain = getattr(transport_consistency, name)

        def seen(*arguments, name=name, plain=plain, **options):
            called.append((session.learner.step - 2, name))
            return plain(*arguments, **options)

        monkeypatch.setattr(transport_consistency, name, seen)
    with session, batches(26) as loader:
        for both in loader:
            steps.adapt(*both)
    assert [step for step, name in called if name == "kmeans"] == [0, 0, 0, 20, 20, 20]
    assert sorted({step for step, name in called if name == "transport_plan"}) == [5, 10, 15, 25]


def test_the_source_has_batch_norms_of_its_own_from_adaptation_on(tmp_path):
    session, steps, batches = real_steps(tmp_path, "glt", CPU)
    student, norms = session.learner.student, session.learner.adaptation.source_norms
    started = {name: value.clone() for name, value in norms.named_parameters()}
    shared = student.trunk.conv1.weight.clone()
    with session, batches(2) as loader:
        for both in loader:
            steps.adapt(*both)
    own = [norm for norm in student.modules() if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(own) == len(norms.norms)
    for mine, source in zip(own, norms.norms, strict=True):
        assert not torch.equal(mine.running_mean, source.running_mean)
        assert not torch.equal(mine.weight, source.weight)
    assert all(not torch.equal(value, started[name]) for name, value in norms.named_parameters())
    assert not torch.equal(student.trunk.conv1.weight, shared)


def test_norms_of_a_domain_are_those_of_a_network_that_has_them():
    torch.manual_seed(0)
    network, clips = build("small", identities=3, frames=2, size=(32, 16)), torch.randn(4, 2, 3, 32, 16)
    norms = DomainNorms(network)
    for norm in norms.norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    other = build("small", identities=3, frames=2, size=(32, 16))
    other.load_state_dict(network.state_dict())
    found = [norm for norm in other.modules() if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm)]
    for mine, given in zip(found, norms.norms, strict=True):
        mine.load_state_dict(given.state_dict())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    one, expected = norms(network, clips), other(clips)
    assert torch.equal(one.clip, expected.clip)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    for mine, given in zip(found, norms.norms, strict=True):
        assert torch.equal(mine.running_var, given.running_var)


@pytest.mark.parametrize(
    "options, said",
    [
        (
            {"cluster_by": "neighbours"},
            "--cluster_by neighbours is for --method plus; --method glt begins with k-means",
        ),
        ({"cluster_over": "batch"}, "--cluster_over batch is for --method paper; --method glt labels the whole"),
        ({"transport_groups": "[]"}, "--transport_groups must be numbers above 0, got []"),
        ({"transport_groups": "[0.5, 0]"}, "--transport_groups must be numbers above 0, got [0.5, 0.0]"),
    ],
)
def test_what_it_cannot_do_is_said(data, tmp_path, capsys, options, said):  # noqa: F811
    assert main(flags(data, tmp_path / "run", method="glt", **options)) == 2
    assert f"error: {said}" in capsys.readouterr().err


def test_one_group_serves_both_losses(data, tmp_path):  # noqa: F811
    result = train(knobs(data, tmp_path / "run", method="glt", transport_groups=(1.0,), triplet=0))
    assert result["method"] == "glt" and "teacher" in result
