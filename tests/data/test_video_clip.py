"""Frames decoded from the key frame before them are those of decoding from the start, to the last bit."""

import numpy as np
import pytest
from ghosts import packets
from key_frames import KINDS, from_the_start, write_kind

from vreid_fast.data.reading import video as reading_video
from vreid_fast.data.reading import video_clip
from vreid_fast.data.reading.video import CutVideo, contents, decode_video, each_frame
from vreid_fast.data.reading.video_clip import clip_frames
from vreid_fast.data.reading.video_file import part_of
from vreid_fast.errors import InputError


def clip(path, numbers):
    found = contents(str(path))
    frames = clip_frames(str(path), found.layout, (found.facts.height, found.facts.width), set(numbers))
    return None if frames is None else np.stack([frames[number] for number in numbers])


@pytest.mark.parametrize("every", [1, 4, 8, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_alone_and_clips_of_them(tmp_path, kind, every):
    path = write_kind(tmp_path / "a", kind, 29, every)
    whole = from_the_start(path)
    assert len(whole) == 29
    for number in range(29):
        assert np.array_equal(clip(path, [number])[0], whole[number]), number
    rng = np.random.default_rng(0)
    for frames in (4, 8):
        numbers = np.sort(rng.choice(29, frames, replace=False)).tolist()
        assert np.array_equal(clip(path, numbers), whole[numbers])
    assert np.array_equal(clip(path, range(29)), whole)


def test_videos_of_one_kind_in_turn_do_not_see_each_other(tmp_path):
    paths = [write_kind(tmp_path / "a", "h264 b-frames", 12, 5), write_kind(tmp_path / "b", "h264 b-frames", 9, 5)]
    other = write_kind(tmp_path / "c", "h264 b-frames", 9, 5, height=96, width=80)
    for _ in range(2):
        for path, length in ((paths[0], 12), (other, 9), (paths[1], 9)):
            assert np.array_equal(clip(path, [length - 1, 3]), from_the_start(path)[[length - 1, 3]])


def test_a_decoder_is_kept_open(tmp_path, monkeypatch):
    path = write_kind(tmp_path / "a", "h264", 12, 4)
    clip(path, [5])
    monkeypatch.setattr(video_clip, "_decoder", lambda *_: pytest.fail("another decoder"))
    assert clip(path, [9, 2]) is not None


def test_no_more_of_the_file_is_read_than_from_the_key_frame_on(tmp_path, monkeypatch):
    path = write_kind(tmp_path / "a", "h264", 30, 5)
    layout, spans, read = contents(str(path)).layout, [], video_clip.part_of
    monkeypatch.setattr(video_clip, "part_of", lambda video, *span: spans.append(span) or read(video, *span))
    monkeypatch.setattr(reading_video, "opened", lambda _: pytest.fail("opened"))
    decode_video(str(path), [7, 8, 21])
    places = [(5, 8), (20, 21)]
    assert spans == [
        (layout.offsets[first], layout.offsets[last] + layout.sizes[last] - layout.offsets[first])
        for first, last in places
    ]


@pytest.mark.parametrize("kind", ["vp9", "h264", "h264 b-frames", "hevc", "hevc b-frames"])
def test_damage_is_told_as_by_a_pass_over_the_whole(tmp_path, kind):
    path = write_kind(tmp_path / "a", kind, 30, 5)
    data, content = bytearray(path.read_bytes()), packets(path)[12][1]
    at = data.find(content[:40])
    data[at + 4 : at + len(content)] = bytes(len(content) - 4)
    path.write_bytes(data)
    lost, sound = (), {}
    try:
        sound.update(each_frame(str(path), range(30)))
    except CutVideo as error:
        lost = error.frames
    assert 12 in lost or kind.endswith("b-frames")
    assert lost and len(lost) <= 10
    for number in range(30):
        if number in lost:
            with pytest.raises(CutVideo, match=f"frame {number} cannot be decoded"):
                decode_video(str(path), [number])
        else:
            assert np.array_equal(decode_video(str(path), [number])[0], sound[number]), number


def test_a_file_that_became_shorter_is_no_source_of_frames(tmp_path):
    path = write_kind(tmp_path / "a", "h264", 12, 4)
    layout = contents(str(path)).layout
    path.write_bytes(path.read_bytes()[: int(layout.offsets[9])])
    with pytest.raises(InputError, match="ends before byte"):
        part_of(str(path), *layout.runs([10])[0].span)
    assert clip_frames(str(path), layout, (128, 64), {10}) is None
