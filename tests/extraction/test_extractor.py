"""Extractor: the same vectors from paths, arrays and tensors; what it cannot take."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from media import picture, write_images, write_video
from PIL import Image
from small_runs import flags

import vreid_fast
from vreid_fast.data import read_dataset, read_frames
from vreid_fast.errors import InputError
from vreid_fast.extract import main
from vreid_fast.extraction.features import read_features
from vreid_fast.train import main as train


@pytest.fixture(scope="module")
def plus_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "plus"
    assert train(flags(data, run, method="plus")) == 0
    return run


@pytest.fixture(scope="module")
def extractor(paper_run):
    return vreid_fast.Extractor(paper_run / "last.pt", device="cpu")


def assert_alike(one, two):
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_paths_give_what_extract_writes(data, paper_run, extractor, tmp_path):
    main(["--checkpoint", f"{paper_run}/last.pt", "--data", data["target"], "--out", str(tmp_path / "f")])
    features = read_features(tmp_path / "f")
    root = data["target"].partition(":")[2]
    found = extractor([f"{root}/{row.path}" for row in features.rows[:5]])
    assert found.shape == (5, extractor.width) and found.device.type == "cpu" and found.dtype == torch.float32
    assert_alike(found, torch.from_numpy(features.vectors()[:5]))
    assert_alike(extractor(f"{root}/{features.rows[3].path}"), found[3:4])


def test_arrays_and_tensors_give_what_their_files_give(data, extractor):
    tracklets = read_dataset(data["target"]).query[:3]
    wanted = extractor([tracklet.frames.folder for tracklet in tracklets])
    arrays = [np.stack(read_frames(tracklet, range(len(tracklet)))) for tracklet in tracklets]
    assert_alike(extractor(arrays), wanted)
    assert_alike(extractor(arrays[0]), wanted[:1])
    clips = torch.from_numpy(np.stack(arrays)).permute(0, 1, 4, 2, 3)
    assert_alike(extractor(clips), wanted)
    # Two frames as the protocol takes them from three, normalised by hand.
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    floats = (clips[:, [0, 1]].float() / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    assert_alike(extractor(floats), wanted)
    assert extractor(floats[:0]).shape == extractor([]).shape == (0, extractor.width)


def test_other_sizes_videos_and_single_images(extractor, tmp_path):
    folder = write_images(tmp_path / "walk", 4, height=90, width=40, ending="png")
    frames = np.stack([picture(number, 90, 40) for number in range(4)])
    assert_alike(extractor(frames), extractor(folder))
    Image.fromarray(frames[0]).save(tmp_path / "one.png")
    still = np.stack([frames[0]] * 2)
    assert_alike(extractor(str(tmp_path / "one.png")), extractor(still))
    assert_alike(extractor(frames[0]), extractor(still))
    video = write_video(tmp_path / "walk.webm", 4, height=90, width=40)
    assert torch.cosine_similarity(extractor(video), extractor(frames)) > 0.95


def test_a_cameras_own_statistics(data, plus_run):
    path = read_dataset(data["target"]).query[0].frames.folder
    plain, first, second = (vreid_fast.Extractor(plus_run / "last.pt", "student", "cpu", c)(path) for c in (None, 0, 1))
    assert not torch.allclose(plain, first, atol=1e-2) and not torch.allclose(first, second, atol=1e-2)
    with pytest.raises(InputError, match=r"camera 7: .*last.pt has statistics of the cameras 0, 1; leave"):
        vreid_fast.Extractor(plus_run / "last.pt", camera=7)


def test_what_cannot_be_taken(extractor, paper_run, tmp_path):
    room = write_images(tmp_path / "room", 2, height=200, width=300)
    with pytest.raises(InputError, match=r"300x200 pixels .* a whole scene: .* scenes=True"):
        extractor(room)
    with pytest.raises(InputError, match="a whole scene"):
        extractor(np.zeros((2, 200, 300, 3), np.uint8))
    assert vreid_fast.Extractor(paper_run / "last.pt", device="cpu", scenes=True)(room).shape == (1, extractor.width)
    with pytest.raises(InputError, match="nowhere: no such file; wanted a folder of images, a video or an image"):
        extractor(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no images"):
        extractor([tmp_path / "empty"])
    with pytest.raises(InputError, match="camera 0: .* has statistics of no cameras"):
        vreid_fast.Extractor(paper_run / "last.pt", camera=0)
    with pytest.raises(ValueError, match="network must be student or teacher, got 'Teacher'"):
        vreid_fast.Extractor(paper_run / "last.pt", "Teacher")  # was the teacher, or a traceback


@pytest.mark.parametrize(
    "people, wrong",
    [
        ([np.zeros((2, 32, 16, 3), np.float32)], r"item 0: wanted frames \(T, H, W, 3\) uint8 RGB, got .* float32"),
        ([np.zeros((2, 3, 32, 16), np.uint8)], r"item 0: wanted frames .* got one \(3, 32, 16\) uint8"),
        ([np.zeros((0, 32, 16, 3), np.uint8)], r"item 0: wanted frames"),
        (torch.zeros(2, 2, 32, 16, 3), r"wanted a tensor \(N, T, 3, 32, 16\) of floats, got \(2, 2, 32, 16, 3\)"),
        (
            torch.zeros(2, 2, 3, 20, 16),
            r"wanted a tensor \(N, T, 3, 32, 16\) of floats, got \(2, 2, 3, 20, 16\); uint8",
        ),
        (torch.zeros(2, 2, 32, 16, 3, dtype=torch.uint8), r"wanted a tensor \(N, T, 3, H, W\)"),
        (torch.full((1, 2, 3, 32, 16), 128.0), "must be normalised .* got values up to 128; give uint8"),
        (torch.full((1, 2, 3, 32, 16), torch.nan), "must be normalised"),
    ],
)
def test_arrays_of_other_shapes_and_types(extractor, people, wrong):
    with pytest.raises(ValueError, match=wrong):
        extractor(people)


def test_the_package_itself_does_not_import_it():
    code = "import sys, vreid_fast; assert 'vreid_fast.extraction' not in sys.modules; vreid_fast.Extractor; " + (
        "assert 'vreid_fast.extraction.extractor' in sys.modules; vreid_fast.Nothing"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "module 'vreid_fast' has no attribute 'Nothing'" in ran.stderr.splitlines()[-1]
