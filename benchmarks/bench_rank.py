"""Ranking: CMC and mAP, re-ranking and search, against the loops of toolkits, a product with topk and bare FAISS.

Sizes are those of MARS (1,980 queries, 11,310 tracklets in the gallery) and of an archive of 100,000. The rivals of
CMC and re-ranking are written from the descriptions of torchreid's: whole matrices and a loop over queries.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from failures import exit_status
from timing import arguments, compare, installed
from torch import Tensor
from torch.nn.functional import normalize

from vreid_fast.extraction.features import Row
from vreid_fast.metrics import rank_distances, rank_metrics, rerank
from vreid_fast.search.index import SearchIndex

WIDTH, CAMERAS, TRACKLETS, DEPTH = 2048, 6, 16, 50
"""Of a feature; of the set; of a person; that a search returns."""


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    quick = options.quick
    rank(options, *((200, 1000, 64) if quick else (1980, 11_310, WIDTH)))
    archive(options, *((200, 4000, 64) if quick else (1980, 100_000, WIDTH)))
    for sizes in ((100, 500, 64),) if quick else ((1000, 6000, WIDTH), (1980, 12_180, WIDTH)):
        neighbours(options, *sizes)
    if options.device == "cpu" and installed("faiss"):
        search(options, *((4000, 64) if quick else (100_000, WIDTH)))
    return exit_status()


def rank(options, queries: int, items: int, width: int) -> None:
    """CMC and mAP of a matrix that is there."""
    features, people, cameras = people_seen(options.device, queries + items, width)
    distances = 1 - features[:queries] @ features[queries:].T
    labels = people[:queries], cameras[:queries], people[queries:], cameras[queries:]
    matrix, *arrays = (values.cpu().numpy() for values in (distances, *labels))

    def ours() -> Tensor:
        found = rank_distances(distances, *labels)
        return torch.tensor([found["map"], *found["cmc"]], dtype=torch.float64)

    compare(
        "rank", f"matrix {queries}x{items}",
        {
            "vreid_fast": ours,
            "loop over queries and places": lambda: loop_over_places(matrix, *arrays),
            "argsort, loop over queries": lambda: loop_over_queries(matrix, *arrays),
        },
        loop_over_queries(matrix, *arrays), device=options.device, quick=options.quick,
    )  # fmt: skip


def archive(options, queries: int, items: int, width: int) -> None:
    """The same from features, where the matrix is too large to hold."""
    features, people, cameras = people_seen(options.device, queries + items, width)

    def ours() -> object:
        return rank_metrics(
            features[:queries], people[:queries], cameras[:queries],
            features[queries:], people[queries:], cameras[queries:],
        )  # fmt: skip

    def product() -> None:
        for part in features[:queries].split(100):
            torch.mm(part, features[queries:].T)

    case = f"features {queries}x{items}x{width}"
    providers = {"vreid_fast": ours, "the product alone": product}
    compare("rank", case, providers, None, device=options.device, quick=options.quick)


def neighbours(options, queries: int, total: int, width: int) -> None:
    """Re-ranking from features."""
    features, _, _ = people_seen(options.device, total, width)
    query, gallery = features[:queries], features[queries:]
    expected = dense_rerank(query.cpu(), gallery.cpu())

    def check(found: Tensor) -> None:
        wrong = ((found - expected).abs() > 1e-4).double().mean()  # where two are as near, either may come first
        assert wrong < 1e-3, f"{100 * wrong:.2g} % differ"

    compare(
        "rerank", f"{queries} of {total}x{width}",
        {
            "vreid_fast": lambda: rerank(query, gallery),
            "dense matrices": lambda: dense_rerank(query.cpu(), gallery.cpu()),
        },
        None, device=options.device, quick=options.quick, check=check,
    )  # fmt: skip


def search(options, total: int, width: int) -> None:
    """Nearest vectors on a CPU."""
    import faiss

    features, _, _ = people_seen("cpu", total, width)
    vectors = features.numpy()
    exact = faiss.IndexFlatIP(width)
    exact.add(vectors)
    half = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    half.train(vectors[:1])
    half.add(vectors)
    rows = [Row(row, "") for row in range(total)]
    ours, ours_half = (
        SearchIndex({"kind": "flat", "width": width}, rows, index, None, np.zeros(0, np.float32))
        for index in (exact, half)
    )
    tenth = np.zeros(total, bool)
    tenth[np.random.default_rng(0).choice(total, total // 10, replace=False)] = True
    plain = faiss.cvar.distance_compute_blas_threshold

    def bare(queries: np.ndarray) -> Tensor:
        faiss.cvar.distance_compute_blas_threshold = plain
        return torch.from_numpy(exact.search(queries, DEPTH)[0])

    def found(index: SearchIndex, queries: np.ndarray, allowed: np.ndarray | None = None) -> Tensor:
        return torch.from_numpy(index.search(queries, DEPTH, allowed)[0])

    for count in (1, 16, 256):
        queries = np.ascontiguousarray(vectors[:count])
        asked = features[:count]
        providers = {
            "vreid_fast": lambda queries=queries: found(ours, queries),
            "vreid_fast, float16": lambda queries=queries: found(ours_half, queries),
            "FAISS as it comes": lambda queries=queries: bare(queries),
            "product, topk": lambda asked=asked: torch.mm(asked, features.T).topk(DEPTH).values,
        }
        if count > 1:
            del providers["vreid_fast, float16"]  # has no product: a query at a time
        case = f"top {DEPTH} of {total}x{width}, queries {count}"
        expected = torch.mm(asked, features.T).topk(DEPTH).values
        compare("search", case, providers, expected, device="cpu", quick=options.quick, rtol=1e-3, atol=1e-3)
    query, allowed = np.ascontiguousarray(vectors[:1]), torch.from_numpy(tenth)
    expected = torch.mm(features[:1], features[allowed].T).topk(DEPTH).values
    providers = {
        "vreid_fast": lambda: found(ours, query, tenth),
        "product, mask, topk": lambda: (
            torch.mm(features[:1], features.T).masked_fill_(~allowed, -torch.inf).topk(DEPTH).values
        ),
    }
    case = f"top {DEPTH} of a tenth of {total}x{width}, queries 1"
    compare("search", case, providers, expected, device="cpu", quick=options.quick, rtol=1e-4, atol=1e-5)


def people_seen(device: str, count: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, D) unit vectors about one centre for each person, in any order, with people and cameras."""
    generator = torch.Generator(device).manual_seed(0)
    people = torch.randint(max(1, count // TRACKLETS), (count,), generator=generator, device=device)
    cameras = torch.randint(CAMERAS, (count,), generator=generator, device=device)
    centres = torch.randn(max(1, count // TRACKLETS), width, generator=generator, device=device)
    features = torch.randn(count, width, generator=generator, device=device).mul_(1.5)
    for part in range(0, count, 4096):
        features[part : part + 4096] += centres[people[part : part + 4096]]
    return normalize(features, dim=1, out=features), people, cameras


def loop_over_places(distances, query_people, query_cameras, people, cameras) -> Tensor:
    """Sorts the matrix, then walks through the places of each query in Python, as torchreid's ranker does."""
    order = np.argsort(distances, axis=1)
    matches = people[order] == query_people[:, None]
    curves, precisions = [], []
    for query, places in enumerate(order):
        junk = (people[places] == query_people[query]) & (cameras[places] == query_cameras[query])
        hits = matches[query][~junk].astype(np.int64)
        if not hits.any():
            continue
        so_far = hits.cumsum()
        curves.append(np.minimum(so_far, 1)[:DEPTH])
        precision = np.asarray([number / (place + 1.0) for place, number in enumerate(so_far)])
        precisions.append((precision * hits).sum() / hits.sum())
    return torch.tensor([np.mean(precisions), *np.mean(curves, axis=0)], dtype=torch.float64)


def loop_over_queries(distances, query_people, query_cameras, people, cameras) -> Tensor:
    """The same with a few array operations for each query."""
    order = np.argsort(distances, axis=1, kind="stable")
    first, precisions = [], []
    for query, places in enumerate(order):
        same = people[places] == query_people[query]
        good = same & (cameras[places] != query_cameras[query])
        found = np.flatnonzero(good[good | ~same])
        if len(found):
            first.append(found[0])
            precisions.append(np.mean(np.arange(1, len(found) + 1) / (found + 1)))
    curve = np.bincount(first, minlength=len(people)).cumsum()[:DEPTH] / len(first)
    return torch.tensor([np.mean(precisions), *curve], dtype=torch.float64)


def dense_rerank(query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, share: float = 0.3) -> Tensor:
    """k-reciprocal re-ranking with matrices of all against all, as torchreid has it."""
    features = torch.cat([query, gallery])
    squares = features.square().sum(1)
    squared = (squares[:, None] + squares - 2 * features @ features.T).clamp_(min=0).numpy()
    squared /= squared.max(1, keepdims=True)
    order = np.argsort(squared, axis=1).astype(np.int32)
    weights = np.zeros_like(squared)

    def mutual(row: int, k: int) -> np.ndarray:
        near = order[row, : k + 1]
        return near[np.nonzero(order[near, : k + 1] == row)[0]]

    for row in range(len(features)):
        own = mutual(row, k1)
        chosen = own
        for other in own:
            theirs = mutual(other, round(k1 / 2))
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                chosen = np.append(chosen, theirs)
        chosen = np.unique(chosen)
        likeness = np.exp(-squared[row, chosen])
        weights[row, chosen] = likeness / likeness.sum()
    weights = np.stack([weights[order[row, :k2]].mean(0) for row in range(len(features))])
    owners = [np.nonzero(column)[0] for column in weights.T]
    result = np.empty((len(query), len(gallery)), np.float32)
    for row in range(len(query)):
        shared = np.zeros(len(features), np.float32)
        for column in np.nonzero(weights[row])[0]:
            some = owners[column]
            shared[some] += np.minimum(weights[row, column], weights[some, column])
        result[row] = (1 - share) * (1 - shared / (2 - shared))[len(query) :] + share * squared[row, len(query) :]
    return torch.from_numpy(result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
