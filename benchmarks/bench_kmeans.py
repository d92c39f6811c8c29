"""k-means: ours against scikit-learn, torch eager and compiled, flash-kmeans and fast-pytorch-kmeans.

"given": all from the same initial centroids, up to 25 iterations, on data that takes many. "restarts": the
training step's job, k-means++ and the best of ten; flash-kmeans, which has neither, runs ten random starts as a
batch. Inertias are compared before anything is timed; where ours is worse the case has failed.
"""

from __future__ import annotations

import sys
import warnings

import torch
from failures import attempt, exit_status
from providers import graphed
from timing import arguments, compare, installed
from torch import Tensor

from vreid_fast.kernels import kmeans

ITERATIONS, RESTARTS = 25, 10


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    # (B, N, D, K)
    small, given = [(1, 64, 2048, 16), (32, 64, 2048, 16)], [(1, 864, 256, 61), (1, 4096, 256, 64)]
    if options.device == "cuda":
        given += [(1, 4096, 2048, 128)]
        given += [(1, 40_000, 2048, 1000), (32, 75_600, 128, 1000)] if options.full else []
    if options.quick:
        small, given = small[:1], [(1, 512, 64, 16)]
    dtypes = (torch.bfloat16, torch.float32) if options.device == "cuda" else (torch.float32,)
    for dtype in dtypes:
        for case, sizes, measure in ((f"{RESTARTS} restarts", small, restarts), ("given", given, from_given_centroids)):
            for size in sizes:
                named = f"{described(*size, dtype)} {case}"
                with attempt("kmeans", named, "vreid_fast"):
                    measure(options, named, *size, dtype)
    return exit_status()


def restarts(options, case: str, problems: int, samples: int, width: int, clusters: int, dtype: torch.dtype) -> None:
    x, _ = low_rank(problems, samples, width, clusters, dtype, options.device)
    seed = torch.tensor(0, device=options.device)
    providers = {"vreid_fast": lambda: kmeans(x, clusters, restarts=RESTARTS, seed=seed)}
    if options.device == "cuda":
        providers["vreid_fast, CUDA graph"] = graphed(providers["vreid_fast"])
        if flash := installed("flash_kmeans"):
            tenfold = x.repeat_interleave(RESTARTS, 0)
            providers["flash-kmeans, ten runs"] = lambda: flash.batch_kmeans_Euclid(
                tenfold, clusters, max_iters=ITERATIONS, tol=1e-8
            )
    if problems == 1:
        providers["scikit-learn"] = scikit_learn(x[0], clusters, n_init=RESTARTS)
        # No two draw alike, and one problem says little: kmeans_quality.py compares many.
        found, theirs = providers["vreid_fast"]().inertia.item(), providers["scikit-learn"]().inertia_
        assert found <= 1.05 * theirs, f"inertia {found}, scikit-learn's {theirs}"
    compare("kmeans", case, providers, None, device=options.device, quick=options.quick)


def from_given_centroids(
    options, case: str, problems: int, samples: int, width: int, clusters: int, dtype: torch.dtype
) -> None:
    x, init = low_rank(problems, samples, width, clusters, dtype, options.device)
    # Each returns labels (B, N).
    providers = {
        "vreid_fast": lambda: kmeans(x, clusters, init=init, iterations=ITERATIONS).labels,
        "eager": lambda: lloyd(x, init, iteration),
    }
    if options.device == "cuda":
        providers["vreid_fast, CUDA graph"] = graphed(providers["vreid_fast"])
        if flash := installed("flash_kmeans"):
            providers["flash-kmeans"] = lambda: flash.batch_kmeans_Euclid(
                x, clusters, max_iters=ITERATIONS, tol=0.0, init_centroids=init
            )[0]
    if not options.quick:
        torch.compiler.reset()
        compiled = torch.compile(iteration, fullgraph=True, dynamic=False)
        providers["torch.compile"] = lambda: lloyd(x, init, compiled)
    if problems == 1 and dtype != torch.bfloat16 and (fast := installed("fast_pytorch_kmeans")):
        model = fast.KMeans(clusters, max_iter=ITERATIONS, tol=0)
        providers["fast-pytorch-kmeans"] = lambda: model.fit_predict(x[0], init[0].clone())[None]
    if problems == 1 and options.device == "cpu":
        fitted = scikit_learn(x[0], clusters, init=init[0].float().numpy(), n_init=1, max_iter=ITERATIONS, tol=0)
        providers["scikit-learn"] = lambda: torch.from_numpy(fitted().labels_).long()[None]
    # In float64. What rounds more goes another way from the same start, to an inertia a little higher or lower.
    exact = torch.stack(
        [
            kmeans(one.double(), clusters, init=start.double(), iterations=ITERATIONS, backend="reference").inertia
            for one, start in zip(x, init, strict=True)
        ]
    )

    def check(labels, share=1.02):
        found = inertia(x, labels.long(), clusters)
        assert (found <= share * exact).all(), f"inertia {found.tolist()}, in float64 {exact.tolist()}"

    check(providers["vreid_fast"](), 1.001)
    compare("kmeans", case, providers, None, device=options.device, quick=options.quick, check=check)


def described(problems: int, samples: int, width: int, clusters: int, dtype: torch.dtype) -> str:
    return f"{problems}x{samples}x{width}/{clusters} {str(dtype).removeprefix('torch.')}"


def low_rank(
    problems: int, samples: int, width: int, clusters: int, dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor]:
    """Samples (B, N, D) on planes of few dimensions, where k-means needs many iterations; K of them."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(problems, *shape, generator=generator, device=device)

    x = normal(samples, 6) @ normal(6, width)
    x += 0.1 * normal(samples, width)
    x = x.to(dtype)
    return x, x[:, torch.randperm(samples, generator=generator, device=device)[:clusters]]


def lloyd(x: Tensor, centroids: Tensor, step) -> Tensor:
    for _ in range(ITERATIONS):
        labels, centroids = step(x, centroids)
    return labels


def iteration(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """One of Lloyd's in plain torch; an empty cluster keeps its centroid."""
    squares = centroids.float().square().sum(2)[:, None]
    labels = (squares - 2 * (x @ centroids.mT).float()).argmin(2)
    counts = torch.zeros_like(squares[:, 0]).scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.float32))
    sums = torch.zeros_like(centroids, dtype=torch.float32)
    sums.scatter_add_(1, labels[..., None].expand(x.shape), x.float())
    means = sums / counts.clamp_min(1)[..., None]
    return labels, torch.where(counts[..., None] > 0, means, centroids.float()).to(x.dtype)


def inertia(x: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """(B,) of samples to the means of their labels."""
    found = []
    for samples, own in zip(x.float(), labels, strict=True):
        counts = own.bincount(minlength=clusters)[:, None]
        means = samples.new_zeros(clusters, x.shape[2]).index_add_(0, own, samples) / counts.clamp_min(1)
        found.append((samples - means[own]).square().sum())
    return torch.stack(found)


def scikit_learn(x: Tensor, clusters: int, **options):
    from sklearn.cluster import KMeans

    data = x.float().cpu().numpy()
    model = KMeans(clusters, random_state=0, **options)

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that iterations ran out is what is wanted
            return model.fit(data)

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
