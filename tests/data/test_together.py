import numpy as np
from loading import images, video

from vreid_fast.data.reading.together import MOST, together


def places_hold(wanted, joined, places):
    """Whether each frame wanted is where it is said to be."""
    given = [(tracklet.name, number) for tracklet, numbers in joined for number in numbers]
    asked = [(tracklet.name, number) for tracklet, numbers in wanted for number in numbers]
    return [given[place] for place in places] == asked


def test_clips_of_one_video_are_one_request_with_each_frame_once(tmp_path):
    one, two = video(tmp_path / "a.webm", 9), video(tmp_path / "b.webm", 9)
    wanted = [(one, np.array([1, 5])), (two, np.array([0, 0])), (one, np.array([5, 2, 8]))]
    joined, places = together(wanted)
    assert [(tracklet is one, numbers.tolist()) for tracklet, numbers in joined] == [(True, [1, 2, 5, 8]), (False, [0])]
    assert places_hold(wanted, joined, places)


def test_images_stay_as_they_are(tmp_path):
    one, other = images(tmp_path / "a", 4), video(tmp_path / "b.webm", 4)
    wanted = [(one, np.array([2, 0])), (other, np.array([1])), (one, np.arange(50) % 4), (other, np.array([0]))]
    joined, places = together(wanted)
    assert [numbers.tolist() for tracklet, numbers in joined if tracklet is one] == [
        [2, 0],
        [0, 1, 2, 3] * 12 + [0, 1],
    ]
    assert places_hold(wanted, joined, places)


def test_a_long_pass_is_cut_so_that_threads_share_it(tmp_path):
    one = video(tmp_path / "a.webm", 3)
    wanted = [(one, np.arange(start, start + 30)) for start in (60, 0, 30)]
    joined, places = together(wanted)
    assert [len(numbers) for _, numbers in joined] == [MOST, MOST, 90 - 2 * MOST]
    assert places_hold(wanted, joined, places)


def test_requests_of_their_own_are_not_touched(tmp_path):
    wanted = [(video(tmp_path / f"{name}.webm", 3), np.array([2, 1])) for name in "ab"]
    joined, places = together(wanted)
    assert joined is wanted and places.tolist() == [0, 1, 2, 3]
