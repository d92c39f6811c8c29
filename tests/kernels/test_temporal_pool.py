"""temporal_pool: every backend against the definition written out in float64."""

import pytest
import torch
from cases import LAYOUTS, TOLERANCE, make
from interpreted import RUNS, TRITON_RUNS
from providers import graphed

from vreid_fast.kernels.temporal_pool import temporal_pool, temporal_pool_reference

# (B, T, C, H, W): more than one tile of channels and of positions, odd sizes, no clip at all.
MAPS = (
    (2, 3, 5, 3, 7),
    (1, 1, 1, 1, 1),
    (0, 4, 6, 2, 2),
    (1, 2, 70, 5, 8),
    (2, 1, 33, 13, 11),
    (1, 2, 3, 6, 1),
)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def written_out(maps, frames, lengths, spatial):
    """The definition, frame by frame, in float64: (frame features, clip features)."""
    maps = maps.double().cpu()
    clips = maps.shape[0] // frames
    frame_features = maps.new_zeros(clips, frames, maps.shape[1])
    clip_features = maps.new_zeros(clips, maps.shape[1])
    for clip in range(clips):
        valid = frames if lengths is None else int(lengths[clip])
        for t in range(valid):
            positions = maps[clip * frames + t].flatten(1)
            frame_features[clip, t] = positions.max(1).values if spatial == "max" else positions.mean(1)
        clip_features[clip] = frame_features[clip, :valid].mean(0)
    return frame_features, clip_features


def lengths_of(clips, frames, device):
    return torch.arange(clips, device=device) % frames + 1


def assert_close(name, found, wanted, tolerance):
    torch.testing.assert_close(
        found.double().cpu(), wanted, **tolerance, msg=lambda difference: f"{name}: {difference}"
    )


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("spatial", ("max", "mean"))
@pytest.mark.parametrize("shape", MAPS, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("ragged", (False, True))
def test_maps_values_and_gradients(shape, spatial, ragged, backend, device):
    clips, frames, *rest = shape
    for dtype, layout in zip(DTYPES, ("contiguous", "channels_last", "reversed"), strict=True):
        maps = make((clips * frames, *rest), dtype=dtype, device=device, layout=layout).requires_grad_()
        lengths = lengths_of(clips, frames, device) if ragged else None
        found = temporal_pool(maps, frames, lengths, spatial=spatial, backend=backend)
        exact = maps.detach().double().requires_grad_()
        wanted = written_out(exact, frames, lengths, spatial)
        grads = make(wanted[0].shape, seed=1), make(wanted[1].shape, seed=2)
        if clips:
            torch.autograd.backward(wanted, grads)
        torch.autograd.backward(found, [grad.to(device, dtype) for grad in grads])
        for name, one, other in zip(("frame features", "clip features"), found, wanted, strict=True):
            assert one.dtype == dtype and one.is_contiguous()
            assert_close(name, one, other, TOLERANCE[dtype])
        assert maps.grad.shape == maps.shape
        if clips:
            assert_close("gradient", maps.grad, exact.grad.cpu(), TOLERANCE[dtype])


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, backend, device):
    maps = make((6, 5, 3, 4), dtype=torch.float32, device=device, layout=layout).requires_grad_()
    found = temporal_pool(maps, 3, backend=backend)
    for one, other in zip(found, written_out(maps.detach(), 3, None, "max"), strict=True):
        assert_close(layout, one, other, TOLERANCE[torch.float32])
    found[1].sum().backward()
    assert maps.grad.sum().item() == pytest.approx(10)
    channels_last = maps.detach().clone(memory_format=torch.channels_last).requires_grad_()
    temporal_pool(channels_last, 3, backend=backend)[0].sum().backward()
    assert channels_last.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend, device", RUNS)
