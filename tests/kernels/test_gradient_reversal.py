import json

import pytest
import torch
from cases import DEVICES, DTYPES, LAYOUTS, SHAPES, make
from torch._dynamo.testing import CompileCounterWithBackend

from vreid_fast.kernels import gradient_reversal
from vreid_fast.kernels.backends import load_extension

BACKENDS = ("cpp", "reference")
STRENGTH = 0.375  # exact in every dtype


def strengths(device):
    return [STRENGTH, torch.tensor(STRENGTH, device=device), torch.full((1,), STRENGTH, device=device)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_identity_forward_and_reversed_gradient(shape, layout, device, backend):
    for dtype in DTYPES:
        for strength in strengths(device):
            x = make(shape, dtype=dtype, device=device, layout=layout).requires_grad_()
            gradient = make(shape, dtype=dtype, device=device, seed=1)
            y = gradient_reversal(x, strength, backend=backend)
            assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride() and y.dtype == dtype
            y.backward(gradient)
            assert x.grad.dtype == dtype
            assert torch.equal(x.grad, gradient * -STRENGTH)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strength_of_another_precision_keeps_the_dtype_of_the_gradient(backend):
    x = make((5,), dtype=torch.bfloat16).requires_grad_()
    gradient_reversal(x, torch.tensor([0.3], dtype=torch.float64), backend=backend).sum().backward()
    assert torch.equal(x.grad, torch.full((5,), -0.3, dtype=torch.bfloat16))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strength", [-1.0, torch.tensor(-1.0, dtype=torch.float64)], ids=["number", "tensor"])
def test_gradcheck_at_the_strength_where_it_is_a_true_gradient(strength, backend):
    x = make((3, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gradient_reversal(x, strength, backend=backend), x)
    assert torch.autograd.gradgradcheck(lambda x: gradient_reversal(x, strength, backend=backend) ** 3, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivative_is_reversed_too(backend):
    x = make((4,)).requires_grad_()
    for strength in strengths("cpu"):
        (first,) = torch.autograd.grad(
            (gradient_reversal(x, strength, backend=backend) ** 3).sum(), x, create_graph=True
        )
        # first = -s * 3 y^2 with y = x; its derivative passes through y once more and gains -s.
        (second,) = torch.autograd.grad(first.sum(), x)
        torch.testing.assert_close(second, STRENGTH**2 * 6 * x.detach())


@pytest.mark.parametrize("backend", BACKENDS)
def test_strength_changed_between_forward_and_backward_is_an_error(backend):
    x, strength = make((3,)).requires_grad_(), torch.tensor(STRENGTH)
    y = gradient_reversal(x, strength, backend=backend)
    strength.fill_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_place_change_of_the_result_is_an_error(backend):
    y = gradient_reversal(make((3,)).requires_grad_(), STRENGTH, backend=backend)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        y.relu_()


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_arguments(backend):
    x = make((3,))
    with pytest.raises(TypeError, match=r"x must be a floating-point tensor, got torch.int64; convert it"):
        gradient_reversal(torch.arange(3), STRENGTH, backend=backend)
    with pytest.raises(ValueError, match=r"strength must hold one element, got shape \[2\]; pass a 0-d"):
        gradient_reversal(x, torch.ones(2), backend=backend)
    with pytest.raises(ValueError, match="strength must not require a gradient"):
        gradient_reversal(x, torch.tensor(1.0, requires_grad=True), backend=backend)


@pytest.mark.parametrize("backend", [*BACKENDS, None])
@pytest.mark.parametrize("device", DEVICES)
def test_one_compilation_serves_a_schedule(device, backend):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def loss(x, strength):
        return (gradient_reversal(x, strength, backend=backend) * 2).sum()

    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    strength = torch.zeros((), device=device)
    for step in range(1000):
        strength.fill_(step / 1024)
        x = make((3, 4), dtype=torch.float32, device=device).requires_grad_()
        compiled(x, strength).backward()
        assert torch.equal(x.grad, torch.full_like(x, -2 * step / 1024))
    assert counter.frame_count == 1


def test_opcheck():
    load_extension()
    op = torch.ops.vreid_fast.gradient_reversal
    x = make((3, 4)).requires_grad_()
    torch.library.opcheck(op.default, (x, STRENGTH))
    torch.library.opcheck(op.tensor, (x, torch.tensor(STRENGTH)))
    torch.library.opcheck(op.tensor, (make((0, 5), layout="strided"), torch.tensor([STRENGTH])))


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_of_the_authors(shared, backend):
    case = json.loads(shared("parity/algorithms/schedules.json").read_text())["grl"]
    x = torch.tensor(case["input"], requires_grad=True)
    y = gradient_reversal(x, case["beta"], backend=backend)
    y.backward(torch.tensor(case["grad_out"]))
    assert torch.equal(y, torch.tensor(case["output"]))
    torch.testing.assert_close(x.grad, torch.tensor(case["grad_in"]), rtol=1e-7, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", BACKENDS)
def test_replayed_graph_reads_the_strength_of_the_moment(backend):
    x = make((64, 32), dtype=torch.float32, device="cuda").requires_grad_()
    strength = torch.ones((), device="cuda")

    def step():
        (gradient,) = torch.autograd.grad(gradient_reversal(x, strength, backend=backend).sum(), x)
        return gradient

    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        gradient = step()
    for value in (0.25, 0.5):
        strength.fill_(value)
        graph.replay()
        assert torch.equal(gradient, torch.full_like(gradient, -value))
