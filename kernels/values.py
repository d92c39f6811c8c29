"""Whether checks look at what a tensor holds."""

from __future__ import annotations

import torch
from torch import Tensor


def may_be_read(tensor: Tensor) -> bool:
    """On the CPU. On a GPU a look would wait for the device, and in torch.compile there is nothing yet to see."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