def test_frame_features(backend, device):
    frames = make((3, 4, 9), dtype=torch.float32, device=device).requires_grad_()
    lengths = torch.tensor([1, 4, 2], device=device)
    features, clips = temporal_pool(frames, lengths=lengths, backend=backend)
    exact = frames.detach().double().cpu()
    for clip, valid in enumerate((1, 4, 2)):
        assert_close("clip", clips[clip], exact[clip, :valid].mean(0), TOLERANCE[torch.float32])
        assert torch.equal(features[clip, :valid], frames[clip, :valid])
        assert not features[clip, valid:].any()
    clips.sum().backward()
    assert frames.grad[1:, :, 0].tolist() == [[0.25] * 4, [0.5, 0.5, 0, 0]]
    same, mean = temporal_pool(frames, backend=backend)
    assert torch.equal(same, frames)
    assert_close("mean", mean, exact.mean(1), TOLERANCE[torch.float32])


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("layout", (torch.contiguous_format, torch.channels_last), ids=str)
def test_first_of_equal_maxima_takes_the_gradient(layout, backend, device):
    maps = torch.zeros(2, 3, 9, 8, device=device)
    maps[0, 1, 4, 5:] = 2.0
    maps[0, 1, 7, 0] = 2.0
    maps[1, 2] = float("-inf")
    maps = maps.contiguous(memory_format=layout).requires_grad_()
    temporal_pool(maps, 1, backend=backend)[0].sum().backward()
    wanted = torch.zeros(2, 3, 9, 8)
    wanted[:, :, 0, 0] = 1
    wanted[0, 1, 0, 0], wanted[0, 1, 4, 5] = 0, 1
    assert torch.equal(maps.grad.cpu(), wanted)


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("spatial", ("max", "mean"))
def test_nan_stays_in_its_frame_and_padding_does_not_leak(spatial, backend, device):
    maps = make((4, 2, 5, 8), dtype=torch.float32, device=device)
    maps[1] = float("nan")
    maps[2, 0, 3, 3] = float("nan")
    lengths = torch.tensor([1, 2], device=device)
    leaf = maps.requires_grad_()
    features, clips = temporal_pool(leaf, 2, lengths, spatial=spatial, backend=backend)
    assert clips.isnan().tolist() == [[False, False], [True, False]]
    assert features.isnan().tolist() == [[[False] * 2] * 2, [[True, False], [False] * 2]]
    clips.sum().backward()
    assert not leaf.grad[1].any()


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_of_either_sign_is_above_infinity_and_zeros_are_equal(dtype, backend, device):
    maps = torch.full((1, 4, 3, 5), float("-inf"))
    maps[0, 0, 1, 2:4] = torch.tensor([float("inf"), -float("nan")])
    maps[0, 1, 1, 2:4] = torch.tensor([float("nan"), float("inf")])
    maps[0, 2, 1, 2:4] = torch.tensor([-0.0, 0.0])
    maps[0, 3, 1, 2:4] = torch.tensor([-2.0, -1.0])
    assert maps[0, 0, 1, 3].isnan() and maps[0, 0, 1, 3].signbit()
    leaf = maps.to(device, dtype).requires_grad_()
    features, _ = temporal_pool(leaf, 1, backend=backend)
    assert features[0, 0, :2].isnan().all() and features[0, 0, 2:].tolist() == [0, -1]
    features.sum().backward()
    assert leaf.grad.flatten(2)[0].nonzero()[:, 1].tolist() == [8, 7, 7, 8]


@pytest.mark.parametrize("backend, device", RUNS)
@pytest.mark.parametrize("dtype, size", ((torch.float16, (60, 80)), (torch.bfloat16, (250, 257))), ids=str)
def test_large_maps(dtype, size, backend, device):
    maps = make((2, 2, *size), dtype=dtype, device=device)
    maps[1, 1, -1, -2:] = 7.0  # at the very end, twice
    leaf = maps.requires_grad_()
    features, _ = temporal_pool(leaf, 2, backend=backend)
    assert torch.equal(features[0], maps.flatten(2).amax(2))
    features.sum().backward()
    wanted = maps.detach().flatten(2).float().cpu().numpy().argmax(2)  # the first
    assert leaf.grad.flatten(2).nonzero()[:, 2].tolist() == wanted.flatten().tolist()


@pytest.mark.parametrize("spatial", ("max", "mean"))
@pytest.mark.parametrize("ragged", (False, True))
def test_gradcheck_of_the_reference(spatial, ragged):
    maps = make((4, 3, 2, 3)).requires_grad_()
    lengths = torch.tensor([1, 2]) if ragged else None
    assert torch.autograd.gradcheck(lambda x: temporal_pool_reference(x, 2, lengths, spatial=spatial), maps)


