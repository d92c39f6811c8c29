import json

import numpy as np
import pytest

from vreid_fast.data.sampling.clips import all_frames, evenly_spaced_frames, random_frames


@pytest.fixture
def reference(shared):
    return json.loads(shared("parity/temporal/indices.json").read_text())


@pytest.mark.parametrize("frames", [4, 8])
def test_test_clips_match_the_authors(reference, frames):
    assert reference["indices"]
    for length, rules in reference["indices"].items():
        assert evenly_spaced_frames(int(length), frames).tolist() == rules[f"sinet_test{frames}"], length
        assert all_frames(int(length), frames).tolist() == rules[f"sinet_allframes{frames}"], length


@pytest.mark.parametrize("length, frames", [(1, 4), (2, 4), (4, 4), (5, 4), (7, 4), (8, 4), (33, 8), (9, 1)])
def test_random_frames_reach_all_of_their_block_and_nothing_else(length, frames):
    rng = np.random.default_rng(0)
    draws = np.stack([random_frames(length, frames, rng) for _ in range(2000)])
    block = max(length, frames) // frames
    starts = np.arange(frames) * block
    ends = np.append(starts[1:], max(length, frames))
    for position, (start, end) in enumerate(zip(starts, ends)):
        assert set(draws[:, position]) == {min(frame, length - 1) for frame in range(start, end)}


def test_random_frames_cover_what_the_authors_draw(reference):
    for length, rules in reference["random_support"].items():
        theirs = rules["sinet_train4"]
        rng = np.random.default_rng(1)
        draws = np.stack([random_frames(int(length), 4, rng) for _ in range(4000)])
        assert (draws.min(0) <= theirs["min"]).all() and (draws.max(0) >= theirs["max"]).all(), length


@pytest.mark.parametrize("length", [1, 2, 3, 5, 31, 32, 33])
@pytest.mark.parametrize("frames", [1, 4, 8])
def test_all_frames_hold_every_frame(length, frames):
    clips = all_frames(length, frames)
    assert clips.shape == (-(-length // frames), frames)
    assert set(clips.ravel()) == set(range(length))
    assert (np.diff(clips, axis=1) >= 0).all()


def test_an_empty_tracklet_is_refused():
    for rule in (lambda: evenly_spaced_frames(0, 4), lambda: all_frames(4, 0)):
        with pytest.raises(ValueError, match="at least 1 frame"):
            rule()
