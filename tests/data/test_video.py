import numpy as np
import pytest
from media import picture, write_video

from vreid_fast.data.reading.video import decode_video, probe
from vreid_fast.errors import InputError

CODECS = {
    "libvpx-vp9": "vp9.webm",
    "libvpx": "vp8.webm",
    "mjpeg": "mjpeg.avi",
    "libx264": "h264.mp4",
    "libx265": "hevc.mkv",
}
# x265 writes beyond its buffers at widths below 64.
SIZE = {"height": 128, "width": 96}


@pytest.mark.parametrize("codec", CODECS)
def test_codec_size_and_frames(tmp_path, codec):
    path = write_video(tmp_path / CODECS[codec], 30, codec=codec, **SIZE)
    facts = probe(str(path))
    assert facts.codec == path.stem and facts.frames == 30
    assert (facts.width, facts.height) == (96, 128) and facts.pixels.endswith("420p")


@pytest.mark.parametrize("codec", CODECS)
def test_frames_by_number_in_any_order(tmp_path, codec):
    path = write_video(tmp_path / CODECS[codec], 30, codec=codec, **SIZE)
    wanted = [17, 0, 29, 17, 5]
    frames = decode_video(str(path), wanted)
    assert frames.dtype == np.uint8 and frames.shape == (5, 128, 96, 3)
    for frame, number in zip(frames, wanted):
        # A frame is 4 to 5 levels brighter than the one before it, in each channel.
        difference = (frame.astype(int) - picture(number, **SIZE)).mean((0, 1))
        assert (np.abs(difference) < 2).all(), number


def test_numpy_numbers_and_a_single_frame(tmp_path):
    path = write_video(tmp_path / "one.webm", 1)
    assert decode_video(str(path), np.zeros(4, np.int64)).shape == (4, 48, 32, 3)


def test_a_frame_beyond_the_end(tmp_path):
    path = write_video(tmp_path / "a.webm", 4)
    with pytest.raises(InputError, match=r"a.webm: frame 4 cannot be decoded"):
        decode_video(str(path), [0, 4])


@pytest.mark.parametrize(
    "content, problem",
    [(None, "is missing"), (b"", r"is empty \(0 bytes\)"), (b"no video" * 99, "cannot be decoded")],
)
def test_files_that_are_no_videos(tmp_path, content, problem):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (probe, lambda path: decode_video(path, [0])):
        with pytest.raises(InputError, match=f"a.mp4: {problem}"):
            read(str(path))


def test_sound_alone_is_no_video(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="holds no video stream"):
        probe(str(tmp_path / "a.mp4"))
