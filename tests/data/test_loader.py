import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import BACKENDS, FAULTS, SIZE, all_batches, images, levels, make_loader, train_plan, video
from media import picture

from vreid_fast.data.reading.loader import ClipRequest, Loader, ReadingOptions, Stream, TestPlan
from vreid_fast.data.reading.torch_decoder import resize, resize_matrix
from vreid_fast.data.sampling.augment import NO_AUGMENTATION, Augmentation
from vreid_fast.data.tracklets import FramePaths, Tracklet
from vreid_fast.errors import InputError


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


def normalised(frame):
    """(H, W, 3) uint8 to the float32 a loader gives, by the definition."""
    return ((frame / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)


def test_clips_are_the_frames_asked_for(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 5), images(tmp_path / "b", 2)]
    plan = [
        [ClipRequest(1, np.array([0, 1, 1])), ClipRequest(0, np.array([4, 0, 2]))],
        [ClipRequest(0, np.array([3, 3, 3]))],
    ]
    first, last = all_batches(tracklets, plan, backend=backend)
    assert first.clips.shape == (2, 3, 3, *SIZE) and first.clips.dtype == torch.float32
    assert first.tracklets.tolist() == [1, 0] and first.tracklets.dtype == torch.int64
    assert last.clips.shape == (1, 3, 3, *SIZE) and last.tracklets.tolist() == [0]
    for batch, requests in zip((first, last), plan):
        for clip, request in zip(batch.clips, requests):
            for frame, number in zip(clip, request.frames):
                wanted = normalised(picture(number)).transpose(2, 0, 1)
                torch.testing.assert_close(frame, torch.from_numpy(wanted), rtol=0, atol=2e-6)


AUGMENTATIONS = (
    NO_AUGMENTATION,
    Augmentation(flip=True),
    Augmentation(crop=(0, 6), pad=3),
    Augmentation(flip=True, crop=(5, 1), pad=3, erase=(10, 4, 20, 9)),
    Augmentation(erase=(0, 31, 48, 1)),
    Augmentation(flip=True, crop=(4, 4), pad=4, erase=(47, 0, 1, 32)),
)


def expected(frame, augmentation):
    """The definition in `augment`, on an (H, W, 3) array."""
    frame = normalised(frame[:, ::-1] if augmentation.flip else frame)
    padded = np.pad(frame, [(augmentation.pad,) * 2] * 2 + [(0, 0)])
    top, left = augmentation.crop
    frame = padded[top : top + SIZE[0], left : left + SIZE[1]].copy()
    top, left, height, width = augmentation.erase
    frame[top : top + height, left : left + width] = 0
    return torch.from_numpy(frame.transpose(2, 0, 1))


def test_augmentation_is_the_same_for_a_clip_and_as_defined(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 4)]
    requests = [ClipRequest(0, np.array([0, 2]), (one, two)) for one, two in zip(AUGMENTATIONS, AUGMENTATIONS[::-1])]
    (batch,) = all_batches(tracklets, [requests], backend=backend)
    assert len(batch.views) == 2 and batch.clips is batch.views[0]
    for view, clips in enumerate(batch.views):
        for clip, request in zip(clips, requests):
            for frame, number in zip(clip, request.frames):
                torch.testing.assert_close(frame, expected(picture(number), request.views[view]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(64, 32), (48, 32), (100, 41), (20, 90)])
def test_dali_and_torch_give_the_same_pixels(tmp_path, size):
    pytest.importorskip("nvidia.dali")
    tracklets = [
        images(tmp_path / "small", 6, height=30, width=17, ending="jpg"),
        images(tmp_path / "large", 6, height=128, width=64, ending="jpg"),
        images(tmp_path / "wide", 3, height=50, width=200, ending="png"),
    ]
    plan = train_plan(tracklets, size=size, views=2)
    one, two = (all_batches(tracklets, plan, size=size, backend=backend) for backend in BACKENDS)
    for ours, theirs in zip(one, two, strict=True):
        assert ours.tracklets.tolist() == theirs.tracklets.tolist()
        for a, b in zip(ours.views, theirs.views):
            difference = (levels(a) - levels(b)).abs()
            # Both round to 256 levels after resizing; a tie may fall to either side.
            assert difference.max() < 1.01 and difference.mean() < 0.05


