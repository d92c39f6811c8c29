"""Cuts of several videos, decoded by FFmpeg and by DALI, show the frames that were wanted of each."""

import io
from pathlib import Path

import numpy as np
import pytest
from key_frames import KINDS, from_the_start, write_kind
from loading import video

from vreid_fast.data.reading.matroska import CLUSTER, matroska
from vreid_fast.data.reading.video import contents
from vreid_fast.data.reading.video_cut import cuts, stream_of
from vreid_fast.data.tracklets import Tracklet


def one_by_one(function, items):
    return list(map(function, items))


def shown(cut):
    return from_the_start(io.BytesIO(cut.content.tobytes()))[cut.frames]


@pytest.fixture(params=KINDS)
def tracklets(request, tmp_path):
    paths = [write_kind(tmp_path / name, request.param, frames, 5) for name, frames in (("a", 23), ("b", 14), ("c", 1))]
    return [Tracklet(range(contents(str(path)).facts.frames), video=str(path)) for path in paths]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_cut_shows_what_was_wanted_of_each_video(tracklets, count):
    wanted = [
        (tracklets[0], np.array([3, 4, 22])),
        (tracklets[1], np.array([13, 0, 13])),
        (tracklets[2], np.array([0])),
    ]
    made = cuts(wanted, count, one_by_one)
    assert len(made) == min(count, 3)
    found = np.concatenate([shown(cut) for cut in made])
    whole = [from_the_start(tracklet.video)[numbers] for tracklet, numbers in wanted]
    assert np.array_equal(found, np.concatenate(whole))


def test_a_cut_holds_no_more_than_it_needs(tmp_path):
    path = write_kind(tmp_path / "a", "h264", 30, 5)
    (cut,) = cuts([(Tracklet(range(30), video=str(path)), np.array([12]))], 4, one_by_one)
    assert cut.frames.tolist() == [2] and len(from_the_start(io.BytesIO(cut.content.tobytes()))) == 3


def test_videos_of_other_sizes_and_those_without_a_layout_are_cuts_of_their_own(tmp_path):
    sizes = {"a": (128, 64), "b": (128, 64), "c": (144, 64)}
    paths = [write_kind(tmp_path / name, "h264", 9, 3, *size) for name, size in sizes.items()]
    others = [video(tmp_path / f"{name}.webm", 9, codec="libvpx", height=128, width=64) for name in "de"]
    wanted = [(tracklet, np.array([8, 1])) for tracklet in [Tracklet(range(9), video=str(p)) for p in paths] + others]
    assert len({stream_of(tracklet) for tracklet, _ in wanted}) == 4
    made = cuts(wanted, 1, one_by_one)
    assert [len(cut.frames) for cut in made] == [4, 2, 2, 2]
    assert made[2].content.tobytes() == Path(others[0].video).read_bytes()


def test_a_file_of_more_frames_than_a_cluster_has_room_for(tmp_path):
    import av

    frames = 2 * CLUSTER + 3
    file = matroska("vp9", b"", (48, 32), [(number, True, bytes([number % 251])) for number in range(frames)])
    with av.open(io.BytesIO(file)) as container:
        found = [(packet.pts, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    assert [content[0] for _, content in found] == [number % 251 for number in range(frames)]
    assert np.all(np.diff([pts for pts, _ in found]) == found[1][0] - found[0][0])
