"""Ops as torch sees them: they launch what their Triton files state and no more, and have one derivative."""

import importlib

import pytest
import torch
from cases import make
from interpreted import TRITON_RUNS
from launches import launches_of
from regression import arguments, leaves_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode

from vreid_fast.kernels import batch_norm, combined_regression, kmeans, kmeans_assign, temporal_pool

FORWARD = ["combined_regression_" + name for name in ("head_kernel", "hidden_kernel", "mean_kernel")]
BACKWARD = ["combined_regression_head_bwd_kernel", "combined_regression_scatter_kernel", "mm", "mm"]


@pytest.fixture(autouse=True)
def kernels():
    """Imported, so that they can be counted."""
    for op in ("batch_norm_backward", "combined_regression", "temporal_pool", "kmeans_gram", "kmeans_assign"):
        importlib.import_module(f"vreid_fast.kernels.{op}_triton")


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("frames", (None, 4))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
def test_combined_regression_launches(dtype, frames, backend, device, monkeypatch):
    given = [tensor.detach() for tensor in arguments((8, 16, 8, 4, 16), dtype, device, frames)]
    leaves = [tensor.requires_grad_() for tensor in leaves_of(given)]
    strength, seed = torch.tensor(0.5, device=device), torch.tensor(1, device=device)
    losses = []

    def forward(strength, seed):
        losses.append(combined_regression(*given, strength, dropout=0.5, seed=seed, backend=backend).loss)

    assert sorted(launches_of(lambda: forward(strength, seed), monkeypatch)) == FORWARD
    grad = torch.ones_like(losses[0])
    found = launches_of(lambda: torch.autograd.grad(losses[0], leaves, grad), monkeypatch)
    assert sorted(found) == BACKWARD
    # A number is written to the device first.
    assert sorted(launches_of(lambda: forward(0.5, 1), monkeypatch)) == [*FORWARD, "fill_", "fill_"]


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("output", (0, 1), ids=("frames", "clips"))
def test_temporal_pool_launches(output, backend, device, monkeypatch):
    maps = make((8, 6, 2, 2), dtype=torch.float32, device=device).requires_grad_()
    pooled = []
    found = launches_of(lambda: pooled.extend(temporal_pool(maps, 4, backend=backend)), monkeypatch)
    assert found == ["temporal_pool_fwd_kernel"]
    grad = torch.ones_like(pooled[output])
    found = launches_of(lambda: torch.autograd.grad(pooled[output], maps, grad), monkeypatch)
    assert found == ["temporal_pool_bwd_kernel"]


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("residual, relu", ((False, True), (True, True), (True, False)))
def test_batch_norm_launches(residual, relu, backend, device, monkeypatch):
    x = make((8, 6, 2, 2), dtype=torch.float32, device=device, layout="channels_last").requires_grad_()
    added = torch.ones_like(x, requires_grad=True) if residual else None
    running = {"running_mean": torch.zeros(6, device=device), "running_var": torch.ones(6, device=device)}
    counter, out = torch.tensor(0, device=device), []

    def forward():
        out.append(batch_norm(x, residual=added, relu=relu, **running, batches=counter, momentum=None, backend=backend))

    found = launches_of(forward, monkeypatch)
    assert sorted(found) == ["batch_norm_kernel", "batch_norm_moments_kernel", "batch_norm_union_kernel"]
    grad, leaves = torch.ones_like(out[0]), [x, added] if residual else [x]
    found = launches_of(lambda: torch.autograd.grad(out[0], leaves, grad), monkeypatch)
    assert sorted(found) == ["batch_norm_grad_kernel", "batch_norm_sums_kernel", "batch_norm_sums_union_kernel"]
    found = launches_of(lambda: torch.ops.vreid_fast.batch_norm_statistics(x.detach(), None, 1), monkeypatch)
    assert sorted(found) == ["batch_norm_moments_kernel", "batch_norm_union_kernel"]


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("problems", ((), (3,)), ids=("alone", "batched"))
@pytest.mark.parametrize("samples, width", ((64, 32), (64, 200), (100, 32)))
def test_kmeans_of_few_samples_is_three_kernels_and_a_sum(samples, width, problems, backend, device, monkeypatch):
    x, seed = make((*problems, samples, width), dtype=torch.float32, device=device), torch.tensor(1, device=device)
    found = launches_of(lambda: kmeans(x, 16, restarts=10, seed=seed, iterations=3, backend=backend), monkeypatch)
    one_sum = "fill_" if device == "cpu" else "sum"  # which on a CPU begins with zeros
    assert sorted(found) == sorted(["kmeans_products_kernel", "kmeans_gram_kernel", "kmeans_finish_kernel", one_sum])


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize(
    "clusters, wanted",
    (
        (7, ["kmeans_assign_few_kernel"]),
        (129, ["kmeans_assign_kernel", "kmeans_columns_kernel", "kmeans_distances_kernel"]),
    ),
)
def test_kmeans_assign_launches(clusters, wanted, backend, device, monkeypatch):
    x = make((200, 8), dtype=torch.float32, device=device)
    found = launches_of(lambda: kmeans_assign(x, x[:clusters], backend=backend), monkeypatch)
    assert sorted(found) == wanted


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_a_second_derivative_raises(backend, device):
    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device).requires_grad_()
    (grad,) = torch.autograd.grad(temporal_pool(maps, 2, backend=backend)[1].square().sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_nothing_is_recorded_without_grad(backend, device):
    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device).requires_grad_()
    with torch.no_grad():
        assert not temporal_pool(maps, 2, backend=backend)[1].requires_grad
    assert not temporal_pool(maps.detach(), 2, backend=backend)[1].requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_runs_on_the_gpu_of_the_arguments():
    for device in ("cuda:0", "cuda:1"):
        x = make((40, 8), dtype=torch.float32, device=device)
        labels = kmeans(x, 4, backend="triton").labels
        assert labels.device == x.device and torch.equal(labels, kmeans(x, 4, backend="triton").labels)


