"""Work ahead of need: order, depth, errors, stages."""

import threading

import pytest

from vreid_fast.data.reading.ahead import Ahead


def test_ahead_keeps_order_and_raises_in_its_place():
    def make(step):
        if step == 3:
            raise ValueError("three")
        return step

    ahead = Ahead(make, range(6), 6)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(ahead)
    ahead.close()


def test_ahead_is_no_further_ahead_than_told():
    made = []
    ahead = Ahead(made.append, range(100), 100, depth=3)
    for _ in range(5):
        next(ahead)
    ahead.close()
    assert 5 <= len(made) <= 8


def test_stages_work_at_the_same_time_and_close_together():
    # Each stage of an item waits for the other stage of its neighbour: one after the other they would stop.
    meeting = threading.Barrier(2, timeout=20)

    def first(item):
        if item:
            meeting.wait()
        return item

    def second(item):
        if item < 3:
            meeting.wait()
        return 10 * item

    ahead = Ahead(second, Ahead(first, range(4), 4, depth=2), 4)
    assert list(ahead) == [0, 10, 20, 30]
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_an_error_of_the_first_stage_comes_out_of_the_last():
    def fail(item):
        raise ValueError(f"item {item}")

    ahead = Ahead(str, Ahead(fail, range(9), 9), 9)
    with pytest.raises(ValueError, match="item 0"):
        next(ahead)
    ahead.close()
