import json

import numpy as np
import pytest

from vreid_fast.data.sampling.clips import (
    all_frames,
    chunk_frames,
    completed_frames,
    contiguous_frames,
    dense_frames,
    evenly_spaced_frames,
    first_frames,
    interleaved_frames,
    random_clip,
    random_frames,
)


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


def lists(clips):
    return [clip.tolist() for clip in clips]


RULES = {
    "ap3d_allframes32": lambda length: lists(contiguous_frames(length, 32)),
    "tclnet_allframes4": lambda length: lists(completed_frames(length, 4)),
    "ap3d_test4": lambda length: first_frames(length, 4, 8).tolist(),
    "tclnet_test4": lambda length: first_frames(length, 4, 8).tolist(),
    "psta_begin8": lambda length: first_frames(length, 8, 8).tolist(),
    "psta_dense8": lambda length: lists(dense_frames(length, 8)),
    "cavit_test8": lambda length: chunk_frames(length, 8).tolist(),
    "ccvid_allframes8_stride4": lambda length: lists(interleaved_frames(length, 8, 4)),
    "ccvid_allframes16_stride4": lambda length: lists(interleaved_frames(length, 16, 4)),
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_of_other_authors_match_them(reference, rule):
    wanted = {int(length): rules[rule] for length, rules in reference["indices"].items() if rules[rule] is not None}
    assert len(wanted) >= 20
    assert {length: RULES[rule](length) for length in wanted} == wanted


@pytest.mark.parametrize("length", [1, 5, 7])
def test_chunks_of_short_tracklets_repeat_frames(length):
    found = chunk_frames(length, 8)
    assert set(found.tolist()) == set(range(length)) and (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    ("rule", "frames", "stride", "theirs"),
    [
        ("window", 4, 8, "ap3d_train4_stride8"), ("window", 4, 8, "tclnet_train4_stride8"),
        ("window", 8, 4, "cc_train8_stride4"), ("bins", 8, 8, "psta_train8"), ("chunks", 8, 0, "cavit_train8"),
    ],
)  # fmt: skip
def test_random_clips_reach_what_the_authors_reach(reference, rule, frames, stride, theirs):
    rng = np.random.default_rng(0)
    for length, rules in reference["random_support"].items():
        draws = np.stack([random_clip(int(length), frames, rng, rule, stride) for _ in range(3000)])
        support = rules[theirs]
        assert draws.shape == (3000, frames) and (np.diff(draws) >= 0).all() and draws.max() < int(length)
        # Theirs are of 400 draws: ours reach as far, and no farther than by what rare draws add.
        rare = int(length) < frames  # ends of sorted draws, which either may have missed
        assert (draws.min(0) <= np.add(support["min"], rare)).all(), length
        assert (draws.max(0) >= np.subtract(support["max"], rare)).all(), length
        if support["steps"] == [stride] or int(length) >= frames * 8 or int(length) == frames:
            assert (np.abs(draws.min(0) - support["min"]) <= 4).all(), length
            assert (np.abs(draws.max(0) - support["max"]) <= 4).all(), length
        assert (np.diff(draws) > 0).all() == support["strict"], length


def test_the_default_rule_is_that_of_blocks():
    one, other = (np.random.default_rng(3) for _ in range(2))
    assert random_clip(30, 4, one, "blocks", 8).tolist() == random_frames(30, 4, other).tolist()