def test_dali_and_torch_agree_on_real_images(shared):
    pytest.importorskip("nvidia.dali")
    folders = sorted(shared("data/pets09/tracklets").iterdir())[:6]
    tracklets = [Tracklet(FramePaths(folder, sorted(path.name for path in folder.iterdir()))) for folder in folders]
    plan = train_plan(tracklets, size=(64, 32), steps=2)
    one, two = (all_batches(tracklets, plan, size=(64, 32), backend=backend) for backend in BACKENDS)
    for a, b in zip(one, two, strict=True):
        difference = (levels(a.clips) - levels(b.clips)).abs()
        assert difference.max() < 1.01 and difference.mean() < 0.02


def test_resizing_averages_and_interpolates():
    assert (resize_matrix(1, 5) == 1).all() and torch.equal(resize_matrix(7, 7), torch.eye(7))
    for length, wanted in ((128, 32), (30, 64), (100, 41)):
        matrix = resize_matrix(length, wanted)
        assert matrix.shape == (wanted, length) and torch.allclose(matrix.sum(1), torch.ones(wanted))
        slope = torch.arange(length) + 0.5
        inner = slice(wanted // 4, -wanted // 4)
        assert torch.allclose((matrix @ slope)[inner] * wanted / length, (torch.arange(wanted) + 0.5)[inner], atol=0.05)
    image = torch.randint(0, 256, (90, 60, 3), dtype=torch.uint8)
    theirs = torch.nn.functional.interpolate(
        image.permute(2, 0, 1)[None].float(), size=(30, 25), mode="bilinear", antialias=True
    )[0]
    inside = (resize(image, (30, 25)).permute(2, 0, 1).float() - theirs)[:, 1:-1, 1:-1]
    assert inside.abs().max() <= 0.51


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx", "mjpeg", "libx264"])
def test_video_clips(tmp_path, backend, codec):
    ending = {"mjpeg": "avi", "libx264": "mp4"}.get(codec, "webm")
    tracklets = [video(tmp_path / f"{n}.{ending}", n, codec=codec, height=64, width=48) for n in (2, 20, 9)]
    plan = TestPlan([2, 20, 9], 4, batch=2)
    batches = all_batches(tracklets, plan, backend=backend)
    found = torch.cat([batch.clips for batch in batches])
    for clip, request in zip(found, [request for step in plan for request in step]):
        brightness = levels(clip).mean((1, 2, 3)).numpy()
        wanted = [picture(number).mean() for number in request.frames]
        assert np.abs(brightness - wanted).max() < 1.5


def test_dali_and_torch_see_the_same_video(tmp_path):
    pytest.importorskip("nvidia.dali")
    tracklets = [
        video(tmp_path / "a.webm", 12, height=64, width=48),
        video(tmp_path / "b.avi", 12, codec="mjpeg"),
        video(tmp_path / "c.mp4", 12, codec="libx264", height=64, width=48),
        images(tmp_path / "d", 12),
        images(tmp_path / "e", 5, height=60),
    ]
    plan = train_plan(tracklets, batch=8, views=2)
    one, two = (all_batches(tracklets, plan, backend=backend) for backend in BACKENDS)
    for ours, theirs in zip(one, two, strict=True):
        assert ours.tracklets.tolist() == theirs.tracklets.tolist()
        for a, b in zip(ours.views, theirs.views):
            assert (levels(a) - levels(b)).abs().max() < 1.01


def test_the_loader_says_what_decodes(tmp_path):
    pytest.importorskip("nvidia.dali")
    tracklets = [
        video(tmp_path / "a.webm", 3),
        video(tmp_path / "b.mp4", 3, codec="libx264"),
        images(tmp_path / "c", 2),
    ]
    with make_loader(tracklets, TestPlan([3, 3, 2], 2), size=SIZE, backend="dali") as loader:
        assert loader.notes == () and loader.name.startswith("DALI 2") and loader.name.endswith("(cpu)")


def test_what_the_gpu_decodes():
    pytest.importorskip("nvidia.dali")
    from vreid_fast.data.reading.dali import decodes, video_notes
    from vreid_fast.data.reading.video_facts import VideoFacts

    for codec, width, height, pixels, wanted in (
        ("h264", 64, 128, "yuv420p", True),
        ("h264", 64, 128, "yuvj420p", False),
        ("h264", 1920, 1080, "yuv420p10le", False),
        ("hevc", 64, 128, "yuv420p", False),
        ("hevc", 640, 480, "yuv420p", True),
        ("vp9", 64, 128, "yuv420p", False),
        ("mjpeg", 640, 480, "yuvj420p", False),
        ("ffv1", 640, 480, "yuv420p", False),
    ):
        assert decodes(VideoFacts(codec, 10, width, height, pixels)) == wanted, (codec, pixels)
    assert video_notes([], torch.device("cuda")) == ()


def test_a_start_in_the_middle_and_threads_change_nothing(tmp_path, backend):
    tracklets = [images(tmp_path / name, 6) for name in "abc"]
    plan = train_plan(tracklets, steps=7, views=2)
    whole = all_batches(tracklets, plan, backend=backend)
    assert len(whole) == 7
    for options in ({"start": 4}, {"threads": 3}):
        batches = all_batches(tracklets, plan, backend=backend, **options)
        for one, two in zip(whole[options.get("start", 0) :], batches, strict=True):
            assert all(torch.equal(a, b) for a, b in zip((*one.views, one.tracklets), (*two.views, two.tracklets)))


def test_batches_stay_what_they_were(tmp_path, backend):
    tracklets = [images(tmp_path / name, 6) for name in "abc"]
    with make_loader(tracklets, train_plan(tracklets, steps=12), size=SIZE, backend=backend) as loader:
        (first,) = next(loader)
        kept = first.clips.clone()
        first.clips.sum().item()
        assert len(list(loader)) == 11 and torch.equal(first.clips, kept)


def test_batches_may_grow_and_shrink(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 9)]
    plan = [[ClipRequest(0, np.array([n, 0]))] * size for n, size in enumerate((1, 5, 2, 7))]
    batches = all_batches(tracklets, plan, backend=backend)
    assert [len(batch.clips) for batch in batches] == [1, 5, 2, 7]
    for n, batch in enumerate(batches):
        assert (levels(batch.clips[:, 0]) - torch.from_numpy(picture(n)).permute(2, 0, 1)).abs().max() < 1e-3


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_and_tracklet(tmp_path, backend, fault, ending):
    tracklets = [images(tmp_path / name, 4, ending=ending) for name in "abcdef"]
    FAULTS[fault](tmp_path / "d" / f"F3.{ending}")
    loader = make_loader(tracklets, TestPlan([4] * 6, 4, batch=1), size=SIZE, backend=backend)
    for _ in range(3):
        next(loader)
    with pytest.raises(
        InputError, match=rf"/d/F3\.{ending} .* tracklet {tmp_path}/d \(identity 1, camera 2, 4 frames\)"
    ):
        next(loader)
    loader.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("codec, name", [("libvpx-vp9", "b.webm"), ("libx264", "b.mp4")])
