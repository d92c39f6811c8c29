"""How an op is registered with torch: schema, implementation, fake, derivative.

`torch.library.custom_op` with `register_autograd` is the usual way; its generic wrappers cost 40 us of host
time in a forward and 60 us in forward and backward, several times what a small op takes on a GPU. Torch's
dispatcher, which goes to Python once for the derivative and once for the implementation, still costs 10 and 30 us.
So an op is called past it where nobody listens there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import Parameter

_LIBRARY = torch.library.Library("vreid_fast", "FRAGMENT")
_PLAIN = frozenset((bool, float, int, list, str, type(None)))


def register(
    schema: str,
    implementation: Callable,
    fake: Callable,
    save: Callable | None = None,
    differentiate: Callable | None = None,
) -> Callable:
    """Defines the op vreid_fast::`schema`, which changes what its schema says and returns new tensors; calls it.

    Its first derivative, if it has one, is save(ctx, inputs, output) and differentiate(ctx, *grads). The gradient of
    an output that took no part is None instead of zeros, which would take a launch to write.
    """
    name = schema.partition("(")[0]
    run = _on_its_device(implementation)
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"vreid_fast::{name}", fake, lib=_LIBRARY)
    op = getattr(torch.ops.vreid_fast, name).default
    run_recorded = run
    if save is not None and differentiate is not None:

        def below(*inputs):
            with torch._C._AutoDispatchBelowAutograd():
                return op(*inputs)

        dispatched = _derivative(below, save, differentiate).apply
        # apply takes no keyset, which impl would pass to a builtin; hence a plain function.
        _LIBRARY.impl(name, lambda *inputs: dispatched(*inputs), "Autograd")
        run_recorded = _derivative(run, save, differentiate).apply

    def call(*arguments):
        if torch.compiler.is_compiling() or _somebody_listens(arguments):
            return op(*arguments)
        return run_recorded(*arguments) if torch.is_grad_enabled() else run(*arguments)

    return call


def _somebody_listens(arguments: tuple) -> bool:
    """Whether torch's dispatcher would call more than the op's own derivative and implementation."""
    for argument in arguments:
        kind = type(argument)
        if kind is Tensor or kind is Parameter:
            if argument.is_neg():  # its memory holds the negative, which the dispatcher writes out
                return True
        elif kind not in _PLAIN:  # a subclass of Tensor, or a number that stands for many
            return True
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch.autograd._profiler_enabled()
    )


def _on_its_device(implementation: Callable) -> Callable:
    """Triton launches on the current GPU, which need not be that of the arguments."""

    def run(*arguments):
        if not _several_gpus():
            return implementation(*arguments)
        device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
        if device.type != "cuda" or device.index == torch.cuda.current_device():
            return implementation(*arguments)
        with torch.cuda.device(device):
            return implementation(*arguments)

    return run


@cache
def _several_gpus() -> bool:
    return torch.cuda.device_count() > 1


def _derivative(run: Callable, save: Callable, differentiate: Callable) -> type[torch.autograd.Function]:
    """`run` with its derivative."""
    watched = once_differentiable(differentiate)

    class Derivative(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output = run(*inputs)
            ctx.set_materialize_grads(False)
            save(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx, *grads):
            # Watched for a second derivative, where one could be asked for.
            return (watched if torch.is_grad_enabled() else differentiate)(ctx, *grads)

    return Derivative
