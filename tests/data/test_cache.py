"""The cache of decoded frames: nothing is decoded twice, nothing changes, and what does not fit is refused."""

import numpy as np
import pytest
import torch
from loading import all_batches, images, levels, make_loader, train_plan, video

from vreid_fast.data.reading import cache as cache_module
from vreid_fast.data.reading import images as images_module
from vreid_fast.data.reading.cache import FrameCache, free_memory, make_caches
from vreid_fast.data.reading.loader import Loader, ReadingOptions, Stream, TestPlan
from vreid_fast.data.tracklets import Tracklet
from vreid_fast.errors import InputError

CPU = torch.device("cpu")
SIZE = (48, 32)


def test_cached_batches_are_those_decoded(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 6), images(tmp_path / "b", 2, height=30), video(tmp_path / "c.webm", 5)]
    plan = train_plan(tracklets, steps=12, views=2)
    cache = FrameCache([6, 2, 5], SIZE, CPU)
    plain, first, second = (all_batches(tracklets, plan, backend=backend, cache=c) for c in (None, cache, cache))
    for others in (first, second):
        for ours, theirs in zip(others, plain, strict=True):
            assert ours.tracklets.tolist() == theirs.tracklets.tolist()
            assert all(torch.equal(a, b) for a, b in zip(ours.views, theirs.views))


def test_after_the_first_epoch_nothing_is_read(tmp_path, backend, monkeypatch):
    tracklets = [images(tmp_path / name, 4) for name in "ab"]
    cache, plan = FrameCache([4, 4], SIZE, CPU), TestPlan([4, 4], 4)
    all_batches(tracklets, plan, backend=backend, cache=cache)
    for name in "ab":
        for file in (tmp_path / name).iterdir():
            file.unlink()
    assert len(all_batches(tracklets, plan, backend=backend, cache=cache)) == 1
    with pytest.raises(InputError, match="is missing"):
        all_batches(tracklets, plan, backend=backend)


def test_only_what_is_missing_is_decoded(tmp_path, monkeypatch):
    read, original = [], images_module.read_encoded
    monkeypatch.setattr(images_module, "read_encoded", lambda *what: read.append(what[1]) or original(*what))
    tracklets = [images(tmp_path / "a", 8)]
    cache = FrameCache([8], SIZE, CPU)
    for frames, wanted in ((2, [0, 4]), (4, [2, 6]), (8, [1, 3, 5, 7])):
        read.clear()
        all_batches(tracklets, TestPlan([8], frames), backend="torch", cache=cache)
        assert sorted(read) == wanted


def test_a_stream_with_and_one_without_a_cache(tmp_path, backend):
    one, two = [images(tmp_path / "a", 5)], [images(tmp_path / "b", 7, height=20)]
    plans = [train_plan(tracklets, steps=6, batch=size) for tracklets, size in ((one, 3), (two, 4))]
    alone = [all_batches(tracklets, plan, backend=backend) for tracklets, plan in zip((one, two), plans)]
    cache = FrameCache([7], SIZE, CPU)
    for _ in range(2):
        streams = [Stream(one, plans[0]), Stream(two, plans[1], cache=cache)]
        with Loader(streams, ReadingOptions(size=SIZE, backend=backend)) as loader:
            for step, (a, b) in enumerate(loader):
                assert torch.equal(a.clips, alone[0][step].clips) and torch.equal(b.clips, alone[1][step].clips)


def test_a_device_with_its_number_is_the_one_without():
    """They compare as different; a run on a GPU has both."""
    cache = FrameCache([3], (4, 2), torch.device("cpu"))
    cache.store(np.arange(3), torch.arange(72, dtype=torch.uint8).view(3, 4, 2, 3), np.arange(3))
    frames, places = cache.fetch(np.array([2, 0]), torch.device("cpu", 0))
    assert frames.data_ptr() == cache._frames.data_ptr() and places.tolist() == [2, 0]