def test_a_fault_in_a_video_names_it(tmp_path, backend, fault, codec, name):
    tracklets = [video(tmp_path / "a.webm", 5), video(tmp_path / name, 30, codec=codec, height=128, width=96)]
    plan = TestPlan([5, 30], 4, batch=1)
    with make_loader(tracklets, plan, size=SIZE, backend=backend) as loader:
        next(loader)
    path = tmp_path / name
    if fault == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        FAULTS[fault](path)
    with (
        make_loader(tracklets, plan, size=SIZE, backend=backend, start=1) as loader,
        pytest.raises(InputError, match=f"video .*{name}"),
    ):
        next(loader)


def test_closing_early_twice_or_unused(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 9)]
    for used in (0, 1, 3):
        loader = make_loader(tracklets, train_plan(tracklets, steps=50), size=SIZE, backend=backend, threads=2)
        for _ in range(used):
            next(loader)
        loader.close()
        loader.close()
        with pytest.raises(StopIteration):
            next(loader)


@pytest.mark.parametrize("plan", [TestPlan([], 4), TestPlan([9], 4)])
def test_nothing_left_to_load(tmp_path, backend, plan):
    tracklets = [images(tmp_path / "a", 9)]
    assert all_batches(tracklets, plan, backend=backend, start=1) == []


