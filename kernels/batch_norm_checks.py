"""What calls of batch_norm must be like, and the backend that such a call takes."""

from __future__ import annotations

import torch
from torch import Tensor

from . import values
from .backends import choose_for


def choose(
    backend: str | None,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    batches: Tensor | None = None,
    groups: Tensor | None = None,
    group_count: int = 1,
    momentum: float | None = 0.1,
) -> str:
    """The backend of a call with these arguments; raises what batch_norm says."""
    _check(x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum)
    if backend is None and not _fits(x, residual):
        backend = "reference"
    backend = choose_for("batch_norm", backend, x)
    if backend != "reference":
        _check_layout(x, residual)
    return backend


def _fits(x: Tensor, residual: Tensor | None) -> bool:
    """Whether the fast backends take these maps."""
    return _in_rows(x) and (residual is None or (residual.dtype == x.dtype and _in_rows(residual)))


def _in_rows(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _check_layout(x: Tensor, residual: Tensor | None) -> None:
    for name, maps in (("x", x), ("residual", residual)):
        if maps is not None and not _in_rows(maps):
            raise ValueError(
                f"batch_norm: {name} must be channels_last on backend 'triton', got strides {maps.stride()}; "
                "convert it, or use backend='reference'"
            )
    if residual is not None and residual.dtype != x.dtype:
        raise TypeError(
            f"batch_norm: residual must be {x.dtype} as x is on backend 'triton', got {residual.dtype}; "
            "use backend='reference'"
        )


def _check(x, weight, bias, residual, running_mean, running_var, batches, groups, group_count, momentum) -> None:
    """Raises what batch_norm does on every backend."""
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise ValueError(f"batch_norm: x must be (N, C, H, W), got {tuple(x.shape)}; add axes of 1")
    if not x.is_floating_point():
        raise TypeError(f"batch_norm: x must be of a float type, got {x.dtype}; convert it")
    samples, channels = x.shape[:2]
    if group_count < 1 or (groups is None and group_count != 1):
        raise ValueError(f"batch_norm: group_count must be at least 1, and 1 without groups, got {group_count}")
    if groups is None and samples * x.shape[2] * x.shape[3] == 1:
        raise ValueError(f"batch_norm: x must have more than one value a channel, got {tuple(x.shape)}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: running_mean and running_var go together; give both or neither")
    tracked: tuple[int, ...] = ()
    if running_mean is not None and running_mean.dim() == 2 and groups is not None:
        tracked = tuple(running_mean.shape[:1])
        if not 1 <= tracked[0] <= group_count:
            raise ValueError(f"batch_norm: running_mean must have 1 to {group_count} rows, got {tracked[0]}")
    if momentum is None and running_mean is not None and batches is None:
        raise ValueError("batch_norm: momentum None averages over all batches; give batches, which counts them")
    for name, tensor, shape in (
        ("weight", weight, (channels,)),
        ("bias", bias, (channels,)),
        ("residual", residual, x.shape),
        ("running_mean", running_mean, (*tracked, channels)),
        ("running_var", running_var, (*tracked, channels)),
        ("batches", batches, tracked),
        ("groups", groups, (samples,)),
    ):
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(
                f"batch_norm: {name} must be {tuple(shape)}, got {tuple(tensor.shape)}; check it against x"
            )
        if tensor.device != x.device:
            raise ValueError(f"batch_norm: {name} must be on {x.device} as x is, got {tensor.device}; move it")
        if tensor.is_floating_point() != (name not in ("batches", "groups")) or tensor.dtype == torch.bool:
            kind = "integers" if name in ("batches", "groups") else "floats"
            raise TypeError(f"batch_norm: {name} must be {kind}, got {tensor.dtype}; convert it")
    if groups is None or not values.may_be_read(groups):
        return
    known = torch.where(groups < 0, -1 - groups, groups)
    without = set(known.tolist()) - set(groups.tolist())
    if without or (known >= group_count).any():
        raise ValueError(
            f"batch_norm: groups must hold 0..{group_count - 1}, or -1 - g of a group g that has samples, got "
            f"{groups.tolist()}"
        )
