"""A step in parts, by micro-batches and by processes: both compute the same, in float64."""

import functools
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support.ranked import furthest, run
from support.small_runs import flags, real_steps
from torch import nn

from vreid_fast import ranks
from vreid_fast.data.reading import loader
from vreid_fast.device import Precision
from vreid_fast.train import main
from vreid_fast.training.micro_batches import MicroBatches

CASES = {
    "paper": ({"method": "paper", "batch_norm": "rank"}, 1),
    "depth": ({"network": "cavit", "trunk": "narrow", "width": 32, "batch_norm": "rank"}, 2),
    "glt": ({"method": "glt", "cluster_every": 2}, 2),
    "pairs": ({"network": "qaconv", "trunk": "narrow", "cross_entropy": 0, "per_epoch": "graph"}, 1),
}
"""Knobs, and micro-batches of each of two processes; one process has as many with `sync`, twice as many with `rank`."""
STEPS = 2


@contextmanager
def float64():
    before, gather_clips = torch.get_default_dtype(), loader.gather_clips
    torch.set_default_dtype(torch.float64)
    loader.gather_clips = functools.partial(gather_clips, backend="reference")  # the others have no float64
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        loader.gather_clips = gather_clips


def compute(case, accumulate, folder):
    """Steps of a case: losses, gradients, running statistics, and where chance stands."""
    knobs = {"method": "source", "people": 4, "target_batch": 8, "weight_decay": 0.0, **CASES[case][0]}
    folder.mkdir()
    session, steps, load = real_steps(folder, device=torch.device("cpu"), accumulate=accumulate, **knobs)
    learner, found, plain = session.learner, [], Precision.step
    learner.restart_optimiser(1e-5, 1e-5)

    def step(precision, loss, optimiser, *more):
        norm = plain(precision, loss, optimiser, *more)
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        gradients = [weight.grad.clone() for weight in weights if weight.grad is not None]
        found.append({"loss": loss.detach(), "gradients": gradients})
        return norm

    with session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Precision, "step", step)
        if learner.adaptation:
            learner.adaptation.consistency.start(learner.adaptation.teacher)
        with load(STEPS) as batches:
            for batch in batches:
                (steps.adapt if learner.adaptation else steps.source)(*batch)
    running = {name: tensor for name, tensor in learner.tensors() if "running" in name or "batches" in name}
    near = {} if learner.neighbours is None else {"near": learner.neighbours.near}
    return {"steps": found, "running": running, **near, "chance": torch.get_rng_state().double()}


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory):
    """What each of two processes computes of each case."""
    folder = tmp_path_factory.mktemp("ranks")
    left = run(2, [folder], script=Path(__file__))
    assert [one.code for one in left] == [0, 0], [one.err for one in left]
    return [torch.load(folder / f"found{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_processes_and_micro_batches_compute_the_same(of_ranks, case, tmp_path):
    knobs, accumulate = CASES[case]
    with float64():
        alone = compute(case, accumulate * (2 if knobs.get("batch_norm") == "rank" else 1), tmp_path / "alone")
    assert len(alone["steps"]) == STEPS and len(alone["running"]) > 2
    for found in (one[case] for one in of_ranks):
        assert furthest(found["steps"][0]["loss"], alone["steps"][0]["loss"]) < (1e-12, "")
        # Of what is as good as zero, as a bias before a batch norm, rounding is all there is.
        assert furthest(found["steps"][0]["gradients"], alone["steps"][0]["gradients"]) < (1e-9, "")
        assert furthest(found, alone) < (1e-7, "")


def test_a_run_in_micro_batches_says_what_batch_norm_sees(data, tmp_path, capsys):
    words = flags(data, tmp_path, people=4, target_batch=8, accumulate=2, source_steps=1, adapt_steps=1)
    assert main(words) == 0
    said = "of 4 clips of the source or 4 of the target at a time (--accumulate 2)"
    assert f"batch norm  {said}" in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text()


def test_what_is_computed_again_moves_nothing_and_may_be_asked_for_twice():
    torch.manual_seed(0)
    network, clips = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), torch.randn(8, 3, 2, 2)
    whole = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    whole.load_state_dict(network.state_dict())
    out = MicroBatches(2)(network, clips, network)
    halves = [whole[0](part) for part in clips.chunk(2)]
    torch.testing.assert_close(out, torch.cat([whole[1](half) for half in halves]))
    mean = 0.1 * sum(half.mean((0, 2, 3)) for half in halves) / 2
    var = 0.9 + 0.1 * sum(half.var((0, 2, 3)) for half in halves) / 2
    expected = {"running_mean": mean, "running_var": var, "num_batches_tracked": torch.tensor(1)}
    torch.testing.assert_close(dict(network[1].named_buffers()), expected)
    for _ in range(2):
        [found] = torch.autograd.grad(out.square().sum(), [network[0].weight], retain_graph=True)
        assert found.abs().sum() > 0
    torch.testing.assert_close(dict(network[1].named_buffers()), expected)
    with pytest.raises(ValueError, match="8 clips do not divide into 3 micro-batches"):
        MicroBatches(3)(network, clips, network)


if __name__ == "__main__":
    with float64(), ranks.joined():
        rank = os.environ["RANK"]
        found = {
            case: compute(case, accumulate, Path(sys.argv[1]) / f"{case}{rank}")
            for case, (_, accumulate) in CASES.items()
        }
        torch.save(found, f"{sys.argv[1]}/found{rank}")
