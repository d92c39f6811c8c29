"""Frames that cannot be read are an error, or their nearest neighbour in their stead, counted and listed."""

import numpy as np
import pytest
import torch
from loading import FAULTS, all_batches, images, levels, video
from media import picture

from vreid_fast.data.reading.bad_frames import BadFrames
from vreid_fast.data.reading.loader import ClipRequest, TestPlan
from vreid_fast.data.tracklets import BadFrame, Tracklet
from vreid_fast.errors import InputError


def shown(clip):
    """Numbers of the pictures in a clip (T, 3, H, W)."""
    brightness = levels(clip).mean((1, 2, 3)).numpy()
    candidates = np.array([picture(n).mean() for n in range(40)])
    assert (np.abs(brightness[:, None] - candidates).min(1) < 1.6).all()
    return np.abs(brightness[:, None] - candidates).argmin(1).tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_nearest_good_frame_is_shown_in_their_stead(tmp_path, backend, fault):
    tracklets = [images(tmp_path / name, 8, ending="jpg") for name in "ab"]
    for number in (1, 3, 4):
        FAULTS[fault](tmp_path / "b" / f"F{number}.jpg")
    plan = [[ClipRequest(0, np.arange(4)), ClipRequest(1, np.array([0, 1, 2, 3]))], [ClipRequest(1, np.arange(8)[-4:])]]
    skip = BadFrames("skip")
    first, last = all_batches(tracklets, plan, backend=backend, bad_frames=skip)
    assert shown(first.clips[0]) == [0, 1, 2, 3] and shown(first.clips[1]) == [1, 1, 1, 4]
    assert shown(last.clips[0]) == [4, 5, 6, 7]
    report = skip.report()
    assert len(report) == 3 and all("/b/F" in line and "tracklet" in line for line in report)
    with pytest.raises(BadFrame, match=r"/b/F1\.jpg"):
        all_batches(tracklets, plan, backend=backend)


@pytest.mark.parametrize(
    "codec, name", [("libvpx-vp9", "b.webm"), ("libvpx", "b.webm"), ("mjpeg", "b.avi"), ("libx264", "b.mp4")]
)
def test_a_video_cut_short_shows_its_last_good_frame(tmp_path, backend, codec, name):
    tracklet = video(tmp_path / name, 30, codec=codec, height=128, width=96)
    content = bytearray((tmp_path / name).read_bytes())
    if name.endswith("mp4"):
        # The index, which says how many frames there should be, lies behind them.
        first, last = content.index(b"mdat") + 4, content.index(b"moov")
        content[(first + last) // 2 : last - 4] = bytes(last - 4 - (first + last) // 2)
    else:
        del content[2 * len(content) // 3 :]
    (tmp_path / name).write_bytes(content)
    skip = BadFrames("skip")
    plan = [[ClipRequest(0, np.array([0, 1, 28, 29]))]]
    (batch,) = all_batches([tracklet], plan, backend=backend, bad_frames=skip)
    numbers = shown(batch.clips[0])
    assert numbers[:2] == [0, 1] and 1 < numbers[2] == numbers[3] < 28 and skip.report()
    with pytest.raises(InputError, match=name):
        all_batches([tracklet], plan, backend=backend)


def test_a_tracklet_without_any_good_frame_ends_the_run(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 3, ending="jpg")]
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no frame of tracklet .* can be read; the last: image"):
        all_batches(tracklets, TestPlan([3], 2), backend=backend, bad_frames=BadFrames("skip"))


def test_replacements_are_the_nearest_and_of_two_the_earlier():
    skip, tracklet = BadFrames("skip"), Tracklet([f"/x/{n}.jpg" for n in range(7)])
    assert skip.replaced(tracklet, np.arange(7)).tolist() == list(range(7))
    with pytest.raises(RuntimeError, match="stop"):

        def read():
            if skip.found:
                raise RuntimeError("stop")
            raise BadFrame("no", tracklet, [0, 3, 5])

        skip.attempt(read)
    assert skip.replaced(tracklet, np.arange(7)).tolist() == [1, 1, 2, 2, 4, 4, 6]
    other = Tracklet([f"/y/{n}.jpg" for n in range(7)])
    assert skip.replaced(other, np.arange(7)).tolist() == list(range(7))


def test_policies():
    with pytest.raises(InputError, match="--on_bad_frame ignore: wanted error or skip"):
        BadFrames("ignore")


def test_a_cache_keeps_the_neighbour(tmp_path, backend):
    from vreid_fast.data.reading.cache import FrameCache

    tracklets = [images(tmp_path / "a", 4, ending="jpg")]
    (tmp_path / "a" / "F3.jpg").unlink()
    cache = FrameCache([4], (48, 32), torch.device("cpu"))
    for _ in range(2):
        options = {"backend": backend, "bad_frames": BadFrames("skip"), "cache": cache}
        (batch,) = all_batches(tracklets, TestPlan([4], 4), **options)
        assert shown(batch.clips[0]) == [0, 1, 1, 3]


def test_good_videos_are_not_decoded_twice(tmp_path, monkeypatch):
    dali = pytest.importorskip("vreid_fast.data.reading.dali")
    calls, real = [], dali.read_frames
    monkeypatch.setattr(dali, "read_frames", lambda *words: calls.append(words) or real(*words))
    tracklet = video(tmp_path / "a.webm", 9)
    assert len(all_batches([tracklet], TestPlan([9], 4), backend="dali")) == len(calls) == 1
