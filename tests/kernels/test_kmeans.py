"""kmeans: against scikit-learn from the same centroids, its paths against each other, and its rules."""

import importlib
import json

import numpy as np
import pytest
import torch
from bench_kmeans import low_rank
from cases import LAYOUTS, make
from interpreted import TRITON_RUNS
from kmeans_quality import KINDS, ratios
from providers import graphed
from sklearn.cluster import KMeans as ScikitKMeans

from vreid_fast.kernels.kmeans import kmeans

_interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton is compiled on this machine")


@pytest.fixture(
    params=(
        pytest.param(("reference", "cpu"), id="reference"),
        pytest.param(("cpp gram", "cpu"), id="cpp-gram"),
        pytest.param(("cpp samples", "cpu"), id="cpp-samples"),
        pytest.param(("gram", "cpu"), id="gram-interpreted", marks=_interpreted),
        pytest.param(("samples", "cpu"), id="samples-interpreted", marks=_interpreted),
        pytest.param(("reference", "cuda"), id="reference-cuda", marks=pytest.mark.gpu),
        pytest.param(("gram", "cuda"), id="gram", marks=pytest.mark.gpu),
        pytest.param(("samples", "cuda"), id="samples", marks=pytest.mark.gpu),
    )
)
def run(request, monkeypatch):
    """kmeans on one of its paths, whatever the size of the problem, from and to the CPU."""
    path, device = request.param
    backend = take(path, monkeypatch)

    def call(x, clusters, **options):
        moved = {name: value.to(device) if torch.is_tensor(value) else value for name, value in options.items()}
        found = kmeans(x.to(device), clusters, backend=backend, **moved)
        return type(found)(*(tensor.cpu() for tensor in found))

    call.backend, call.device = backend, device
    return call


def take(path, monkeypatch):
    """Makes kmeans take `path` whatever the size of the problem; the backend to ask for."""
    if path == "reference":
        return "reference"
    if path.startswith("cpp"):
        monkeypatch.setattr("vreid_fast.kernels.kmeans_cpp.fits", lambda *sizes: path == "cpp gram")
        return "cpp"
    monkeypatch.setattr("vreid_fast.kernels.kmeans_gram_triton.fits", lambda samples: path != "samples")
    return "triton"


def blobs(samples, width, clusters, seed=0):
    """Samples about `clusters` centres, some of them close to each other."""
    random = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(clusters, width, generator=random)
    chosen = torch.randint(clusters, (samples,), generator=random)
    return centres[chosen] + torch.randn(samples, width, generator=random)


def lattice(samples, width, seed=0):
    """Small integers with a mean of 0: all sums of Lloyd's iterations but the last division are exact."""
    random = torch.Generator().manual_seed(seed)
    half = torch.randint(-4, 5, (samples // 2, width), generator=random).float()
    return torch.cat([half, -half])


def check(found, x, clusters):
    """What holds of any result: labels of the nearest centroid, and sums that agree."""
    x = x.double()
    distances = torch.cdist(x, found.centroids.double()).square()
    own = distances.gather(1, found.labels[:, None])[:, 0]
    assert (own <= distances.amin(1) + 1e-4 * (1 + x.square().sum(1))).all()
    assert torch.equal(found.counts, found.labels.bincount(minlength=clusters))
    assert found.inertia.item() == pytest.approx(own.sum().item(), rel=1e-4, abs=1e-6)
    assert found.labels.dtype == found.counts.dtype == torch.int64
    assert found.centroids.dtype == found.inertia.dtype == torch.float32


@pytest.mark.parametrize("name", ("k0", "k1", "k2", "k3", "k4"))
def test_given_results_of_scikit_learn(name, run, shared):
    case = json.loads(shared("parity/algorithms/kmeans.json").read_text())[name]
    wanted = np.load(shared("parity/algorithms/kmeans.npz"))
    samples, clusters, width = case["N"], case["K"], case["D"]
    random = np.random.default_rng(case["data_seed"])
    centres = random.normal(size=(clusters, width)) * case["centre_scale"]
    x = random.normal(size=(samples, width)) + centres[random.integers(0, clusters, size=samples)]
    init = x[random.permutation(samples)[:clusters]]
    init[1 : case["duplicated_init"] + 1] = init[0]
    assert x.sum() == pytest.approx(case["X_sum"]) and init.sum() == pytest.approx(case["init_sum"])
    x, init = torch.from_numpy(x).float(), torch.from_numpy(init).float()
    found = run(x, clusters, init=init, iterations=12)
    assert found.labels.tolist() == wanted[f"{name}.lloyd.labels"].tolist()
    assert found.inertia.item() == pytest.approx(case["lloyd"]["inertia"], rel=1e-5)
    norms = found.centroids.double().norm(dim=1).numpy()
    np.testing.assert_allclose(norms, wanted[f"x64.{name}.centre_norms"], rtol=1e-5)
    check(found, x, clusters)


def test_stopped_early_as_scikit_learn(run, shared):
    case = json.loads(shared("parity/algorithms/kmeans.json").read_text())["maxiter2"]
    x = torch.from_numpy(np.random.default_rng(9).normal(size=(40, 2))).float()
    init = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 2))).float()
    found = run(x, 5, init=init, iterations=2)
    assert found.labels.tolist() == case["labels"]
    assert found.inertia.item() == pytest.approx(case["inertia"], rel=1e-5)
    check(found, x, 5)


