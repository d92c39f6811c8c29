import io
import os
import subprocess
import sys

import numpy as np
import pytest
from media import picture, write_images, write_video
from PIL import Image

from vreid_fast.data import Tracklet, read_frames
from vreid_fast.data.reading.images import read_encoded, read_video
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError


def tracklet(folder, frames, ending="png"):
    return Tracklet(FramePaths(folder, [f"F{n + 1}.{ending}" for n in range(frames)]), identity=5, camera=2)


def test_frames_by_number(tmp_path):
    rows = tracklet(write_images(tmp_path / "a", 6, ending="png"), 6)
    frames = read_frames(rows, np.array([4, 0, 4]))
    for frame, number in zip(frames, (4, 0, 4)):
        assert frame.dtype == np.uint8 and (frame == picture(number)).all()


def test_frames_of_a_video(tmp_path):
    path = write_video(tmp_path / "a.webm", 6)
    frames = read_frames(Tracklet(range(6), video=str(path)), np.array([5, 1]))
    assert len(frames) == 2 and frames[0].shape == (48, 32, 3) and frames[0].mean() > frames[1].mean() + 15


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_every_image_becomes_rgb(tmp_path, mode):
    Image.fromarray(picture(3)).convert(mode).save(tmp_path / "F1.png")
    assert read_frames(tracklet(tmp_path, 1), [0])[0].shape == (48, 32, 3)


def test_a_rotated_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(3)).save(tmp_path / "F1.jpg", exif=exif)
    assert read_frames(tracklet(tmp_path, 1, "jpg"), [0])[0].shape == (32, 48, 3)


def test_of_damaged_exif_nothing_is_printed(tmp_path):
    for kind in ("JPEG", "PNG", "WEBP"):
        exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"
        Image.fromarray(picture(1)).save(tmp_path / kind, kind, exif=exif)
    code = "from pathlib import Path; from vreid_fast.data.reading.images import decode; import sys\n"
    code += "for path in sys.argv[1:]: decode(Path(path).read_bytes())"
    ran = subprocess.run([sys.executable, "-c", code, *map(str, tmp_path.iterdir())], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "JPEG")
    return stream.getvalue()


BROKEN = {
    "missing": (None, "is missing"),
    "empty": (b"", r"is empty \(0 bytes\)"),
    "cut": (jpeg()[:-40], r"cannot be decoded \(Premature end"),
    "text": (b"not an image" * 9, r"cannot be decoded \(it is a file that begins 'not an image', no image of a kind"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_names_file_and_tracklet(tmp_path, fault):
    content, problem = BROKEN[fault]
    write_images(tmp_path, 3)
    (tmp_path / "F2.jpg").unlink()
    if content is not None:
        (tmp_path / "F2.jpg").write_bytes(content)
    with pytest.raises(InputError, match=rf"F2.jpg {problem}.* tracklet {tmp_path} \(identity 5, camera 2, 3 frames\)"):
        read_frames(tracklet(tmp_path, 3, "jpg"), [0, 1])


@pytest.mark.parametrize("fault", ["missing", "empty"])
def test_encoded_images_are_checked_too(tmp_path, fault):
    if BROKEN[fault][0] is not None:
        (tmp_path / "F1.jpg").write_bytes(BROKEN[fault][0])
    with pytest.raises(InputError, match=f"F1.jpg {BROKEN[fault][1]}"):
        read_encoded(tracklet(tmp_path, 1, "jpg"), 0)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "F1.jpg")
    (tmp_path / "F2.jpg").mkdir()
    for index in range(2):
        with pytest.raises(InputError, match=rf"F{index + 1}.jpg cannot be read \(it is no regular file\)"):
            read_encoded(tracklet(tmp_path, 2, "jpg"), index)


def test_a_video_that_went_away(tmp_path):
    lost = Tracklet(range(3), identity=1, video=str(tmp_path / "a.mp4"))
    with pytest.raises(InputError, match=r"video of tracklet .*a.mp4 \(identity 1, 3 frames\) cannot be read"):
        read_video(lost)
    with pytest.raises(InputError, match=r"a.mp4: is missing; it is tracklet"):
        read_frames(lost, [0])
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_video(lost)
