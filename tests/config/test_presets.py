"""The presets of the package: each is read, and says what it claims."""

import pytest
import yaml

from vreid_fast.config import Config, parse_command, presets
from vreid_fast.errors import InputError

# Section 3 of the facts about the paper and its code: what `paper` must be, whatever the defaults are.
PAPER = {
    "method": "paper", "network": "sinet", "height": 256, "width": 128, "frames": 4, "people": 8, "per_person": 4,
    "target_batch": 32, "flip": 0.5, "erase": 0.5, "pad": 0, "distance": "cosine", "select": "last",
    "cross_entropy": 1.0, "triplet": 1.0, "triplet_distance": "euclidean", "margin": 0.3, "info_nce": 0.001,
    "info_nce_temperature": 0.07, "l1s": 1.0, "l2s": 1.0, "l3s": 1.0, "l1c": 1.0, "l2c": 1.0, "reversal": 1.0,
    "loss_weights": "uncertainty", "clusters": 16, "cluster_over": "memory", "camera_aware": True,
    "consistency_ramp": 0.0, "ema_decay": 0.99, "source_lr": 3e-4, "adapt_lr": 3e-4, "weight_decay": 5e-4,
    "schedule": "steps", "warmup_steps": 0, "clip_gradient": 0,
}  # fmt: skip


def read(name: str) -> dict:
    return parse_command(["--config", name])[0].knobs()


def differing(one: str, other: str) -> set[str]:
    first, second = read(one), read(other)
    return {knob for knob in first if first[knob] != second[knob]} - {"run"}


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_read_by_name_and_by_path(name):
    config = parse_command([f"--config={name}"])[0]
    assert config == parse_command(["--config", str(presets()[name])])[0]
    given = yaml.safe_load(presets()[name].read_text())
    assert all(config.knobs()[knob] == value for knob, value in given.items())


def test_the_demo_is_the_defaults():
    assert parse_command(["--config", "demo"])[0] == Config()


def test_paper_is_the_paper():
    assert {knob: value for knob, value in read("paper").items() if knob in PAPER} == PAPER
    # 150 epochs of 36 to 41 steps of SVReID, 95 to 100 of SVReID with the clothes-changing sequences.
    for name, shortest, longest in (("paper", 36, 41), ("authors_release", 36, 41), ("paper_cc", 95, 100)):
        knobs = read(name)
        assert 150 * shortest <= knobs["source_steps"] + knobs["adapt_steps"] <= 150 * longest


def test_paper_cc_differs_where_it_says_so():
    differences = {"distance", "source_steps", "adapt_steps", "checkpoint_every"}
    assert differing("paper", "paper_cc") == differences and read("paper_cc")["distance"] == "dot"


def test_the_authors_release_lets_no_gradient_of_adaptation_reach_the_backbone():
    knobs = read("authors_release")
    assert knobs["reversal"] == knobs["l1c"] == knobs["l2c"] == knobs["l3s"] == 0
    assert (knobs["loss_weights"], knobs["statistics"], knobs["select"]) == ("authors", "running", "authors")
    same = {"network", "height", "width", "frames", "people", "per_person", "target_batch", "adapt_lr", "schedule"}
    assert not same & differing("paper", "authors_release")


def test_later_configurations_win(tmp_path):
    (tmp_path / "a.yaml").write_text("frames: 8\n")
    assert parse_command(["--config", "paper", "--config", str(tmp_path / "a.yaml")])[0].clip.frames == 8
    assert parse_command(["--config", str(tmp_path / "a.yaml"), "--config", "paper"])[0].clip.frames == 4
    config = parse_command(["--config=paper", "--frames", "8"])[0]
    assert (config.clip.frames, config.network.network) == (8, "sinet")


def test_an_unknown_name_lists_the_presets_and_a_file_needs_no_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--config papr: no such preset; there are authors_release, demo, paper, pap"):
        parse_command(["--config", "papr"])
    (tmp_path / "mine").write_text("frames: 8\n")
    assert parse_command(["--config", "mine"])[0].clip.frames == 8
    (tmp_path / "paper").write_text("frames: 8\n")
    assert parse_command(["--config", "paper"])[0].clip.frames == 4  # the preset, whatever lies about
    assert parse_command(["--config", "./paper"])[0].clip.frames == 8