@pytest.mark.parametrize("samples, width, clusters", ((7, 3, 2), (33, 50, 5), (70, 2, 20), (20, 1, 1)))
def test_scikit_learn_from_the_same_centroids(samples, width, clusters, run):
    x = blobs(samples, width, clusters)
    init = x[:clusters].clone()
    oracle = ScikitKMeans(clusters, init=init.double().numpy(), n_init=1, max_iter=50, tol=0)
    oracle.fit(x.double().numpy())
    found = run(x, clusters, init=init, iterations=50)
    assert found.labels.tolist() == oracle.labels_.tolist()
    assert found.inertia.item() == pytest.approx(oracle.inertia_, rel=1e-5)
    np.testing.assert_allclose(found.centroids, oracle.cluster_centers_, atol=1e-4)


@pytest.mark.parametrize("samples, width, clusters", ((16, 3, 4), (34, 40, 5), (70, 2, 17), (150, 3, 6)))
def test_paths_agree_from_the_same_seed(samples, width, clusters, run):
    x = lattice(samples, width)
    found = run(x, clusters, restarts=2, seed=3)
    wanted = kmeans(x, clusters, restarts=2, seed=3, backend="reference")
    assert torch.equal(found.labels, wanted.labels)
    torch.testing.assert_close(found.centroids, wanted.centroids)
    torch.testing.assert_close(found.inertia, wanted.inertia)
    check(found, x, clusters)


@pytest.mark.parametrize("candidates", (1, 3, 20))
def test_paths_agree_on_any_number_of_candidates(candidates, run):
    x = lattice(70, 5)
    options = {"restarts": 2, "seed": 3, "iterations": 1, "candidates": candidates}
    found, wanted = run(x, 9, **options), kmeans(x, 9, **options, backend="reference")
    # Two centroids may be at one distance, but for the last bit of their means.
    distances = torch.cdist(x.double(), wanted.centroids.double())
    own, nearest = (distances.gather(1, labels[:, None]) for labels in (found.labels, wanted.labels))
    torch.testing.assert_close(own, nearest, rtol=1e-7, atol=0)
    torch.testing.assert_close(found.inertia, wanted.inertia)


@pytest.mark.parametrize("clusters, candidates", ((1, 2), (2, 2), (3, 3), (20, 4), (21, 5)))
def test_as_many_candidates_as_scikit_learn_draws(clusters, candidates):
    x = blobs(60, 4, 20)
    options = {"restarts": 1, "iterations": 1, "seed": 1}
    found, wanted = kmeans(x, clusters, **options), kmeans(x, clusters, **options, candidates=candidates)
    assert all(map(torch.equal, found, wanted))


def test_more_candidates_seed_better(run):
    x = torch.stack([blobs(40, 3, 10, seed) for seed in range(6)])
    one, many = (run(x, 10, restarts=1, iterations=1, candidates=number).inertia for number in (1, 16))
    assert many.sum() < one.sum()


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_seeding_over_many_tiles(backend, device, monkeypatch):
    """More tiles of samples than the draw looks at together."""
    take("samples", monkeypatch)
    monkeypatch.setattr("vreid_fast.kernels.kmeans_seed_triton.TILES", 4)
    x = lattice(600, 3)
    found = kmeans(x.to(device), 9, restarts=1, iterations=1, seed=2, backend=backend)
    wanted = kmeans(x, 9, restarts=1, iterations=1, seed=2, backend="reference")
    assert torch.equal(found.labels.cpu(), wanted.labels)
    torch.testing.assert_close(found.centroids.cpu(), wanted.centroids)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("samples, width", ((64, 128), (100, 70), (200, 16)))
