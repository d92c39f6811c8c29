"""The loss on clothes in whole runs: when it begins, what it wants, and that a resume goes on with it."""

import pytest
import torch
from small_runs import flags, knobs, logged, write_people

from vreid_fast.data.domains import Domains
from vreid_fast.errors import Stopped
from vreid_fast.train import main, train

OPTIONS = {"method": "paper", "clothes": 0.5, "clothes_start": 0.25, "clothes_momentum": 0.5}


@pytest.fixture(scope="module")
def dressed(tmp_path_factory):
    root = tmp_path_factory.mktemp("dressed")
    return {
        domain: f"folder:{write_people(root / domain, seed, dressed=True)}"
        for seed, domain in enumerate(("source", "target"))
    }


def test_classes_of_clothes_are_of_one_person_each(dressed):
    domains = Domains.read(dressed["source"], dressed["target"])
    worn, owners = domains.clothes
    assert len(owners) == 12 and domains.identities == 6
    assert torch.equal(owners[worn], domains.labels)
    clothes = torch.tensor([tracklet.clothes for tracklet in domains.source_tracklets])
    same = (domains.labels[:, None] == domains.labels) & (clothes[:, None] == clothes)
    assert torch.equal(worn[:, None] == worn, same)
    assert all(tracklet.clothes is None for tracklet in domains.target_tracklets)


@pytest.mark.parametrize("how", ["classifier", "memory"])
def test_the_loss_begins_where_it_is_told_to_and_a_resume_goes_on_with_it(dressed, tmp_path, interrupt_step, how):
    train(knobs(dressed, tmp_path / "whole", clothes_by=how, **OPTIONS))
    rows = [row for row in logged(tmp_path / "whole") if "losses" in row]
    assert [row["step"] for row in rows if "clothes" in row["losses"]] == [3, 4, 5, 6, 7, 8]
    assert all(row["weights"]["clothes"] == 0.5 for row in rows if "clothes" in row["losses"])
    assert ("clothes_accuracy" in rows[-1]) == (how == "classifier")

    interrupt_step(5)
    with pytest.raises(Stopped):
        train(knobs(dressed, tmp_path / "part", clothes_by=how, **OPTIONS))
    assert main(["--resume", str(tmp_path / "part")]) == 0
    assert logged(tmp_path / "part") == logged(tmp_path / "whole")
    one, other = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("whole", "part"))
    assert torch.equal(one["clothes"]["judge"]["directions"], other["clothes"]["judge"]["directions"])


def test_the_loss_moves_the_network_and_the_classifier_learns(dressed, tmp_path):
    states = []
    for factor in (0.0, 1.0):
        run = tmp_path / str(factor)
        train(knobs(dressed, run, method="source", clothes=factor, clothes_start=0, source_steps=30, adapt_steps=0))
        states.append(torch.load(run / "last.pt", weights_only=True))
        told = [row["clothes_told"] for row in logged(run) if "clothes_told" in row]
    without, with_loss = (state["student"]["trunk.conv1.weight"] for state in states)
    assert not torch.equal(without, with_loss) and states[0]["clothes"] is None
    assert sum(told[-5:]) < sum(told[:5])


def test_clothes_that_are_not_known_are_refused(tmp_path, capsys):
    people = f"folder:{write_people(tmp_path / 'people', 0)}"
    assert main(flags({"source": people, "target": people}, tmp_path / "run", clothes=1)) == 2
    said = capsys.readouterr().err
    assert f"error: --clothes 1.0: the clothes of {people} are not known; set --clothes 0, or take a --source" in said
    assert said.count("\n") == 1 and not (tmp_path / "run" / "last.pt").exists()


def test_people_who_never_change_are_told_of(tmp_path, capsys):
    people = f"folder:{write_people(tmp_path / 'people', 0, per_camera=1, dressed=True)}"
    options = {"clothes": 1, "per_person": 2, "method": "source", "adapt_steps": 0}
    assert main(flags({"source": people, "target": people}, tmp_path / "run", **options)) == 0
    assert "wears the same in all tracklets" in capsys.readouterr().out