def test_what_does_not_fit_is_refused_with_the_numbers(monkeypatch):
    sets = [[Tracklet(range(1000))], [Tracklet(range(509_914 - 1000))]]
    monkeypatch.setattr(cache_module, "free_memory", lambda device: 20_300_000_000)
    with pytest.raises(
        InputError, match=r"--cache cpu: 509,914 frames of 256x128 pixels take 50.1 GB, 20.3 GB are free on cpu.* 90%"
    ):
        make_caches("cpu", sets, (256, 128), CPU)
    # Each alone would fit, both do not.
    monkeypatch.setattr(cache_module, "free_memory", lambda device: 30_000)
    half = [[Tracklet(range(10))]]
    assert len(make_caches("cpu", half, SIZE[::-1], CPU)) == 1 if 10 * 48 * 32 * 3 < 27_000 else True
    with pytest.raises(InputError, match="20 frames"):
        make_caches("cpu", half * 2, SIZE, CPU)


def test_kinds():
    assert make_caches("none", [[], []], SIZE, CPU) == [None, None]
    with pytest.raises(InputError, match="--cache disk: wanted none, cpu, gpu"):
        make_caches("disk", [], SIZE, CPU)
    with pytest.raises(InputError, match="--cache gpu: the run is on cpu; use --cache cpu or none"):
        make_caches("gpu", [], SIZE, CPU)
    (empty,) = make_caches("cpu", [[]], SIZE, CPU)
    assert empty.missing(0, np.empty(0, np.int64)).size == 0


def test_free_memory_is_that_of_this_machine():
    assert 1e7 < free_memory(CPU) < 1e14


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_cached_batches_on_a_gpu(tmp_path, backend, where):
    tracklets = [images(tmp_path / name, 6, height=64, width=48) for name in "ab"]
    plan, device = train_plan(tracklets, steps=12, views=2), torch.device("cuda")
    cache = FrameCache([6, 6], SIZE, torch.device(where))
    plain = all_batches(tracklets, plan, backend=backend, device=device)
    for _ in range(2):
        for ours, theirs in zip(all_batches(tracklets, plan, backend=backend, device=device, cache=cache), plain):
            assert ours.clips.is_cuda
            assert all(torch.equal(a, b) for a, b in zip(ours.views, theirs.views))


class FakeEvent:
    def __init__(self, stream):
        self.stream = stream


class FakeStream:
    """A stream that notes what it waits for."""

    def __init__(self, number):
        self.cuda_stream, self.waited = number, []

    def record_event(self):
        return FakeEvent(self)

    def wait_event(self, event):
        self.waited.append(event.stream.cuda_stream)


def test_a_fetch_waits_for_every_stream_that_stored(monkeypatch):
    cache = FrameCache([4], (4, 2), CPU)
    streams = [FakeStream(number) for number in range(3)]
    for stream in (streams[0], streams[1], streams[0]):
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _, stream=stream: stream)
        cache._note_written()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: streams[2])
    cache.fetch(np.arange(2), CPU)
    assert sorted(streams[2].waited) == [0, 1]


@pytest.mark.gpu
@pytest.mark.parametrize("where", [None, "cuda"])
def test_slow_kernels_on_either_side_change_nothing(tmp_path, backend, where, monkeypatch):
    """Two loaders with streams of their own, over one cache; what writes and what reads is made slow in turn."""
    tracklets = [images(tmp_path / name, 9, height=64, width=48) for name in "abcd"]
    plan, device = train_plan(tracklets, steps=200, views=2), torch.device("cuda")
    expected = all_batches(tracklets, plan, backend=backend, device=torch.device("cpu"))
    for slow in ("_gather", "_decode", None):
        with monkeypatch.context() as patch:
            if slow:
                original = getattr(Loader, slow)
                patch.setattr(
                    Loader, slow, lambda self, item, original=original: (self._sleep(), original(self, item))[1]
                )
                patch.setattr(Loader, "_sleep", sleep_on_its_stream, raising=False)
            cache = where and FrameCache([9] * 4, SIZE, torch.device(where))
            options = {"cache": cache, "backend": backend, "device": device}
            with make_loader(tracklets, plan, **options) as one, make_loader(tracklets, plan, **options) as two:
                for step, (mine, other) in enumerate(zip(one, two, strict=True)):
                    if slow is None:
                        torch.cuda._sleep(2_000_000)
                    for batch in (*mine, *other):
                        for view, wanted in zip(batch.views, expected[step].views):
                            assert (levels(view.cpu()) - levels(wanted)).abs().max() < 6


def sleep_on_its_stream(loader):
    with torch.cuda.stream(loader._side):
        torch.cuda._sleep(2_000_000)
