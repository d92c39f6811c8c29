"""Steps that are recorded and replayed: the same numbers as without, whatever happens between them."""

from collections import defaultdict
from itertools import cycle
from typing import NamedTuple

import pytest
import torch
from small_runs import real_steps
from tape import TapeRecorder
from torch import Tensor

from vreid_fast.data.reading.loader import Loader, ReadingOptions, Stream
from vreid_fast.device import choose_device
from vreid_fast.errors import InputError
from vreid_fast.training.compute import Compute, SourceInputs
from vreid_fast.training.graph import WARM, CudaGraphs, StepGraph, make_graph
from vreid_fast.training.logbook import read_history

CPU = torch.device("cpu")


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


def fails(error):
    raise AssertionError("it gave up") from error


def pair(value, size=2):
    return Pair(torch.full((size,), float(value)), torch.ones(size))


def test_a_recording_follows_its_inputs_and_keeps_nothing_of_the_last_run():
    total, graph = torch.zeros(()), StepGraph(recorder := TapeRecorder(lambda: [total]), fails)

    def add(pair):
        total.add_(pair.left.sum())
        return {"losses": {"total": total * 1, "product": (pair.left * pair.right).sum()}, "name": "x"}

    found = [graph(add, pair(value), ()) for value in range(6)]
    assert [float(one["losses"]["total"]) for one in found] == [0, 2, 6, 12, 20, 30] and float(total) == 30
    assert [float(one["losses"]["product"]) for one in found] == [0, 2, 4, 6, 8, 10] and found[-1]["name"] == "x"
    assert (recorder.recorded, recorder.replayed) == (1, 6 - WARM)


def test_each_shape_has_a_recording_of_its_own():
    graph = StepGraph(recorder := TapeRecorder(list), fails)
    for value in range(8):
        for size in (2, 3):
            found = graph(lambda_of_sum, pair(value, size), ())
            assert float(found["sum"]) == (value + 1) * size
    assert recorder.recorded == 2 and recorder.replayed == 2 * (8 - WARM)


def lambda_of_sum(pair):
    return {"sum": (pair.left + pair.right).sum()}


def test_inputs_of_other_strides_have_a_recording_of_their_own():
    """A recording reads a copy of its inputs that is laid out as they were."""
    graph = StepGraph(recorder := TapeRecorder(list), fails)
    for value in range(6):
        for rows in (torch.full((2, 3), float(value)), torch.full((3, 2), 10.0 + value).T):
            found = graph(lambda_of_sum, Pair(rows, torch.zeros(2, 3)), ())
            assert float(found["sum"]) == 6 * float(rows[0, 0])
    assert recorder.recorded == 2


def test_no_loader_is_given_the_stream_of_the_recordings(monkeypatch):
    """torch gives streams out in turn, from 32 for each priority."""
    pools = defaultdict(lambda: cycle(range(32)))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, priority=0: (priority, next(pools[priority])))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    graphs, reading = (
        CudaGraphs(torch.device("cuda:0")),
        ReadingOptions((8, 8), torch.device("cuda:0"), backend="torch"),
    )
    loaders = [Loader([Stream([], [])], reading) for _ in range(40)]
    assert graphs._stream not in [loader._side for loader in loaders]
    loaders[0].close()
    with Loader([Stream([], [])], reading) as after:  # whose memory serves the next
        assert after._side == loaders[0]._side


def test_another_basis_or_function_is_recorded_anew():
    factor, graph = [2.0], StepGraph(recorder := TapeRecorder(list), fails)

    def times(pair):
        return {"sum": (pair.left * factor[0]).sum()}

    def run(basis):
        return [float(graph(times, pair(1), basis)["sum"]) for _ in range(4)]

    assert run(("one",)) == [4] * 4
    factor[0] = 3.0
    assert run(("one",)) == [4] * 4, "a number of the host is what it was when it was recorded"
    assert run(("two",)) == [6] * 4 and recorder.recorded == 2
    assert float(graph(lambda_of_sum, pair(1), ("two",))["sum"]) == 4


def test_what_cannot_be_recorded_runs_as_it_is():
    reasons = []
    graph = StepGraph(recorder := TapeRecorder(list), reasons.append)

    def reads(pair):
        return {"sum": pair.left.sum() * pair.left.sum().item()}

    found = [float(graph(reads, pair(value), ())["sum"]) for value in range(5)]
    assert found == [0, 4, 16, 36, 64] and recorder.replayed == 0
    assert len(reasons) == 1 and "not permitted when stream is capturing" in str(reasons[0])


RUNS = [
    ("source", {}), ("bn_adapt", {}), ("paper", {}), ("plus", {}), ("plus", {"cluster_by": "kmeans"}),
    ("paper", {"camera_aware": False}),
    ("paper", {"loss_weights": "uncertainty", "combined_sizes": [2, 4]}), ("paper", {"cluster_over": "batch"}),
    ("paper", {"l1s": 0, "l2s": 0, "l3s": 0}), ("plus", {"precision": "bf16"}),
    ("glt", {"transport_over": "all", "transport_rounds": 3}),
    ("source", {"clothes": 1.0, "clothes_start": 0.3}),
    ("paper", {"clothes": 1.0, "clothes_start": 0.3, "clothes_by": "memory", "combined_sizes": [2]}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "knobs"), RUNS)
