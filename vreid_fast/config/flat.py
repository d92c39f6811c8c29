"""The flat form of a configuration: a name and a value for each knob, as in YAML files, checkpoints and commands."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import yaml

from vreid_fast.errors import InputError

# In files and checkpoints knobs stand in this order, whatever their groups; one that is not named here comes last.
WRITTEN = """
    source target synthetic_seed synthetic_cache split mars_gallery authors_pieces_train authors_pieces_test scenes
    height width frames train_clips stride people per_person per_epoch target_batch accumulate flip erase pad loader
    loader_threads cache on_bad_frame network trunk weights drop_classifier recompute domain_width domain_dropout
    cross_entropy smoothing triplet triplet_distance margin info_nce info_nce_temperature clothes clothes_by
    clothes_start clothes_scale clothes_epsilon clothes_lr clothes_momentum l1s l2s l3s reversal combined_groups
    combined_sizes l1c l2c loss_weights cluster_by clusters cluster_over cluster_every cluster_restarts
    cluster_neighbours cluster_temperature camera_aware consistency_ramp proxy proxy_temperature proxy_negatives
    proxy_momentum
    transport transport_triplet transport_over transport_groups transport_power transport_rounds ema_decay method
    statistics select select_every seed start stages source_steps adapt_steps optimiser momentum source_lr adapt_lr
    trunk_lr head_lr schedule drops drop_to warmup_steps weight_decay clip_gradient precision device threads graph
    batch_norm rank_timeout run log_every gradients_every checkpoint_every profile test_clips test_frames test_batch
    distance compare bn_batches
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class FlatForm:
    """Of a frozen dataclass of `KnobGroup`s: the same knobs without their groups."""

    def __post_init__(self):
        for name, kind in self.groups().items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"Config: {name} must be a {kind.__name__}; single knobs go to Config.of(KNOB=VALUE)")

    @classmethod
    def groups(cls) -> dict[str, type]:
        """The class of each group by name."""
        return {field.name: type(field.default) for field in dataclasses.fields(cls)}

    @classmethod
    @cache
    def kinds(cls) -> dict[str, Any]:
        """The type of each knob by name."""
        hints = (typing.get_type_hints(group) for group in cls.groups().values())
        return {name: kind for group in hints for name, kind in group.items()}

    @classmethod
    def of(cls, **knobs: Any) -> Self:
        """A configuration from single knobs: `Config.of(people=4, method="plus")`.

        Raises:
            InputError: an unknown knob, or a value out of bounds.
        """
        return cls().replace(**knobs)

    def replace(self, **knobs: Any) -> Self:
        """A copy in which these knobs have other values; raises as `of`."""
        groups = {}
        for name in self.groups():
            group = getattr(self, name)
            own = {field.name for field in dataclasses.fields(group)} & knobs.keys()
            groups[name] = dataclasses.replace(group, **{knob: knobs.pop(knob) for knob in own})
        if knobs:
            raise InputError(f"--{next(iter(knobs))}: no such knob; {near(next(iter(knobs)), list(self.knobs()))}")
        return type(self)(**groups)

    def knobs(self) -> dict[str, Any]:
        """The value of each knob by name."""
        found = {
            field.name: getattr(group, field.name)
            for group in (getattr(self, name) for name in self.groups())
            for field in dataclasses.fields(group)
        }
        return {name: found.pop(name) for name in WRITTEN} | found

    @classmethod
    def on_resume(cls) -> dict[str, str]:
        """What a resume may do with each knob, by name: "fixed", "free" or "same_data"."""
        return {
            field.name: field.metadata["on_resume"]
            for group in cls.groups().values()
            for field in dataclasses.fields(group)
        }

    def to_yaml(self) -> str:
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in self.knobs().items()}
        return yaml.safe_dump(plain, sort_keys=False)


def near(word: str, known: list[str], dashes: str = "--") -> str:
    """What to try in place of an unknown knob."""
    found = difflib.get_close_matches(word.replace("-", "_"), known, n=1)
    return f"did you mean {dashes}{found[0]}?" if found else "--help lists the knobs"
