"""How an op is registered with torch: schema, implementation, fake, derivative.

`torch.library.custom_op` with `register_autograd` is the usual way; its generic wrappers cost 40 us of host
time in a forward and 60 us in forward and backward, several times what a small op takes on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd.function import once_differentiable

_LIBRARY = torch.library.Library("vreid_fast", "FRAGMENT")


def register(schema: str, implementation: Callable, fake: Callable) -> torch._ops.OpOverload:
    """Defines and returns the op vreid_fast::`schema`, which changes what its schema says and returns new tensors."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, _on_its_device(implementation), "CompositeExplicitAutograd")
    torch.library.register_fake(f"vreid_fast::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.vreid_fast, name).default


def _on_its_device(implementation: Callable) -> Callable:
    """Triton launches on the current GPU, which need not be that of the arguments."""

    def run(*arguments):
        device = next(argument.device for argument in arguments if isinstance(argument, torch.Tensor))
        if device.type != "cuda" or device.index == torch.cuda.current_device():
            return implementation(*arguments)
        with torch.cuda.device(device):
            return implementation(*arguments)

    return run


def register_derivative(op, save: Callable, differentiate: Callable) -> None:
    """Gives `op` a first derivative: save(ctx, inputs, output) and differentiate(ctx, *grads).

    The gradient of an output that took no part is None instead of zeros, which would take a launch to write.
    """

    class Derivative(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            with torch._C._AutoDispatchBelowAutograd():
                output = op(*inputs)
            ctx.set_materialize_grads(False)
            save(ctx, inputs, output)
            return output

        backward = staticmethod(once_differentiable(differentiate))  # type: ignore[assignment]

    # apply takes no keyset, which impl would pass to a builtin; hence a plain function.
    _LIBRARY.impl(op.name().partition("::")[2], lambda *inputs: Derivative.apply(*inputs), "Autograd")
