"""Nearest centroids: ours against cdist and against a matrix product with argmin."""

from __future__ import annotations

import sys

import torch
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import kmeans_assign


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    cases = [(1000, 256, 64)] if options.quick else [(4096, 2048, 128), (40_000, 2048, 1000)]
    for samples, width, clusters in cases:
        generator = torch.Generator().manual_seed(0)
        centroids = torch.randn(clusters, width, generator=generator)
        x = centroids[torch.randint(clusters, (samples,), generator=generator)]
        x = (x + 0.5 * torch.randn(samples, width, generator=generator)).to(options.device)
        centroids = centroids.to(options.device)
        providers = {
            "vreid_fast": lambda x=x, c=centroids: tuple(kmeans_assign(x, c)),
            "product, argmin": lambda x=x, c=centroids: product(x, c),
            "cdist, min": lambda x=x, c=centroids: distances(x, c),
        }
        case = f"N{samples} D{width} K{clusters}"
        expected = distances(x.double(), centroids.double())
        expected = expected[0], expected[1].float()
        compare("kmeans_assign", case, providers, expected, device=options.device, quick=options.quick, rtol=1e-2)
    return 0


def product(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    squared = torch.addmm(centroids.square().sum(1), x, centroids.T, alpha=-2)
    least, labels = squared.min(1)
    return labels, least + x.square().sum(1)


def distances(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    least, labels = torch.cdist(x, centroids).min(1)
    return labels, least.square()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
