import inspect
import json
from collections import Counter

import numpy as np
import pytest

from vreid_fast.data.sampling.samplers import CameraPass, CameraSampler, IdentitySampler
from vreid_fast.errors import InputError

PEOPLE = [3] * 1 + [5] * 2 + [8] * 9 + [9] * 4 + [12] * 7 + [20] * 4


def groups(sampler, steps, per_person):
    return np.stack([sampler(step) for step in steps]).reshape(-1, per_person)


@pytest.mark.parametrize("people, per_person", [(2, 1), (3, 2), (4, 4), (6, 2), (6, 4)])
def test_a_batch_is_groups_of_different_people(people, per_person):
    identities = np.array(PEOPLE)
    sampler = IdentitySampler(PEOPLE, people, per_person, 1)
    for step in range(40):
        of_batch = identities[sampler(step)].reshape(people, per_person)
        assert (of_batch == of_batch[:, :1]).all()
        assert len(set(of_batch[:, 0])) == people


def test_an_epoch_repeats_only_the_tracklets_of_people_with_few():
    sampler = IdentitySampler(PEOPLE, 3, 4, 0)
    epoch = groups(sampler, range(sampler.batches_per_epoch), 4)
    uses = Counter(epoch.ravel().tolist())
    for index, person in enumerate(PEOPLE):
        owned = PEOPLE.count(person)
        assert uses[index] <= (1 if owned >= 4 else -(-4 // owned))
    for group in epoch:
        owned = PEOPLE.count(PEOPLE[group[0]])
        assert len(set(group)) == min(4, owned)


def test_over_epochs_every_tracklet_is_seen():
    sampler = IdentitySampler(PEOPLE, 3, 4, 0)
    seen = {index for step in range(30 * sampler.batches_per_epoch) for index in sampler(step).tolist()}
    assert seen == set(range(len(PEOPLE)))


@pytest.mark.parametrize("case", ["a", "b"])
def test_epochs_use_no_more_groups_than_the_authors(shared, case):
    given = json.loads(shared("parity/samplers/samplers.json").read_text())[case]
    identities, per_person = np.array(given["pid_of_index"]), given["K"]
    theirs = given["pk_tracklet (SINet, AP3D, TCLNet, CCReID)"]["groups_per_pid"]
    sampler = IdentitySampler(identities, 4, per_person, 0)
    epoch = groups(sampler, range(sampler.batches_per_epoch), per_person)
    ours = Counter(identities[epoch[:, 0]].tolist())
    people = np.unique(identities)
    assert all(ours[person] <= most for person, most in zip(people, theirs))
    # One batch more could not have 4 different people.
    batches = sampler.batches_per_epoch
    assert len(epoch) == 4 * batches
    assert sum(min(most, batches + 1) for most in theirs) < 4 * (batches + 1)


@pytest.mark.parametrize("case", ["a", "b"])
def test_an_epoch_of_people_has_one_group_of_each(shared, case):
    given = json.loads(shared("parity/samplers/samplers.json").read_text())[case]
    people, wanted = np.array(given["pid_of_index"]), given["pk_id_epoch (PSTA)"]
    sampler = IdentitySampler(given["pid_of_index"], 2, given["K"], 0, once=True)
    epoch = np.concatenate([sampler(step) for step in range(sampler.batches_per_epoch)]).reshape(-1, given["K"])
    assert epoch.size == wanted["num_indices"] == wanted["length_attribute"]
    counts = np.bincount(people[epoch[:, 0]], minlength=people.max() + 1)
    assert counts.tolist() == wanted["groups_per_pid"] and (people[epoch] == people[epoch[:, :1]]).all()
    many = [group for group in epoch if (people == people[group[0]]).sum() >= given["K"]]
    assert all(len(set(group)) == given["K"] for group in many)
    again = [sampler(sampler.batches_per_epoch + step).tolist() for step in range(sampler.batches_per_epoch)]
    assert sorted(map(sorted, epoch.tolist())) != sorted(map(sorted, np.reshape(again, epoch.shape).tolist()))


def test_one_person_with_most_tracklets_does_not_meet_himself():
    sampler = IdentitySampler([0] * 50 + [1, 2, 3], 2, 2, 0)
    assert sampler.batches_per_epoch == 3
    for step in range(9):
        assert Counter(np.array([0] * 50 + [1, 2, 3])[sampler(step)].tolist()).most_common(1)[0][1] == 2


def test_identity_batches_depend_on_seed_and_step_alone():
    once, again, other = (IdentitySampler(PEOPLE, 3, 2, seed) for seed in (5, 5, 6))
    forwards = [once(step).tolist() for step in range(30)]
    assert [again(step).tolist() for step in reversed(range(30))] == forwards[::-1]
    assert [other(step).tolist() for step in range(30)] != forwards
    assert forwards[: once.batches_per_epoch] != forwards[once.batches_per_epoch : 2 * once.batches_per_epoch]


def test_what_a_caller_does_to_a_batch_stays_with_it():
    sampler = IdentitySampler(PEOPLE, 3, 2)
    first = sampler(0)
    kept = first.copy()
    first[:] = -1
    assert (sampler(0) == kept).all()


@pytest.mark.parametrize(
    "identities, people, message",
    [
        ([1, 1, 2, 3, 4, 5], 8, "batch of 8 people x 4 but the source has 5 people; lower --people"),
        ([1, 1, 1], 1, "at least 2 people to tell apart, found 1"),
        ([], 2, "found 0"),
        ([1, 2], 0, "start at 1"),
    ],
)
def test_identity_sampler_refuses(identities, people, message):
    with pytest.raises(InputError, match=message):
        IdentitySampler(identities, people, 4)


@pytest.mark.parametrize("cameras", [[1] * 30 + [2] * 3 + [7] * 11, [None] * 9, [1] * 5 + [None] * 4, [0, 1, 2]])
@pytest.mark.parametrize("batch", [1, 4, 7, 16])
def test_cameras_are_balanced_in_every_batch(cameras, batch):
    sampler = CameraSampler(cameras, batch, 3)
    for step in range(25):
        chosen = sampler(step)
        assert chosen.shape == (batch,)
        counts = Counter(cameras[index] for index in chosen.tolist())
        assert max(counts.values()) - min(counts.get(camera, 0) for camera in set(cameras)) <= 1


def test_a_camera_is_gone_through_without_repeats():
    cameras = [1] * 30 + [2] * 3 + [7] * 12
    sampler = CameraSampler(cameras, 6, 0)
    order = [index for step in range(60) for index in sampler(step).tolist()]
    for camera, size in ((1, 30), (2, 3), (7, 12)):
        own = [index for index in order if cameras[index] == camera]
        for start in range(0, len(own) - size, size):
            assert len(set(own[start : start + size])) == size
        assert own[:size] != own[size : 2 * size]


def test_camera_batches_depend_on_seed_and_step_alone():
    cameras = [1] * 13 + [2] * 5
    once, again, other = (CameraSampler(cameras, 4, seed) for seed in (5, 5, 6))
    forwards = [once(step).tolist() for step in range(30)]
    assert [again(step).tolist() for step in reversed(range(30))] == forwards[::-1]
    assert [other(step).tolist() for step in range(30)] != forwards


def test_the_camera_sampler_has_no_way_to_learn_an_identity():
    assert list(inspect.signature(CameraSampler).parameters) == ["cameras", "batch", "seed", "mixed"]
    assert list(inspect.signature(CameraPass).parameters) == ["cameras", "batch", "seed"]


def test_batches_of_one_camera_take_turns_and_go_through_it_without_repeats():
    cameras = [1] * 30 + [2] * 6 + [7] * 12
    sampler = CameraSampler(cameras, 6, 0, mixed=False)
    order = [sampler(step).tolist() for step in range(60)]
    assert [cameras[batch[0]] for batch in order[:6]] == [1, 2, 7, 1, 2, 7]
    assert all(len({cameras[index] for index in batch}) == 1 for batch in order)
    first = [index for batch in order[0:15:3] for index in batch]
    assert sorted(first) == list(range(30)) and first != sorted(first)
    assert "a camera of it has 6" in CameraSampler(cameras, 8, 0, mixed=False).notes[0]


def test_a_camera_pass_meets_every_tracklet_in_full_batches_of_one_camera():
    cameras = [5, 1, None] * 7 + [1] * 4
    walk = CameraPass(cameras, 4, seed=2)
    assert len(walk) == 2 + 3 + 2
    passes = [[walk(step).tolist() for step in range(start, start + 7)] for start in (0, 7)]
    for batches in passes:
        assert all(len(batch) == 4 and len({cameras[index] for index in batch}) == 1 for batch in batches)
        assert {index for batch in batches for index in batch} == set(range(25))
    assert passes[0] != passes[1] and CameraPass(cameras, 4, seed=2)(9).tolist() == passes[1][2]


def test_a_batch_larger_than_the_target_repeats_and_says_so():
    sampler = CameraSampler([1, 2, 2], 8)
    assert set(sampler(0).tolist()) == {0, 1, 2}
    assert "batch of 8 repeats tracklets: the target has 3" in sampler.notes[0]
    assert CameraSampler([1, 2, 2], 3).notes == ()


def test_an_empty_target_is_refused():
    with pytest.raises(InputError, match="batch of 4 from 0 tracklets"):
        CameraSampler([], 4)
