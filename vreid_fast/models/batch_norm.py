"""Batch-norm statistics of a domain, or of each of its cameras: adaptation without training.

Li et al., AdaBN, 2016; per camera: Zhuang et al., "Rethinking the Distribution Gap of Person
Re-identification with Camera-based Batch Normalization", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Statistics = dict[str, Tensor]
"""Buffers of a network's batch norms, by name."""
CameraStatistics = dict[int, Statistics]
"""Of each camera."""


@torch.no_grad()
def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace every running mean and variance by the average over unlabelled clips, in place.

    Args:
        network: its training forward is run; parameters stay as they are, and so does its mode.
        batches: clips (B, T, 3, H, W) on the network's device, e.g. of the target; each counts alike.

    Returns:
        The number of batches seen; with none, the old statistics stay.
    """
    seen = 0
    with _averaging(network) as norms:
        for clips in batches:
            if seen == 0:
                for norm in norms.values():
                    norm.reset_running_stats()
            network(clips)
            seen += 1
    return seen


@torch.no_grad()
def camera_statistics(network: nn.Module, batches: Iterable[tuple[int, Tensor]]) -> CameraStatistics:
    """Statistics of each camera: the average over its clips. The network is left as it was.

    Args:
        network: its training forward is run.
        batches: a camera, and clips (B, T, 3, H, W) of that camera alone.
    """
    found: CameraStatistics = {}
    with _averaging(network) as norms:
        own = _buffers(norms)
        for camera, clips in batches:
            if camera in found:
                _fill(norms, found[camera])
            else:
                for norm in norms.values():
                    norm.reset_running_stats()
            network(clips)
            found[camera] = _buffers(norms)
        _fill(norms, own)
    return found


def batch_norm_statistics(network: nn.Module) -> Statistics:
    """Copies of the statistics that a network has."""
    return _buffers(_norms(network))


@contextmanager
def using_statistics(network: nn.Module, statistics: Statistics | None) -> Iterator[None]:
    """Within, the network's batch norms have these statistics; None: their own."""
    norms = _norms(network)
    own = _buffers(norms)
    if statistics is not None:
        _fill(norms, statistics)
    try:
        yield
    finally:
        _fill(norms, own)


@contextmanager
def _averaging(network: nn.Module) -> Iterator[dict[str, nn.Module]]:
    """The batch norms by name, set to average over all batches; momenta and mode come back afterwards."""
    norms = _norms(network)
    momenta, was_training = [norm.momentum for norm in norms.values()], network.training
    network.train()
    for norm in norms.values():
        norm.momentum = None  # a running average over all batches
    try:
        yield norms
    finally:
        for norm, momentum in zip(norms.values(), momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)


def _norms(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }


def _buffers(norms: dict[str, nn.Module]) -> Statistics:
    return {f"{name}.{key}": value.clone() for name, norm in norms.items() for key, value in norm.named_buffers()}


def _fill(norms: dict[str, nn.Module], statistics: Statistics) -> None:
    for name, norm in norms.items():
        for key, value in norm.named_buffers():
            value.copy_(statistics[f"{name}.{key}"])