@pytest.mark.parametrize("processors", (1, 132))
def test_few_samples_in_parts_and_tiles(processors, samples, width, backend, device, monkeypatch):
    """On a small card one program takes all features of a tile of inner products, on a large one several do."""
    take("gram", monkeypatch)
    monkeypatch.setattr("vreid_fast.kernels.kmeans_gram_triton.multiprocessors", lambda device: processors)
    x = torch.stack([lattice(samples, width, seed) + 50 * seed for seed in range(2)])
    for options in ({"restarts": 2}, {"init": x[:, :20]}):
        options |= {"iterations": 2, "seed": 2, "candidates": 2}
        wanted = kmeans(x, 20, **options, backend="reference")
        if "init" in options:
            options["init"] = options["init"].to(device)
        found = type(wanted)(*(tensor.cpu() for tensor in kmeans(x.to(device), 20, **options, backend=backend)))
        assert torch.equal(found.labels, wanted.labels) and torch.equal(found.counts, wanted.counts)
        torch.testing.assert_close(found.centroids, wanted.centroids)
        torch.testing.assert_close(found.inertia, wanted.inertia)


@pytest.mark.parametrize(
    "problems, samples, width, restarts, processors, parts",
    (
        (1, 64, 2048, 10, 132, 16),
        (1, 64, 70, 10, 132, 2),
        (1, 64, 2048, 200, 132, 4),
        (1, 64, 2048, 2000, 132, 1),
        (8, 64, 2048, 10, 132, 8),
        (32, 64, 2048, 10, 132, 2),
        (1000, 64, 2048, 10, 132, 1),
        (1, 1, 1, 1, 132, 1),
        (1, 128, 2048, 10, 132, 4),
        (1, 256, 2048, 10, 132, 1),
        (0, 64, 2048, 10, 132, 16),
    ),
)
def test_parts_of_the_features(problems, samples, width, restarts, processors, parts):
    pytest.importorskip("triton")
    parts_of = importlib.import_module("vreid_fast.kernels.kmeans_gram_triton").parts_of
    assert parts_of(problems, samples, width, restarts, processors) == parts


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
def test_half_precision_is_summed_in_float32(dtype, run):
    x = blobs(40, 20, 4).to(dtype)
    found, wanted = (run(values, 4, init=values[:4], iterations=50) for values in (x, x.float()))
    assert torch.equal(found.labels, wanted.labels)
    torch.testing.assert_close(found.centroids, wanted.centroids)


def test_centroids_of_half_precision_samples_are_not_rounded(run):
    """Rounded ones lead the iterations elsewhere: here to inertias 0.4 % higher and 1.5 % lower."""
    x, init = low_rank(4, 160, 16, 20, torch.bfloat16, "cpu")
    found = run(x, 20, init=init)
    wanted = kmeans(x.double(), 20, init=init.double(), backend="reference")
    torch.testing.assert_close(found.inertia.double(), wanted.inertia, rtol=1e-3, atol=0)


def test_batches_are_problems_of_their_own(run):
    x = torch.stack([blobs(18, 5, 3, seed) for seed in range(3)])
    found = run(x, 3, init=x[:, :3])
    assert found.labels.shape == (3, 18) and found.inertia.shape == (3,)
    for problem in range(3):
        alone = run(x[problem], 3, init=x[problem, :3])
        assert torch.equal(found.labels[problem], alone.labels)
        torch.testing.assert_close(found.centroids[problem], alone.centroids)
    shared_init = run(x, 3, init=x[0, :3])
    assert torch.equal(shared_init.labels[0], found.labels[0])
    assert run(x[:0], 3).labels.shape == (0, 18)
    seeded = run(x, 3, restarts=2)
    for problem in range(3):
        check(type(seeded)(*(tensor[problem] for tensor in seeded)), x[problem], 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, run):
    x = make((20, 6), dtype=torch.float32, layout=layout)
    check(run(x, 3, restarts=2), x, 3)