@pytest.mark.parametrize("leave", ["raise KeyboardInterrupt", "sys.exit(3)", "raise RuntimeError", "del loader"])
def test_a_process_ends_however_it_leaves_the_loader(tmp_path, backend, leave):
    images(tmp_path / "a", 9)
    program = f"""
import sys
from vreid_fast.data import read_dataset
from vreid_fast.data.reading.loader import Loader, ReadingOptions, Stream, TestPlan
tracklets = read_dataset("folder:{tmp_path}").train * 500
stream = Stream(tracklets, TestPlan([9] * 500, 4, batch=4))
loader = Loader([stream], ReadingOptions(size=(48, 32), backend="{backend}"))
next(loader)
{leave}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == {"del loader": 0, "sys.exit(3)": 3, "raise RuntimeError": 1}.get(leave, -2), done.stderr


def test_one_decoder_serves_the_loaders_of_a_run(tmp_path, backend):
    tracklets = [images(tmp_path / "a", 9)]
    streams, reading = [Stream(tracklets, TestPlan([9], 4))], ReadingOptions(size=SIZE, backend=backend, threads=2)
    with Loader(streams, reading) as first, Loader(streams, reading) as beside:
        assert first._decoder is not beside._decoder
        wanted = next(first)[0].clips
        assert torch.equal(next(beside)[0].clips, wanted)
    known = {id(decoder) for decoder in reading.idle}
    for _ in range(3):
        with Loader(streams, reading) as loader:
            assert id(loader._decoder) in known and len(reading.idle) == 1
            assert torch.equal(next(loader)[0].clips, wanted)
        loader.close()
    assert {id(decoder) for decoder in reading.idle} == known and len(reading.idle) == 2
    assert dataclasses.replace(reading, size=(48, 48)).idle == []


def test_dali_is_chosen_where_it_is_installed(tmp_path):
    dali = pytest.importorskip("nvidia.dali")
    with make_loader([], TestPlan([], 4), size=SIZE) as loader:
        assert loader.name == f"DALI {dali.__version__} (cpu)"


def test_torch_is_chosen_where_dali_is_absent(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "vreid_fast.data.reading.dali", raising=False)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with make_loader([], TestPlan([], 4), size=SIZE) as loader:
        assert loader.name == "torch (PIL)"
    with pytest.raises(InputError, match="--loader dali: not installed; pip install nvidia-dali"):
        make_loader([], TestPlan([], 4), size=SIZE, backend="dali")


def test_torch_is_chosen_where_python_has_no_docstrings():
    program = """
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.errors import InputError
print(make_decoder(ReadingOptions(SIZE)).name)
try:
    make_decoder(ReadingOptions(SIZE, backend="dali"))
except InputError as error:
    print(error)
