"""Gradient reversal: the identity whose gradient changes sign (Ganin and Lempitsky, arXiv 1409.7495).

In front of a domain classifier it turns "minimise the classifier's loss" into "maximise it" for the
network below: forward y = x, backward dL/dx = -strength * dL/dy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import choose


def gradient_reversal(x: Tensor, strength: float | Tensor, *, backend: str | None = None) -> Tensor:
    """`x` itself (a view of the same memory), whose gradient is multiplied by ``-strength``.

    x: floating point, any shape. strength: a number, or a tensor of one element without gradient. Under
    torch.compile and in CUDA graphs pass a 0-d tensor on the device of `x` and update it in place at the
    start of each step: a number recompiles for every new value. Between a forward and its backward the
    tensor must stay as it is; autograd raises if it was changed. Being a view made by an autograd
    function, the result may not be changed in place (no ``ReLU(inplace=True)`` right behind it).

    Raises:
        TypeError: `x` is not floating point.
        ValueError: `strength` has more than one element or requires a gradient.
    """
    if choose("gradient_reversal", backend, x.device) == "reference":
        return gradient_reversal_reference(x, strength)
    if isinstance(strength, Tensor):
        return torch.ops.vreid_fast.gradient_reversal.tensor(x, strength)
    return torch.ops.vreid_fast.gradient_reversal.default(x, strength)


def gradient_reversal_reference(x: Tensor, strength: float | Tensor) -> Tensor:
    """`gradient_reversal` in plain torch."""
    if not x.is_floating_point():
        raise TypeError(f"gradient_reversal: x must be a floating-point tensor, got {x.dtype}; convert it first")
    if isinstance(strength, Tensor):
        if strength.numel() != 1:
            raise ValueError(
                "gradient_reversal: strength must hold one element, "
                f"got shape {list(strength.shape)}; pass a 0-d tensor"
            )
        if strength.requires_grad:
            raise ValueError("gradient_reversal: strength must not require a gradient, got one that does; detach it")
        return ReversalByTensor.apply(x, strength.reshape(()))
    return ReversalByNumber.apply(x, strength)


class ReversalByTensor(torch.autograd.Function):
    @staticmethod
    def forward(context, x, strength):
        context.save_for_backward(strength)
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        (strength,) = context.saved_tensors
        return gradient * -strength, None


class ReversalByNumber(torch.autograd.Function):
    @staticmethod
    def forward(context, x, strength):
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return gradient * -context.strength, None
