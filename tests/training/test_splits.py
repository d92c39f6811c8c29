"""--split: several splits of one data set, in training and in evaluation; scores by clothes; the authors' options."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import flags, write_people

from vreid_fast import train as train_module
from vreid_fast.data import read_dataset
from vreid_fast.data.domains import Domains
from vreid_fast.errors import InputError
from vreid_fast.evaluate import main as evaluate
from vreid_fast.evaluation.splits import summarise
from vreid_fast.train import main
from vreid_fast.training.session import Session

QUICK = {"source_steps": 1, "adapt_steps": 1, "method": "bn_adapt"}
SPLITS = 3


def write_prid_people(root: Path) -> str:
    """PRID's layout with images that decode."""
    from trees import small_prid_splits

    rng = np.random.default_rng(0)
    splits = small_prid_splits()
    for person in splits[0]["train"] + splits[0]["test"]:
        colour = rng.integers(40, 200, 3)
        for camera in ("cam_a", "cam_b"):
            folder = root / "prid_2011" / "multi_shot" / camera / person
            folder.mkdir(parents=True)
            for frame in range(3):
                image = (colour + rng.integers(-20, 20, (32, 16, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(image).save(folder / f"{frame:04d}.png")
    (root / "splits_prid2011.json").write_text(json.dumps(splits))
    return f"prid2011:{root}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {"source": f"folder:{write_people(root / 'source', 0)}", "target": write_prid_people(root / "target")}


@pytest.fixture
def few_splits(monkeypatch):
    """Ten runs would only take longer than three."""
    monkeypatch.setattr(train_module, "count_splits", lambda spec: SPLITS)


def test_all_splits_are_runs_of_their_own_and_a_mean(data, tmp_path, few_splits, capsys):
    run = tmp_path / "run"
    assert main(flags(data, run, **QUICK, split="all")) == 0
    result = json.loads((run / "result.json").read_text())
    each = [json.loads((run / f"split{split}" / "result.json").read_text()) for split in range(SPLITS)]
    assert result["splits"] == each and len(each) == SPLITS
    values = [one["student"]["map"] for one in each]
    assert result["mean"]["student"]["map"] == pytest.approx(np.mean(values))
    assert result["std"]["student"]["map"] == pytest.approx(np.std(values, ddof=1))
    assert set(result["mean"]) == {"untrained", "source", "student", "student_camera"}
    for split in range(SPLITS):
        assert f"split: '{split}'" in (run / f"split{split}" / "config.yaml").read_text()
        assert (run / f"split{split}" / "last.pt").exists()
    assert "±" in capsys.readouterr().out and "split: all" in (run / "config.yaml").read_text()


def test_resuming_all_splits_runs_what_is_left(data, tmp_path, few_splits, capsys, monkeypatch):
    import os
    import signal

    run, steps, plain = tmp_path / "run", 0, Session.advance

    def advance(self, *arguments, **keywords):
        nonlocal steps
        steps += 1
        if steps == 3:  # the first step of the second split
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, *arguments, **keywords)

    monkeypatch.setattr(Session, "advance", advance)
    assert main(flags(data, run, **QUICK, split="all")) == 130
    assert f"split 1 stopped at step 1 of 2; go on with --resume {run}/split1; with all splits: --resume {run}" in (
        capsys.readouterr().out
    )
    assert not (run / "result.json").exists()
    first = (run / "split0" / "result.json").read_text()
    assert main(["--resume", str(run)]) == 0
    assert steps == 2 * SPLITS and (run / "split0" / "result.json").read_text() == first
    assert len(json.loads((run / "result.json").read_text())["splits"]) == SPLITS
    assert sorted(path.name for path in run.iterdir() if path.is_dir()) == ["split0", "split1", "split2"]
    assert main(["--resume", str(run)]) == 0 and steps == 2 * SPLITS


def test_evaluation_of_one_split_and_of_all(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(flags(data, run, **QUICK, split="1")) == 0
    own = json.loads((run / "result.json").read_text())["student"]["map"]
    arguments = ["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--json", f"{tmp_path}/scores.json"]
    assert evaluate(arguments) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["student"]["map"] == pytest.approx(own, abs=1e-6)
    assert evaluate([*arguments, "--split", "all"]) == 0
    said = capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    values = [split["student"]["map"] for split in scores["splits"]]
    assert len(values) == 10 and values[1] == pytest.approx(own, abs=1e-6)
    assert scores["mean"]["student"]["map"] == pytest.approx(np.mean(values))
    assert scores["std"]["student"]["map"] == pytest.approx(np.std(values, ddof=1))
    assert "split 9" in said and "±" in said and "note: the run adapted to split 1" in said
    for words, message in (("10", "has 10 splits"), ("-1", "wanted an integer of at least 0"), ("x", "found 'x'")):
        assert evaluate([*arguments, f"--split={words}"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "said"), [("all", "--split all: folder:.* has one split"), ("2", "--split 2: folder:")]
)
def test_a_data_set_without_splits_has_none(data, tmp_path, split, said, capsys):
    import re

    assert main(flags({**data, "target": data["source"]}, tmp_path / "run", **QUICK, split=split)) == 2
    assert re.search(said, capsys.readouterr().err) and not (tmp_path / "run").exists()
    assert main(flags(data, tmp_path / "run", **QUICK, split="some")) == 2
    assert "--split must be a number from 0, or all, got some" in capsys.readouterr().err


def test_formats_without_splits_refuse_one(tmp_path):
    for spec in ("synthetic:real", f"folder:{tmp_path}", f"mars:{tmp_path}"):
        with pytest.raises(InputError, match="--split 1: .* has one split"):
            read_dataset(spec, split=1)


def test_a_source_with_splits_takes_the_targets(data):
    domains = Domains.read(data["target"], data["target"], split=1)
    tested = {tracklet.identity for tracklet in domains.target_data.query}
    assert tested == {1, 12} and not tested & {tracklet.identity for tracklet in domains.source_tracklets}


def test_the_authors_pieces_cut_the_target_alone(data):
    domains = Domains.read(data["source"], data["target"], authors_pieces_train=1)
    assert [len(t) for t in domains.target_tracklets] == [1] * 12 and {len(t) for t in domains.source_tracklets} == {3}
    assert {len(t) for t in domains.target_data.query} == {3} and "cut into pieces of 1 frames" in domains.notes[0]


def test_summary_keeps_the_rows_that_all_splits_have():
    row = {"map": 0.5, "queries": 2, "cmc": [0.5, 1.0]}
    results = [{"student": row, "student_clothes_change": row, "seed": 0}, {"student": {**row, "map": 0.25}, "seed": 0}]
    summary = summarise(results)
    assert summary["mean"] == {"student": {"map": 0.375, "queries": 2}}
    assert summary["std"]["student"]["map"] == pytest.approx(np.std([0.5, 0.25], ddof=1))


def dress(target: Path, clothes) -> str:
    """Give each row of a folder data set the clothes that `clothes` says for person and camera."""
    file = target / "tracklets.csv"
    rows = list(csv.reader(file.open()))
    with open(file, "w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow([*rows[0], "clothes"])
        writer.writerows([*row, clothes(int(row[1]), int(row[2]), row[0][-1])] for row in rows[1:])
    return f"folder:{target}"


def test_scores_by_clothes(data, tmp_path, capsys):
    # Of the two tracklets of a person and camera, one wears the clothes of all cameras.
    target = dress(
        write_people(tmp_path / "target", 1), lambda person, camera, number: f"{number}{camera * int(number)}"
    )
    run = tmp_path / "run"
    assert main(flags({**data, "target": target}, run, **{**QUICK, "method": "paper", "clusters": 2})) == 0
    result = json.loads((run / "result.json").read_text())
    assert result["student_same_clothes"]["queries"] == 12 and result["student_same_clothes"]["unmatched"] == 12
    assert result["student_clothes_change"]["queries"] == 24
    page, table = (run / "report.html").read_text(), capsys.readouterr().out
    assert "student, other clothes" in page and "student, other clothes" in table and "student, same clothes" in table
    assert evaluate(["--checkpoint", f"{run}/last.pt", "--data", target, "--json", f"{tmp_path}/scores.json"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    for row in ("student_same_clothes", "student_clothes_change"):
        assert scores[row]["map"] == pytest.approx(result[row]["map"], abs=1e-6)


def test_a_protocol_without_a_match_is_left_out_with_a_note(data, tmp_path, capsys):
    target = dress(write_people(tmp_path / "target", 1), lambda person, *_: person)
    assert main(flags({**data, "target": target}, tmp_path / "run", **QUICK)) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "student_clothes_change" not in result and result["student_same_clothes"]["queries"] == 24
    assert "no query has a match under clothes_change, which is left out" in capsys.readouterr().out


def test_the_dot_product_is_not_normalised(data, tmp_path):
    run = tmp_path / "run"
    assert main(flags(data, run, **QUICK, distance="dot")) == 0
    assert evaluate(["--checkpoint", f"{run}/last.pt", "--data", data["target"], "--distance", "dot"]) == 0
