"""What a step computes never waits for the device: shown on the CPU by what would wait, on a GPU by CUDA itself."""

import pytest
import torch
from small_runs import real_steps
from waits import NoWaits

from vreid_fast.device import choose_device
from vreid_fast.models import camera_statistics, recompute_statistics
from vreid_fast.training.compute import Compute


def without_waits(compute, seen):
    def watched(*inputs, **options):
        seen.append(compute.__name__)
        with NoWaits():
            return compute(*inputs, **options)

    return watched


def steps_of(session, steps, loader):
    """Each step of a stage as a function, with the batches already there."""
    for both in loader:
        yield lambda both=both: (steps.source if session.learner.adaptation is None else steps.adapt)(*both)


@pytest.mark.parametrize("method", ["source", "bn_adapt", "paper", "plus", "glt"])
def test_nothing_waits_but_clustering(tmp_path, method, monkeypatch):
    (session, steps, batches), seen = real_steps(tmp_path, method, torch.device("cpu")), []
    with session, batches(6) as loader:
        for number, step in enumerate(steps_of(session, steps, loader)):
            step()
            if number == 0:  # which clusters the target
                # Adam's own counts are on the host where its weights are; on a GPU it waits for nothing.
                monkeypatch.setattr(session.learner.optimiser, "step", lambda *_: None)
                for name in ("source", "adapt"):
                    monkeypatch.setattr(Compute, name, without_waits(getattr(Compute, name), seen))
                if session.learner.adaptation is not None:  # what the host asks before each step
                    consistency = session.learner.adaptation.consistency
                    for name in ("clusters_before", "clusters_in_losses"):
                        monkeypatch.setattr(consistency, name, without_waits(getattr(consistency, name), []))
    assert session.learner.step == 8 and len(seen) == 5


def test_what_waits_is_seen(tmp_path):
    values, places = torch.randn(4), torch.tensor([0, 1, 1])
    for waits in (
        values.sum().item, values.nonzero, lambda: values[values > 0], lambda: torch.bincount(places),
        lambda: values[[0, 2]], lambda: torch.tensor([1.0]), lambda: bool(values.sum() > 0),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match="waits for the device|by a mask"), NoWaits():
            waits()


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["source", "bn_adapt", "paper", "plus", "glt"])
def test_nothing_waits_on_a_gpu(tmp_path, method):
    session, steps, batches = real_steps(tmp_path, method, choose_device("cuda"), cluster_every=10, cache="gpu")
    with session, batches(30) as loader:
        for number, step in enumerate(steps_of(session, steps, loader)):
            if number and number % 10:
                torch.cuda.set_sync_debug_mode("error")
            try:
                step()
            finally:
                torch.cuda.set_sync_debug_mode("default")


def test_statistics_wait_for_nothing():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    clips = [torch.randn(2, 3, 4, 4) for _ in range(3)]
    with NoWaits():
        assert recompute_statistics(network, clips) == 3
        assert camera_statistics(network, zip((1, 2, 1), clips)).keys() == {1, 2}
