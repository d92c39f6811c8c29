"""Vectors to scores."""

from types import SimpleNamespace

import torch

from vreid_fast.data import read_dataset
from vreid_fast.data.checks import why_unscored
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.device import Precision
from vreid_fast.evaluation import scores
from vreid_fast.evaluation.embed import Protocol
from vreid_fast.evaluation.scores import Evaluation

CPU = Precision("fp32", torch.device("cpu"))


def test_a_tracklet_in_query_and_gallery_is_embedded_once(data, monkeypatch):
    dataset, seen = read_dataset(data["target"]), []
    monkeypatch.setattr(
        scores,
        "embed",
        lambda network, tracklets, *_: seen.append(len(tracklets)) or torch.randn(len(tracklets), 4),
    )
    network = SimpleNamespace(compares_pairs=False)
    evaluation = Evaluation.of(network, dataset, Protocol(2, ReadingOptions(size=(32, 16))), CPU, train=True)
    assert seen == [len({id(t) for t in (*dataset.query, *dataset.gallery, *dataset.train)})]
    assert torch.equal(evaluation.query, evaluation.gallery)
    assert why_unscored(dataset) is None


def test_reranked_scores_follow_common_neighbours(data):
    dataset = read_dataset(data["target"])
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(len(dataset.query), 8, generator=draw)
    gallery = torch.randn(len(dataset.gallery), 8, generator=draw)
    cosine = Evaluation(dataset, Protocol(2, ReadingOptions(size=(32, 16))), query, gallery)
    longer = Evaluation(dataset, Protocol(2, ReadingOptions(size=(32, 16))), query * 7, gallery)
    assert cosine.reranked_scores(None) == longer.reranked_scores(None)
    right = torch.tensor([[q.identity == g.identity for g in dataset.gallery] for q in dataset.query]).float()
    perfect = Evaluation(dataset, cosine.protocol, right, right.T @ right)
    assert perfect.reranked_scores(None)["map"] > cosine.reranked_scores(None)["map"]
