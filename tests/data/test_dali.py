"""What DALI is given to decode, and what happens where it cannot."""

import numpy as np
import pytest
import torch
from loading import SIZE, images, video
from media import encoded_picture, picture

from vreid_fast.data.reading.loader import ReadingOptions, make_decoder
from vreid_fast.errors import InputError

pytest.importorskip("nvidia.dali")


@pytest.fixture
def decoder():
    decoder = make_decoder(ReadingOptions(size=SIZE, backend="dali"))
    yield decoder
    decoder.close()


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


class Failing:
    max_batch_size = 99

    def feed_input(self, *_):
        raise RuntimeError("Error in CPU operator decoders.video")


def test_what_dali_fails_on_is_decoded_without_it_from_then_on(tmp_path, decoder):
    tracklet = video(tmp_path / "a.webm", 6, height=48, width=32)
    wanted = [(tracklet, np.array([0, 5]))]
    decoder._pipelines["videos"] = Failing()
    encoded = decoder.read(wanted)
    assert [part.kind for part in encoded.parts] == ["videos"]
    pixels, rows = decoder.decode(encoded)
    for frame, number in zip(pixels.numpy()[rows], (0, 5)):
        assert abs(frame.mean() - picture(number).mean()) < 1.5
    assert kinds(decoder, tracklet, [1]) == ["frames"]


def test_its_own_faults_are_not_hidden(tmp_path, decoder):
    decoder._pipelines["frames"] = Failing()
    with pytest.raises(RuntimeError, match="decoders.video"):
        decoder.decode(decoder.read([(images(tmp_path / "a", 2), np.array([0]))]))
