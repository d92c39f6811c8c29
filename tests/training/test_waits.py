"""What a step computes never waits for the device: shown on the CPU by what would wait, on a GPU by CUDA itself."""

import traceback

import pytest
import torch
from small_runs import TINY, write_people
from torch.utils._python_dispatch import TorchDispatchMode

from vreid_fast.config import Config
from vreid_fast.device import Precision, choose_device
from vreid_fast.models import camera_statistics, recompute_statistics
from vreid_fast.training import build
from vreid_fast.training.learner import Learner
from vreid_fast.training.steps import Steps

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense, aten.nonzero, aten.bincount, aten.masked_select, aten._unique2, aten.unique_dim,
    aten.is_nonzero, aten.equal, aten.lift_fresh,
}  # fmt: skip
"""Ops whose result the host needs before it goes on, and lift_fresh, which brings numbers of the host to the device."""


def of_cpu_alone():
    """Whether an op is of a kernel's check of its arguments, which looks into tensors on a CPU only."""
    frames = (frame for frame, _ in traceback.walk_stack(None))
    return any(frame.f_code.co_name == "_check" and "kernels" in frame.f_code.co_filename for frame in frames)


class NoWaits(TorchDispatchMode):
    """Fails at an op that would make the host wait for a GPU."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        assert op.overloadpacket not in WAITING or of_cpu_alone(), f"{op} waits for the device"
        if op.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            assert not any(place is not None and place.dtype == torch.bool for place in args[1]), f"{op} by a mask"
        return op(*args, **(kwargs or {}))


def without_waits(compute, seen):
    def watched(*inputs):
        seen.append(compute.__name__)
        with NoWaits():
            return compute(*inputs)

    return watched


def run_of(tmp_path, method, device, **knobs):
    """Steps of a small run that stands in its second stage, its session and its batches."""
    people = write_people(tmp_path / "people", seed=0)
    config = Config.of(**{
        **TINY, "source": f"folder:{people}", "target": f"folder:{people}", "method": method, "source_steps": 2,
        "adapt_steps": 40, "log_every": 100, "gradients_every": 0, "cluster_every": 10, "checkpoint_every": 100,
        "cache": "gpu" if device.type == "cuda" else "none", "run": str(tmp_path / "run"), **knobs,
    })  # fmt: skip
    precision = Precision(config.device.precision, device)
    domains = build.read_domains(config)
    domains.labels = domains.labels.to(device)
    student, _ = build.initial_network(config, domains.identities)
    learner = Learner(student.to(device), learning_rate=1e-3, weight_decay=5e-4)
    batches = build.make_batches(config, domains, precision, method == "plus")
    session = build.make_session(config, tmp_path, learner, precision, domains.identities, "{}")
    learner.step = 2
    build.start_adaptation(config, session, batches, build.make_protocol(config, batches.reading), method == "plus")
    return session, build.make_steps(config, session, domains.labels), batches


def steps_of(session, steps, batches, count):
    """Each step of a stage as a function, with the batches already there."""
    adapting = session.learner.adaptation is not None
    with batches.both(2, 2 + count, done=0) if adapting else batches.source(2, 2 + count) as loader:
        for both in loader:
            yield lambda both=both: (steps.adapt if adapting else steps.source)(*both)


@pytest.mark.parametrize("method", ["source", "bn_adapt", "paper", "plus"])
def test_nothing_waits_but_clustering(tmp_path, method, monkeypatch):
    (session, steps, batches), seen = run_of(tmp_path, method, torch.device("cpu")), []
    with session:
        for number, step in enumerate(steps_of(session, steps, batches, 6)):
            step()
            if number == 0:  # which clusters the target
                # Adam's own counts are on the host where its weights are; on a GPU it waits for nothing.
                monkeypatch.setattr(session.learner.optimiser, "step", lambda *_: None)
                for name in ("_source_compute", "_compute"):
                    monkeypatch.setattr(Steps, name, without_waits(getattr(Steps, name), seen))
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
@pytest.mark.parametrize("method", ["source", "bn_adapt", "paper", "plus"])
def test_nothing_waits_on_a_gpu(tmp_path, method):
    session, steps, batches = run_of(tmp_path, method, choose_device("cuda"))
    with session:
        for number, step in enumerate(steps_of(session, steps, batches, 30)):
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
