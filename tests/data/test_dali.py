"""What DALI is given to decode, and what happens where it cannot."""

import numpy as np
import pytest
import torch
from loading import SIZE, images, video
from media import encoded_picture, picture

from vreid_fast.data.reading.images import read_frames
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.errors import InputError

pytest.importorskip("nvidia.dali")


@pytest.fixture
def decoder():
    decoder = make_decoder(ReadingOptions(size=SIZE, backend="dali"))
    yield decoder
    decoder.rest()


def kinds(decoder, tracklet, frames):
    return [part.kind for part in decoder.read([(tracklet, np.asarray(frames))]).parts]


def test_images_on_a_cpu_are_decoded_before_dali(tmp_path, decoder):
    assert kinds(decoder, images(tmp_path / "a", 3, ending="jpg"), [0, 1]) == ["frames"]


def test_on_a_gpu_it_gets_jpegs_that_were_decoded_once_without_a_fault(tmp_path, decoder, monkeypatch):
    decoder._device = torch.device("cuda")
    tracklet = images(tmp_path / "a", 4, ending="jpg")
    encoded_picture(1, "PNG").tofile(tracklet.frames[1])
    (tmp_path / "a" / "F4.jpg").write_bytes(encoded_picture(3).tobytes()[:-9])
    assert kinds(decoder, tracklet, [0, 2]) == ["images"] and kinds(decoder, tracklet, [0, 1]) == ["frames"]
    with pytest.raises(InputError, match=r"F4\.jpg cannot be decoded"):
        decoder.read([(tracklet, np.array([0, 3]))])
    dali = pytest.importorskip("vreid_fast.data.reading.dali")
    monkeypatch.setattr(dali, "decode_image", lambda *_: pytest.fail("decoded again"))
    assert kinds(decoder, tracklet, [2, 0]) == ["images"]


class Pipeline:
    """In the place of DALI's for videos, which needs a GPU; `frames` of None are an error."""

    max_batch_size = 99

    def __init__(self, frames):
        self._frames = frames

    def feed_input(self, *_):
        if self._frames is None:
            raise RuntimeError("Error in CPU operator decoders.video")

    def schedule_run(self):
        pass

    def outputs(self, **_):
        return (Clips([torch.from_numpy(self._frames)]),)


class Clips(list):
    def is_dense_tensor(self):
        return False


@pytest.fixture
def with_videos(decoder, monkeypatch):
    """The decoder, as on a GPU where DALI decodes videos: into what is given."""

    def made(frames):
        decoder._pipelines["videos"] = Pipeline(frames)
        monkeypatch.setattr(
            decoder, "_kind", lambda tracklet, _: "frames" if tracklet.name in decoder._refused else "videos"
        )
        return decoder

    return made


BLACK = np.zeros((2, *SIZE, 3), np.uint8)


@pytest.mark.parametrize("frames", [None, BLACK], ids=["an error", "black"])
def test_what_dali_fails_on_is_decoded_without_it_from_then_on(tmp_path, with_videos, frames):
    tracklet = video(tmp_path / "a.webm", 6, height=48, width=32)
    decoder = with_videos(frames)
    encoded = decoder.read([(tracklet, np.array([0, 5]))])
    assert [part.kind for part in encoded.parts] == ["videos"]
    pixels, rows = decoder.decode(encoded)
    for frame, number in zip(pixels.numpy()[rows], (0, 5)):
        assert abs(frame.mean() - picture(number).mean()) < 1.5
    assert kinds(decoder, tracklet, [1]) == ["frames"]


def test_what_it_decodes_is_taken_as_it_is(tmp_path, with_videos):
    tracklet = video(tmp_path / "a.webm", 6, height=48, width=32)
    decoder = with_videos(BLACK + 7)
    pixels, rows = decoder.decode(decoder.read([(tracklet, np.array([0, 5]))]))
    assert (pixels.numpy()[rows] == 7).all() and kinds(decoder, tracklet, [1]) == ["videos"]


def test_its_own_faults_are_not_hidden(tmp_path, decoder):
    decoder._pipelines["frames"] = Pipeline(None)
    other = images(tmp_path / "a", 2, height=SIZE[0], width=SIZE[1] + 4)
    with pytest.raises(RuntimeError, match="decoders.video"):
        decoder.decode(decoder.read([(other, np.array([0]))]))


def test_frames_of_the_right_size_are_not_taken_through_a_pipeline(tmp_path, decoder):
    decoder._pipelines["frames"] = Pipeline(None)
    tracklet = images(tmp_path / "a", 3, height=SIZE[0], width=SIZE[1])
    pixels, rows = decoder.decode(decoder.read([(tracklet, np.array([2, 0]))]))
    assert np.array_equal(pixels.numpy()[rows], np.stack(read_frames(tracklet, [2, 0])))


def test_cuts_of_videos_come_out_of_its_decoder_as_out_of_pyav(tmp_path, decoder, monkeypatch):
    """On a CPU it decodes VP9; on a GPU the same goes through NVDEC."""
    long, short = (video(tmp_path / f"{name}.webm", n, gop=4, height=48, width=32) for name, n in (("a", 21), ("b", 6)))
    large = video(tmp_path / "c.webm", 9, gop=4, height=64, width=48)
    stills = images(tmp_path / "d", 3, height=SIZE[0] + 4, width=SIZE[1])
    monkeypatch.setattr(decoder, "_kind", lambda tracklet, _: "videos" if tracklet.video else "frames")
    wanted = [(tracklet, np.array(numbers)) for tracklet, numbers in (
        (long, [2, 19]), (stills, [1]), (large, [8, 0, 3]), (short, [5]), (long, [7, 8, 9]),
    )]  # fmt: skip
    encoded = decoder.read(wanted)
    assert [part.kind for part in encoded.parts] == ["frames", "videos"]
    pixels, rows = decoder.decode(encoded)
    plain = make_decoder(ReadingOptions(size=SIZE, backend="torch"))
    expected, order = plain.decode(wanted)
    assert np.abs(pixels.numpy()[rows].astype(int) - expected.numpy()[order].astype(int)).max() <= 6
