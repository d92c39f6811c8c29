"""Biases of convolutions in front of a batch norm, which trunks here have none of.

The batch norm takes the mean away, and the bias with it: in training it changes nothing but the running mean. On a GPU
it costs a pass over the maps forward, and another backward.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from .state import misfit

_BIAS = re.compile(r"(?P<block>(?:.*\.)?)(?:conv(?P<number>\d)|downsample\.0)\.bias")


def fold_biases(
    tensors: Mapping[str, Tensor], wanted: Collection[str], biases: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """A state dict without such biases, whose running means do without them too: the same network.

    Args:
        tensors: by name; those of blocks are a ResNet's, `conv1` before `bn1`, `downsample.0` before `downsample.1`.
        wanted: names of the network that takes them; a bias that it has stays.
        biases: where the biases are, if not among the tensors.
    """
    folded = dict(tensors)
    for name, bias in (tensors if biases is None else biases).items():
        mean = None if name in wanted else running_mean(str(name))
        if mean in folded and not misfit(name, bias, folded[mean]) and not misfit(mean, folded[mean], bias):
            folded[mean] = folded[mean] - bias
            folded.pop(name, None)
    return folded


def running_mean(name: str) -> str | None:
    """Of the batch norm behind a convolution, by the name of the convolution's bias; None for other names."""
    found = _BIAS.fullmatch(name)
    if found is None:
        return None
    norm = f"bn{found['number']}" if found["number"] else "downsample.1"
    return f"{found['block']}{norm}.running_mean"
