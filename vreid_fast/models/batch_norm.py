"""Batch-norm statistics of a domain, or of each of its cameras: adaptation without training.

Li et al., AdaBN, 2016; per camera: Zhuang et al., "Rethinking the Distribution Gap of Person
Re-identification with Camera-based Batch Normalization", ECCV 2020.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .stochastic_depth import settled
from .whole_batch import whole_batches

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
    with _averaging(network) as average:
        for clips in batches:
            if seen == 0:
                average.begin()
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
    counts: dict[int, dict[str, int]] = {}
    with _averaging(network) as average:
        own = _buffers(average.norms)
        for camera, clips in batches:
            if camera in found:
                average.go_on(found[camera], counts[camera])
            else:
                average.begin()
            network(clips)
            found[camera], counts[camera] = _buffers(average.norms), dict(average.counts)
        _fill(average.norms, own)
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


class DomainNorms(nn.Module):
    """Batch norms of another domain for a network: scales, shifts and statistics apart, all other weights shared.

    Chang et al., "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR 2019.

    Args:
        network: whose batch norms are copied as they are.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        norms = _norms(network)
        self._names = list(norms)
        self.norms = nn.ModuleList(copy.deepcopy(norm) for norm in norms.values())

    def forward(self, network: nn.Module, clips: Tensor) -> Any:
        """What `network(clips)` gives with the batch norms of this domain, which alone take its statistics."""
        tensors = {
            f"{name}.{key}": tensor
            for name, norm in zip(self._names, self.norms, strict=True)
            for key, tensor in (*norm.named_parameters(), *norm.named_buffers())
        }
        return torch.func.functional_call(network, tensors, (clips,))


class _Average:
    """Batch norms that average over all batches; with `momentum = None` each would read its count on the device."""

    def __init__(self, norms: dict[str, nn.Module]):
        self.norms, self.counts = norms, dict.fromkeys(norms, 0)

    def begin(self) -> None:
        for norm in self.norms.values():
            norm.reset_running_stats()
        self.counts = dict.fromkeys(self.norms, 0)

    def go_on(self, statistics: Statistics, counts: dict[str, int]) -> None:
        _fill(self.norms, statistics)
        self.counts = dict(counts)

    def before(self, name: str) -> Callable[..., None]:
        """What is called before each forward of the norm of this name."""

        def count(norm: nn.Module, _: object) -> None:
            self.counts[name] += 1
            norm.momentum = 1 / self.counts[name]

        return count


@contextmanager
def _averaging(network: nn.Module) -> Iterator[_Average]:
    """The batch norms, in training mode but of the whole depth, each of the whole batch, set to average over all
    batches; what they were comes back afterwards."""
    norms = _norms(network)
    momenta, was_training = [norm.momentum for norm in norms.values()], network.training
    network.train()
    average = _Average(norms)
    hooks = [norm.register_forward_pre_hook(average.before(name)) for name, norm in norms.items()]
    try:
        with settled(network), whole_batches(network):
            yield average
    finally:
        for hook, norm, momentum in zip(hooks, norms.values(), momenta, strict=True):
            hook.remove()
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
