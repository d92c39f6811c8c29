"""combined_regression of clips: every backend against Eq. 9 written out group by group in float64."""

import importlib

import pytest
import torch
from cases import TOLERANCE, make
from interpreted import RUNS, TRITON_RUNS
from regression import (
    NAMES,
    STRENGTH,
    arguments,
    assert_close,
    assert_follows_written_out,
    in_float64,
    leaves_of,
    written_out,
)

from vreid_fast.kernels.combined_regression import combined_regression, combined_regression_reference
from vreid_fast.kernels.counter_random import as_seed, random_bits

# (N, D, J, S, hidden): single elements, odd sizes, more than one tile of each axis.
SIZES = (
    (1, 1, 1, 1, 1),
    (5, 7, 3, 4, 6),
    (20, 300, 18, 3, 33),
    (6, 9, 1, 8, 20),
    (70, 70, 66, 2, 5),
    (3, 2, 2, 2, 530),
)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float16), ids=str)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_values_and_gradients(size, dtype, backend, device):
    assert_follows_written_out(arguments(size, dtype, device), dtype, backend)


@pytest.mark.parametrize("backend, device", RUNS)
def test_all_outputs_are_differentiable(backend, device):
    given = arguments((5, 7, 3, 4, 6), torch.float32, device)
    exact = in_float64(given)
    grad_predictions, grad_combined = make((3, 2), seed=7), make((3, 7), seed=8)
    loss, predictions, combined = combined_regression(*given, torch.tensor(STRENGTH), backend=backend)
    total = 3 * loss + (predictions.double().cpu() * grad_predictions).sum()
    (total + (combined.double().cpu() * grad_combined).sum()).backward()
    loss, predictions, combined = written_out(exact)
    (3 * loss + (predictions * grad_predictions).sum()).backward(retain_graph=True)
    # What passes the head is reversed, what comes straight from `combined` is not.
    straight = torch.autograd.grad((combined * grad_combined).sum(), exact[0])[0]
    exact[0].grad = -STRENGTH * exact[0].grad + straight
    for name, one, other in zip(NAMES, leaves_of(given), leaves_of(exact), strict=True):
        assert_close(f"gradient of {name}", one.grad, other.grad, TOLERANCE[torch.float32])


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("output", (0, 1, 2), ids=("loss", "predictions", "combined"))
def test_one_output_alone_is_differentiable(output, backend, device):
    given = arguments((5, 7, 3, 4, 6), torch.float32, device)
    exact = in_float64(given)
    found, wanted = combined_regression(*given, STRENGTH, backend=backend)[output], written_out(exact)[output]
    grad = make(wanted.shape, seed=7)
    found.backward(grad.to(found))
    wanted.backward(grad)
    for name, one, other in zip(NAMES, leaves_of(given), leaves_of(exact), strict=True):
        sign = -STRENGTH if name == "clips" and output < 2 else 1.0
        if other.grad is None:
            assert one.grad is None or not one.grad.any()
        else:
            assert_close(f"gradient of {name}", one.grad, sign * other.grad, TOLERANCE[torch.float32])


@pytest.mark.parametrize("backend, device", RUNS)
def test_a_small_strength_loses_no_digits(backend, device):
    given = arguments((5, 7, 3, 4, 6), torch.float32, device)
    # Powers of two: both gradients are rounded alike.
    small, whole = (
        torch.autograd.grad(combined_regression(*given, strength, backend=backend).loss, given[0])[0]
        for strength in (2.0**-20, 1.0)
    )
    assert whole.any() and torch.equal(small * 2**20, whole)


