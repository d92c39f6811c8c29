"""gather_clips: every backend against a loop over clips and frames in float64."""

import importlib

import numpy as np
import pytest
import torch
from cases import LAYOUTS, TOLERANCE, relaid
from interpreted import RUNS as TRITON_AND_REFERENCE
from interpreted import TRITON_RUNS
from launches import launches_of
from providers import graphed

from vreid_fast.kernels import gather_clips
from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD

CPP = pytest.param("cpp", "cpu", id="cpp")
RUNS = (*TRITON_AND_REFERENCE, CPP)
# (N, H, W, B, T): single elements, none at all, odd sizes, whole blocks of the kernel, several in each direction.
SIZES = ((1, 1, 1, 1, 1), (3, 5, 7, 0, 2), (4, 17, 9, 3, 2), (2, 32, 16, 9, 3), (2, 40, 150, 2, 1))


def given(size, seed=0, device="cpu"):
    """frames, rows and augmentations that reach beyond the frame on every side."""
    count, height, width, clips, length = size
    rng = np.random.default_rng(seed)
    frames = torch.from_numpy(rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8))
    rows = torch.from_numpy(rng.integers(0, count, (clips, length)))
    flips = rng.integers(0, 2, (clips, 1))
    shifts = np.concatenate([rng.integers(-limit - 1, limit + 2, (clips, 1)) for limit in (height, width)], 1)
    shifts[::2] //= 4
    rectangles = np.concatenate([rng.integers(-2, limit + 2, (clips, 1)) for limit in (height, width) * 2], 1)
    rectangles[::2] //= 4  # every other clip keeps most of its frame, and its rectangle ends inside
    drawn = np.concatenate([flips, shifts, rectangles], 1).astype(np.int32)
    return frames.to(device), rows.to(device), torch.from_numpy(drawn).to(device)


