"""Where the time of a step goes: the parts of some steps of each stage, a table and a trace."""

import json
import re

import pytest
import torch
from small_runs import TINY, write_people

from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.train import train
from vreid_fast.training.profile import PARTS, WARM, Profile

CPU = torch.device("cpu")


def test_steps_of_each_stage_are_measured(tmp_path, capsys):
    data = f"folder:{write_people(tmp_path / 'people', seed=0)}"
    config = {
        **TINY, "source": data, "target": data, "method": "paper", "source_steps": 8, "adapt_steps": 9,
        "profile": 2, "run": str(tmp_path / "run"),
    }  # fmt: skip
    train(Config.of(**config))
    said = capsys.readouterr().out
    of_adapt = [part for part in PARTS if part != "graph"]  # which is of a GPU
    of_source = [part for part in of_adapt if part not in ("teacher", "EMA")]
    for stage, parts in (("source", of_source), ("adapt", of_adapt)):
        head = f"2 steps of stage {stage}, milliseconds a step; trace in {tmp_path}/run/profile_{stage}.json\n"
        table = said.split(head)[1].splitlines()
        assert table[0].split() == ["part", "host"]
        assert [line.split()[0] for line in table[1 : len(parts) + 2]] == [*parts, "rest"]
        assert all(float(line.split()[1]) >= 0 for line in table[1 : len(parts) + 2])
        events = json.loads((tmp_path / "run" / f"profile_{stage}.json").read_text())["traceEvents"]
        names = [event["name"] for event in events if re.match("step: ", event.get("name", ""))]
        assert {f"step: {part}" for part in parts} == set(names) and names.count("step: student") == 2


def test_measured_steps_are_the_same_steps(tmp_path):
    data = f"folder:{write_people(tmp_path / 'people', seed=0)}"
    config = {**TINY, "source": data, "target": data, "source_steps": 7, "adapt_steps": 7}
    for name, steps in (("with", 2), ("without", 0)):
        train(Config.of(**config, profile=steps, run=str(tmp_path / name)))
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("with", "without"))
    assert all(torch.equal(value, other["student"][name]) for name, value in one["student"].items())


@pytest.mark.parametrize(("steps", "batches", "measured"), [(0, 20, 0), (3, 20, 3), (3, WARM + 2, 2), (3, WARM, 0)])
def test_a_stage_may_end_before_all_are_measured(tmp_path, capsys, steps, batches, measured):
    profile = Profile(tmp_path, steps, CPU)
    assert list(profile.batches(range(batches), "source")) == list(range(batches))
    assert (f"{measured} steps of stage source" in capsys.readouterr().out) == bool(measured)
    assert (tmp_path / "profile_source.json").exists() == bool(measured)


def test_a_trace_that_cannot_be_written_is_named(tmp_path):
    profile = Profile(tmp_path / "none", 1, CPU)
    with pytest.raises(InputError, match=r"--profile .*profile_source\.json: cannot be written"):
        list(profile.batches(range(WARM + 1), "source"))
