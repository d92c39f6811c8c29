"""kmeans_assign: every backend against all distances in float64."""

import importlib

import pytest
import torch
from cases import LAYOUTS, make
from interpreted import RUNS as TRITON_AND_REFERENCE
from interpreted import TRITON_RUNS
from providers import graphed

from vreid_fast.kernels.kmeans_assign import kmeans_assign, kmeans_assign_reference

CPP = pytest.param("cpp", "cpu", id="cpp")
RUNS = (*TRITON_AND_REFERENCE, CPP)
# (N, K, D): single elements, none at all, odd sizes, more than one tile of each axis, several parts of the clusters.
SIZES = ((1, 1, 1), (0, 3, 4), (5, 7, 3), (70, 67, 35), (33, 16, 130), (130, 3, 2), (70, 131, 35), (20, 600, 18))
# Triton's kernel for few clusters, and those for many: of cards that copy tiles by descriptors, and of others.
FORMS = ("few", "many", "many by pointers")


@pytest.fixture(params=FORMS, autouse=True)
def form(request, monkeypatch):
    if request.param != "few":
        if request.node.callspec.params.get("backend") != "triton":
            pytest.skip("it has one form")
        monkeypatch.setattr("vreid_fast.kernels.kmeans_assign_triton.FEW", 0)
        if "pointers" in request.param:
            monkeypatch.setattr("vreid_fast.kernels.kmeans_assign_triton.copies_tiles", lambda device: False)


def check(x, centroids, labels, distances, tolerance):
    """Labels are of a nearest centroid up to rounding, distances those of the labels."""
    exact = torch.cdist(x.double().cpu(), centroids.double().cpu()).square()
    own = exact.gather(-1, labels.cpu()[..., None])[..., 0]
    scale = x.double().cpu().square().sum(-1) + 1
    assert ((own - exact.amin(-1)) <= tolerance * scale).all()
    torch.testing.assert_close(distances.double().cpu(), own, rtol=tolerance, atol=1e-9)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float16), ids=str)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_labels_and_distances(size, dtype, backend, device):
    samples, clusters, width = size
    x = make((samples, width), dtype=dtype, device=device)
    for of_centroids in (dtype, torch.float32):
        centroids = make((clusters, width), dtype=of_centroids, device=device, seed=1)
        labels, distances = kmeans_assign(x, centroids, backend=backend)
        assert labels.dtype == torch.int64 and distances.dtype == torch.float32
        assert labels.shape == distances.shape == (samples,)
        # Half-precision samples against float32 centroids lose no more than float32 does.
        check(x, centroids, labels, distances, 1e-5)
        alone, nothing = kmeans_assign(x, centroids, distances=False, backend=backend)
        assert torch.equal(alone, labels) and nothing is None


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_batches_and_layouts(layout, backend, device):
    x = make((3, 9, 5), dtype=torch.float32, device=device, layout=layout)
    centroids = make((3, 4, 5), dtype=torch.float32, device=device, layout=layout, seed=1)
    labels, distances = kmeans_assign(x, centroids, backend=backend)
    check(x, centroids, labels, distances, 1e-5)
    for problem in range(3):
        alone = kmeans_assign(x[problem], centroids[problem], backend=backend)
        assert torch.equal(alone[0], labels[problem])
    empty = kmeans_assign(x[:0], centroids[:0], backend=backend)
    assert empty[0].shape == empty[1].shape == (0, 9)


@pytest.mark.parametrize("backend, device", RUNS)
def test_of_equal_distances_the_lowest_index_wins(backend, device):
    x = torch.tensor([[1.0], [3.0], [6.0], [-1.0]], device=device)
    # More than one tile and part of the centroids; the last equal the first.
    centroids = torch.cat([torch.tensor([[0.0], [2.0], [4.0], [8.0]]), torch.full((700, 1), 99.0)])
    centroids = torch.cat([centroids, centroids[:4]]).to(device)
    labels, distances = kmeans_assign(x, centroids, backend=backend)
    assert labels.tolist() == [0, 1, 2, 0]
    assert distances.tolist() == [1, 1, 4, 1]