""".replace("SIZE", str(SIZE))
    ran = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True)
    name, error = ran.stdout.splitlines()
    assert name == "torch (PIL)" and error.startswith("--loader dali: needs docstrings"), ran.stderr


@pytest.mark.parametrize(
    "knobs, message", [({"backend": "cv2"}, "--loader cv2: wanted auto, dali or torch"), ({"threads": 0}, "at least 1")]
)
def test_knobs_are_checked(knobs, message):
    with pytest.raises(InputError, match=message):
        make_loader([], TestPlan([], 4), size=SIZE, **knobs)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
@pytest.mark.parametrize("channels_last", (False, True))
def test_type_and_layout_that_the_network_wants(tmp_path, backend, dtype, channels_last):
    tracklets = [images(tmp_path / name, 5) for name in "ab"]
    plan = train_plan(tracklets, views=2)
    for ours, plain in zip(
        all_batches(tracklets, plan, backend=backend, dtype=dtype, channels_last=channels_last),
        all_batches(tracklets, plan, backend=backend),
        strict=True,
    ):
        for a, b in zip(ours.views, plain.views, strict=True):
            assert a.dtype == dtype and torch.equal(a, b.to(dtype))
            layout = torch.channels_last if channels_last else torch.contiguous_format
            assert a.flatten(0, 1).is_contiguous(memory_format=layout)
            assert a.flatten(0, 1).data_ptr() == a.data_ptr()


def test_streams_of_several_starts_end_with_the_shortest(tmp_path, backend):
    one, two = [images(tmp_path / "a", 5)], [images(tmp_path / "b", 7), video(tmp_path / "c.webm", 6)]
    plans = train_plan(one, steps=9, batch=2), train_plan(two, steps=6, batch=3, views=2)
    whole = [all_batches(tracklets, plan, backend=backend) for tracklets, plan in zip((one, two), plans)]
    streams = [Stream(one, plans[0], 4), Stream(two, plans[1], 2)]
    with Loader(streams, ReadingOptions(size=SIZE, backend=backend, threads=2)) as loader:
        steps = list(loader)
    assert len(steps) == 4
    for step, batches in enumerate(steps):
        for ours, alone in zip(batches, (whole[0][4 + step], whole[1][2 + step]), strict=True):
            assert ours.tracklets.tolist() == alone.tracklets.tolist()
            assert all(torch.equal(a, b) for a, b in zip(ours.views, alone.views, strict=True))


def test_memory_does_not_grow_with_the_epochs(tmp_path, backend):
    tracklets = [images(tmp_path / name, 8, height=256, width=128, ending="jpg") for name in "abcd"]
    plan = train_plan(tracklets, batch=8, steps=240, size=(256, 128))
    taken = []
    with make_loader(tracklets, plan, backend=backend, size=(256, 128)) as loader:
        for step, _ in enumerate(loader):
            if step in (60, 239):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                taken.append(pages * os.sysconf("SC_PAGE_SIZE"))
    # 180 batches of 9.4 MB each.
    assert taken[1] - taken[0] < 30e6


def test_importing_the_data_layer_costs_torch_and_nothing_else():
    program = (
        "import sys, vreid_fast.data, vreid_fast.data.reading.loader;"
        "print([name for name in ('nvidia.dali', 'av', 'PIL', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.parametrize("codec", [None, "libx264", "libvpx-vp9", "mjpeg"])
def test_gpu_batches_are_those_of_the_cpu(tmp_path, backend, codec):
    size = {"height": 160, "width": 144}
    if codec is None:
        tracklets = [images(tmp_path / name, 6, ending="jpg", **size) for name in "ab"]
    else:
        ending = {"mjpeg": "avi", "libx264": "mp4"}.get(codec, "webm")
        tracklets = [video(tmp_path / f"{name}.{ending}", 6, codec=codec, **size) for name in "ab"]
    plan = train_plan(tracklets, steps=6, views=2)
    on_cpu = all_batches(tracklets, plan, backend="torch")
    with make_loader(tracklets, plan, size=SIZE, backend=backend, device=torch.device("cuda")) as loader:
        for (ours,), theirs in zip(loader, on_cpu, strict=True):
            assert ours.clips.is_cuda and ours.tracklets.is_cuda
            assert ours.tracklets.tolist() == theirs.tracklets.tolist()
            for a, b in zip(ours.views, theirs.views):
                difference = (levels(a.cpu()) - levels(b)).abs()
                # The GPU's own JPEG and video decoders interpolate chroma in another way.
                assert difference.mean() < 2 and difference.max() < 40