@pytest.mark.parametrize("backend, device", TRITON_RUNS)
@pytest.mark.parametrize("maximum", (True, False))
def test_opcheck(maximum, backend, device):
    maps = make((4, 3, 2, 3), dtype=torch.float32, device=device, layout="channels_last").requires_grad_()
    lengths = torch.tensor([1, 2], device=device)
    torch.library.opcheck(torch.ops.vreid_fast.temporal_pool.default, (maps, 2, lengths, maximum))
    torch.library.opcheck(torch.ops.vreid_fast.temporal_pool.default, (maps, 2, None, maximum))
    index = torch.zeros(4 if maximum else 0, 3, dtype=torch.int32, device=device)
    grads = torch.ones(2, 2, 3, device=device), torch.ones(2, 3, device=device)
    for present in (grads, (grads[0], None), (None, grads[1])):
        arguments = (*present, lengths, index, 2, 2, 3, True, maximum)
        torch.library.opcheck(torch.ops.vreid_fast.temporal_pool_backward.default, arguments)


@pytest.mark.parametrize("backend, device", RUNS)
def test_compiles_without_a_graph_break(backend, device):
    def total(maps, lengths):
        features, clips = temporal_pool(maps, 2, lengths, backend=backend)
        return (features * 2).sum() + clips.sum()

    maps = make((4, 3, 2, 3), dtype=torch.float32, device=device)
    lengths = torch.tensor([1, 2], device=device)
    one, other = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    total(one, lengths).backward()
    torch.compile(total, fullgraph=True, backend="aot_eager")(other, lengths).backward()
    torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "arguments, message",
    (
        (
            (torch.zeros(32, 2048),),
            r"frames must be \(B, T, D\), got \(32, 2048\); add a T axis of 1 for images",
        ),
        ((torch.zeros(6, 3, 2, 2),), "frames must be the frames T"),
        ((torch.zeros(6, 3, 2, 2), 4), "x must hold B.T maps, got 6 with frames=4"),
        ((torch.zeros(2, 3, 5), 4), "frames must be 3"),
        ((torch.zeros(2, 3, 5), None, torch.tensor([3, 0])), r"lengths must be in 1..3, got \[3, 0\]"),
        ((torch.zeros(2, 3, 5), None, torch.tensor([3, 4])), r"lengths must be in 1..3, got \[3, 4\]"),
        ((torch.zeros(2, 3, 5), None, torch.tensor([3.0, 1.0])), r"lengths must be \(2,\) integers"),
        ((torch.zeros(2, 3, 5), None, torch.tensor([3])), r"lengths must be \(2,\) integers"),
        ((torch.zeros(2, 3, 0),), "x must have frames, channels and positions"),
    ),
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        temporal_pool(*arguments)


def test_dtype_and_spatial_errors():
    with pytest.raises(ValueError, match="spatial must be 'max' or 'mean', got 'sum'"):
        temporal_pool(torch.zeros(2, 3, 4), spatial="sum")
    with pytest.raises(TypeError, match="x must be of a float type"):
        temporal_pool(torch.zeros(2, 3, 4, dtype=torch.int32))
    with pytest.raises(TypeError, match="use backend='reference'"):
        temporal_pool(make((2, 3, 4), device="cuda" if torch.cuda.is_available() else "cpu"), backend="triton")


@pytest.mark.gpu
def test_replays_from_a_cuda_graph():
    maps = make((6, 5, 4, 2), dtype=torch.bfloat16, device="cuda").requires_grad_()
    lengths = torch.tensor([3, 2], device="cuda")

    def step():
        frames, clips = temporal_pool(maps, 3, lengths, backend="triton")
        return frames.detach(), clips.detach(), *torch.autograd.grad((frames.square().sum() + clips.sum()), maps)

    replay = graphed(step)
    with torch.no_grad():
        maps.copy_(make((6, 5, 4, 2), seed=4))
    lengths.copy_(torch.tensor([1, 3]))
    for one, other in zip(replay(), step(), strict=True):
        assert torch.equal(one, other)
