"""Batches that do not divide by processes and micro-batches, and what these cannot do."""

import re

import pytest

from vreid_fast import ranks
from vreid_fast.config import Config
from vreid_fast.errors import InputError
from vreid_fast.training.rank_checks import batch_norm_used, check_ranks


@pytest.mark.parametrize(
    ("processes", "knobs", "said"),
    [
        (2, {"people": 3}, "--people 3: does not divide by the 2 processes of this run; set --people to 2 or 4, or"),
        (2, {"target_batch": 5}, "--target_batch 5: does not divide by the 2 processes of this run; set --target"),
        (2, {"graph": "on"}, "--graph on: works in one process; leave it out"),
        (2, {"split": "all"}, "--split all: works in one process; start one run for each split"),
        (2, {"target_batch": 2, "batch_norm": "rank"}, "--target_batch 2: batch norm would see one clip in each of its "
         "2 parts (--batch_norm rank); set --target_batch to 4 or more"),
        (2, {"people": 6, "accumulate": 2}, "--people 6: does not divide by the 2 processes of this run times "
         "--accumulate 2; set --people to 4 or 8, or start another number of them"),
        (1, {"people": 9, "accumulate": 4}, "--people 9: does not divide by --accumulate 4; set --people to 8 or 12, "
         "or --accumulate to another number"),
        (1, {"target_batch": 2, "accumulate": 2}, "--target_batch 2: batch norm would see one clip in each of its 2 "
         "parts (--accumulate 2); set --target_batch to 4 or more"),
        (1, {"graph": "on", "accumulate": 2}, "--graph on: a step of --accumulate 2 is not recorded; leave one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(monkeypatch, processes, knobs, said):
    config = Config.of(**{"people": 4, "target_batch": 8, **knobs})
    check_ranks(config.replace(accumulate=1))  # one process can
    monkeypatch.setattr(ranks.group, "size", processes)
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        check_ranks(config)


def test_batch_norm_of_parts_is_said(monkeypatch):
    config = Config.of(people=4, per_person=4, target_batch=8, batch_norm="rank")
    assert batch_norm_used(config) == {}
    assert batch_norm_used(config.replace(accumulate=2)) == {
        "batch norm": "of 8 clips of the source or 4 of the target at a time (--accumulate 2): another method than of "
        "the whole batch"
    }
    monkeypatch.setattr(ranks.group, "size", 2)
    assert batch_norm_used(config.replace(batch_norm="sync")) == {}
    assert (
        "of 4 clips of the source or 2 of the target at a time (--accumulate 2; --batch_norm rank, 2 processes)"
        in (batch_norm_used(config.replace(accumulate=2))["batch norm"])
    )
