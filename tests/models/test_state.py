"""What of a state dict a network can take, and what in a network is not finite."""

import pytest
import torch

from vreid_fast.models.state import few, misfits, not_finite


def states():
    own = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict()
    return own, {name: value.clone() for name, value in own.items()}


def test_a_state_of_the_same_network_fits():
    own, given = states()
    assert misfits(given, own) == []
    assert misfits({name: value.double() if value.dim() else value for name, value in given.items()}, own) == []


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("0.bias", None, "0.bias is NoneType, wanted a tensor"),
        ("0.bias", torch.zeros(4), "0.bias has shape (4,), wanted (3,)"),
        ("0.bias", torch.zeros(3, dtype=torch.int64), "0.bias is torch.int64, wanted torch.float32"),
        ("0.bias", torch.tensor([0, torch.nan, torch.inf]), "0.bias holds 2 NaN or infinite values of 3"),
        ("0.bias", torch.full((3,), 1e39, dtype=torch.float64), "0.bias holds 3 NaN or infinite values of 3"),
        ("1.running_var", torch.tensor([1.0, 0.0, -1e-9]), "1.running_var holds variances below zero"),
        ("1.num_batches_tracked", torch.tensor(1.5), "1.num_batches_tracked is torch.float32, wanted torch.int64"),
        ("extra", torch.zeros(1), "extra has no place in this network"),
    ],
)
def test_each_reason_is_named(name, value, wanted):
    own, given = states()
    assert misfits({**given, name: value}, own) == [wanted]


def test_a_missing_tensor_is_named():
    own, given = states()
    del given["0.weight"]
    assert misfits(given, own) == ["0.weight is missing"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_tensor_that_is_not_finite_is_named(value, place):
    tensors = [("a", torch.ones(4)), ("b", torch.full((2, 2), -3e38)), ("c", torch.ones(5, dtype=torch.bfloat16))]
    counter = [("n", torch.tensor(3)), ("none", torch.empty(0))]
    assert not_finite(tensors + counter) is None
    tensors[place][1].view(-1)[-1] = value
    assert not_finite(counter + tensors) == "abc"[place]


def test_few_words_and_the_count_of_the_others():
    assert few(["a", "b"]) == "a, b" and few(["a", "b", "c"], 2) == "a, b and 1 more"
