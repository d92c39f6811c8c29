"""examples/: each is short, runs on its own, and finds what it says that it shows."""

import csv
import importlib
import os
import runpy
import sys
from pathlib import Path

import pytest

from vreid_fast.data import read_dataset
from vreid_fast.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUICK = ("gradient_reversal", "mean_teacher", "pseudo_labels")
"""They run without words on the command line, in seconds."""
SMALL = ["--source_steps", "24", "--adapt_steps", "16", "--people", "4", "--target_batch", "8", "--threads", "1"]


@pytest.fixture
def example(monkeypatch):
    """The module of an example by its name, imported as a script imports those beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """What the example of adaptation finds on cameras that it makes up, and the folder that it writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        out = tmp_path_factory.mktemp("out")
        adapt = importlib.import_module("adapt_to_my_cameras")
        return adapt.main(["--out", str(out), "--walkers", "8", *SMALL]), out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_short_and_said_what_it_shows(path):
    text = path.read_text()
    assert len(text.splitlines()) < 80
    assert text.startswith('"""') and f"python examples/{path.name}" in text.split('"""')[1]


def test_every_example_is_tested():
    here = Path(__file__).read_text()
    assert len(EXAMPLES) == 5
    for path in EXAMPLES:
        assert f'example("{path.stem}")' in here, path.name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_runs_as_a_script(path, example, monkeypatch, capsys):
    asked = [] if path.stem in QUICK else ["--help"]
    monkeypatch.setattr(sys, "argv", [str(path), *asked])
    if asked:
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(path), run_name="__main__")
    else:
        runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("seed", [0, 1])
def test_reversal_hides_the_domain(example, seed):
    found = example("gradient_reversal").main(seed=seed)
    assert found["without reversal"]["probe"] > 0.95
    assert found["with reversal"]["probe"] < 0.65
    assert found["with reversal"]["target"] > 0.97


@pytest.mark.parametrize("seed", [0, 1])
def test_teacher_is_better_and_steadier(example, seed):
    curves = example("mean_teacher").main(seed=seed)
    later = {name: curve[len(curve) // 2 :] for name, curve in curves.items()}
    assert later["teacher"].mean() > later["student"].mean() + 0.003
    assert later["teacher"].std() < later["student"].std()


@pytest.mark.parametrize("seed", [0, 1])
def test_purity_of_pseudo_labels_rises(example, seed):
    purities = example("pseudo_labels").main(seed=seed)
    assert purities[0] < 0.5  # not learned yet
    assert purities[1] > purities[0] + 0.05  # one round of labels helps the next
    assert purities[-1] > purities[0] + 0.3


def test_adaptation_to_cameras_raises_the_scores(example, adapted):
    found, out = adapted
    assert "method: plus\n" in (out / "run" / "config.yaml").read_text()
    assert found["after adaptation"] > found["before adaptation"] + 0.1
    assert len(read_dataset(f"folder:{out / 'target'}").train) == 8 * 3 * 2


def test_adaptation_to_a_folder_without_labels(example, adapted, tmp_path):
    _, out = adapted
    for name in ("a", "b", "c", "d"):  # four tracklets, and no table that says more of them
        (tmp_path / "mine").mkdir(exist_ok=True)
        os.symlink(out / "target" / "camera0" / f"person{'abcd'.index(name)}_visit0", tmp_path / "mine" / name)
    words = ["--out", str(tmp_path / "out"), "--data", str(tmp_path / "mine"), "--source", f"folder:{out / 'source'}"]
    words += [*SMALL, "--source_steps", "2", "--adapt_steps", "2", "--target_batch", "2", "--query", "1"]
    found = example("adapt_to_my_cameras").main(words)
    assert "after adaptation" not in found  # nothing to score it with
    assert {Path(t.frames[0]).parent.name for _, t in found["ranking"]} == {"a", "c", "d"}
    assert not (tmp_path / "out" / "target").exists()


def test_search_ranks_other_cameras(example, adapted, capsys):
    found, out = adapted
    words = ["--checkpoint", str(out / "run" / "last.pt"), "--data", f"folder:{out / 'target'}"]
    search = example("search").main
    query, ranking = search([*words, "--query", "9", "--top", "1000"])
    assert len(ranking) == 8 * 2 * 2  # all that is before the other two cameras
    assert query.camera not in {tracklet.camera for _, tracklet in ranking}
    distances = [distance for distance, _ in ranking]
    assert distances == sorted(distances) and distances[0] < distances[-1]
    lines = capsys.readouterr().out.splitlines()
    assert str(query) in lines[0] and str(ranking[0][1]) in lines[1] and f"{distances[0]:.3f}" in lines[1]

    everyone = [search([*words, "--query", str(number), "--top", "8"]) for number in range(0, 48, 12)]
    hits = [tracklet.identity == query.identity for query, ranking in everyone for _, tracklet in ranking]
    assert sum(hits) / len(hits) > 1.5 / 8  # chance is 1 / 8
    assert str(found["ranking"]) == str(search([*words, "--query", "0", "--top", "5"])[1])
    with pytest.raises(InputError, match="--query 48: .* has 48 queries"):
        search([*words, "--query", "48"])


def test_search_among_other_cameras_than_the_run_had(example, adapted, tmp_path, monkeypatch):
    """Unknown cameras: all other tracklets are ranked. The statistics of the run's cameras are for these alone."""
    _, out = adapted
    with open(out / "target" / "tracklets.csv", newline="") as table:
        paths = [row["path"] for row in csv.DictReader(table)][:6]
    for number, path in enumerate(paths):
        os.symlink(out / "target" / path, tmp_path / str(number))
    search, statistics = example("search"), []
    embed = search.embed
    monkeypatch.setattr(search, "embed", lambda *words: statistics.append(words[-1]) or embed(*words))
    checkpoint = ["--checkpoint", str(out / "run" / "last.pt"), "--query", "2"]
    query, ranking = search.main([*checkpoint, "--data", f"folder:{tmp_path}"])
    assert query.camera is None and len(ranking) == 5
    assert query not in [tracklet for _, tracklet in ranking]
    search.main([*checkpoint, "--data", f"folder:{out / 'target'}"])
    assert statistics[0] is None and set(statistics[1]) == {0, 1, 2}
