"""metrics: rankings against torchreid, scikit-learn and the clothes protocols, and by hand."""

import json

import numpy as np
import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.metrics import (
    Labels,
    camera_standardise,
    pairwise_distances,
    rank_distances,
    rank_metrics,
    rank_queries,
)

CASES = ("r0", "r1", "ties.stable", "ties2.stable", "few", "twocam", "big")
PROTOCOLS = {"full": "market", "general": "market", "SC": "same_clothes", "CC": "clothes_change"}


@pytest.fixture
def parity(shared):
    with np.load(shared("parity/ranking/ranking.npz")) as file:
        return dict(file)


@pytest.fixture
def mars(shared):
    with np.load(shared("data/eval_reference/mars_real_meta_synth_feat.npz")) as file:
        return dict(file)


def expected(shared, case):
    cases = json.loads(shared("data/eval_reference/expected.json").read_text())
    return next(entry for entry in cases if entry["case"] == case)


def scores_of(arrays, case, **settings):
    name = case.split(".")[0]
    column = {
        key: arrays[f"{name}.{key}"] for key in ("dist", "q_pid", "q_cam", "q_clothes", "g_pid", "g_cam", "g_clothes")
    }
    return rank_distances(
        column["dist"],
        column["q_pid"],
        column["q_cam"],
        column["g_pid"],
        column["g_cam"],
        query_clothes=column["q_clothes"],
        gallery_clothes=column["g_clothes"],
        **settings,
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("authors", PROTOCOLS)
def test_equals_the_field(parity, case, authors):
    scores = scores_of(parity, case, protocol=PROTOCOLS[authors])
    reference = parity[f"x64.{case}.{authors}_cmc"]
    assert scores["map"] == pytest.approx(float(parity[f"x64.{case}.{authors}_map"]), abs=1e-9)
    np.testing.assert_allclose(scores["cmc"], reference[:50], atol=1e-9)
    assert scores["rank5"] == pytest.approx(reference[4], abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_equals_torchreid(parity, shared, case):
    info = json.loads(shared("parity/ranking/info.json").read_text())[case.split(".")[0]]
    scores = scores_of(parity, case)
    assert scores["queries"] == info["valid_queries"]
    assert scores["unmatched"] == info["queries"] - info["valid_queries"]
    assert scores["map"] == pytest.approx(float(parity[f"x64.{case}.torchreid_map"]), abs=1e-9)
    reference = parity[f"{case}.torchreid_cmc"]
    np.testing.assert_allclose(scores["cmc"][: len(reference)], reference, atol=1e-6)


@pytest.mark.parametrize("name", ["pets_osnet", "pets_visit_osnet"])
def test_real_features_with_the_query_in_the_gallery(shared, name):
    with np.load(shared(f"data/eval_reference/{name}.npz")) as file:
        features, identities, cameras = file["features"], file["pids"], file["cams"]
    scores = rank_metrics(features, identities, cameras, features, identities, cameras)
    case = expected(shared, name.replace("osnet", "all_vs_all"))
    assert scores["queries"] == case["num_query"]
    for mine, theirs in (("rank1", "rank1"), ("rank5", "rank5"), ("rank10", "rank10"), ("map", "mAP")):
        assert scores[mine] == pytest.approx(case["sklearn"][theirs], abs=1e-6)


@pytest.mark.parametrize(
    "variant",
    [
        "gallery_9330_no_query_no_junk",
        "gallery_10200_no_query",
        "gallery_11310_with_query_no_junk",
        "gallery_12180_all",
    ],
)
def test_mars_at_full_size(mars, shared, variant):
    identities = mars["pids"].astype(np.int64)
    gallery = np.ones(len(identities), dtype=bool)
    gallery[mars["query_idx"]] &= "no_query" not in variant
    gallery &= (identities != -1) | ("no_junk" not in variant)
    assert gallery.sum() == int(variant.split("_")[1])
    query = mars["query_idx"]
    scores = rank_metrics(
        mars["features"][query],
        identities[query],
        mars["cams"][query],
        mars["features"][gallery],
        identities[gallery],
        mars["cams"][gallery],
    )
    standard = expected(shared, "mars_gallery_variants")[variant]["standard"]
    assert scores["queries"] == standard["valid"]
    assert scores["unmatched"] == 1980 - standard["valid"]
    for mine, theirs in (("rank1", "rank1"), ("rank5", "rank5"), ("rank20", "rank20"), ("map", "mAP")):
        assert scores[mine] == pytest.approx(standard[theirs], abs=1e-6)


def test_by_hand():
    # Ranking of the one query without its junk (same person, same camera): miss, hit, miss, hit.
    scores = rank_distances([[0.1, 0.2, 0.3, 0.4, 0.5]], [7], [1], [7, 8, 7, 9, 7], [1, 1, 2, 2, 3])
    assert scores["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert (scores["rank1"], scores["rank5"]) == (0, 1)
    assert scores["cmc"].tolist() == [0, 1, 1, 1, 1]


def test_equal_distances_stay_in_gallery_order():
    distances = torch.tensor([[0.0, -0.0, 0.0], [-1.0, -2.0, -1.0]])
    average_precision, first = rank_queries(
        distances.__getitem__, Labels(torch.tensor([5, 5])), Labels(torch.tensor([6, 6, 5]))
    )
    assert first.tolist() == [2, 2]
    assert average_precision.tolist() == pytest.approx([1 / 3, 1 / 3])


def test_negative_distances_keep_their_order():
    generator = torch.Generator().manual_seed(0)
    distances = torch.randn(20, 200, generator=generator)
    identities = torch.randint(0, 10, (200,), generator=generator)
    average_precision, first = rank_queries(distances.__getitem__, Labels(torch.arange(20) % 10), Labels(identities))
    for query, order in enumerate(distances.argsort(dim=1)):
        hit = identities[order] == query % 10
        precision = hit.cumsum(0)[hit] / (hit.nonzero().flatten() + 1)
        assert first[query] == hit.nonzero()[0]
        assert average_precision[query].item() == pytest.approx(precision.double().mean().item())


def test_a_large_gallery_is_read_once_for_many_queries(monkeypatch):
    """A product of a few queries would read all of it for them."""
    monkeypatch.setattr("vreid_fast.metrics.rank._PAIRS_CPU", 90)  # three queries are ranked at once
    distances = torch.rand(300, 30, generator=torch.Generator().manual_seed(0))
    labels, asked = Labels(torch.arange(300) % 7), []

    def rows(part):
        asked.append(len(distances[part]))
        return distances[part]

    found = rank_queries(rows, labels, Labels(torch.arange(30) % 7))
    assert sum(asked) == 300 and min(asked[:-1]) >= 128
    monkeypatch.undo()
    whole = rank_queries(distances.__getitem__, labels, Labels(torch.arange(30) % 7))
    assert all(map(torch.equal, found, whole))


def test_chunks_change_nothing(monkeypatch, parity):
    whole = scores_of(parity, "r1")
    monkeypatch.setattr("vreid_fast.metrics.rank._PAIRS_CPU", 200)
    part = scores_of(parity, "r1")
    np.testing.assert_array_equal(whole.pop("cmc"), part.pop("cmc"))
    assert whole == part


def test_any_layout_of_the_distances(parity):
    whole = scores_of(parity, "big")
    dist = torch.from_numpy(parity["big.dist"])
    parity["big.dist"] = dist.T.contiguous().T
    assert scores_of(parity, "big")["map"] == whole["map"]
    parity["big.dist"] = dist.double().repeat_interleave(2, dim=1)[:, ::2]
    assert scores_of(parity, "big")["map"] == whole["map"]


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "dot"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_feature_types(distance, dtype):
    query, gallery = torch.eye(3, 8, dtype=dtype), torch.eye(3, 8, dtype=dtype).flip(0)
    for convert in (lambda x: x, lambda x: x.float().numpy()):
        scores = rank_metrics(
            convert(query),
            [1, 2, 3],
            [0, 0, 0],
            convert(gallery),
            np.array([3, 2, 1]),
            [1, 1, 1],
            distance=distance,
        )
        assert scores["rank1"] == scores["map"] == 1


def test_the_dot_product_prefers_long_features_where_the_cosine_does_not():
    query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert pairwise_distances(query, gallery, "dot").tolist() == [[-1.0, -3.0]]
    identities = ([1], [0], gallery, [1, 2], [1, 1])
    assert rank_metrics(query, *identities, distance="cosine")["rank1"] == 1
    assert rank_metrics(query, *identities, distance="dot")["rank1"] == 0


def test_without_cameras_every_other_item_of_the_person_is_a_match():
    scores = rank_distances([[0.1, 0.2]], [1], None, [1, 2], None)
    assert scores["map"] == 1


def test_junk_identity_is_left_out():
    scores = rank_distances([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], [1, -1], [0, 0], [-1, -1, 1], [1, 1, 1])
    assert scores["rank1"] == 1
    assert scores["unmatched"] == 1


def test_gallery_smaller_than_the_ranks():
    scores = rank_distances([[0.1, 0.2]], [1], [0], [2, 1], [1, 1], ranks=(1, 20))
    assert (scores["rank1"], scores["rank20"]) == (0, 1)
    assert len(scores["cmc"]) == 2


@pytest.mark.parametrize("queries", [0, 2])
def test_no_match_at_all(queries):
    with pytest.raises(InputError, match=f"no query of {queries} has a match among 3 gallery items"):
        rank_metrics(torch.ones(queries, 4), [1] * queries, [0] * queries, torch.ones(3, 4), [1, 1, 2], [0, 0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_features": torch.ones(2, 4, 4)}, "query_features must be a float matrix"),
        (
            {"gallery_features": torch.ones(3, 4, dtype=torch.int64)},
            "gallery_features must be a float matrix",
        ),
        ({"gallery_features": torch.ones(3, 5)}, "same width D, got 4 and 5"),
        ({"query_features": torch.full((2, 4), torch.nan)}, "query_features must be finite, .* 2 of 2 rows, .* row 0"),
        (
            {"gallery_features": torch.tensor([[0.0], [torch.inf], [0.0]])},
            "gallery_features must be finite.* row 1",
        ),
        ({"query_features": torch.full((2, 4), 1e30), "distance": "euclidean"}, "distances must be finite"),
        ({"query_features": [["a"], ["b"]]}, "query_features must be numbers in a tensor, array or list, got list"),
        ({"query_features": torch.ones(2, 4, dtype=torch.complex64)}, "query_features must be a float matrix"),
        ({"query_features": torch.ones(0, 4)}, r"query_identities must be \(0,\) integers"),
        ({"query_identities": [None, 1]}, "query_identities must be numbers"),
        ({"query_identities": ["a", "b"]}, "query_identities must be numbers"),
        ({"query_identities": torch.ones(2, dtype=torch.complex64)}, r"query_identities must be \(2,\) integers"),
        ({"query_identities": [[1], [2]]}, r"query_identities must be \(2,\) integers"),
        ({"ranks": (0, 1)}, "ranks must be integers from 1"),
        ({"ranks": (1.5,)}, "ranks must be integers from 1"),
        ({"query_identities": [1, 2, 3]}, r"query_identities must be \(2,\) integers"),
        ({"gallery_cameras": [0.0, 1.0, 1.0]}, r"gallery_cameras must be \(3,\) integers"),
        ({"gallery_identities": None}, "gallery_identities must be"),
        ({"gallery_cameras": None}, "both or neither"),
        ({"distance": "manhattan"}, "distance must be one of cosine, euclidean, dot"),
        ({"protocol": "duke"}, "protocol must be one of market"),
        ({"protocol": "clothes_change"}, "needs query_clothes and gallery_clothes"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "query_features": torch.ones(2, 4),
        "query_identities": [1, 2],
        "query_cameras": [0, 0],
        "gallery_features": torch.ones(3, 4),
        "gallery_identities": [1, 2, 2],
        "gallery_cameras": [1, 1, 1],
    }
    with pytest.raises(ValueError, match=message):
        rank_metrics(**(arguments | change))


def test_distances_equal_torchreid(shared):
    with np.load(shared("parity/ranking/rerank.npz")) as file:
        features, squared, cosine = file["s0.feat"], file["dist.euclidean_sq"], file["dist.cosine"]
    query, gallery = features[: len(squared)], features[len(squared) :]
    np.testing.assert_allclose(pairwise_distances(query, gallery), cosine, atol=1e-6)
    np.testing.assert_allclose(pairwise_distances(query, gallery, "euclidean") ** 2, squared, rtol=1e-4, atol=1e-5)


def test_distances_ignore_autocast_and_leave_the_flags():
    features = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    before = torch.backends.cuda.matmul.fp32_precision
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pairwise_distances(features, features)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, pairwise_distances(features, features))
    assert torch.backends.cuda.matmul.fp32_precision == before


@pytest.mark.gpu
def test_the_gpu_ranks_as_the_cpu(mars):
    torch.set_float32_matmul_precision("high")
    query, identities = mars["query_idx"], mars["pids"].astype(np.int64)
    arguments = [
        mars["features"][query],
        identities[query],
        mars["cams"][query],
        mars["features"],
        identities,
        mars["cams"],
    ]
    try:
        gpu = rank_metrics(*(torch.as_tensor(value, device="cuda") for value in arguments))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert gpu["map"] == pytest.approx(rank_metrics(*arguments)["map"], abs=1e-6)


def test_standardising_removes_the_cameras():
    generator = torch.Generator().manual_seed(0)
    person = torch.randn(40, 16, generator=generator)
    offset, gain = 10 * torch.randn(2, 16, generator=generator), torch.tensor([[1.0], [3.0]])
    seen = [person * gain[camera] + offset[camera] for camera in (0, 1)]
    features, cameras = torch.cat(seen), torch.arange(2).repeat_interleave(40)
    identities = torch.arange(40).repeat(2)
    plain = rank_metrics(features, identities, cameras, features, identities, cameras)
    clean = camera_standardise(features, cameras, features, cameras)
    torch.testing.assert_close(clean[:40], clean[40:], atol=1e-4, rtol=0)
    assert rank_metrics(clean, identities, cameras, clean, identities, cameras)["map"] == 1 > plain["map"]


def test_standardising_an_unseen_camera_takes_the_global_statistics():
    generator = torch.Generator().manual_seed(0)
    features, reference = (
        torch.randn(6, 3, generator=generator),
        torch.randn(30, 3, generator=generator) * 5 + 2,
    )
    everywhere = (features - reference.mean(0)) / reference.std(0, correction=0)
    cameras, seen = np.array([0, 0, 0, 9, 9, 9]), np.arange(30) % 2
    standardised = camera_standardise(features, cameras, reference, seen, eps=0)
    torch.testing.assert_close(standardised[3:], everywhere[3:])
    here = reference[seen == 0]
    torch.testing.assert_close(standardised[:3], (features[:3] - here.mean(0)) / here.std(0, correction=0))
    for unknown in ((None, seen), (cameras, None)):
        torch.testing.assert_close(camera_standardise(features, unknown[0], reference, unknown[1], eps=0), everywhere)


@pytest.mark.parametrize(
    ("reference", "cameras", "message"),
    [
        (torch.ones(5, 4), None, r"reference_features must be \(R, 3\)"),
        (torch.ones(0, 3), None, "R at least 1"),
        (torch.ones(5, 3), [1, 2], r"cameras must be \(6,\)"),
        (torch.ones(5, 3), [0.5] * 6, r"cameras must be \(6,\) integers"),
        (torch.ones(5, 3), [torch.nan] * 6, r"cameras must be \(6,\) integers"),
        (torch.ones(5, 3), [None] * 6, "cameras must be numbers"),
        (
            torch.ones(5, 3).index_fill(0, torch.tensor([2]), torch.nan),
            None,
            "reference_features must be finite.* row 2",
        ),
        (torch.full((5, 3), torch.inf), [0] * 6, "reference_features must be finite, got NaN or infinity in 5 of 5"),
    ],
)
def test_standardising_names_what_is_wrong(reference, cameras, message):
    with pytest.raises(ValueError, match=message):
        camera_standardise(torch.ones(6, 3), cameras, reference, torch.zeros(len(reference), dtype=torch.int64))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_every_function_refuses_numbers_that_are_not_finite(value):
    bad, good, labels = torch.ones(3, 4), torch.ones(3, 4), [1, 2, 3]
    bad[1, 2] = value
    for call in (
        lambda: pairwise_distances(bad, good),
        lambda: pairwise_distances(good, bad, "euclidean"),
        lambda: camera_standardise(bad, None, good, None),
        lambda: camera_standardise(good, labels, bad, labels),
        lambda: rank_metrics(good, labels, None, bad, labels, None),
        lambda: rank_distances(bad[:, :3], labels, None, labels, None),
    ):
        with pytest.raises(ValueError, match="must be finite, got NaN or infinity in 1 of 3 rows, the first in row 1"):
            call()


def test_standardising_refuses_an_eps_below_zero():
    for eps in (-1.0, torch.nan):
        with pytest.raises(ValueError, match="eps must be 0 or more"):
            camera_standardise(torch.ones(2, 3), None, torch.ones(2, 3), None, eps=eps)
