"""Batches of people near to each other: the given facts, whole epochs, and what a sampler is told."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from vreid_fast.data.sampling.graph import GraphSampler
from vreid_fast.errors import InputError


def begun(identities, distances, people, per_person, epoch=0, seed=0):
    sampler = GraphSampler(identities, people, per_person, seed)
    sampler.begin(epoch, torch.as_tensor(distances))
    return sampler


def test_an_epoch_is_the_given_one(shared):
    given = json.loads((shared("parity/samplers") / "samplers.json").read_text())["graph_sampler"]
    identities = np.repeat(np.arange(8), given["count_per_pid"])
    distances = np.array(given["distance"])
    sampler = begun(identities, distances, given["batch_size"] // given["K"], given["K"])
    assert len(sampler) == given["num_batches"]
    batches = [identities[sampler(step)] for step in range(8)]
    people = sorted(sorted(set(batch.tolist())) for batch in batches)
    assert people == given["batches_as_sorted_pid_sets"]
    for batch in batches:
        assert (batch.reshape(-1, 2) == batch[::2, None]).all()
        anchor = batch[-1]
        away = distances[anchor][batch[:-2:2]]
        assert list(away) == sorted(away) and away[-1] <= np.sort(np.delete(distances[anchor], anchor))[2]
    assert sorted(batch[-1] for batch in batches) == list(range(8))


def test_the_tracklets_of_a_person_are_gone_through_before_one_comes_again():
    identities = np.repeat(np.arange(4), [6, 1, 3, 2])
    sampler = begun(identities, np.zeros((4, 4)), 4, 2)
    drawn = np.concatenate([sampler(step) for step in range(4)])
    for person, count in enumerate((6, 1, 3, 2)):
        own = Counter(drawn[identities[drawn] == person].tolist())
        assert len(own) == count and max(own.values()) - min(own.values()) <= 1
    assert all(sampler(step)[k] == sampler(step)[k + 1] for step in range(4) for k in (0, 2, 4, 6)
               if identities[sampler(step)[k]] == 1)  # fmt: skip


def test_epochs_differ_and_a_batch_is_a_function_of_seed_and_step():
    identities, distances = np.repeat(np.arange(5), 3), np.random.default_rng(0).random((5, 5))
    first, again = (begun(identities, distances, 3, 2) for _ in range(2))
    assert all((first(step) == again(step)).all() for step in range(5))
    assert not all((first(step) == begun(identities, distances, 3, 2, epoch=1)(5 + step)).all() for step in range(5))
    assert (identities[first.probes(0)] == np.arange(5)).all()
    assert (first.probes(0) == again.probes(0)).all() and (first.probes(0) != first.probes(1)).any()


def test_an_epoch_that_did_not_begin_is_an_error():
    sampler = begun([0, 0, 1, 1], np.zeros((2, 2)), 2, 2)
    with pytest.raises(ValueError, match="step 2 is of epoch 1, begin was called for 0"):
        sampler(2)


def test_its_state_goes_to_another_and_damaged_ones_are_refused():
    identities = np.repeat(np.arange(5), 3)
    one, other = begun(identities, np.random.default_rng(0).random((5, 5)), 3, 2, 4), GraphSampler(identities, 3, 2)
    other.load_state_dict(one.state_dict())
    assert all((one(step) == other(step)).all() for step in range(20, 25))
    state = one.state_dict()
    for bad in (
        {}, {**state, "epoch": 1.5}, {**state, "near": state["near"].float()}, {**state, "near": state["near"][:4]},
        {**state, "near": state["near"] + 9},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="neighbours: wanted those of 5 people, 2 each"):
            other.load_state_dict(bad)


@pytest.mark.parametrize("people", [1, 6])
def test_batches_that_cannot_be_are_refused(people):
    with pytest.raises(InputError, match=f"batch of {people} people x 2 but the source has 5 people; --people must be"):
        GraphSampler(np.repeat(np.arange(5), 3), people, 2)
