"""Nearest centroids: ours against a matrix product with argmin, cdist, torch.compile and flash-kmeans.

"labels alone" says which return no distances.
"""

from __future__ import annotations

import sys

import torch
from failures import exit_status
from timing import arguments, compare, installed
from torch import Tensor

from vreid_fast.kernels import kmeans_assign


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    on_gpu = options.device == "cuda"
    cases = [(4096, 2048, 128), (40_000, 2048, 1000)] + ([(1_000_000, 256, 4096)] if on_gpu and options.full else [])
    if options.quick:
        cases = [(1000, 256, 64)]
    for dtype in (torch.bfloat16, torch.float32) if on_gpu else (torch.float32,):
        for size in cases:
            measure(options, *size, dtype)
    return exit_status()


def measure(options, samples: int, width: int, clusters: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(options.device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=options.device)

    chosen = torch.randint(clusters, (samples,), generator=generator, device=options.device)
    centroids = normal(clusters, width)
    x = (centroids[chosen] + 0.5 * normal(samples, width)).to(dtype)
    centroids = centroids.to(dtype)
    providers = {
        "vreid_fast": lambda: kmeans_assign(x, centroids)[0],
        "vreid_fast, labels alone": lambda: kmeans_assign(x, centroids, distances=False)[0],
        "product, argmin, labels alone": lambda: product(x, centroids),
    }
    if samples * clusters <= 2**26:
        providers["cdist, min"] = lambda: torch.cdist(x.float(), centroids.float()).min(1).indices
    if not options.quick:
        torch.compiler.reset()
        compiled = torch.compile(product, fullgraph=True, dynamic=False)
        providers["torch.compile, labels alone"] = lambda: compiled(x, centroids)
    if options.device == "cuda" and (flash := installed("flash_kmeans.assign_euclid_triton")):
        squares = x.float().square().sum(1)[None]
        providers["flash-kmeans, labels alone"] = lambda: flash.euclid_assign_triton(x[None], centroids[None], squares)[
            0
        ].long()
    # The samples lie about their centroids: all must find those.
    case = f"{samples}x{width}/{clusters} {str(dtype).removeprefix('torch.')}"
    compare("kmeans_assign", case, providers, chosen, device=options.device, quick=options.quick)


def product(x: Tensor, centroids: Tensor) -> Tensor:
    return (centroids.float().square().sum(1) - 2 * (x @ centroids.T).float()).argmin(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
