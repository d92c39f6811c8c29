"""The knobs themselves: their names, defaults, choices, bounds, groups and descriptions."""

import ast
import dataclasses
import inspect
import typing

import pytest
import yaml

from vreid_fast.config import Config
from vreid_fast.config.flat import WRITTEN
from vreid_fast.config.groups import BatchKnobs
from vreid_fast.errors import InputError

# What runs, presets and command lines of other people rest on: each name, its default, and the order in files.
KNOBS = {
    "source": "synthetic", "target": "synthetic:real", "synthetic_seed": 0, "synthetic_cache": None, "split": "0",
    "mars_gallery": "with_query", "authors_pieces_train": 0, "authors_pieces_test": 0, "scenes": False, "height": 64,
    "width": 32, "frames": 4, "train_clips": "blocks", "stride": 8, "people": 8, "per_person": 2,
    "per_epoch": "tracklets", "target_batch": 16, "accumulate": 1, "flip": 0.5, "erase": 0.5, "pad": 4,
    "loader": "auto",
    "loader_threads": 1, "cache": "none", "on_bad_frame": "error", "network": "small", "trunk": "full",
    "weights": None, "drop_classifier": False, "recompute": False,
    "domain_width": 128, "domain_dropout": 0.5, "cross_entropy": 1.0,
    "smoothing": 0.0, "triplet": 1.0, "triplet_distance": "cosine", "margin": 0.3, "info_nce": 0.0,
    "info_nce_temperature": 0.07, "clothes": 0.0, "clothes_by": "classifier", "clothes_start": 0.3333,
    "clothes_scale": 16.0, "clothes_epsilon": 0.1, "clothes_lr": 0.001, "clothes_momentum": 0.0,
    "l1s": None, "l2s": None, "l3s": None, "reversal": 0.5, "combined_groups": 16,
    "combined_sizes": (2, 4, 8), "l1c": 0.3, "l2c": 1.0, "loss_weights": "fixed", "cluster_by": "auto", "clusters": 0,
    "cluster_over": "memory", "cluster_every": 0, "cluster_restarts": 4, "cluster_neighbours": 0,
    "cluster_temperature": 0.1, "camera_aware": True, "consistency_ramp": 0.2, "proxy": 1.0,
    "proxy_temperature": 0.1, "proxy_negatives": 50, "proxy_momentum": 0.2, "transport": 1.0, "transport_triplet": 1.0,
    "transport_over": "first", "transport_groups": (0.8, 0.93, 1.07), "transport_power": 25.0, "transport_rounds": 1,
    "ema_decay": None,
    "method": "paper", "statistics": "auto", "select": "last",
    "select_every": 50, "seed": 0, "start": None, "stages": "both", "source_steps": 300, "adapt_steps": 200,
    "optimiser": "adam", "momentum": 0.9, "source_lr": 0.001, "adapt_lr": 0.002, "trunk_lr": 1.0,
    "head_lr": 0.001, "schedule": "cosine",
    "drops": (40, 80, 120, 150), "drop_to": 0.1, "warmup_steps": 20, "weight_decay": 0.0005,
    "clip_gradient": 10.0, "precision": "auto",
    "device": "auto", "threads": 0, "graph": "auto", "batch_norm": "sync", "rank_timeout": 600,
    "run": "runs/demo", "log_every": 10, "gradients_every": 50,
    "checkpoint_every": 100, "profile": 0, "test_clips": "even", "test_frames": 0, "test_batch": 64,
    "distance": "cosine", "compare": "maps", "bn_batches": 0,
}  # fmt: skip
CHOICES = {
    "mars_gallery": ("with_query", "without_query"), "loader": ("auto", "dali", "torch"),
    "cache": ("none", "cpu", "gpu"), "on_bad_frame": ("error", "skip"), "triplet_distance": ("euclidean", "cosine"),
    "loss_weights": ("fixed", "authors", "uncertainty"), "cluster_over": ("memory", "batch"),
    "cluster_by": ("auto", "neighbours", "kmeans"), "clothes_by": ("classifier", "memory"),
    "method": ("source", "bn_adapt", "paper", "plus", "glt"), "transport_over": ("first", "all"),
    "statistics": ("auto", "target", "camera", "running"),
    "select": ("last", "authors"), "stages": ("both", "source"), "schedule": ("cosine", "steps"),
    "optimiser": ("adam", "sgd", "nesterov"),
    "precision": ("auto", "fp32", "bf16", "fp16"), "device": ("auto", "cpu", "cuda"), "graph": ("auto", "on", "off"),
    "batch_norm": ("sync", "rank"),
    "train_clips": ("blocks", "chunks", "window", "bins"), "trunk": ("full", "narrow"),
    "per_epoch": ("tracklets", "people", "graph"),
    "test_clips": ("even", "chunks", "all", "contiguous", "completed", "begin", "dense", "interleaved"),
    "distance": ("cosine", "euclidean", "dot"), "compare": ("maps", "frames"),
}  # fmt: skip
OTHER_TYPES = {
    "split": str | int, "combined_sizes": tuple[int, ...], "drops": tuple[int, ...],
    "transport_groups": tuple[float, ...],
    **dict.fromkeys(("synthetic_cache", "weights", "start"), str | None),
    **dict.fromkeys(("l1s", "l2s", "l3s", "ema_decay"), float | None),
}  # fmt: skip
LEAST = {
    "height": 16, "width": 8, "frames": 1, "people": 2, "per_person": 2, "target_batch": 2, "accumulate": 1, "pad": 0,
    "loader_threads": 1, "domain_width": 1, "clusters": 0, "cluster_every": 0, "cluster_restarts": 1,
    "cluster_neighbours": 0,
    "source_steps": 1, "adapt_steps": 0, "warmup_steps": 0, "weight_decay": 0, "clip_gradient": 0, "threads": 0,
    "log_every": 1, "checkpoint_every": 1, "test_batch": 1, "bn_batches": 0, "combined_groups": 1,
    "cross_entropy": 0, "triplet": 0, "l1s": 0, "l2s": 0, "l3s": 0, "l1c": 0, "l2c": 0, "reversal": 0, "margin": 0,
    "seed": 0, "synthetic_seed": 0, "authors_pieces_train": 0, "authors_pieces_test": 0, "info_nce": 0, "proxy": 0,
    "proxy_negatives": 1, "gradients_every": 0, "stride": 1, "test_frames": 0, "select_every": 1, "profile": 0,
    "clothes": 0, "transport": 0, "transport_triplet": 0, "transport_rounds": 1, "rank_timeout": 1,
}  # fmt: skip
PARTS = (
    "flip", "erase", "smoothing", "drop_to", "domain_dropout", "ema_decay", "consistency_ramp", "proxy_momentum",
    "clothes_start", "clothes_epsilon", "clothes_momentum", "momentum", "trunk_lr",
)  # fmt: skip
ABOVE_ZERO = (
    "source_lr", "adapt_lr", "head_lr", "cluster_temperature", "info_nce_temperature", "proxy_temperature",
    "clothes_scale", "clothes_lr", "transport_power",
)  # fmt: skip
GROUPS = Config.groups()


