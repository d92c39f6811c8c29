"""Devices and precisions."""

import pytest
import torch

from vreid_fast.device import Precision, choose_device, describe
from vreid_fast.errors import InputError

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_missing_gpu_is_said():
    assert choose_device("auto") == CPU
    with pytest.raises(InputError, match="--device cuda: .*; use --device auto or cpu"):
        choose_device("cuda")


def test_a_gpu_has_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:1")


def test_auto_precision_says_why():
    precision = Precision("auto", CPU)
    assert precision.name in ("fp32", "bf16") and "hardware" in precision.reason
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        Precision("fp16", CPU)


def test_bf16_is_used_inside_the_cast():
    layer = torch.nn.Linear(4, 4)
    with Precision("bf16", CPU).cast():
        assert layer(torch.randn(2, 4)).dtype == torch.bfloat16
    with Precision("fp32", CPU).cast():
        assert layer(torch.randn(2, 4)).dtype == torch.float32


@pytest.mark.parametrize(("limit", "moved"), [(0.0, 10.0), (1.0, 1.0)])
def test_a_step_clips_the_gradient_and_returns_the_norm_before(limit, moved):
    weight = torch.nn.Parameter(torch.zeros(1))
    norm = Precision("fp32", CPU).step(10 * weight.sum(), torch.optim.SGD([weight], lr=1.0), limit)
    assert norm.item() == pytest.approx(10.0) and weight.item() == pytest.approx(-moved, rel=1e-4)


def test_a_device_is_described_by_its_model_and_cores():
    import os

    assert describe(CPU).endswith(f", {os.cpu_count()} cores") and len(describe(CPU)) > len(", 2 cores")
