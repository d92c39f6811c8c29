"""What the benchmarks of the pooling ops compare: ours, ours in a CUDA graph, eager torch, torch.compile twice."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import torch


def providers(options: Namespace, ours: Callable, eager: Callable, run: Callable) -> dict[str, Callable]:
    """Name -> function of no arguments, ours first; run(function) is one forward and backward through `function`.

    torch.compile forgets the case before (it would make sizes dynamic), and is left out when `options.quick`.
    """
    found = {"vreid_fast": lambda: run(ours)} | eager_and_compiled(options, eager, run)
    if options.device == "cuda":
        found["vreid_fast, CUDA graph"] = graphed(found["vreid_fast"])
    return found


def eager_and_compiled(options: Namespace, eager: Callable, run: Callable) -> dict[str, Callable]:
    """The rivals among `providers`."""
    torch.compiler.reset()
    found = {"eager": lambda: run(eager)}
    if not options.quick:
        for name, mode in (("torch.compile", None), ("torch.compile, reduce-overhead", "reduce-overhead")):
            compiled = torch.compile(eager, mode=mode, fullgraph=True, dynamic=False)
            found[name] = lambda compiled=compiled: run(compiled)
    return found


def graphed(function: Callable) -> Callable:
    """`function` replayed from a CUDA graph; the results lie in the same memory each time.

    `function`, and what it holds, lives as long as the replay: a graph reads memory that it does not own.
    """
    # Compiling and cuBLAS's workspace are no part of a capture.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()

    def replay(_captured=function):
        graph.replay()
        return results

    return replay


def make_maps(rows: int, channels: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Feature maps (rows, channels, 16, 8), channels_last, a leaf, without equal maxima in any of them.

    Of equal maxima ours gives the gradient to the first, eager torch a share to each.
    """
    generator = torch.Generator(device).manual_seed(0)
    ranks = torch.rand(rows, channels, 128, generator=generator, device=device).argsort(2)
    # Powers of two, so that the values are exact in bfloat16.
    scale = 2.0 ** torch.randint(-2, 3, (rows, channels, 1), generator=generator, device=device)
    maps = ((ranks - 64) / 64 * scale).to(dtype).view(rows, channels, 16, 8)
    return maps.contiguous(memory_format=torch.channels_last).requires_grad_()
