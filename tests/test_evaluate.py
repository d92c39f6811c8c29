"""python -m vreid_fast.evaluate: the scores of a run again, from its checkpoint alone."""

import json

import pytest
from small_runs import write_people

from vreid_fast.evaluate import main


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_a_checkpoint_gives_the_scores_of_its_run(data, paper_run, tmp_path, network, capsys):
    file = tmp_path / "scores.json"
    arguments = ["--checkpoint", f"{paper_run}/last.pt", "--data", data["target"], "--network", network]
    assert main([*arguments, "--json", str(file)]) == 0
    scores, result = json.loads(file.read_text()), json.loads((paper_run / "result.json").read_text())
    assert scores[network]["map"] == pytest.approx(result[network]["map"], abs=1e-6)
    if network == "student":
        assert scores["student_camera"]["map"] == pytest.approx(result["student_camera"]["map"], abs=1e-6)
    assert "mAP" in capsys.readouterr().out


def test_bad_input_is_explained(paper_run, tmp_path, capsys):
    target = write_people(tmp_path / "target", 1, labelled=False)
    assert main(["--checkpoint", f"{paper_run}/last.pt", "--data", f"folder:{target}"]) == 2
    assert "no labelled query and gallery" in capsys.readouterr().err
    assert main(["--checkpoint", f"{tmp_path}/none.pt", "--data", f"folder:{target}"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_scores_that_cannot_be_written_are_never_computed(tmp_path, capsys):
    file = tmp_path / "nowhere" / "scores.json"
    assert main(["--checkpoint", f"{tmp_path}/none.pt", "--data", "synthetic", "--json", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --json {file}: cannot be written (No such file or directory)")


def test_a_full_disk_is_told_with_the_option(data, paper_run, capsys):
    words = ["--checkpoint", f"{paper_run}/last.pt", "--data", data["target"], "--json", "/dev/full"]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("error: --json /dev/full: cannot be written (No space left on device)\n")


def test_rerank_with_dot_is_refused(capsys):
    assert main(["--checkpoint", "none.pt", "--data", "synthetic", "--rerank", "--distance", "dot"]) == 2
    assert "--rerank: it wants --distance cosine or euclidean, got dot" in capsys.readouterr().err


def test_rerank_prints_both_scores(data, paper_run, tmp_path, capsys):
    file = tmp_path / "scores.json"
    words = ["--checkpoint", f"{paper_run}/last.pt", "--data", data["target"], "--rerank", "--json", str(file)]
    assert main(words) == 0
    assert {"student", "student_rerank"} <= set(json.loads(file.read_text()))
    assert "student, re-ranked" in capsys.readouterr().out