@pytest.mark.parametrize("frames", (None, 3))
@pytest.mark.parametrize("domain_type", (torch.int64, torch.uint8, torch.bool), ids=str)
def test_without_padding_it_is_the_same_bit_for_bit(domain_type, frames, monkeypatch):
    clips, domains, groups, *head = arguments((20, 33, 6, 5, 9), torch.float32, frames=frames)
    groups = torch.arange(30).view(6, 5) % 20
    groups[1] = groups[0, 0]  # a clip five times
    given = clips, domains.to(domain_type), groups, *head
    told = []

    def asked(*arguments):
        told.append(arguments[-1])
        found = combined_regression_reference(*arguments[:-1], padded=arguments[-1])
        wanted = combined_regression_reference(*arguments[:-1], padded=True)
        for one, other in ((found, wanted), [torch.autograd.grad(of.loss, leaves_of(given)) for of in (found, wanted)]):
            assert all(map(torch.equal, one, other))
        return combined_regression_reference(*arguments)

    module = importlib.import_module("vreid_fast.kernels.combined_regression")
    monkeypatch.setattr(module, "combined_regression_reference", asked)
    combined_regression(*given, STRENGTH, dropout=0.4, backend="reference")
    groups[2, 3:] = -1
    combined_regression(*given, STRENGTH, dropout=0.4, backend="reference")
    assert told == [False, True]


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("seed", (0, 2**33 + 1, -1))
def test_dropout_is_a_function_of_the_seed(seed, backend, device):
    given = arguments((8, 9, 17, 3, 20), torch.float32, device)
    exact = in_float64(given)
    bits = random_bits(torch.tensor(seed), torch.arange(17)[:, None], torch.arange(20))
    kept = (bits >= 0.4 * 2**32).double() / 0.6
    assert 0.3 < (kept == 0).double().mean() < 0.5
    generator = torch.get_rng_state()
    found = combined_regression(*given, STRENGTH, dropout=0.4, seed=seed, backend=backend)
    assert torch.equal(torch.get_rng_state(), generator)
    again = combined_regression(*given, STRENGTH, dropout=0.4, seed=torch.tensor(seed, device=device), backend=backend)
    assert torch.equal(found.loss, again.loss)
    wanted = written_out(exact, kept)
    found.loss.backward()
    wanted[0].backward()
    exact[0].grad *= -STRENGTH
    assert_close("loss", found.loss, wanted[0], TOLERANCE[torch.float32])
    for name, one, other in zip(NAMES, leaves_of(given), leaves_of(exact), strict=True):
        assert_close(f"gradient of {name}", one.grad, other.grad, TOLERANCE[torch.float32])