def expected(frames, rows, augmentations, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """The definition, pixel by pixel."""
    frames, rows = frames.cpu().numpy(), rows.cpu().numpy()
    clips = np.zeros((*rows.shape, 3, *frames.shape[1:3]))
    for clip, (flip, down, right, top, left, tall, wide) in enumerate(augmentations.tolist()):
        for t, row in enumerate(rows[clip]):
            frame = frames[row, :, ::-1] if flip else frames[row]
            frame = ((frame - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
            for y, x in np.ndindex(frame.shape[1:]):
                erased = top <= y < top + tall and left <= x < left + wide
                if 0 <= y + down < frame.shape[1] and 0 <= x + right < frame.shape[2] and not erased:
                    clips[clip, t, :, y, x] = frame[:, y + down, x + right]
    return torch.from_numpy(clips)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("channels_last", (False, True))
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_values_and_layout(size, channels_last, backend, device):
    arguments = given(size, device=device)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        clips = gather_clips(*arguments, dtype=dtype, channels_last=channels_last, backend=backend)
        assert clips.dtype == dtype and clips.device.type == device
        assert (clips.permute(0, 1, 3, 4, 2) if channels_last else clips).is_contiguous()
        torch.testing.assert_close(clips.double().cpu(), expected(*arguments), **TOLERANCE[dtype])


@pytest.mark.parametrize("backend, device", RUNS)
def test_no_augmentation_and_other_statistics(backend, device):
    frames, rows, _ = given(SIZES[3], device=device)
    clips = gather_clips(frames, rows, mean=(0, 1, 2), std=(1, 2, 4), backend=backend)
    wanted = expected(frames, rows, torch.zeros(len(rows), 7, dtype=torch.int32), (0, 1, 2), (1, 2, 4))
    torch.testing.assert_close(clips.double().cpu(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_out(layout, backend, device):
    frames, rows, augmentations = given(SIZES[2], device=device)
    filler = relaid(frames.short(), layout).to(torch.uint8)
    laid = [frames if layout == "strided" else filler, relaid(rows, layout), relaid(augmentations, layout)]
    out = torch.full((3, 2, 3, 17, 9), torch.nan, device=device)
    assert gather_clips(*laid, out=out, backend=backend) is out
    torch.testing.assert_close(out.double().cpu(), expected(frames, rows, augmentations), **TOLERANCE[torch.float32])


def test_cpp_rounds_bfloat16_as_torch_does():
    frames, rows, augmentations = given(SIZES[3])
    clips = gather_clips(frames, rows, augmentations, backend="cpp")
    half = gather_clips(frames, rows, augmentations, dtype=torch.bfloat16, backend="cpp")
    assert torch.equal(clips.bfloat16(), half)


@pytest.mark.parametrize("parallel", (False, True))
def test_cpp_gives_the_same_on_any_number_of_threads(parallel):
    arguments, before = given(SIZES[3]), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(gather_clips(*arguments, parallel=parallel, backend="cpp"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
def test_one_launch(backend, device, monkeypatch):
    importlib.import_module("vreid_fast.kernels.gather_clips_triton")
    arguments = given(SIZES[3], device=device)
    assert launches_of(lambda: gather_clips(*arguments, backend=backend), monkeypatch) == ["gather_clips_kernel"]


@pytest.mark.parametrize("backend, device", RUNS)
def test_opcheck_and_compile(backend, device):
    frames, rows, augmentations = given(SIZES[2], device=device)
    out = torch.zeros(3, 2, 3, 17, 9, device=device)
    op = torch.ops.vreid_fast.gather_clips_.default
    torch.library.opcheck(op, (out, frames, rows, augmentations, [1.0] * 3, [2.0] * 3, True, backend))
    compiled = torch.compile(gather_clips, fullgraph=True, backend="aot_eager")
    wanted = gather_clips(frames, rows, augmentations, backend=backend)
    assert torch.equal(compiled(frames, rows, augmentations, backend=backend), wanted)


def test_opcheck_of_the_compiled_op():
    frames, rows, augmentations = given(SIZES[2])
    op = torch.ops.vreid_fast.gather_clips_cpu_.default
    out = torch.zeros(3, 2, 3, 17, 9)
    torch.library.opcheck(op, (out, frames, rows, augmentations, [1.0] * 3, [2.0] * 3, True))


@pytest.mark.parametrize("backend", ("reference", "cpp"))
@pytest.mark.parametrize("row", (-9, 4))
def test_rows_out_of_range(row, backend):
    with pytest.raises(IndexError):
        gather_clips(torch.zeros(4, 2, 2, 3, dtype=torch.uint8), torch.tensor([[0, row]]), backend=backend)


FRAMES, ROWS = torch.zeros(4, 2, 2, 3, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    "arguments, options, message",
    (
        ((FRAMES.float(), ROWS), {}, r"frames must be \(N, H, W, 3\) uint8, got \(4, 2, 2, 3\) torch.float32"),
        ((FRAMES[..., :2], ROWS), {}, "frames must be"),
        ((FRAMES, ROWS[0]), {}, r"rows must be \(B, T\) int64, got \(2,\)"),
        ((FRAMES, ROWS.int()), {}, "rows must be"),
        ((FRAMES, ROWS, ROWS.int()), {}, r"augmentations must be \(1, 7\), got \(1, 2\)"),
        ((FRAMES, ROWS, torch.zeros(1, 7)), {}, "augmentations must be int32, got torch.float32"),
        ((FRAMES, ROWS), {"out": torch.zeros(1, 2, 3, 2, 3)}, r"out must be \(1, 2, 3, 2, 2\), got"),
        ((FRAMES, ROWS), {"out": torch.zeros(1, 2, 3, 2, 4)[..., ::2]}, "out must be contiguous or have"),
        ((FRAMES, ROWS.to("meta")), {}, "rows must be on cpu as frames is, got meta; move it"),
        ((FRAMES, ROWS), {"dtype": torch.float64, "backend": "cpp"}, "use backend='reference'"),
    ),
)
def test_errors(arguments, options, message):
    with pytest.raises(ValueError, match=f"gather_clips: .*{message}"):
        gather_clips(*arguments, **options)


@pytest.mark.parametrize("position, wrong", ((0, FRAMES), (1, ROWS), (2, ROWS.int()), (3, ROWS)))
def test_errors_of_the_compiled_op(position, wrong):
    arguments = [torch.zeros(1, 2, 3, 2, 2), FRAMES, ROWS, torch.zeros(1, 7, dtype=torch.int32)]
    arguments[position] = wrong.double() if position in (0, 1, 2) else wrong
    with pytest.raises((ValueError, TypeError), match="gather_clips: "):
        torch.ops.vreid_fast.gather_clips_cpu_(*arguments, [1.0] * 3, [1.0] * 3, True)


@pytest.mark.gpu
def test_replays_from_a_cuda_graph():
    frames, rows, augmentations = given(SIZES[3], device="cuda")
    replay = graphed(lambda: gather_clips(frames, rows, augmentations, backend="triton"))
    for tensor, new in zip((frames, rows, augmentations), given(SIZES[3], seed=1)):
        tensor.copy_(new)
    assert torch.equal(replay(), gather_clips(frames, rows, augmentations, backend="triton"))