@pytest.mark.parametrize("backend, device", RUNS)
def test_distance_is_exact_near_zero(backend, device):
    x = 1000 + make((20, 40), dtype=torch.float32, device=device)
    _, distances = kmeans_assign(x, x[:1].clone(), backend=backend)
    assert distances[0] == 0
    exact = (x.double() - x[:1].double()).square().sum(1).float()
    torch.testing.assert_close(distances, exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend, device", RUNS)
def test_nan_gives_a_label_in_range(backend, device):
    x = make((6, 5), dtype=torch.float32, device=device)
    x[2, 3] = float("nan")
    labels, distances = kmeans_assign(x, make((3, 5), dtype=torch.float32, device=device), backend=backend)
    assert distances.isnan().nonzero().tolist() == [[2]]
    assert ((labels >= 0) & (labels < 3)).all()


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("value", (float("nan"), float("inf"), -float("inf"), 1e30), ids=str)
def test_centroids_that_are_not_finite_are_nobodys_nearest(value, backend, device):
    x = make((40, 5), dtype=torch.float32, device=device)
    centroids = make((19, 5), dtype=torch.float32, device=device, seed=1)
    centroids[3, 2] = centroids[0, 4] = centroids[17] = value
    others = [k for k in range(19) if k not in (0, 3, 17)]
    labels, distances = kmeans_assign(x, centroids, backend=backend)
    within, wanted = kmeans_assign(x, centroids[others], backend="reference")
    assert labels.tolist() == [others[k] for k in within.tolist()]
    torch.testing.assert_close(distances, wanted)
    labels, distances = kmeans_assign(x, centroids[[3, 17]], backend=backend)
    assert not labels.any() and not distances.isfinite().any()


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_rows_that_do_not_begin_at_a_multiple_of_16_bytes(backend, device):
    numbers = make((1 + 20 * 8,), dtype=torch.float32, device=device)
    x = numbers[1:].view(20, 8)
    assert x.data_ptr() % 16
    labels, distances = kmeans_assign(x, x[:9], backend=backend)
    check(x, x[:9], labels, distances, 1e-5)


@pytest.mark.parametrize(
    "programs, tiles, processors, length",
    ((313, 4, 132, 2), (1, 4, 132, 1), (132, 4, 132, 4), (100_000, 4, 132, 4), (1, 40, 132, 3), (1, 1, 1, 1)),
)
def test_clusters_are_parted_so_that_the_whole_card_works(programs, tiles, processors, length):
    pytest.importorskip("triton")
    from vreid_fast.kernels.kmeans_assign_triton import part_length

    assert part_length(programs, tiles, processors) == length


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
def test_cpp_on_several_chunks_and_parts_of_the_centroids(dtype):
    x = make((1300, 5), dtype=dtype, layout="reversed")
    centroids = make((2100, 5), dtype=dtype, seed=1)
    centroids[2050], centroids[1040] = centroids[7], centroids[1030]
    labels, distances = kmeans_assign(x, centroids, backend="cpp")
    check(x, centroids, labels, distances, 1e-5)
    assert not ((labels == 2050) | (labels == 1040)).any() and (labels >= 1024).any() and (labels >= 2048).any()


def test_cpp_gives_the_same_on_any_number_of_threads():
    x, centroids = make((1300, 70), dtype=torch.float32), make((30, 70), dtype=torch.float32, seed=1)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(kmeans_assign(x, centroids, backend="cpp"))
    finally:
        torch.set_num_threads(before)
    for labels, distances in results[1:]:
        assert torch.equal(labels, results[0][0]) and torch.equal(distances, results[0][1])


def test_opcheck_of_the_compiled_op():
    centroids = make((2, 4, 3), dtype=torch.float32, seed=1)
    for x in (make((2, 5, 3), dtype=torch.float32), make((2, 5, 3), dtype=torch.bfloat16)):
        torch.library.opcheck(torch.ops.vreid_fast.kmeans_assign_cpu.default, (x, centroids))


@pytest.mark.parametrize(
    "x, centroids, error, message",
    (
        (torch.zeros(1, 4, 2).double(), torch.zeros(1, 3, 2), TypeError, "x must be float32, bfloat16 or float16"),
        (
            torch.zeros(1, 4, 2),
            torch.zeros(1, 0, 2),
            ValueError,
            r".* with K >= 1 for x .*\[1, 4, 2\], got \[1, 0, 2\]",
        ),
        (torch.zeros(1, 4, 2), torch.zeros(1, 3, 3), ValueError, r".*got \[1, 3, 3\]; give both the same"),
        (torch.zeros(4, 2), torch.zeros(3, 2), ValueError, r"centroids must be \(B, K, D\)"),
    ),
)
def test_errors_of_the_compiled_op(x, centroids, error, message):
    with pytest.raises(error, match=f"kmeans_assign: {message}"):
        torch.ops.vreid_fast.kmeans_assign_cpu(x, centroids)


def test_reference_works_in_chunks(monkeypatch):
    x, centroids = make((2, 50, 6)), make((2, 4, 6), seed=1)
    whole = kmeans_assign_reference(x, centroids)
    # The package's attribute of this name is the function.
    module = importlib.import_module("vreid_fast.kernels.kmeans_assign")
    monkeypatch.setattr(module, "_CHUNK", 100)
    chunked = kmeans_assign_reference(x, centroids)
    assert torch.equal(whole[0], chunked[0])
    torch.testing.assert_close(whole[1], chunked[1])


@pytest.mark.parametrize("backend, device", RUNS)
def test_opcheck_and_compile(backend, device):
    x = make((2, 5, 3), dtype=torch.float32, device=device)
    centroids = make((2, 4, 3), dtype=torch.float32, device=device, seed=1)
    for distances in (True, False):
        torch.library.opcheck(torch.ops.vreid_fast.kmeans_assign.default, (x, centroids, distances, backend))
    compiled = torch.compile(kmeans_assign, fullgraph=True, backend="aot_eager")
    labels, _ = compiled(x.requires_grad_(), centroids, backend=backend)
    assert torch.equal(labels, kmeans_assign(x, centroids, backend=backend)[0])


@pytest.mark.parametrize(
    "x, centroids, message",
    (
        ((5,), (2, 5), r"x and centroids must be floats \(N, D\) and \(K, D\)"),
        ((5, 3), (1, 2, 3), "add or drop the axis of problems"),
        ((5, 3), (2, 4), r"centroids must be \(K, D\) with K >= 1 and D = 3 for x \(5, 3\), got \(2, 4\)"),
        ((5, 3), (0, 3), r"K >= 1"),
        ((2, 5, 3), (3, 4, 3), "give both the same problems and features"),
    ),
)
def test_errors(x, centroids, message):
    with pytest.raises(ValueError, match=message):
        kmeans_assign(torch.zeros(x), torch.zeros(centroids))
    with pytest.raises(ValueError, match="centroids must be floats on cpu as x is, got torch.int64 on cpu; convert"):
        kmeans_assign(torch.zeros(5, 3), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="centroids must be floats on cpu as x is, got torch.float32 on meta"):
        kmeans_assign(torch.zeros(5, 3), torch.zeros(2, 3, device="meta"))


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_precision_may_be_set_by_its_own_name(backend, device):
    x, before = make((5, 3), dtype=torch.float32, device=device), torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        assert kmeans_assign(x, x, backend=backend)[0].tolist() == [0, 1, 2, 3, 4]
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.parametrize("backend, device", (*TRITON_RUNS, CPP))
def test_dtype_error(backend, device):
    with pytest.raises(TypeError, match="use backend='reference'"):
        kmeans_assign(make((3, 2), device=device), make((3, 2), device=device), backend=backend)


@pytest.mark.gpu
def test_replays_from_a_cuda_graph():
    x, centroids = (make(size, dtype=torch.float32, device="cuda") for size in ((70, 9), (8, 9)))
    replay = graphed(lambda: kmeans_assign(x, centroids, backend="triton"))
    x.copy_(make((70, 9), seed=3))
    labels, distances = kmeans_assign(x, centroids, backend="triton")
    found = replay()
    assert torch.equal(found[0], labels) and torch.equal(found[1], distances)
