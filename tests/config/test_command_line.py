"""Knobs: defaults, YAML files, the command line, and what is said of bad ones."""

import pytest
import yaml

from vreid_fast.config import Config, parse_command
from vreid_fast.errors import InputError


def test_later_words_win(tmp_path):
    (tmp_path / "a.yaml").write_text("l1s: 0.25\nclusters: 7\n")
    config, resume = parse_command(["--config", str(tmp_path / "a.yaml"), "--clusters", "9"])
    assert (config.adversarial.l1s, config.clusters.clusters, config.clip.frames, resume) == (0.25, 9, 4, None)


def test_yaml_holds_every_knob_and_reads_back(tmp_path):
    config = Config.of(combined_sizes=(3, 5), target="folder:/x", weights="w.pth")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert list(yaml.safe_load(config.to_yaml())) == list(Config().knobs())
    assert parse_command(["--config", str(tmp_path / "config.yaml")])[0] == config


def test_a_split_is_a_number_or_all(tmp_path):
    (tmp_path / "a.yaml").write_text("split: 3\n")
    assert parse_command(["--config", str(tmp_path / "a.yaml")])[0].data.split == "3"
    assert parse_command(["--split", "all"])[0].data.split == "all" and Config().data.split == "0"


def test_resume_takes_the_knobs_of_the_run(tmp_path):
    (tmp_path / "config.yaml").write_text(Config.of(seed=5).to_yaml())
    config, resume = parse_command(["--resume", str(tmp_path)])
    assert config.run.seed == 5 and config.run.run == str(tmp_path) == resume
    assert parse_command([f"--resume={tmp_path}", "--adapt_steps", "3"])[0].stages.adapt_steps == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--l1x", "0"], r"l1x.*did you mean --l1s"),
        (["--xyzzyx", "0"], "xyzzyx.*--help lists the knobs"),
        (["--l1s", "much"], "l1s.*float.*much"),
        (["--method", "magic"], "method.*source.*bn_adapt.*paper.*magic"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--resume", "/nowhere"], "no config.yaml there"),
        (["--people", "1"], "--people must be at least 2, got 1"),
        (["--flip", "1.5"], "--flip must be between 0 and 1, got 1.5"),
        (["--adapt_lr", "0"], "--adapt_lr must be above 0"),
        (["--split", "first"], "--split must be a number from 0, or all, got first"),
        (["--split=-1"], "--split must be a number from 0, or all, got -1"),
        (["--authors_pieces_test=-1"], "--authors_pieces_test must be at least 0"),
        (["--combined_sizes", "[0]"], "--combined_sizes must be positive"),
    ],
)
def test_bad_knobs_are_named_on_one_line(argv, said):
    with pytest.raises(InputError, match=said) as error:
        parse_command(argv)
    assert "\n" not in str(error.value)


def test_unknown_knob_in_a_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("clustrs: 3\n")
    with pytest.raises(InputError, match="clustrs.*did you mean --clusters"):
        parse_command(["--config", str(tmp_path / "a.yaml")])
