"""python -m vreid_fast.evaluate: the scores of a run again, from its checkpoint alone."""

import json

import pytest
import torch
from test_train import TINY, data, flags, paper_run, write_people  # noqa: F401

from vreid_fast.data.checks import why_unscored
from vreid_fast.data.reading.loader import Reading
from vreid_fast.device import Precision
from vreid_fast.evaluate import main
from vreid_fast.evaluation.scores import Evaluation, Protocol, embed
from vreid_fast.models import build, camera_statistics, using_statistics

CPU = Precision("fp32", torch.device("cpu"))


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_a_checkpoint_gives_the_scores_of_its_run(data, paper_run, tmp_path, network, capsys):  # noqa: F811
    file = tmp_path / "scores.json"
    arguments = ["--checkpoint", f"{paper_run}/last.pt", "--data", data["target"], "--network", network]
    assert main([*arguments, "--json", str(file)]) == 0
    scores, result = json.loads(file.read_text()), json.loads((paper_run / "result.json").read_text())
    assert scores[network]["map"] == pytest.approx(result[network]["map"], abs=1e-6)
    if network == "student":
        assert scores["student_camera"]["map"] == pytest.approx(result["student_camera"]["map"], abs=1e-6)
    assert "mAP" in capsys.readouterr().out


def test_bad_input_is_explained(paper_run, tmp_path, capsys):  # noqa: F811
    target = write_people(tmp_path / "target", 1, labelled=False)
    assert main(["--checkpoint", f"{paper_run}/last.pt", "--data", f"folder:{target}"]) == 2
    assert "no labelled query and gallery" in capsys.readouterr().err
    assert main(["--checkpoint", f"{tmp_path}/none.pt", "--data", f"folder:{target}"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_embedding_all_frames_averages_over_clips_and_leaves_the_network_as_it_was(data):  # noqa: F811
    from vreid_fast.data import read_dataset

    tracklets = read_dataset(data["target"]).query[:5]
    network = build("small", identities=3, frames=2).train()
    settings = Protocol(1, Reading(size=(32, 16), backend="torch"), clips="all", batch=2)
    every = embed(network, tracklets, settings, CPU)
    assert network.training and every.shape == (5, network.width)
    # Three frames a tracklet, clips of one frame: the mean over frames is the embedding of the whole.
    whole = embed(network, tracklets, Protocol(3, Reading(size=(32, 16), backend="torch")), CPU)
    torch.testing.assert_close(every, whole, rtol=1e-4, atol=1e-4)


def test_each_tracklet_is_embedded_with_the_statistics_of_its_camera(data):  # noqa: F811
    from vreid_fast.data import read_dataset

    tracklets = read_dataset(data["target"]).query[:8]
    assert {tracklet.camera for tracklet in tracklets} == {0, 1}
    network = build("small", identities=3, frames=2)
    protocol = Protocol(2, Reading(size=(32, 16), backend="torch"), batch=3)
    clips = 3 * torch.randn(4, 2, 3, 32, 16)
    statistics = camera_statistics(network, [(1, clips)])  # camera 0 has none: its tracklets get the network's own
    found = embed(network, tracklets, protocol, CPU, statistics)
    plain = embed(network, tracklets, protocol, CPU)
    with using_statistics(network, statistics[1]):
        other = embed(network, tracklets, protocol, CPU)
    assert not torch.allclose(plain, other)
    for row, tracklet in enumerate(tracklets):
        torch.testing.assert_close(found[row], (plain, other)[tracklet.camera][row])


def test_a_tracklet_in_query_and_gallery_is_embedded_once(data, monkeypatch):  # noqa: F811
    from vreid_fast.data import read_dataset
    from vreid_fast.evaluation import scores as evaluation

    dataset, seen = read_dataset(data["target"]), []
    monkeypatch.setattr(
        evaluation,
        "embed",
        lambda network, tracklets, *_: seen.append(len(tracklets)) or torch.randn(len(tracklets), 4),
    )
    evaluation = Evaluation.of(None, dataset, Protocol(2, Reading(size=(32, 16))), CPU, train=True)
    assert seen == [len({id(t) for t in (*dataset.query, *dataset.gallery, *dataset.train)})]
    assert torch.equal(evaluation.query, evaluation.gallery)
    assert why_unscored(dataset) is None
