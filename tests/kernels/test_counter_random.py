"""counter_random: bits that are even, the same on both backends and untouched by torch's generators."""

import pytest
import torch
from interpreted import TRITON_RUNS

from vreid_fast.kernels.counter_random import as_seed, random_bits, uniform

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")
triton_bits = pytest.importorskip("vreid_fast.kernels.counter_random_triton").random_bits


def test_a_known_value_stays():
    rows, columns = torch.arange(2)[:, None], torch.arange(2)
    assert random_bits(torch.tensor(0), rows, columns).tolist() == [
        [1106484830, 1589185447],
        [2680090525, 2933834721],
    ]


def test_bits_are_even_and_unrelated():
    numbers = uniform(torch.tensor(7), torch.arange(500)[:, None], torch.arange(500)).double()
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert numbers.mean().item() == pytest.approx(0.5, abs=3e-3)
    centred = (numbers - 0.5) * 12**0.5
    assert centred.var().item() == pytest.approx(1, abs=1e-2)
    for left, right in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1]), (centred, centred.T)):
        unrelated = (left * right)[left != right]
        assert abs(unrelated.mean().item()) < 1e-2


@pytest.mark.parametrize("seed", (1, -1, 2**40))
def test_seeds_differ(seed):
    at = torch.arange(100), torch.arange(100)
    assert (random_bits(torch.tensor(seed), *at) != random_bits(torch.tensor(0), *at)).all()
    assert torch.equal(as_seed("op", seed, torch.device("cpu")), torch.tensor(seed))
    assert as_seed("op", torch.tensor(seed, dtype=torch.int32 if seed < 2**31 else None), torch.device("cpu")) == seed


@triton.jit
def bits_kernel(seed, out, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    tl.store(out + row * COLUMNS + column, triton_bits(tl.load(seed), row, column).to(tl.int64))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("seed", (0, 5, -3, 2**40 + 1))
def test_triton_gives_the_same(seed, backend, device):
    out = torch.empty(8, 16, dtype=torch.int64, device=device)
    bits_kernel[(1,)](torch.tensor(seed, device=device), out, 8, 16)
    wanted = random_bits(torch.tensor(seed), torch.arange(8)[:, None], torch.arange(16))
    assert torch.equal(out.cpu(), wanted)
