"""k-means from the same initial centroids, a fixed number of iterations: ours against eager torch and scikit-learn."""

from __future__ import annotations

import sys
import warnings

import torch
from timing import arguments, compare
from torch import Tensor

from vreid_fast.kernels import kmeans

ITERATIONS = 10


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    cases = [(64, 256, 16)] if options.quick else [(64, 2048, 16), (864, 256, 61), (4096, 256, 64)]
    for samples, width, clusters in cases:
        x, init = low_rank(samples, width, clusters)
        x, init = x.to(options.device), init.to(options.device)
        providers = {
            "vreid_fast": lambda x=x, init=init: kmeans(x, len(init), init=init, iterations=ITERATIONS).inertia,
            "eager": lambda x=x, init=init: eager(x, init),
            "scikit-learn": scikit_learn(x, init),
        }
        case = f"N{samples} D{width} K{clusters} given centroids"
        expected = providers["eager"]()
        compare("kmeans", case, providers, expected, device=options.device, quick=options.quick, rtol=1e-3)
    seeded(options)
    return 0


def seeded(options) -> None:
    """The training step's problem: k-means++ and ten restarts; no two implementations draw alike, so no check."""
    samples, width, clusters = (64, 256, 16) if options.quick else (64, 2048, 16)
    x, _ = low_rank(samples, width, clusters)
    x = x.to(options.device)
    providers = {
        "vreid_fast": lambda: kmeans(x, clusters, restarts=10).inertia,
        "scikit-learn": scikit_learn(x, None, clusters),
    }
    case = f"N{samples} D{width} K{clusters} 10 restarts"
    compare("kmeans", case, providers, None, device=options.device, quick=options.quick)


def low_rank(samples: int, width: int, clusters: int) -> tuple[Tensor, Tensor]:
    """Samples on a plane of few dimensions, where k-means needs many iterations; and initial centroids."""
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(6, width, generator=generator)
    x = torch.randn(samples, 6, generator=generator) @ plane + 0.1 * torch.randn(samples, width, generator=generator)
    return x, x[torch.randperm(samples, generator=generator)[:clusters]]


def eager(x: Tensor, centroids: Tensor) -> Tensor:
    """Lloyd's iterations in plain torch; an empty cluster keeps its centroid."""
    for _ in range(ITERATIONS):
        labels = torch.cdist(x, centroids).argmin(1)
        counts = torch.bincount(labels, minlength=len(centroids))[:, None]
        sums = torch.zeros_like(centroids).index_add_(0, labels, x)
        centroids = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
    return torch.cdist(x, centroids).amin(1).square().sum()


def scikit_learn(x: Tensor, init: Tensor | None, clusters: int = 0):
    from sklearn.cluster import KMeans

    data = x.cpu().numpy()
    if init is None:
        model = KMeans(clusters, n_init=10, random_state=0)
    else:
        model = KMeans(len(init), init=init.cpu().numpy(), n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that iterations ran out is what is wanted
            return torch.tensor(model.fit(data).inertia_, dtype=x.dtype, device=x.device)

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