class Seen(TorchDispatchMode):
    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        self.names = [*getattr(self, "names", ()), str(op)]
        return op(*args, **(kwargs or {}))


class SeenAbove(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names = [*getattr(self, "names", ()), str(function)]
        return function(*args, **(kwargs or {}))


def under_a_mode(mode):
    def names(function, x):
        with mode() as seen:
            function(x)
        return seen.names

    return names


def profiled(function, x):
    with profile() as seen:
        function(x)
    return [event.name.replace("::", ".") for event in seen.events()]


def traced(function, x):
    with pytest.warns(torch.jit.TracerWarning):
        graph = torch.jit.trace(function, x, check_trace=False).graph
    return [node.kind().replace("::", ".") for node in graph.nodes()]


LISTENERS = {
    "dispatch": under_a_mode(Seen),
    "function": under_a_mode(SeenAbove),
    "profile": profiled,
    "make_fx": lambda function, x: [str(node.target) for node in make_fx(function)(x).graph.nodes],
    "trace": traced,
}


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("listener", LISTENERS)
def test_who_listens_hears_of_the_op(listener, backend, device):
    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device)
    names = LISTENERS[listener](lambda x: temporal_pool(x, 2, backend=backend)[1], maps)
    assert any(name.startswith("vreid_fast.temporal_pool") for name in names)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_where_nobody_listens_the_dispatcher_is_passed_by(backend, device, monkeypatch):
    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device).requires_grad_()
    clips = temporal_pool(maps, 2, backend=backend)[1].sum()
    (expected,) = torch.autograd.grad(clips, maps)

    def called(op, *_):
        raise AssertionError(f"{op} was dispatched")

    monkeypatch.setattr(torch._ops.OpOverload, "__call__", called)
    passed = temporal_pool(maps, 2, backend=backend)[1].sum()
    assert torch.equal(passed, clips) and torch.equal(torch.autograd.grad(passed, maps)[0], expected)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_tensors_that_are_not_their_memory(backend, device):
    def pool(x):
        return temporal_pool(x, 2, backend=backend)[1]

    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device)
    negative = torch.complex(maps, maps).conj().imag
    assert negative.is_neg() and torch.equal(pool(negative), pool(-maps))
    assert type(pool(FakeTensorMode().from_tensor(maps))).__name__ == "FakeTensor"
    assert torch.equal(torch.func.vmap(pool)(maps.expand(3, 4, 3, 2, 2)), pool(maps).expand(3, 2, 3))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("grad", (True, False))
def test_a_tangent_is_not_lost_without_a_word(grad, backend, device):
    maps = make((4, 3, 2, 2), dtype=torch.float32, device=device)
    with torch.autograd.forward_ad.dual_level(), torch.set_grad_enabled(grad):
        dual = torch.autograd.forward_ad.make_dual(maps, torch.ones_like(maps))
        with pytest.raises(RuntimeError, match="jvp"):
            temporal_pool(dual, 2, backend=backend)