def test_every_knob_has_its_default_and_its_place_in_files():
    assert list(Config().knobs().items()) == list(KNOBS.items()) and len(KNOBS) == 114
    assert list(yaml.safe_load(Config().to_yaml())) == list(KNOBS) == WRITTEN


def test_every_knob_has_its_type():
    for group in GROUPS.values():
        for name, hint in typing.get_type_hints(group).items():
            if name in CHOICES:
                assert typing.get_args(hint) == CHOICES[name], name
            else:
                assert hint == OTHER_TYPES.get(name, type(KNOBS[name])), name


def test_a_name_is_in_one_group_and_no_group_is_large():
    names = [field.name for group in GROUPS.values() for field in dataclasses.fields(group)]
    assert sorted(names) == sorted(set(names)) == sorted(KNOBS)
    assert max(len(dataclasses.fields(group)) for group in GROUPS.values()) <= 10


def test_every_knob_is_described():
    for group in GROUPS.values():
        body = ast.parse(inspect.getsource(group)).body[0].body
        for field, after in zip(body, body[1:]):
            if isinstance(field, ast.AnnAssign):
                described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert described and len(after.value.value) > 10, f"{field.target.id} has no description"


def test_knobs_are_set_by_name_alone():
    config = Config.of(people=4, combined_sizes=[3, 5], run="here")
    assert (config.batch.people, config.adversarial.combined_sizes, config.run.run) == (4, (3, 5), "here")
    other = config.replace(people=5, split=3)
    assert (other.batch.people, other.data.split, other.run, config.batch.people) == (5, "3", config.run, 4)
    assert Config.of(**other.knobs()) == other and hash(other) == hash(Config.of(**other.knobs()))
    with pytest.raises(InputError, match="--peple: no such knob; did you mean --people?"):
        Config.of(peple=4)
    with pytest.raises(TypeError, match=r"network must be a NetworkKnobs; single knobs go to Config.of\(KNOB=VALUE\)"):
        Config(network="small")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch.people = 3


