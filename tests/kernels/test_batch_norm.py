"""batch_norm: every backend against the definition written out in float64; the whole batch against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from cases import TOLERANCE, make
from interpreted import RUNS, TRITON_RUNS
from providers import graphed

from vreid_fast.kernels import batch_norm, batch_statistics
from vreid_fast.kernels.batch_norm_reference import batch_norm_reference

# (N, C, H, W): more than one part and slab of channels, odd sizes, one position, one channel.
SHAPES = ((6, 70, 13, 11), (4, 16, 9, 8), (2, 5, 3, 7), (9, 3, 1, 1), (4, 1, 2, 3))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ENDS = ((False, False), (False, True), (True, False), (True, True))  # residual, relu


def arguments(shape, dtype, device, residual=True, layout="channels_last"):
    """Leaves x, weight, bias, residual; weights of either sign, means far from 0."""
    channels = shape[1]
    x = make(shape, seed=1) * 2 + torch.arange(channels)[:, None, None] % 5
    leaves = [x.to(device, dtype)]
    leaves[0] = leaves[0].contiguous(memory_format=torch.channels_last) if layout == "channels_last" else leaves[0]
    leaves += [make((channels,), dtype=torch.float32, device=device, seed=seed) for seed in (2, 3)]
    leaves.append(torch.empty_like(leaves[0]).copy_(make(shape, seed=4)) if residual else None)
    return [None if leaf is None else leaf.requires_grad_() for leaf in leaves]


def running_of(*rows, channels, device):
    return {
        "running_mean": make((*rows, channels), dtype=torch.float32, device=device, seed=5),
        "running_var": make((*rows, channels), dtype=torch.float32, device=device, seed=6).abs(),
        "batches": torch.full(rows, 3, device=device),
    }


def written_out(x, weight, bias, residual, groups, eps=1e-5):
    """The definition without the ReLU, group by group, in float64: the result, means (G, C), variances, counts."""
    out, statistics = torch.zeros_like(x), []
    for group in range(int(torch.where(groups < 0, -1 - groups, groups).max()) + 1):
        members, all_of_it = groups == group, (groups == group) | (groups == -1 - group)
        if not members.any():
            statistics.append((torch.zeros(x.shape[1]), torch.zeros(x.shape[1]), 0))
            continue
        values = x[members].transpose(0, 1).flatten(1)
        mean, var = values.mean(1), values.var(1, correction=0)
        normal = (x[all_of_it] - mean[:, None, None]) / (var + eps).sqrt()[:, None, None]
        out = out.index_put((all_of_it.nonzero()[:, 0],), normal * weight[:, None, None] + bias[:, None, None])
        statistics.append((mean, var, values.shape[1]))
    return out if residual is None else out + residual, statistics


def exact_of(leaves):
    return [None if leaf is None else leaf.detach().double().cpu().requires_grad_() for leaf in leaves]


def assert_close(name, found, wanted, tolerance):
    scale = max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(
        found.double().cpu() / scale, wanted / scale, **tolerance, msg=lambda difference: f"{name}: {difference}"
    )


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("grouped", (False, True), ids=("whole", "groups"))
@pytest.mark.parametrize("residual, relu", ENDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_values_gradients_and_running_statistics(shape, residual, relu, grouped, backend, device):
    samples, channels = shape[:2]
    groups = torch.tensor([0, 2, 2, -3, 0, -1, 2, 0, 2])[:samples] if grouped else torch.zeros(samples).long()
    for dtype in DTYPES if shape == SHAPES[0] else DTYPES[:1]:
        leaves = arguments(shape, dtype, device, residual)
        exact = exact_of(leaves)
        wanted, statistics = written_out(*exact, groups)
        running = running_of(*(2,) * grouped, channels=channels, device=device)
        before = {name: value.clone() for name, value in running.items()}
        named = {"groups": groups.to(device), "group_count": 3} if grouped else {}
        x, weight, bias, added = leaves
        found = batch_norm(
            x, weight, bias, residual=added, relu=relu, **running, **named, momentum=0.25, backend=backend
        )
        assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
        assert_close("result", found.detach(), wanted.detach().relu() if relu else wanted.detach(), TOLERANCE[dtype])

        grad = make(shape, seed=9).to(dtype)
        # The mask of the rounded result: next to 0 another decides otherwise.
        wanted.backward(torch.where(found.detach().cpu() > 0, grad, 0).double() if relu else grad.double())
        found.backward(grad.to(device))
        tolerance = TOLERANCE[dtype] if dtype != torch.float32 else {"rtol": 1e-4, "atol": 1e-5}
        for name, leaf, other in zip(("x", "weight", "bias", "residual"), leaves, exact, strict=True):
            if leaf is not None:
                assert leaf.grad.dtype == leaf.dtype
                assert_close(f"gradient of {name}", leaf.grad, other.grad, tolerance)

        for row in range(2 if grouped else 1):
            mean, var, count = statistics[row]
            at = {name: value[row] if grouped else value for name, value in running.items()}
            old = {name: value[row] if grouped else value for name, value in before.items()}
            assert at["batches"] == 3 + (count > 0)
            if count == 0:
                assert all(torch.equal(at[name], old[name]) for name in at)
                continue
            for name, new in (("running_mean", mean), ("running_var", var * count / max(count - 1, 1))):
                moved = 0.75 * old[name].double().cpu() + 0.25 * new.detach()
                assert_close(name, at[name], moved, TOLERANCE[torch.float32])


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("grouped", (False, True), ids=("whole", "groups"))
def test_nothing_cancels_where_the_mean_is_far_from_zero(grouped, backend, device):
    x = (make((6, 20, 12, 10)) + 4096).to(device, torch.float32).contiguous(memory_format=torch.channels_last)
    x[0, :, 0, 0] = 0  # what a shift by the first value, or by 0, would not survive
    groups = torch.tensor([0, 1, 0, 1, 0, 1], device=device) if grouped else None
    found = batch_statistics(x, groups, 1 + grouped, backend=backend)
    for group in range(1 + grouped):
        values = x.double().cpu()[group :: 1 + grouped].transpose(0, 1).flatten(1)
        torch.testing.assert_close(found.mean[group].double().cpu(), values.mean(1), rtol=1e-6, atol=0)
        torch.testing.assert_close(found.var[group].double().cpu(), values.var(1), rtol=1e-4, atol=0)
    x[0, :, 0, 0] = 4096
    named = {"groups": groups, "group_count": 2} if grouped else {}
    members = torch.zeros(6).long() if groups is None else groups.cpu()
    wanted, _ = written_out(x.double().cpu(), torch.ones(20), torch.zeros(20), None, members)
    found = batch_norm(x, **named, backend=backend)
    torch.testing.assert_close(found.double().cpu(), wanted, rtol=0, atol=4e-3)  # the last digit of x is 0.0005


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("value", (float("nan"), float("inf")))
@pytest.mark.parametrize("relu", (False, True))
def test_nan_stays_in_its_channel_of_its_group(value, relu, backend, device):
    leaves = arguments((6, 20, 5, 4), torch.float32, device)
    groups = torch.tensor([0, 1, 0, 1, 0, 1], device=device)
    with torch.no_grad():
        leaves[0][2, 7, 1, 3] = value
    x, weight, bias, residual = leaves
    found = batch_norm(x, weight, bias, residual=residual, relu=relu, groups=groups, group_count=2, backend=backend)
    found.sum().backward()
    for maps in (found, x.grad):
        broken = maps.isnan().any(3).any(2)
        assert broken[::2, 7].any() and not broken[1::2].any()
        assert not broken[:, torch.arange(20) != 7].any()
    assert weight.grad.isnan().nonzero().tolist() == [[7]]


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("rows", ((), (3,)), ids=("whole", "groups"))
def test_without_momentum_running_statistics_are_the_average(rows, backend, device):
    running = running_of(*rows, channels=5, device=device)
    running["batches"].zero_()
    given = [torch.tensor(values, device=device) for values in ([0, 0, 2, 2], [2, 2, 2, 2], [1, 1, 0, 0])]
    seen = {group: [] for group in range(3 if rows else 1)}
    for seed, groups in enumerate(given):
        x = make((4, 5, 6, 3), dtype=torch.float32, device=device, layout="channels_last", seed=seed)
        named = {"groups": groups, "group_count": 3} if rows else {}
        batch_norm(x, **running, **named, momentum=None, backend=backend)
        for group in seen:
            members = x[groups == group] if rows else x
            if len(members):
                values = members.transpose(0, 1).flatten(1)
                seen[group].append((values.mean(1), values.var(1)))
    for group, each in seen.items():
        for number, name in enumerate(("running_mean", "running_var")):
            found = running[name][group] if rows else running[name]
            torch.testing.assert_close(found, torch.stack([one[number] for one in each]).mean(0))
    assert running["batches"].tolist() == ([2, 1, 2] if rows else 3)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16), ids=str)
@pytest.mark.parametrize("layout", ("contiguous", "channels_last"))
def test_on_the_cpu_it_is_torch_s_bit_for_bit(layout, dtype):
    x, weight, bias, residual = arguments((6, 20, 5, 4), dtype, "cpu", layout=layout)
    weight, bias = (leaf.detach().to(torch.promote_types(dtype, torch.float32)) for leaf in (weight, bias))
    ours, theirs = (running_of(channels=20, device="cpu") for _ in range(2))
    for running in (ours, theirs):
        running |= {name: value.to(weight.dtype) for name, value in running.items() if name != "batches"}
    grads = []
    for running in (ours, theirs):
        if running is ours:
            out = batch_norm(x, weight, bias, residual=residual, relu=True, **running)
        else:
            out = F.batch_norm(x, running["running_mean"], running["running_var"], weight, bias, True, 0.1, 1e-5)
            out = F.relu(out + residual)
        grads.append((out.detach(), *torch.autograd.grad(out, (x, residual), make(out.shape, dtype=dtype))))
    assert all(torch.equal(one, other) for one, other in zip(*grads))
    assert torch.equal(ours["running_mean"], theirs["running_mean"]) and ours["batches"] == 4
    assert torch.equal(ours["running_var"], theirs["running_var"])


@pytest.mark.parametrize("backend, device", RUNS)
def test_parameters_and_statistics_of_half_precision_and_without_any(backend, device):
    x = make((4, 5, 6, 3), dtype=torch.float32, device=device, layout="channels_last").requires_grad_()
    plain = batch_norm(x, backend=backend)
    assert_close("plain", plain.detach(), written_out(*exact_of([x]), torch.ones(5), torch.zeros(5), None,
                 torch.zeros(4).long())[0].detach(), TOLERANCE[torch.float32])  # fmt: skip
    halves = [torch.ones(5, dtype=torch.bfloat16, device=device, requires_grad=True) for _ in range(2)]
    running = {name: value.bfloat16() for name, value in running_of(channels=5, device=device).items()}
    running["batches"] = torch.tensor(0, device=device)
    half = x.detach().bfloat16().contiguous(memory_format=torch.channels_last)
    out = batch_norm(half, *halves, **running, momentum=1.0, backend=backend)
    assert_close("half", out.detach(), plain.detach().double().cpu() + 1, TOLERANCE[torch.bfloat16])
    out.sum().backward()
    assert halves[1].grad.tolist() == [72.0] * 5
    found = batch_statistics(half, backend=backend)
    torch.testing.assert_close(running["running_var"], found.var[0].to(running["running_var"].dtype))


@pytest.mark.parametrize("backend, device", RUNS)
def test_without_samples(backend, device):
    x = torch.zeros(0, 5, 2, 2, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()
    running = running_of(1, channels=5, device=device)
    before = {name: value.clone() for name, value in running.items()}
    none = torch.zeros(0, dtype=torch.int64, device=device)
    out = batch_norm(x, **running, groups=none, relu=True, backend=backend)
    out.sum().backward()
    assert out.shape == x.shape == x.grad.shape
    assert all(torch.equal(value, before[name]) for name, value in running.items())
    assert batch_statistics(x, none, 2, backend=backend).values.tolist() == [0, 0]


@pytest.mark.parametrize("residual, relu", ENDS)
@pytest.mark.parametrize("grouped", (False, True), ids=("whole", "groups"))
def test_gradcheck_of_the_reference(grouped, residual, relu):
    leaves = [make((4, 3, 2, 3)), make((3,), seed=1), make((3,), seed=2), make((4, 3, 2, 3), seed=3)]
    leaves = [leaf.requires_grad_() for leaf in leaves[: 3 + residual]]
    named = {"groups": torch.tensor([0, 1, -1, 0]), "group_count": 2} if grouped else {}
    assert torch.autograd.gradcheck(lambda *given: batch_norm_reference(*given, **named, relu=relu), leaves)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_the_sums_have_one_order(backend, device):
    found = []
    for _ in range(2):
        leaves = arguments((6, 20, 13, 11), torch.bfloat16, device)
        out = batch_norm(*leaves[:3], residual=leaves[3], relu=True, backend=backend)
        out.backward(torch.ones_like(out))
        found.append([out, *(leaf.grad for leaf in leaves)])
    assert all(torch.equal(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("layout", ("contiguous", "expanded"))
def test_gradients_of_any_layout(layout, backend, device):
    x, weight, bias, residual = arguments((6, 20, 5, 4), torch.float32, device)
    grad = make((6, 20, 1, 1), dtype=torch.float32, device=device).expand(6, 20, 5, 4)
    grads = [
        torch.autograd.grad(
            batch_norm(x, weight, bias, residual=residual, relu=True, backend=one), (x, residual), given
        )
        for one, given in ((backend, grad if layout == "expanded" else grad.contiguous()), ("reference", grad))
    ]
    for one, other in zip(*grads):
        assert one.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("residual, relu", ENDS)
def test_opcheck(residual, relu, backend, device):
    x, weight, bias, added = arguments((4, 3, 2, 3), torch.float32, device, residual)
    groups = torch.tensor([0, 1, -1, 0], device=device)
    running = running_of(2, channels=3, device=device).values()
    op = torch.ops.vreid_fast.batch_norm.default
    torch.library.opcheck(op, (x, weight, bias, added, *running, groups, 2, None, 1e-5, relu))
    torch.library.opcheck(op, (x, None, None, added, None, None, None, None, 1, 0.1, 1e-5, relu))
    torch.library.opcheck(torch.ops.vreid_fast.batch_norm_statistics.default, (x.detach(), groups, 2))
    maps = x.detach()
    out, statistics = op(maps, None, None, None, None, None, None, groups, 2, 0.1, 1e-5, relu)
    masking = out if residual and relu else None
    again = None if masking is None else torch.ones_like(maps)
    torch.library.opcheck(
        torch.ops.vreid_fast.batch_norm_backward.default,
        (torch.ones_like(maps), again, maps, masking, weight.detach(), None, statistics, groups, 1e-5, relu),
    )


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("grouped", (False, True), ids=("whole", "groups"))
def test_compiles_without_a_graph_break(grouped, backend, device):
    groups = torch.tensor([0, 1, -1, 0], device=device)
    named = {"groups": groups, "group_count": 2} if grouped else {}

    def total(x, weight, bias, residual, running_mean, running_var, batches):
        found = batch_norm(
            x, weight, bias, residual=residual, relu=True, running_mean=running_mean, running_var=running_var,
            batches=batches, momentum=None, backend=backend, **named,
        )  # fmt: skip
        return (found * 2).sum()

    results = []
    for function in (total, torch.compile(total, fullgraph=True, backend="aot_eager")):
        leaves = arguments((4, 3, 2, 3), torch.float32, device)
        running = list(running_of(channels=3, device=device).values())
        function(*leaves, *running).backward()
        results.append([*running, *(leaf.grad for leaf in leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_a_backward_after_the_statistics_moved_raises(backend, device):
    x, weight, bias, _ = arguments((4, 3, 2, 3), torch.float32, device)
    running = running_of(channels=3, device=device)
    evaluated = F.batch_norm(x, running["running_mean"], running["running_var"], weight, bias)
    batch_norm(x, weight, bias, **running, backend=backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        evaluated.sum().backward()


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_layouts_and_types_that_a_kernel_does_not_take(backend, device):
    maps = make((4, 3, 2, 3), dtype=torch.float32, device=device)
    rows = maps.contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match=r"x must be channels_last on backend 'triton', got strides \(18, 6, 3, 1\)"):
        batch_norm(maps, backend=backend)
    with pytest.raises(ValueError, match="residual must be channels_last on backend 'triton'"):
        batch_norm(rows, residual=maps, backend=backend)
    with pytest.raises(
        TypeError, match=r"residual must be torch.float32 .* got torch.bfloat16; use backend='reference'"
    ):
        batch_norm(rows, residual=rows.bfloat16(), backend=backend)
    with pytest.raises(TypeError, match="x must be float32, bfloat16 or float16 on backend 'triton'"):
        batch_norm(rows.double(), backend=backend)
    assert batch_norm(maps, residual=maps.bfloat16()).dtype == torch.float32, "None takes what can"


@pytest.mark.parametrize(
    "named, message",
    (
        ({"x": torch.zeros(4, 3)}, r"x must be \(N, C, H, W\), got \(4, 3\)"),
        ({"x": torch.zeros(1, 3, 1, 1)}, r"x must have more than one value a channel, got \(1, 3, 1, 1\)"),
        ({"weight": torch.zeros(4)}, r"weight must be \(3,\), got \(4,\)"),
        ({"residual": torch.zeros(4, 3, 2, 2)}, r"residual must be \(4, 3, 2, 5\), got"),
        ({"running_mean": torch.zeros(3)}, "running_mean and running_var go together"),
        ({"group_count": 2}, "group_count must be at least 1, and 1 without groups, got 2"),
        ({"groups": torch.tensor([0, 1])}, r"groups must be \(4,\), got \(2,\)"),
        (
            {"groups": torch.tensor([0, 2, 0, 0]), "group_count": 2},
            r"groups must hold 0..1, or -1 - g .* got \[0, 2, 0",
        ),
        ({"groups": torch.tensor([0, 0, 0, -2]), "group_count": 2}, "or -1 - g of a group g that has samples"),
        (
            {"running_mean": torch.zeros(3), "running_var": torch.zeros(3), "momentum": None},
            "momentum None averages over all batches; give batches",
        ),
        (
            {"running_mean": torch.zeros(3, 3), "running_var": torch.zeros(3, 3), "groups": torch.zeros(4).long()},
            "running_mean must have 1 to 1 rows, got 3",
        ),
        (
            {"running_mean": torch.zeros(3), "running_var": torch.zeros(3), "batches": torch.zeros(2).long()},
            r"batches must be \(\), got \(2,\)",
        ),
    ),
)
def test_errors(named, message):
    with pytest.raises(ValueError, match=f"batch_norm: .*{message}"):
        batch_norm(**{"x": torch.zeros(4, 3, 2, 5)} | named)


def test_type_errors():
    x = torch.zeros(4, 3, 2, 5)
    with pytest.raises(TypeError, match="x must be of a float type, got torch.int64"):
        batch_norm(x.long())
    with pytest.raises(TypeError, match="groups must be integers, got torch.float32"):
        batch_norm(x, groups=torch.zeros(4))
    with pytest.raises(TypeError, match="weight must be floats, got torch.int64"):
        batch_norm(x, torch.ones(3).long())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16, torch.float32), ids=str)
@pytest.mark.parametrize("shape", ((32, 64, 128, 64), (32, 256, 64, 32), (64, 2048, 16, 8), (64, 512, 16, 8)))
def test_shapes_of_a_resnet_on_a_gpu(shape, dtype):
    groups = torch.arange(shape[0], device="cuda") % 2
    grad = make(shape, seed=9).to("cuda", dtype)
    for named in ({}, {"groups": groups, "group_count": 2}):
        leaves = arguments(shape, dtype, "cuda")
        exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
        results = []
        for (x, weight, bias, residual), backend in ((leaves, "triton"), (exact, "reference")):
            running = running_of(channels=shape[1], device="cuda")
            if backend == "reference":
                running |= {name: value.double() for name, value in running.items() if name != "batches"}
            out = batch_norm(x, weight, bias, residual=residual, relu=True, **running, **named, backend=backend)
            out.backward(grad.to(out.dtype))
            results.append([out.detach(), *running.values(), x.grad, weight.grad, bias.grad, residual.grad])
        for one, other in zip(*results, strict=True):
            # A result next to 0 may round to its other side, and let a gradient through: a few in a thousand may.
            apart = (one.double() - other.double()).abs() > 2e-2 * max(1.0, float(other.abs().max()))
            assert apart.double().mean() < 1e-3


@pytest.mark.gpu
def test_replays_from_a_cuda_graph():
    leaves = arguments((6, 64, 9, 8), torch.bfloat16, "cuda")
    running, groups = running_of(2, channels=64, device="cuda"), torch.tensor([0, 1, 0, 1, -1, 0], device="cuda")

    def step():
        out = batch_norm(
            *leaves[:3], residual=leaves[3], relu=True, **running, groups=groups, group_count=2, momentum=None,
            backend="triton",
        )  # fmt: skip
        return out.detach(), *torch.autograd.grad(out.float().square().sum(), leaves)

    replay = graphed(step)
    with torch.no_grad():
        leaves[0].copy_(make((6, 64, 9, 8), seed=4))
    groups.copy_(torch.tensor([1, 0, 0, 1, 1, -2]))
    kept = {name: value.clone() for name, value in running.items()}
    found = [tensor.clone() for tensor in (*replay(), *running.values())]
    for name, value in kept.items():
        running[name].copy_(value)
    for one, other in zip(found, (*step(), *running.values()), strict=True):
        assert torch.equal(one, other)
    assert (found[-1] == kept["batches"] + 1).all()
