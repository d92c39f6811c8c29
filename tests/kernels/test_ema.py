import copy
import zlib

import numpy as np
import pytest
import torch
from cases import DEVICES
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from vreid_fast.kernels import EmaUpdater

BACKENDS = ("cpp", "foreach", "reference")


def network(seed, dtype=torch.float32):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5, bias=False)
    with torch.no_grad():
        layers[1].running_mean.normal_()
        layers[1].num_batches_tracked.fill_(seed)
    return nn.Sequential(*layers).to(dtype)


def perturb(net):
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(tensor + 1 if tensor.dtype == torch.int64 else torch.randn_like(tensor))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("device", DEVICES)
def test_thousand_updates_follow_the_float64_recursion(device, backend):
    teacher, student = network(0).to(device), network(1).to(device)
    updater = EmaUpdater(teacher, student, 0.99, backend=backend)
    expected = None
    for k in range(1000):
        perturb(student)
        updater.update()
        state = [t.double() for t in student.state_dict().values() if t.is_floating_point()]
        a = min(1 - 1 / (k + 1), 0.99)
        expected = state if k == 0 else [a * e + (1 - a) * s for e, s in zip(expected, state)]
    got = [t for t in teacher.state_dict().values() if t.is_floating_point()]
    for mine, want in zip(got, expected):
        assert (mine.double() - want).norm() <= 1e-6 * want.norm()
    assert teacher[1].num_batches_tracked == student[1].num_batches_tracked
    assert updater.steps == 1000 and updater.decay_now == 0.99


@pytest.mark.parametrize("backend", BACKENDS)
def test_schedule(backend):
    warm = EmaUpdater(network(0), network(1), 0.9, backend=backend)
    flat = EmaUpdater(network(0), network(1), 0.9, warmup=False, backend=backend)
    for k in range(15):
        warm.update()
        flat.update()
        assert warm.decay_now.item() == pytest.approx(min(1 - 1 / (k + 1), 0.9), rel=1e-15)
        assert flat.decay_now.item() == 0.9
    warm.decay.fill_(0.5)
    warm.update()
    assert warm.decay_now.item() == 0.5


def test_first_update_makes_the_teacher_the_student_unless_warm_up_is_off():
    teacher, student = network(0), network(1)
    EmaUpdater(teacher, student).update()
    assert all(torch.equal(a, b) for a, b in zip(teacher.state_dict().values(), student.state_dict().values()))
    teacher, before = network(0), network(0).state_dict()
    EmaUpdater(teacher, student, 0.75, warmup=False).update()
    torch.testing.assert_close(teacher[2].weight, 0.75 * before["2.weight"] + 0.25 * student[2].weight)


@pytest.mark.parametrize("backend", BACKENDS)
def test_buffers_are_averaged_or_copied(backend):
    for buffers, expected in (("ema", 0.25), ("copy", 1.0)):
        teacher, student = network(0), network(1)
        for net, value in ((teacher, 0.0), (student, 1.0)):
            nn.init.constant_(net[1].running_var, value)
            nn.init.constant_(net[1].weight, value)
        EmaUpdater(teacher, student, 0.75, warmup=False, buffers=buffers, backend=backend).update()
        assert bool((teacher[1].running_var == expected).all())
        assert bool((teacher[1].weight == 0.25).all())
        assert teacher[1].num_batches_tracked == student[1].num_batches_tracked


