"""Vectors to scores."""

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
    evaluation = Evaluation.of(None, dataset, Protocol(2, ReadingOptions(size=(32, 16))), CPU, train=True)
    assert seen == [len({id(t) for t in (*dataset.query, *dataset.gallery, *dataset.train)})]
    assert torch.equal(evaluation.query, evaluation.gallery)
    assert why_unscored(dataset) is None