@pytest.mark.parametrize("backend, device", RUNS)
def test_mixed_dtypes_and_strided_inputs(backend, device):
    given = list(arguments((5, 8, 3, 4, 6), torch.float32, device))
    given[0] = given[0].detach().bfloat16().requires_grad_()
    given[2] = torch.stack([given[2], given[2]], -1)[..., 0]
    given[3] = given[3].detach().T.contiguous().T.requires_grad_()
    exact = in_float64(given)
    found = combined_regression(*given, STRENGTH, backend=backend)
    wanted = written_out(exact)
    found.loss.backward()
    wanted[0].backward()
    exact[0].grad *= -STRENGTH
    assert_close("loss", found.loss, wanted[0], TOLERANCE[torch.bfloat16])
    for name, one, other in zip(NAMES, leaves_of(given), leaves_of(exact), strict=True):
        assert_close(f"gradient of {name}", one.grad, other.grad, TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("backend, device", RUNS)
def test_clips_outside_a_group_do_not_leak_into_it(backend, device):
    given = arguments((5, 7, 3, 4, 6), torch.float32, device)
    with torch.no_grad():
        given[0][4] = float("nan")
    groups = given[2].clamp_(max=3)
    found = combined_regression(*given, STRENGTH, backend=backend)
    found.loss.backward()
    assert found.loss.isfinite()
    assert given[0].grad.isfinite().all() and not given[0].grad[4].any()
    groups[1, 0] = 4
    found = combined_regression(*given, STRENGTH, backend=backend)
    assert found.predictions.isnan().any(1).tolist() == [False, True, False]
    assert found.combined.isnan().all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("dropout", (0.0, 0.5))
def test_gradcheck_of_the_reference(dropout):
    # With strength -1 the reversal is the identity, so that numerical gradients agree.
    clips, domains, groups, *head = arguments((5, 4, 3, 4, 6))
    rest = torch.tensor(-1.0), dropout, as_seed("combined_regression", 3, clips.device)

    def outputs(clips, *head):
        return tuple(combined_regression_reference(clips, domains, groups, *head, *rest))

    assert torch.autograd.gradcheck(outputs, (clips, *head))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_opcheck(backend, device):
    given = arguments((5, 4, 3, 4, 6), torch.float32, device)
    strength, seed = torch.tensor(STRENGTH, device=device), as_seed("combined_regression", 3, torch.device(device))
    forward = torch.ops.vreid_fast.combined_regression
    torch.library.opcheck(forward.default, (*given, strength, 0.25, seed, None))
    clips, _, groups, *head = given = [tensor.detach() for tensor in given]
    loss, predictions, combined, *saved = forward(*given, strength, 0.25, seed, None)
    grads = loss, predictions.clone(), combined.clone()
    rest = clips, groups, *head, strength, 0.25, None, predictions, combined, *saved
    for present in (grads, (grads[0], None, None), (None, grads[1], grads[2])):
        torch.library.opcheck(torch.ops.vreid_fast.combined_regression_backward.default, (*present, *rest))


@pytest.mark.parametrize("backend, device", RUNS)
def test_compiles_without_a_graph_break(backend, device):
    def loss(*given):
        return combined_regression(*given, dropout=0.5, seed=1, backend=backend).loss

    one, other = (arguments((5, 4, 3, 4, 6), torch.float32, device) for _ in range(2))
    loss(*one, torch.tensor(STRENGTH, device=device)).backward()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    compiled(*other, torch.tensor(STRENGTH, device=device)).backward()
    for name, left, right in zip(NAMES, leaves_of(one), leaves_of(other), strict=True):
        assert_close(name, left.grad, right.grad.double().cpu(), TOLERANCE[torch.float32])


@pytest.mark.parametrize(
    "at, value, message",
    (
        (0, torch.zeros(5), r"clips must be \(N, D\), or frames \(N, T, D\), got \(5,\)"),
        (1, torch.zeros(4, dtype=torch.int64), r"domains must be \(5,\), got \(4,\)"),
        (2, torch.zeros(3, dtype=torch.int64), r"groups must be \(J, S\) int64"),
        (2, torch.zeros(0, 3, dtype=torch.int64), r"groups must be \(J, S\) int64"),
        (2, torch.tensor([[0, 5]]), r"groups must hold -1..4, got 0..5"),
        (2, torch.tensor([[0, 1], [-1, -1]]), "groups must not be empty, got row 1 all -1"),
        (3, torch.zeros(6, 5), r"weight1 must be \(6, 4\), got \(6, 5\)"),
        (3, torch.zeros(6), r"weight1 must be \(hidden, 4\), got \(6,\)"),
        (5, torch.zeros(3, 6), r"weight2 must be \(2, 6\), got \(3, 6\)"),
        (6, torch.zeros(2, device="meta"), "bias2 must be on cpu as clips is, got meta; move it"),
    ),
)
def test_errors(at, value, message):
    given = list(arguments((5, 4, 3, 4, 6)))
    given[at] = value
    with pytest.raises(ValueError, match=message):
        combined_regression(*given, STRENGTH)


def test_dropout_and_dtype_errors():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        combined_regression(*arguments((5, 4, 3, 4, 6)), STRENGTH, dropout=1.0)
    for at, value, message in (
        (0, torch.zeros(5, 4, dtype=torch.int64), "clips must be floats, got torch.int64; convert it"),
        (1, torch.zeros(5), "domains must be integers, got torch.float32"),
    ):
        given = list(arguments((5, 4, 3, 4, 6)))
        given[at] = value
        with pytest.raises(TypeError, match=message):
            combined_regression(*given, STRENGTH)
    for strength in (torch.ones(2), torch.ones((), requires_grad=True)):
        with pytest.raises(ValueError, match="strength must hold one element without gradient"):
            combined_regression(*arguments((5, 4, 3, 4, 6)), strength)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with pytest.raises(TypeError, match="clips must be float32, bfloat16 or float16 on backend 'triton'"):
        combined_regression(*arguments((5, 4, 3, 4, 6), device=device), STRENGTH, backend="triton")
