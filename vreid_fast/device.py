"""Where a run computes, and in which arithmetic."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

from . import ranks
from .errors import InputError


def choose_device(wanted: str) -> torch.device:
    """ "auto", "cpu" or "cuda" -> a device; of a GPU with its number, as tensors on it say.

    Raises:
        InputError: a GPU is asked for and none can be used; or there are fewer than ranks on this machine.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        built = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no usable GPU"
        raise InputError(f"--device cuda: {built}; use --device auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted != "cuda":
        return torch.device(wanted)
    if ranks.several():
        number, processes = ranks.local()
        if processes > torch.cuda.device_count():
            raise InputError(
                f"{processes} processes on a machine with {torch.cuda.device_count()} GPUs: each wants one of its own; "
                "start fewer, or use --device cpu"
            )
        torch.cuda.set_device(number)
    return torch.device("cuda", torch.cuda.current_device())


def wide(values: torch.Tensor) -> torch.Tensor:
    """In float32 or better."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def to_device(values: torch.Tensor | np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy on the device; the host does not wait for one on a GPU."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Precision:
    """Autocast and loss scaling: `with precision.cast(): ...`, then `precision.step(loss, optimiser, ...)`.

    Args:
        wanted: "auto", "fp32", "bf16" or "fp16".
        device: where the networks are.

    Attributes:
        name: fp32, bf16 or fp16.
        reason: why "auto" took it.

    Raises:
        InputError: fp16 on a CPU.
    """

    def __init__(self, wanted: str, device: torch.device):
        self.device = device
        self.name, self.reason = (wanted, "asked for") if wanted != "auto" else _fastest(device)
        if self.name == "fp16" and device.type == "cpu":
            raise InputError("--precision fp16 needs a GPU; on a CPU use fp32, bf16 or auto")
        # Who compares runs in float64 makes that torch's default.
        self.dtype = {"fp32": torch.get_default_dtype(), "bf16": torch.bfloat16, "fp16": torch.float16}[self.name]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def cast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.name != "fp32")

    def step(
        self,
        loss: torch.Tensor,
        optimiser: torch.optim.Optimizer,
        limit: float,
        part: Callable[[str], AbstractContextManager] = nullcontext,
    ) -> torch.Tensor:
        """Backward, clip the gradients to the norm `limit` (0 = none), step. Returns the norm before clipping.

        Args:
            part: is entered around "backward" and "optimiser".
        """
        with part("backward"):
            optimiser.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            ranks.average(parameter.grad for parameter in parameters)
            self.scaler.unscale_(optimiser)
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if limit > 0:
                torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        with part("optimiser"):
            self.scaler.step(optimiser)
            self.scaler.update()
        return norm


def _fastest(device: torch.device) -> tuple[str, str]:
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return "bf16", "this GPU computes bf16 in hardware"
        return "fp16", "this GPU has no bf16 in hardware; the loss is scaled"
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return "bf16", "this CPU computes bf16 in hardware"
    return "fp32", "this CPU has no bf16 in hardware"


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, each as CUDA_VISIBLE_DEVICES names it."""
    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def describe(device: torch.device) -> str:
    """A device in words, for logs and reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", facts.read_text() if facts.exists() else "")
    return f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores"
