"""Which files of a folder are frames, what is left out of it and noted, and what is never opened."""

import os
import socket

import pytest
from media import write_images, write_video
from PIL import Image
from trees import write_duke

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.errors import InputError


@pytest.fixture(params=[False, True], ids=["unlabelled", "labelled"])
def tracklet(tmp_path, request):
    """The folder of a tracklet of three images, in a data set with a table or without."""
    if request.param:
        (tmp_path / "tracklets.csv").write_text("path,identity,camera\na,1,1\n")
    return write_images(tmp_path / "a", 3)


def read(tracklet):
    """Names of the frames, and notes but the one on a missing table."""
    data = read_dataset(f"folder:{tracklet.parent}")
    (found,) = data.train
    return list(found.frames.names), [note for note in data.notes if "tracklets.csv" not in note]


@pytest.mark.parametrize("ending", ["jfif", "jpe", "pgm", "pnm", "jp2", "avif", "JFIF"])
def test_endings_that_other_programs_give(tracklet, ending):
    kind = {"pgm": "ppm", "pnm": "ppm", "jp2": "jpeg2000", "avif": "avif"}.get(ending, "jpeg")
    for name in (4, 5):
        Image.new("L" if ending == "pgm" else "RGB", (32, 48), 90).save(tracklet / f"F{name}.{ending}", kind)
    names, notes = read(tracklet)
    assert names == ["F1.jpg", "F2.jpg", "F3.jpg", f"F4.{ending}", f"F5.{ending}"] and not notes
    (found,) = read_dataset(f"folder:{tracklet.parent}").train
    assert abs(int(read_frames(found, [4])[0][20, 10, 0]) - 90) < 3


def test_images_that_are_not_read_are_counted(tracklet):
    for name in ("F4.heic", "F5.heic", "F6.JXL", "notes.txt", "Thumbs.db"):
        (tracklet / name).write_bytes(b"x")
    names, notes = read(tracklet)
    assert names == ["F1.jpg", "F2.jpg", "F3.jpg"]
    assert notes[0].endswith("left out 1 system files (Thumbs.db)")
    assert notes[1].endswith(f"left out 4 files that are not read as frames (.heic, .jxl, .txt), as {tracklet}/F4.heic")


def test_a_folder_of_nothing_but_such_images_is_noted(tmp_path):
    write_images(tmp_path / "a", 2)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "F1.heic").write_bytes(b"x")
    assert any(
        "left out 1 files that are not read as frames (.heic)" in n for n in read_dataset(f"folder:{tmp_path}").notes
    )


def test_masks_beside_frames_are_left_out(tracklet):
    write_images(tracklet, 2, ending="png")
    names, notes = read(tracklet)
    assert names == ["F1.jpg", "F2.jpg", "F3.jpg"]
    assert len(notes) == 1 and notes[0].endswith(
        f": 2 images beside one of the same name with a more frequent ending are left out, as {tracklet}/F1.png"
    )


def test_masks_in_a_data_set_of_its_own_layout(tmp_path):
    spec = write_duke(tmp_path)
    clean = [len(tracklet) for tracklet in read_dataset(spec).train]
    for image in (tmp_path / "train" / "0001").rglob("*.jpg"):
        image.with_suffix(".png").write_bytes(b"")
    data = read_dataset(spec)
    assert [len(tracklet) for tracklet in data.train] == clean
    assert any("7 images beside one of the same name" in note for note in data.notes)


def test_masks_of_the_same_ending_are_noted(tracklet):
    Image.new("L", (32, 48)).save(tracklet / "F1_mask.jpg")
    names, notes = read(tracklet)
    assert names == ["F1.jpg", "F1_mask.jpg", "F2.jpg", "F3.jpg"]
    assert len(notes) == 1 and "1 images have all numbers of another's name" in notes[0] and "F1_mask.jpg" in notes[0]


def test_names_that_could_mean_another_order_are_noted(tmp_path):
    for number in range(8, 20):
        write_images(tmp_path, 1)
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "F1.jpg").rename(tmp_path / "a" / f"{number:x}.jpg")
    data = read_dataset(f"folder:{tmp_path}")
    assert list(data.train[0].frames.names) == [f"{number:x}.jpg" for number in range(8, 20)]
    assert (
        f"1 folders of frames whose names are taken for hexadecimal numbers (0a after 09), as {tmp_path}/a"
        in data.notes[0]
    )


@pytest.mark.timeout(30)
def test_pipes_and_sockets_are_never_opened(tracklet):
    os.mkfifo(tracklet / "F4.jpg")
    os.mkfifo(tracklet / "walk.mp4")
    opened = socket.socket(socket.AF_UNIX)
    os.chdir(tracklet)  # the name of a socket may have 107 letters
    opened.bind("F5.jpg")
    opened.close()
    names, notes = read(tracklet)
    assert names == ["F1.jpg", "F2.jpg", "F3.jpg"]
    assert len(notes) == 1 and ": 3 pipes, sockets or devices are left out, as " in notes[0]


@pytest.mark.timeout(30)
def test_a_pipe_in_a_table_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "tracklets.csv").write_text("path,identity,camera\npipe.mp4,1,1\n")
    with pytest.raises(InputError, match=r"row 2, column path: no folder or video .*pipe.mp4; it is something else"):
        read_dataset(f"folder:{tmp_path}")


def test_links_out_of_the_root_are_followed_and_counted(tracklet, tmp_path_factory):
    outside = write_images(tmp_path_factory.mktemp("outside"), 6)
    for number in (4, 5):
        os.symlink(outside / f"F{number}.jpg", tracklet / f"F{number}.jpg")
    os.symlink(tracklet / "F1.jpg", tracklet / "F6.jpg")
    names, notes = read(tracklet)
    assert len(names) == 6 and len(notes) == 1
    assert ": 2 links lead out of the data set's folder and are followed, as " in notes[0]


def test_a_tracklet_of_a_table_that_is_a_link_out_of_the_root(tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    os.symlink(write_images(outside / "b", 2), tmp_path / "a")
    os.symlink(write_video(outside / "walk.avi", 3, codec="mjpeg"), tmp_path / "walk.avi")
    (tmp_path / "tracklets.csv").write_text("path,identity,camera\na,1,1\nwalk.avi,2,1\n")
    data = read_dataset(f"folder:{tmp_path}")
    assert [len(tracklet) for tracklet in data.train] == [2, 3]
    assert data.notes[-1].endswith(f": 2 links lead out of the data set's folder and are followed, as {tmp_path}/a")


def test_links_that_lead_nowhere(tracklet):
    os.symlink("nowhere", tracklet / "F4.jpg")
    os.symlink("nowhere", tracklet / "folder")
    names, notes = read(tracklet)
    assert names[-1] == "F4.jpg"  # to be named as missing when it is read
    assert len(notes) == 1 and notes[0].endswith(f": 1 links that lead nowhere are left out, as {tracklet}/folder")


def test_a_folder_named_as_an_image_is_none(tracklet):
    (tracklet / "F4.jpg").mkdir()
    if (tracklet.parent / "tracklets.csv").exists():
        assert read(tracklet)[0] == ["F1.jpg", "F2.jpg", "F3.jpg"]
