"""The presets of the package: each is read, and says what it claims."""

import pytest
import torch
import yaml

from vreid_fast.config import Config, parse_command, presets
from vreid_fast.errors import InputError
from vreid_fast.training.build import initial_network

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
    given = {knob: tuple(value) if isinstance(value, list) else value for knob, value in given.items()}
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


def test_one_recipe_compares_all_networks():
    assert differing("paper", "comparison") == {"info_nce", "test_clips"} and read("comparison")["test_clips"] == "all"


# Facts of each network's authors: optimiser, schedule, T, stride, augmentation, sampler, test clips.
RECIPES = {
    "ap3d": {
        "frames": 4, "train_clips": "window", "stride": 8, "erase": 0, "margin": 0.3, "smoothing": 0, "source_lr": 3e-4,
        "drops": (60, 120, 180, 240), "drop_to": 0.1, "warmup_steps": 0, "per_epoch": "tracklets",
        "test_clips": "contiguous", "test_frames": 32, "source_steps": 240 * 40,
    },
    "tclnet": {
        "frames": 4, "train_clips": "window", "stride": 8, "erase": 0, "margin": 0.4, "smoothing": 0, "source_lr": 3e-4,
        "drops": (40, 80, 120, 150), "drop_to": 0.1, "warmup_steps": 0, "per_epoch": "tracklets",
        "test_clips": "completed", "test_frames": 0, "source_steps": 150 * 40,
    },
    "psta": {
        "frames": 8, "train_clips": "bins", "stride": 8, "erase": 0.5, "margin": 0.3, "smoothing": 0.1,
        "source_lr": 3.5e-4, "drops": (70, 140, 210, 310, 410, 500), "drop_to": 0.3, "warmup_steps": 10 * 41,
        "per_epoch": "people", "test_clips": "begin", "test_frames": 0, "source_steps": 500 * 41,
    },
    "cal": {
        "frames": 8, "train_clips": "window", "stride": 4, "erase": 0, "triplet": 0, "smoothing": 0, "clothes": 1,
        "clothes_by": "classifier", "clothes_scale": 16, "clothes_epsilon": 0.1, "clothes_lr": 3.5e-4,
        "source_lr": 3.5e-4, "drops": (40, 80, 120, 150), "drop_to": 0.1, "warmup_steps": 0,
        "per_epoch": "tracklets", "test_clips": "interleaved", "test_frames": 0, "source_steps": 150 * 100,
    },
    "cavit": {
        "frames": 8, "people": 4, "train_clips": "chunks", "erase": 0.5, "pad": 10, "triplet": 0, "smoothing": 0.1,
        "optimiser": "sgd", "momentum": 0.9, "source_lr": 0.01, "schedule": "cosine", "weight_decay": 1e-4,
        "warmup_steps": 100, "clip_gradient": 10, "per_epoch": "tracklets", "test_clips": "chunks", "test_frames": 0,
        "source_steps": 30 * 80,
    },
    "qaconv": {
        "network": "qaconv_ibnb", "height": 384, "frames": 1, "people": 32, "per_person": 2, "per_epoch": "graph",
        "pad": 10, "erase": 0, "cross_entropy": 0, "margin": 16, "optimiser": "nesterov", "momentum": 0.9,
        "source_lr": 5e-3, "trunk_lr": 0.1, "clip_gradient": 8, "warmup_steps": 0, "test_clips": "all",
        "source_steps": 15 * 333,
    },
}  # fmt: skip
COMMON = {
    "height": 256, "width": 128, "people": 8, "per_person": 4, "flip": 0.5, "pad": 0, "method": "source",
    "triplet": 1, "cross_entropy": 1, "triplet_distance": "cosine", "weight_decay": 5e-4, "schedule": "steps",
    "adapt_steps": 0, "info_nce": 0, "clip_gradient": 0, "distance": "cosine", "trunk": "full",
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_networks_have_their_authors_recipes(name):
    wanted = {**COMMON, "network": name, **RECIPES[name]}
    assert {knob: value for knob, value in read(name).items() if knob in wanted} == wanted
    with torch.device("meta"):
        initial_network(parse_command(["--config", name])[0], 3)


def test_the_loss_on_clothes_begins_with_its_authors_epoch():
    knobs = read("cal")
    assert round(knobs["clothes_start"] * knobs["source_steps"]) == 50 * 100


def test_later_configurations_win(tmp_path):
    (tmp_path / "a.yaml").write_text("frames: 8\n")
    assert parse_command(["--config", "paper", "--config", str(tmp_path / "a.yaml")])[0].clip.frames == 8
    assert parse_command(["--config", str(tmp_path / "a.yaml"), "--config", "paper"])[0].clip.frames == 4
    config = parse_command(["--config=paper", "--frames", "8"])[0]
    assert (config.clip.frames, config.network.network) == (8, "sinet")


def test_an_unknown_name_lists_the_presets_and_a_file_needs_no_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--config papr: no such preset; there are ap3d, authors_release, .*, paper"):
        parse_command(["--config", "papr"])
    (tmp_path / "mine").write_text("frames: 8\n")
    assert parse_command(["--config", "mine"])[0].clip.frames == 8
    (tmp_path / "paper").write_text("frames: 8\n")
    assert parse_command(["--config", "paper"])[0].clip.frames == 4  # the preset, whatever lies about
    assert parse_command(["--config", "./paper"])[0].clip.frames == 8