def test_replayed_steps_are_those_without(tmp_path, method, knobs):
    results = []
    for recorded in (False, True):
        own = {"log_every": 1, "gradients_every": 7, "cluster_every": 6, **knobs}
        session, steps, batches = real_steps(tmp_path / str(recorded), method, CPU, recordable=True, **own)
        learner = session.learner
        if recorded:
            recorder = TapeRecorder(lambda learner=learner: state_of(learner))
            steps.graph = StepGraph(recorder, fails)
        if learner.adaptation is not None:
            learner.adaptation.teacher.updater._backend = "reference"  # its C++ plan is no op that a tape can see
        with session, batches(24) as loader:
            for both in loader:
                (steps.source if learner.adaptation is None else steps.adapt)(*both)
        rows = read_history(session.folder / "metrics.jsonl")
        timeless = [{k: v for k, v in row.items() if k not in ("seconds", "clips_per_second")} for row in rows]
        results.append((timeless, {name: tensor.clone() for name, tensor in learner.tensors()}))
    (plain, of_plain), (replayed, of_replayed) = results
    assert len(plain) == 24 and plain == replayed
    assert all(torch.equal(tensor, of_replayed[name]) for name, tensor in of_plain.items())
    if knobs.get("cluster_over") == "batch":
        assert recorder.replayed == 0, "k-means of a batch has a seed of the host's"
    else:
        assert recorder.replayed >= 10 and recorder.recorded <= 3, "one for each size of combined clips"


def state_of(learner):
    """All that a step changes."""
    yield learner.reversal
    yield from (tensor for _, tensor in learner.tensors())
    for moments in learner.optimiser.state.values():
        yield from moments.values()
    if learner.clothes is not None and learner.clothes.optimiser is not None:
        for moments in learner.clothes.optimiser.state.values():
            yield from moments.values()
    if learner.adaptation is not None:
        yield from (learner.adaptation.teacher.updater._counters, learner.adaptation.teacher.updater._rates)
        memory = learner.adaptation.consistency.state_dict() or {}
        yield from (tensor for tensor in memory.values() if tensor is not None)


@pytest.mark.gpu
@pytest.mark.parametrize(("method", "knobs"), RUNS)
def test_graphs_are_those_without_on_a_gpu(tmp_path, method, knobs):
    losses = []
    for wanted in ("off", "on"):
        own = {"graph": wanted, "log_every": 1, "gradients_every": 7, "cluster_every": 6, "adapt_steps": 60, **knobs}
        session, steps, batches = real_steps(tmp_path / wanted, method, choose_device("cuda"), **own)
        with session, batches(50) as loader:
            for both in loader:
                (steps.source if session.learner.adaptation is None else steps.adapt)(*both)
        losses.append([row["loss"] for row in read_history(session.folder / "metrics.jsonl")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if knobs.get("precision") != "bf16" else 1e-2)


@pytest.mark.gpu
def test_a_wait_is_named_on_a_gpu():
    device = choose_device("cuda")
    graph = make_graph("on", device)

    def reads(pair):
        return {"sum": pair.left.sum() * pair.left.sum().item()}

    inputs = Pair(torch.ones(2, device=device), torch.ones(2, device=device))
    with pytest.raises(InputError, match="--graph on: a step could not be recorded as a CUDA graph"):
        for _ in range(WARM + 1):
            graph(reads, inputs, ())
    assert float(StepGraph(CudaGraphs(device), fails)(lambda_of_sum, inputs, ())["sum"]) == 4


@pytest.mark.gpu
def test_a_recording_that_failed_leaves_nothing_behind_on_a_gpu():
    device, reasons = choose_device("cuda"), []
    before, graph = torch.cuda.current_stream(), StepGraph(CudaGraphs(device), reasons.append)

    def reads(pair):
        noise = torch.nn.functional.dropout(pair.left)
        return {"sum": noise.sum() * pair.left.sum().item()}

    inputs = Pair(torch.ones(2, device=device), torch.ones(2, device=device))
    for _ in range(WARM + 3):  # after it was given up the steps still draw random numbers
        graph(reads, inputs, ())
    assert len(reasons) == 1 and torch.cuda.current_stream() == before
    torch.cuda.empty_cache()  # which asserts that nothing is recorded
    later = StepGraph(CudaGraphs(device), fails)
    assert [float(later(lambda_of_sum, inputs, ())["sum"]) for _ in range(WARM + 2)] == [4] * (WARM + 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["source", "paper", "plus"])
def test_what_is_computed_is_one_graph_to_torch_compile(tmp_path, method, monkeypatch):
    """All but the gradient step, which is autograd's, and what follows it in the memory."""
    session, steps, batches = real_steps(tmp_path, method, CPU, recordable=True, cluster_every=1000)
    learner, compute = session.learner, steps.compute
    with session, batches(2) as loader:
        for both in loader:
            (steps.source if learner.adaptation is None else steps.adapt)(*both)
        if learner.adaptation is None:
            function, inputs = compute.source, SourceInputs(both[0].clips, both[0].tracklets)
        else:
            function, inputs = compute.adapt, steps._inputs(learner.adaptation, *both)[0]
            learner.adaptation.teacher.follow = lambda: None
            learner.adaptation.consistency.after_step = lambda *_: None
        monkeypatch.setattr(Compute, "_gradient_step", lambda self, loss: loss.detach())
        torch.manual_seed(0)
        wanted = function(inputs).losses
        torch.manual_seed(0)
        found = torch.compile(function, fullgraph=True, backend="aot_eager")(inputs).losses
    assert found.keys() == wanted.keys() and {"total", "triplet"} <= found.keys()
    for name, loss in wanted.items():
        assert float(found[name].detach()) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6), name
