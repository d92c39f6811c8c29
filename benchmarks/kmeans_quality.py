"""How low the inertia of k-means is beside scikit-learn's, on random problems: `python benchmarks/kmeans_quality.py`.

Both draw as many seeds and do as many iterations; no two draw alike, so that only means over many problems tell.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator

import sklearn
import torch
from sklearn.cluster import KMeans
from timing import device_name
from torch import Tensor

from vreid_fast.kernels import kmeans

PROBLEMS, ITERATIONS = 100, 25


def clustered(samples: int, width: int, clusters: int, random: torch.Generator) -> Tensor:
    """Samples about as many centres as are sought, some of them close to each other."""
    centres = 2 * torch.randn(clusters, width, generator=random)
    chosen = torch.randint(clusters, (samples,), generator=random)
    return centres[chosen] + torch.randn(samples, width, generator=random)


def low_rank(samples: int, width: int, _: int, random: torch.Generator) -> Tensor:
    """Samples near a plane of six dimensions, without clusters: there is much to choose between."""
    planes = torch.randn(samples, 6, generator=random) @ torch.randn(6, width, generator=random)
    return planes + 0.1 * torch.randn(samples, width, generator=random)


KINDS = {"clustered": clustered, "low rank": low_rank}


def problems(kind: Callable, number: int) -> Iterator[tuple[Tensor, int]]:
    """Samples (N, D) and K: up to 300 into up to 24, of up to 64 features."""
    random = torch.Generator().manual_seed(0)
    for _ in range(number):
        samples, width, clusters = (
            int(torch.randint(low, high + 1, (), generator=random)) for low, high in ((60, 300), (2, 64), (4, 24))
        )
        yield kind(samples, width, clusters, random), clusters


def ratios(kind: str, restarts: int, number: int = PROBLEMS, **options) -> Tensor:
    """(number,) our inertia over scikit-learn's; `options` are those of kmeans."""
    found = []
    for seed, (x, clusters) in enumerate(problems(KINDS[kind], number)):
        ours = kmeans(x, clusters, restarts=restarts, iterations=ITERATIONS, seed=seed, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that iterations ran out is what is wanted
            theirs = KMeans(clusters, n_init=restarts, max_iter=ITERATIONS, tol=0, random_state=seed).fit(x.numpy())
        found.append(ours.inertia.item() / theirs.inertia_)
    return torch.tensor(found, dtype=torch.float64)


def main() -> int:
    print(f"{device_name('cpu')}, torch {torch.__version__}, scikit-learn {sklearn.__version__}:\n")
    print("| problems | restarts | 1 candidate | 2 + log K | 16 candidates |\n|---|---|---|---|---|")
    for kind in KINDS:
        for restarts in (1, 10):
            found = [ratios(kind, restarts, candidates=candidates) for candidates in (1, None, 16)]
            cells = (f"{each.mean():.3f} ± {each.std() / len(each) ** 0.5:.3f}" for each in found)
            print(f"| {kind} | {restarts} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
