"""The optimiser as a run has it: on its device, with its state on disk, and the schedule of its learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from .checkpoint_checks import HOW, check_optimiser

FLOOR = 0.02  # part of the peak at which a cosine ends
DROPS = (40, 80, 120, 150)  # of the paper's authors: epochs after which the rate falls to a tenth, and all


def make_optimiser(
    groups: list[dict[str, Any]],
    weight_decay: float,
    recordable: bool,
    kind: Literal["adam", "sgd", "nesterov"] = "adam",
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """An optimiser over groups of parameters, each with its highest learning rate as "peak".

    Args:
        recordable: whether it reads learning rates from the device and steps in one launch, as a CUDA graph wants it.
        momentum: of sgd and nesterov.
    """
    groups = [{**group, "lr": group["peak"]} for group in groups]
    how: dict[str, Any] = {}
    if recordable:
        how = {"fused": True, **({"capturable": True} if kind == "adam" else {})}
        for group in groups:
            group["lr"] = torch.tensor(group["peak"], device=group["params"][0].device)
    if kind == "adam":
        return torch.optim.Adam(groups, weight_decay=weight_decay, **how)
    nesterov = kind == "nesterov" and momentum > 0  # without a step before there is nothing to look ahead by
    # torch wants a rate beside those of the groups, which all have one.
    return torch.optim.SGD(groups, lr=0, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, **how)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict:
    """Its state dict, with learning rates as plain numbers, whatever the device."""
    state = optimiser.state_dict()
    return {**state, "param_groups": [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]}


def load_optimiser(optimiser: torch.optim.Optimizer, given: Mapping) -> None:
    """Take a state of `optimiser_state` back; ValueError for one of other parameters."""
    check_optimiser(given, optimiser)
    own = [{name: group[name] for name in (*HOW, "lr") if name in group} for group in optimiser.param_groups]
    groups = [{**group, **how} for group, how in zip(given["param_groups"], own, strict=True)]
    optimiser.load_state_dict({**given, "param_groups": groups})
    for group, stored in zip(optimiser.param_groups, given["param_groups"], strict=True):
        set_rate(group, stored["lr"])


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of a group."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)  # a graph reads it where it is
    else:
        group["lr"] = rate


def learning_rate_factor(
    step: int,
    steps: int,
    warmup: int,
    schedule: str = "cosine",
    drops: Sequence[int] = DROPS,
    drop_to: float = 0.1,
) -> float:
    """Part of the peak learning rate at `step` (from 0) of `steps`: a linear rise, then the schedule.

    Args:
        steps: that the schedule spans: of the stage for "cosine", of the whole run for "steps".
        schedule: "cosine", which ends at a fiftieth, or "steps".
        drops: of "steps": epochs after which the factor falls, and last those of all the steps.
        drop_to: what is left of it each time.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "steps":
        *at, epochs = drops
        return drop_to ** sum(epochs * step >= drop * steps for drop in at)
    progress = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