@pytest.mark.parametrize("name", LEAST)
def test_least_values(name):
    least = LEAST[name]
    assert Config.of(**{name: least}).knobs()[name] == least
    with pytest.raises(InputError, match=rf"^--{name} must be at least {least}, got {least - 1}$"):
        Config.of(**{name: least - 1})
    with pytest.raises(InputError, match=f"^--{name} must be at least {least}, got nan$"):
        Config.of(**{name: float("nan")})


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    assert Config.of(**{name: 0.0}).knobs()[name] == 0
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match=f"^--{name} must be between 0 and 1, got {value}$"):
            Config.of(**{name: value})
    if name == "domain_dropout":
        with pytest.raises(InputError, match="must be below 1, got 1.0: nothing would be left of the domain heads"):
            Config.of(domain_dropout=1.0)
    else:
        assert Config.of(**{name: 1.0}).knobs()[name] == 1


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_values_above_zero(name):
    assert Config.of(**{name: 1e-9}).knobs()[name] == 1e-9
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=f"^--{name} must be above 0, got {value}$"):
            Config.of(**{name: value})


@pytest.mark.parametrize("name", [name for name, default in KNOBS.items() if type(default) in (int, float)])
def test_no_number_is_infinite_or_too_large(name):
    for value in (float("inf"), 10**20) if type(KNOBS[name]) is int else (float("inf"),):
        with pytest.raises(InputError, match=f"^--{name} must be .*(finite|at most 9223372036854775807|and 1), got"):
            Config.of(**{name: value})


def test_paths_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = Config.of(run="~/x", target="folder:~/a b", start="~", weights="/w~/~", source="synthetic")
    assert (config.run.run, config.data.target, config.stages.start) == (
        "/home/me/x",
        "folder:/home/me/a b",
        "/home/me",
    )
    assert (config.network.weights, config.data.source) == ("/w~/~", "synthetic")


def test_a_group_checks_itself():
    with pytest.raises(InputError, match="--people must be at least 2, got 1"):
        BatchKnobs(people=1)


# What a resume may change: where, how fast and how often, never what comes out.
FREE = {
    "synthetic_cache", "loader", "loader_threads", "cache", "on_bad_frame", "device", "threads", "graph", "run",
    "log_every", "gradients_every", "checkpoint_every", "profile", "test_batch", "recompute",
    "rank_timeout",
}  # fmt: skip


def test_every_knob_says_what_a_resume_may_do_with_it():
    for group in GROUPS.values():
        for field in dataclasses.fields(group):
            assert "on_resume" in field.metadata, f"{field.name}: wanted fixed(...), free(...) or same_data(...)"
    kinds = {name: "free" if name in FREE else "fixed" for name in KNOBS} | {
        "source": "same_data",
        "target": "same_data",
    }
    assert Config.on_resume() == kinds


def test_factors_are_those_of_the_losses():
    config = Config.of(l1s=0.5, triplet=0.0, l2c=2.0, proxy=0.25)
    assert config.identity.factors() == {"cross_entropy": 1.0, "triplet": 0.0, "info_nce": 0.0}
    assert config.adversarial.factors() == {"l1s": 0.5, "l2s": 1.0, "l3s": 1.0}
    assert config.adversarial.factors(unsaid=0.0) == {"l1s": 0.5, "l2s": 0.0, "l3s": 0.0}
    assert config.consistency.factors() == {"l1c": 0.3, "l2c": 2.0} and config.proxies.factors() == {"proxy": 0.25}


def test_a_nul_in_a_text_is_refused():
    with pytest.raises(InputError, match="--run must be text without a NUL"):
        Config.of(run="a\0b")
