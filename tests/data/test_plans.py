import numpy as np
import pytest

from vreid_fast.data.sampling.augment import NO_AUGMENTATION
from vreid_fast.data.sampling.clips import all_frames, evenly_spaced_frames
from vreid_fast.data.sampling.plans import TestPlan, TrainPlan
from vreid_fast.data.sampling.samplers import CameraSampler

LENGTHS = [1, 9, 4, 30, 17]


def train_plan(**changes):
    knobs = {"frames": 4, "size": (64, 32), "steps": 20, "views": 2, "seed": 3, "stream": 1, "pad": 4} | changes
    return TrainPlan(LENGTHS, CameraSampler([1, 1, 2, 2, 2], 6, 3), **knobs)


def key(batch):
    return [(request.tracklet, request.frames.tolist(), request.views) for request in batch]


def test_train_batches_follow_the_sampler_and_stay_in_their_tracklets():
    plan = train_plan()
    assert len(plan) == 20
    for step, batch in enumerate(plan):
        assert [r.tracklet for r in batch] == CameraSampler([1, 1, 2, 2, 2], 6, 3)(step).tolist()
        for request in batch:
            assert request.frames.shape == (4,) and request.frames.max() < LENGTHS[request.tracklet]
    assert step == 19


def test_train_batches_depend_on_seed_stream_and_step_alone():
    forwards = [key(batch) for batch in train_plan()]
    plan = train_plan(steps=40)
    assert [key(plan[step]) for step in reversed(range(20))] == forwards[::-1]
    for change in ({"seed": 4}, {"stream": 2}):
        assert [key(batch) for batch in train_plan(**change)] != forwards


def test_views_differ_and_can_be_left_alone():
    views = [request.views for batch in train_plan() for request in batch]
    assert all(len(pair) == 2 for pair in views) and sum(one != two for one, two in views) > 0.9 * len(views)
    for batch in train_plan(flip=0, erase=0, pad=0, views=1):
        assert all(request.views == (NO_AUGMENTATION,) for request in batch)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_even_test_clips_are_one_a_tracklet(batch):
    plan = TestPlan(LENGTHS, 4, batch=batch)
    requests = [request for step in plan for request in step]
    assert [request.tracklet for request in requests] == list(range(5))
    assert len(plan) == -(-5 // batch) and all(len(step) == batch for step in list(plan)[:-1])
    for request, length in zip(requests, LENGTHS):
        assert (request.frames == evenly_spaced_frames(length, 4)).all() and request.views == (NO_AUGMENTATION,)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_all_test_clips_hold_every_frame(batch):
    requests = [request for step in TestPlan(LENGTHS, 4, batch=batch, mode="all") for request in step]
    for tracklet, length in enumerate(LENGTHS):
        own = np.stack([request.frames for request in requests if request.tracklet == tracklet])
        assert (own == all_frames(length, 4)).all()


@pytest.mark.parametrize("mode", ["even", "all"])
def test_halves_share_the_middle_frame_of_an_odd_number_alone(mode):
    for tracklet, length in enumerate(lengths := [1, 2, 7, 8]):
        first, second = (
            {frame for step in TestPlan(lengths, 2, mode=mode, half=half) for request in step
             if request.tracklet == tracklet for frame in request.frames.tolist()}
            for half in (0, 1)
        )  # fmt: skip
        middle = (length + 1) // 2
        assert first <= set(range(middle)) and second <= set(range(length - middle, length))
        assert mode == "even" or (len(first), len(second)) == (middle, middle)
    with pytest.raises(IndexError):
        TestPlan(lengths, 2, half=1)[1]


def test_plans_end_where_they_end():
    for plan in (train_plan(), TestPlan(LENGTHS, 4), TestPlan([], 4)):
        for step in (len(plan), -1):
            with pytest.raises(IndexError, match="step must be 0 to"):
                plan[step]
    assert len(TestPlan([], 4)) == 0
    with pytest.raises(ValueError, match="mode must be one of even, chunks, all, .*, got 'some'"):
        TestPlan(LENGTHS, 4, mode="some")


def test_clips_of_fewer_frames_stand_behind_the_others_in_batches_of_their_own():
    plan = TestPlan([37, 3, 32, 5], 32, batch=2, mode="contiguous")
    found = [[(request.tracklet, len(request.frames)) for request in batch] for batch in plan]
    assert found == [[(0, 32), (2, 32)], [(0, 5), (3, 5)], [(1, 3)]]
    assert [request.frames[0] for batch in plan for request in batch] == [0, 0, 32, 0, 0]


def test_strides_reach_the_rules_that_have_one():
    (batch,) = TestPlan([40], 4, mode="begin", stride=8)
    assert batch[0].frames.tolist() == [0, 8, 16, 24]
    assert len(TestPlan([64], 8, batch=1, mode="interleaved", stride=4)) == 8
    plan = train_plan(rule="window", stride=2)
    steps = {tuple(np.diff(request.frames)) for batch in plan for request in batch if LENGTHS[request.tracklet] >= 8}
    assert steps == {(2, 2, 2)}