def test_resuming_continues_exactly():
    student, teacher = network(1), network(0)
    straight = EmaUpdater(teacher, student, 0.9)
    for _ in range(3):
        straight.update()
    resumed_teacher = copy.deepcopy(teacher)
    resumed = EmaUpdater(resumed_teacher, student, 0.5)
    resumed.load_state_dict(straight.state_dict())
    assert resumed.decay_now == straight.decay_now
    for _ in range(3):
        perturb(student)
        straight.update()
        resumed.update()
    assert resumed.steps == 6 and resumed.decay == 0.9
    for a, b in zip(teacher.state_dict().values(), resumed_teacher.state_dict().values()):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="state must hold steps, decay, decay_now, got steps"):
        resumed.load_state_dict({"steps": torch.tensor(1)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_replaced_tensors_are_followed(backend):
    teacher, student = network(0), network(1)
    updater = EmaUpdater(teacher, student, backend=backend)
    updater.update()
    old = teacher[0].weight
    kept = old.detach().clone()
    teacher[0].weight = nn.Parameter(torch.zeros_like(old))
    student[2].weight = nn.Parameter(torch.full_like(student[2].weight, 3.0))
    student[0].bias.data = torch.full_like(student[0].bias, 5.0)
    updater.update()
    assert torch.equal(old, kept)
    torch.testing.assert_close(teacher[0].weight, student[0].weight / 2)
    assert bool((teacher[2].weight - student[2].weight).abs().max() > 0)
    torch.testing.assert_close(teacher[0].bias.mean(), (network(1)[0].bias.mean() + 5) / 2)


def test_tied_parameters_are_averaged_once_and_non_persistent_buffers_left_alone():
    def tied(seed):
        net = network(seed)
        net.append(nn.Linear(8, 5, bias=False))
        net[3].weight = net[2].weight
        net.register_buffer("scratch", torch.full((2,), float(seed)), persistent=False)
        return net

    teacher, student = tied(0), tied(1)
    expected = 0.75 * teacher[2].weight.detach() + 0.25 * student[2].weight.detach()
    EmaUpdater(teacher, student, 0.75, warmup=False).update()
    torch.testing.assert_close(teacher[3].weight.detach(), expected)
    assert bool((teacher.scratch == 0).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_student_of_a_channels_last_teacher(backend):
    teacher = network(0).to(memory_format=torch.channels_last)
    student = network(1, torch.bfloat16)
    expected = 0.75 * teacher[0].weight.detach() + 0.25 * student[0].weight.detach().float()
    EmaUpdater(teacher, student, 0.75, warmup=False, backend=backend).update()
    torch.testing.assert_close(teacher[0].weight.detach(), expected)
    assert teacher[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("device", DEVICES)
def test_half_is_the_teacher_rounded(device, backend):
    teacher, student = (network(seed).to(device, memory_format=torch.channels_last) for seed in (0, 1))
    half = copy.deepcopy(teacher).bfloat16()
    updater = EmaUpdater(teacher, student, 0.9, half=half, backend=backend)
    alone = copy.deepcopy(teacher)
    without = EmaUpdater(alone, student, 0.9, backend=backend)
    for _ in range(3):
        perturb(student)
        updater.update()
        without.update()
    for name, tensor in teacher.state_dict().items():
        rounded = half.state_dict()[name]
        assert torch.equal(tensor, alone.state_dict()[name])
        assert torch.equal(rounded, tensor.to(rounded.dtype))
        assert rounded.dtype == (torch.bfloat16 if tensor.is_floating_point() else tensor.dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_compilation_serves_a_schedule(backend):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    student = network(1)
    teacher, other = network(0), network(0)
    updater, eager = (EmaUpdater(net, student, 0.9, backend=backend) for net in (teacher, other))
    compiled = torch.compile(updater.update, backend=counter, fullgraph=True)
    counts = []
    for _ in range(12):
        perturb(student)
        compiled()
        eager.update()
        counts.append(counter.frame_count)
    assert counts[0] == counts[-1]
    assert updater.steps == 12 and updater.decay_now == eager.decay_now == 0.9
    for a, b in zip(teacher.state_dict().values(), other.state_dict().values()):
        torch.testing.assert_close(a, b)


def test_a_copy_of_all_goes_its_own_way():
    teacher, student = network(0), network(1)
    updater = EmaUpdater(teacher, student, 0.9)
    updater.update()
    teacher2, student2, updater2 = copy.deepcopy((teacher, student, updater))
    perturb(student2)
    updater2.update()
    assert updater.steps == 1 and updater2.steps == 2
    assert torch.equal(teacher[0].weight, student[0].weight)
    assert not torch.equal(teacher2[0].weight, teacher[0].weight)


def test_errors_name_what_differs():
    student = network(1)
    with pytest.raises(ValueError, match=r"got 2\.bias in the teacher only"):
        EmaUpdater(nn.Sequential(*network(0)[:2], nn.Linear(8, 5)), student)
    with pytest.raises(ValueError, match=r"got 3\.weight in the student only"):
        EmaUpdater(network(0), network(1).append(nn.Linear(2, 2, bias=False)))
    wider = nn.Sequential(*network(0)[:2], nn.Linear(8, 6, bias=False))
    with pytest.raises(ValueError, match=r"got 2\.weight float32 \(5, 8\) on cpu for float32 \(6, 8\) on cpu"):
        EmaUpdater(wider, student)
    with pytest.raises(ValueError, match=r"shares 0\.weight, 0\.bias, 1\.weight and 5 more with the teacher"):
        EmaUpdater(student, student)
    teacher = network(0)
    with pytest.raises(ValueError, match=r"half must be a network of its own, .* with the teacher; pass copy"):
        EmaUpdater(teacher, student, half=teacher)
    with pytest.raises(ValueError, match=r"teacher and half must hold the same names, got 2\.weight in the teacher"):
        EmaUpdater(teacher, student, half=network(0)[:2])
    with pytest.raises(ValueError, match="copy tensor 0 must have strides"):
        half = network(0).to(memory_format=torch.channels_last)
        EmaUpdater(teacher, student, half=half, backend="cpp").update()
    with pytest.raises(ValueError, match="teacher must hold parameters, got none"):
        EmaUpdater(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 99"):
        EmaUpdater(network(0), student, 99)
    with pytest.raises(ValueError, match='buffers must be "ema" or "copy", got'):
        EmaUpdater(network(0), student, buffers="average")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("case", "knobs"),
    [
        ("uda", {"decay": 0.99}),
        ("v3_0.99", {"decay": 0.99, "warmup": False}),
        ("v3_nobuffers", {"decay": 0.9, "warmup": False, "buffers": "copy"}),
    ],
)
def test_numbers_of_others(case, knobs, backend, shared):
    """The UDA authors' update (which leaves buffers alone) and timm's ModelEmaV3 without warm-up."""
    numbers = np.load(shared("parity/algorithms/ema.npz"))
    teacher, student = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    fill(teacher, 51)
    updater = EmaUpdater(teacher, student, **knobs, backend=backend)
    for step in range(5):
        fill(student, 70 + step)
        updater.update()
    for name, got in teacher.state_dict().items():
        if case == "uda" and ("running" in name or "num_batches" in name):
            continue
        torch.testing.assert_close(got, torch.from_numpy(numbers[f"{case}.{name}"]), rtol=2e-6, atol=1e-7)


def fill(net, seed):
    """The weight rule of the reference numbers (its README) for a Linear and a BatchNorm1d."""
    for name, tensor in net.state_dict().items():
        rng = np.random.default_rng(zlib.crc32(f"{name}:{seed}".encode()))
        if not tensor.is_floating_point():
            values = np.array(seed)
        elif name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, size=tensor.shape)
        elif name.endswith("running_mean"):
            values = rng.normal(0, 0.1, size=tensor.shape)
        elif name.endswith("weight") and tensor.ndim == 1:
            values = rng.uniform(0.8, 1.2, size=tensor.shape)
        elif name.endswith("bias"):
            values = rng.normal(0, 0.05, size=tensor.shape)
        else:
            values = rng.normal(0, np.sqrt(2 / np.prod(tensor.shape[1:])), size=tensor.shape)
        tensor.copy_(torch.from_numpy(np.asarray(values)))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", BACKENDS)
def test_replayed_graph_advances_the_schedule(backend):
    teacher, student = network(0).cuda(), network(1).cuda()
    updater = EmaUpdater(teacher, student, 0.9, backend=backend)
    updater.update()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        updater.update()
    expected = teacher[2].weight.detach().double()
    for k in range(1, 15):
        perturb(student)
        graph.replay()
        a = min(1 - 1 / (k + 1), 0.9)
        expected = a * expected + (1 - a) * student[2].weight.detach().double()
        torch.testing.assert_close(teacher[2].weight.detach().double(), expected, rtol=1e-5, atol=1e-6)
        assert updater.decay_now.item() == pytest.approx(a)
