"""Gradient reversal against the usual Python autograd.Function, our reference: forward alone, and with backward."""

from __future__ import annotations

import sys

import torch
from failures import exit_status
from timing import arguments, compare
from torch._dynamo.testing import CompileCounterWithBackend

from vreid_fast.kernels import gradient_reversal
from vreid_fast.kernels.gradient_reversal import ReversalByNumber

STRENGTH, STEPS = 0.3, 1000


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    shape = (32, 64) if options.quick else (256, 2048)
    x = torch.randn(shape, device=options.device, requires_grad=True)
    upstream = torch.randn(shape, device=options.device)
    number, tensor = STRENGTH, torch.tensor(STRENGTH, device=options.device)
    reversals = {
        "vreid_fast": lambda: gradient_reversal(x, number),
        "vreid_fast, tensor strength": lambda: gradient_reversal(x, tensor),
        "Python autograd.Function": lambda: ReversalByNumber.apply(x, number),
    }

    def backward(reversal):
        return lambda: torch.autograd.grad(reversal(), x, upstream)[0]

    both = {name: backward(reversal) for name, reversal in reversals.items()}
    common = {"device": options.device, "quick": options.quick}
    size = "x".join(map(str, shape))
    compare("gradient_reversal", f"{size} forward", reversals, x, **common)
    compare("gradient_reversal", f"{size} forward, backward", both, -STRENGTH * upstream, **common)
    for name, strength in (("tensor", tensor.clone()), ("number", None)):
        print(f"{'':20} compilations over {STEPS} strengths, as {name}: {compilations(strength)}")
    return exit_status()


def compilations(strength: torch.Tensor | None) -> int:
    """Of a compiled forward and backward, through a schedule of the strength (None: a number)."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x, strength: gradient_reversal(x, strength).sum(), backend=counter)
    x = torch.ones(3, requires_grad=True, device=None if strength is None else strength.device)
    for step in range(STEPS):
        if strength is None:
            compiled(x, step / STEPS).backward()
        else:
            compiled(x, strength.fill_(step / STEPS)).backward()
    return counter.frame_count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