def test_seed_decides_and_global_state_stays(run):
    x = blobs(30, 4, 8)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two = (run(x, 8, restarts=1, iterations=1, seed=5) for _ in range(2))
    as_tensor = run(x, 8, restarts=1, iterations=1, seed=torch.tensor(5))
    others = [run(x, 8, restarts=1, iterations=1, seed=seed).labels for seed in (6, 7)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(one.labels, two.labels) and torch.equal(one.centroids, two.centroids)
    assert torch.equal(one.labels, as_tensor.labels)
    assert any(not torch.equal(one.labels, labels) for labels in others)


def test_the_best_restart_is_returned(run):
    x = blobs(40, 3, 10)
    one, more = (run(x, 10, restarts=restarts, iterations=2, seed=1).inertia for restarts in (1, 4))
    assert more < one


def test_ties_go_to_the_lowest_cluster(run):
    x = torch.tensor([[-4.0], [-2.0], [0.0], [2.0], [4.0]])
    found = run(x, 2, init=torch.tensor([[-3.0], [3.0]]), iterations=1)
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


def test_empty_clusters_take_the_farthest_samples(run):
    x = torch.tensor([[0.0], [1.0], [2.0], [10.0], [30.0]])
    # All start in cluster 1; clusters 0 and 2 take 30 and 10, in this order.
    found = run(x, 3, init=torch.tensor([[99.0], [1.0], [99.0]]), iterations=1)
    assert found.centroids.flatten().tolist() == pytest.approx([30, 1, 10])
    assert found.labels.tolist() == [1, 1, 1, 2, 0]
    # 30 is alone in its cluster and stays, although it is the farthest from its centroid.
    found = run(x, 3, init=torch.tensor([[50.0], [1.0], [99.0]]), iterations=1)
    assert found.centroids.flatten().tolist() == pytest.approx([30, 1, 10])


def test_empty_clusters_of_each_problem_of_a_batch(run):
    """Far from each other, so that the middle of one is none of another."""
    x = torch.stack([blobs(60, 5, 3, seed) + 100 * seed for seed in range(3)])
    init = x[:, :6].clone()
    init[:, 3:] = 1e4
    found = run(x, 6, init=init)
    for problem in range(3):
        alone = kmeans(x[problem], 6, init=init[problem], backend="reference")
        assert found.labels[problem].tolist() == alone.labels.tolist()


@pytest.mark.parametrize("clusters", (1, 5, 16))
def test_as_many_clusters_as_samples_and_more_than_distinct_ones(clusters, run):
    x = lattice(16, 2, seed=4) * 100
    distinct = len(x.unique(dim=0))
    found = run(x, clusters, restarts=2)
    check(found, x, clusters)
    if clusters == 16:
        assert found.inertia == 0 and (found.counts > 0).sum() == distinct
    same = run(torch.ones(6, 3), min(clusters, 6), restarts=2)
    assert same.labels.tolist() == [0] * 6 and torch.equal(same.centroids, torch.ones_like(same.centroids))


# 16 clusters fill a tile of every path: a sample's scores are then NaN without an exception.
@pytest.mark.parametrize("clusters", (3, 16))
def test_nan_stays_in_its_problem(clusters, run):
    x = torch.stack([blobs(20, 3, 3), blobs(20, 3, 3, seed=1)])
    wanted = run(x, clusters, restarts=2)
    x[0, 4, 1] = float("nan")
    found = run(x, clusters, restarts=2)
    assert not found.inertia[0].isfinite()
    assert ((found.labels >= 0) & (found.labels < clusters)).all()
    assert torch.equal(found.labels[1], wanted.labels[1])
    check(type(found)(*(tensor[1] for tensor in found)), x[1], clusters)
    nothing_else = run(torch.full((20, 3), float("nan")), clusters, restarts=2, iterations=3)
    assert nothing_else.inertia.isnan() and ((nothing_else.labels >= 0) & (nothing_else.labels < clusters)).all()


@pytest.mark.parametrize("clusters", (3, 16))
def test_infinity_gives_labels_in_range(clusters, run):
    x = blobs(20, 3, 3)
    x[4, 1] = float("inf")
    found = run(x, clusters, restarts=2)
    assert not found.inertia.isfinite() and ((found.labels >= 0) & (found.labels < clusters)).all()


@pytest.fixture(params=("gram", "samples"))
def form(request, monkeypatch):
    """Which form the C++ takes, whatever the size of the problem."""
    monkeypatch.setattr("vreid_fast.kernels.kmeans_cpp.fits", lambda *sizes: request.param == "gram")
    return request.param


# More than one block of samples, chunk and tile; more centroids than one matrix product takes, of all runs and of one.
@pytest.mark.parametrize(
    "samples, width, clusters, restarts", ((600, 150, 9, 3), (300, 12, 110, 11), (1100, 12, 1050, 2))
)
def test_cpp_follows_the_reference_at_size(samples, width, clusters, restarts, form):
    x = lattice(samples, width)
    for iterations in (1, 6):
        options = {"restarts": restarts, "iterations": iterations, "seed": 2}
        found, wanted = (kmeans(x, clusters, **options, backend=backend) for backend in ("cpp", "reference"))
        assert torch.equal(found.labels, wanted.labels)
        assert found.inertia.item() == pytest.approx(wanted.inertia.item(), rel=1e-5)
        check(found, x, clusters)


def test_cpp_takes_the_problems_and_restarts_that_memory_holds(form):
    """More than 64 MB of inner products: of samples of all problems, or with what all restarts draw."""
    if form == "gram":
        x, restarts = torch.stack([blobs(1200, 2, 2, seed) for seed in range(13)]), 1
    else:
        x, restarts = blobs(600_000, 1, 2)[None], 16
    found = kmeans(x, 2, restarts=restarts, iterations=1, backend="cpp")
    for problem in (0, len(x) - 1):
        check(type(found)(*(tensor[problem] for tensor in found)), x[problem], 2)


def test_cpp_gives_the_same_on_any_number_of_threads(form):
    x = torch.stack([blobs(700, 40, 30, seed) for seed in range(2)])
    before = torch.get_num_threads()
    try:
        for options in ({"restarts": 3}, {"init": x[:, :30]}):
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                results.append(kmeans(x, 30, **options, backend="cpp"))
            for found in results[1:]:
                assert all(map(torch.equal, found, results[0]))
    finally:
        torch.set_num_threads(before)


def test_cpp_holds_inner_products_where_that_is_cheaper():
    fits = importlib.import_module("vreid_fast.kernels.kmeans_cpp").fits
    for sizes in ((64, 2048, 16, 10), (800, 256, 60, 10)):
        assert fits(*sizes)
    for sizes in ((4096, 256, 64, 1), (4096, 2, 16, 10), (100_000, 2048, 1000, 10)):
        assert not fits(*sizes)


@pytest.mark.parametrize("on_gram", (False, True))
def test_opcheck_of_the_compiled_op(on_gram):
    x = blobs(12, 3, 3)[None]
    for init in (None, x[:, :3].bfloat16()):
        for values in (x, x.half()):
            arguments = values, 3, 2, 4, init, torch.tensor(1), 2, on_gram
            torch.library.opcheck(torch.ops.vreid_fast.kmeans_cpu.default, arguments)


@pytest.mark.parametrize(
    "changed, error, message",
    (
        ({"x": torch.zeros(1, 4, 2, dtype=torch.float64)}, TypeError, "x must be float32, bfloat16 or float16 on back"),
        ({"x": torch.zeros(4, 2)}, ValueError, r"x must be \(B, N, D\) with D >= 1, got \[4, 2\]"),
        ({"clusters": 5}, ValueError, r"clusters must be in 1..N, got 5 for x \[1, 4, 2\]"),
        ({"iterations": 0}, ValueError, "restarts and iterations must be at least 1, got 1 and 0"),
        ({"init": torch.zeros(1, 3, 2)}, ValueError, r"init must be \(B, K, D\) \[1, 2, 2\], got \[1, 3, 2\]"),
        ({"seed": torch.zeros(2)}, ValueError, "seed must hold one element"),
        ({"candidates": 0}, ValueError, "candidates must be at least 1, got 0"),
    ),
)
def test_errors_of_the_compiled_op(changed, error, message):
    arguments = {"x": torch.zeros(1, 4, 2), "clusters": 2, "restarts": 1, "iterations": 1, "init": None}
    arguments = arguments | {"seed": torch.tensor(1), "candidates": 2} | changed
    with pytest.raises(error, match=f"kmeans: {message}"):
        torch.ops.vreid_fast.kmeans_cpu(**arguments, on_gram=True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_worse_than_scikit_learn_on_many_problems(kind):
    found = ratios(kind, restarts=10)
    assert len(found) == 100 and found.mean() < 1 + 2 * found.std() / 10
    # The measure sees what candidates are for.
    assert ratios(kind, restarts=10, candidates=1).mean() > 1.005


def test_opcheck_and_compile(run):
    x = blobs(12, 3, 3).to(run.device)
    for init in (None, x[None, :3]):
        arguments = x[None], 3, 2, 4, init, torch.tensor(1, device=run.device), 2, run.backend
        torch.library.opcheck(torch.ops.vreid_fast.kmeans.default, arguments)
    compiled = torch.compile(
        lambda x: kmeans(x, 3, restarts=2, backend=run.backend), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(x.requires_grad_()).labels.cpu(), run(x, 3, restarts=2).labels)


@pytest.mark.gpu
@pytest.mark.parametrize("path", ("gram", "samples"))
@pytest.mark.parametrize("given", (False, True), ids=("seeded", "given"))
def test_replayed_graph_clusters_what_lies_there_then(given, path, monkeypatch):
    backend = take(path, monkeypatch)
    x, seed = blobs(40, 9, 4).cuda(), torch.tensor(0, device="cuda")

    def call():
        return kmeans(x, 4, restarts=3, init=x[:4] if given else "k-means++", seed=seed, backend=backend)

    replay = graphed(call)
    for number in (1, 2):
        x.copy_(blobs(40, 9, 4, seed=number))
        seed.fill_(number)
        wanted = call()
        found = replay()
        assert torch.equal(found.labels, wanted.labels) and torch.equal(found.counts, wanted.counts)
        torch.testing.assert_close(found.centroids, wanted.centroids)
        torch.testing.assert_close(found.inertia, wanted.inertia)


def test_float64_is_kept_by_the_reference_and_refused_by_the_others(run):
    x = make((9, 2))
    if run.backend != "reference":
        with pytest.raises(TypeError, match="use backend='reference'"):
            run(x, 2)
    else:
        assert run(x, 2).centroids.dtype == torch.float64


@pytest.mark.parametrize(
    "shape, options, message",
    (
        ((8, 3), {"clusters": 16}, r"clusters must be in 1..N, got 16 clusters for x \(8, 3\) with N = 8"),
        ((8, 3), {"clusters": 0}, "got 0 clusters"),
        ((8,), {"clusters": 2}, r"x must be floats \(N, D\) or \(B, N, D\), got \(8,\)"),
        ((8, 3), {"clusters": 2, "restarts": 0}, "restarts and iterations must be at least 1, got 0 and 25"),
        ((8, 3), {"clusters": 2, "iterations": 0}, "got 10 and 0"),
        ((8, 3), {"clusters": 2, "candidates": 0}, r"candidates must be in 1..64, got 0; None is 2 \+ log K"),
        ((8, 3), {"clusters": 2, "candidates": 65}, "candidates must be in 1..64, got 65"),
        ((8, 3), {"clusters": 2, "init": "random"}, "init must be 'k-means\\+\\+' or a tensor"),
        ((8, 3), {"clusters": 2, "init": torch.zeros(3, 3)}, r"init must be \(2, 3\).*got \(3, 3\)"),
        ((8, 3), {"clusters": 2, "init": torch.zeros(2, 3).long()}, r"init must be floats .* got torch.int64 on cpu"),
        ((8, 3), {"clusters": 2, "init": torch.zeros(2, 3, device="meta")}, r"on cpu as x is, got .* on meta; "),
        ((8, 3), {"clusters": 2, "seed": torch.zeros(2).long()}, r"seed must hold one element, got shape \[2\]"),
    ),
)
def test_errors(shape, options, message):
    with pytest.raises(ValueError, match=message):
        kmeans(torch.zeros(shape), **options)


@pytest.mark.parametrize("seed", (0.5, torch.tensor(0.5)), ids=("number", "tensor"))
def test_a_seed_that_is_no_integer(seed):
    with pytest.raises(TypeError, match="kmeans: seed must be an integer, got"):
        kmeans(torch.zeros(8, 3), 2, seed=seed)


@pytest.mark.parametrize("samples, width, value", ((90, 8, 1e6), (30, 40, 1e6), (5, 3, -1e5)))
def test_one_sample_far_away_does_not_spoil_the_others(samples, width, value, run):
    x = torch.cat([blobs(samples - 1, width, 1), torch.full((1, width), value)])
    found = run(x, 4, restarts=2, iterations=4)
    exact = torch.cdist(x.double(), found.centroids.double())
    own = exact.gather(1, found.labels[:, None])[:, 0]
    assert (own <= exact.amin(1) * (1 + 1e-4) + 1e-4).all()
    assert found.counts[found.labels[-1]] == 1 and (found.counts > 0).all()


@pytest.mark.parametrize("given", (False, True), ids=("seeded", "given"))
def test_samples_far_from_zero(given, run):
    near = lattice(40, 16)
    far = near + 2**14
    found, wanted = (run(x, 5, init=x[:5] if given else "k-means++", restarts=2, iterations=1) for x in (far, near))
    assert torch.equal(found.labels, wanted.labels)
