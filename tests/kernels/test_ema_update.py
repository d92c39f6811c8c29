"""The op under EmaUpdater: torch.ops.vreid_fast.ema_update_ and its reference."""

import pytest
import torch
from cases import DEVICES, DTYPES, LAYOUTS, SHAPES, TOLERANCE, make, relaid

from vreid_fast.kernels.backends import load_extension
from vreid_fast.kernels.ema import ema_update_reference

DENSE = tuple(layout for layout in LAYOUTS if layout != "strided")
load_extension()  # registers torch.ops.vreid_fast.ema_update_


@pytest.fixture(params=("cpp", "reference"))
def op(request):
    return torch.ops.vreid_fast.ema_update_ if request.param == "cpp" else ema_update_reference


@pytest.fixture
def ema_update_(op):
    """The op with a constant decay and without its schedule."""

    def update(teacher, student, decay, averaged, copies=()):
        op(teacher, student, list(copies), *schedule(decay), averaged, False)

    return update


def scalar(value, device="cpu"):
    return torch.tensor(value, dtype=torch.float64, device=device)


def schedule(decay):
    """counters, rates"""
    counters = torch.zeros(2, dtype=torch.int64, device=decay.device)
    return counters, torch.stack([decay, torch.zeros_like(decay)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("student_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("teacher_dtype", DTYPES, ids=str)
def test_values_over_dtypes_shapes_and_layouts(teacher_dtype, student_dtype, device, ema_update_):
    cases = [(shape, layout) for shape in (*SHAPES, (4096,), (3, 5000)) for layout in DENSE]
    teacher = [make(shape, dtype=teacher_dtype, device=device, layout=layout) for shape, layout in cases]
    student = [make(shape, dtype=student_dtype, device=device, layout=layout, seed=1) for shape, layout in cases]
    expected = [0.75 * t.double() + 0.25 * s.double() for t, s in zip(teacher, student)]
    before = [tensor.clone() for tensor in student]
    ema_update_(teacher, student, scalar(0.75, device), len(teacher))
    for got, want in zip(teacher, expected):
        assert got.dtype == teacher_dtype
        torch.testing.assert_close(got.double(), want, **TOLERANCE[teacher_dtype])
    assert all(torch.equal(a, b) for a, b in zip(student, before))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("teacher_layout", DENSE)
@pytest.mark.parametrize("student_layout", LAYOUTS)
def test_every_pair_of_layouts(teacher_layout, student_layout, device, ema_update_):
    t, s = make((3, 8, 5, 2), device=device), make((3, 8, 5, 2), device=device, seed=1)
    teacher, student = relaid(t, teacher_layout), relaid(s, student_layout)
    strides = teacher.stride()
    ema_update_([teacher], [student], scalar(0.9, device), 1)
    torch.testing.assert_close(teacher, 0.9 * t + (1 - 0.9) * s)
    assert teacher.stride() == strides


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_written_beside_the_teacher(device, ema_update_):
    for dtype in (*DTYPES, torch.int64, torch.uint8):
        for size in (1, 5, 4095, 4096, 4097, 16385):
            memory = torch.full((size + 2,), 7, dtype=dtype, device=device)
            ema_update_([memory[1:-1]], [torch.zeros_like(memory[1:-1])], scalar(0.0, device), 0)
            assert memory[0] == 7 and memory[-1] == 7 and not memory[1:-1].any()


@pytest.mark.parametrize("device", DEVICES)
def test_decay_zero_copies_and_decay_one_keeps_exactly(device, ema_update_):
    for dtype in DTYPES:
        student = make((1000,), dtype=dtype, device=device, seed=1)
        teacher = torch.full_like(student, float("nan"))
        ema_update_([teacher], [student], scalar(0.0, device), 1)
        assert torch.equal(teacher, student)
        kept = teacher.clone()
        ema_update_([teacher], [torch.zeros_like(student)], scalar(1.0, device), 1)
        assert torch.equal(teacher, kept)


@pytest.mark.parametrize("device", DEVICES)
def test_pairs_behind_the_averaged_ones_are_copied(device, ema_update_):
    teacher = [torch.zeros(3, dtype=dtype, device=device) for dtype in (torch.float32, torch.float32)]
    teacher += [torch.zeros(5, dtype=torch.int64, device=device), torch.zeros((), dtype=torch.bool, device=device)]
    student = [torch.ones_like(tensor) for tensor in teacher]
    ema_update_(teacher, student, scalar(0.75, device), 1)
    assert torch.equal(teacher[0], torch.full((3,), 0.25, device=device))
    assert all(torch.equal(mine, other) for mine, other in zip(teacher[1:], student[1:]))


@pytest.mark.parametrize("device", DEVICES)
def test_more_tensors_than_one_table_holds(device, ema_update_):
    teacher = [torch.full((1 + i % 3,), float(i), device=device) for i in range(2000)]
    ema_update_(teacher, [tensor + 4 for tensor in teacher], scalar(0.75, device), 2000)
    assert all(bool((tensor == i + 1).all()) for i, tensor in enumerate(teacher))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sizes", ((), (0,), (5, 4096), (1,) * 2000), ids=len)
def test_every_update_advances_the_schedule_once(sizes, device, op):
    counters, rates = schedule(scalar(0.9, device))
    teacher = [torch.zeros(size, device=device) for size in sizes]
    student = [torch.ones(size, device=device) for size in sizes]
    expected = 0.0
    for k in range(13):
        op(teacher, student, [], counters, rates, len(sizes), True)
        assert counters.tolist() == [k + 1, 0]
        decay = rates[1].item()
        assert decay == pytest.approx(min(1 - 1 / (k + 1), 0.9), rel=1e-15)
        expected = decay * expected + 1 - decay
        assert all(tensor.sub(expected).abs().max() < 1e-6 for tensor in teacher if len(tensor))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("copy_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("teacher_dtype", DTYPES, ids=str)
def test_copies_are_the_new_teacher_rounded(teacher_dtype, copy_dtype, device, ema_update_):
    cases = [(shape, layout) for shape in (*SHAPES, (3, 5000)) for layout in DENSE]
    teacher = [make(shape, dtype=teacher_dtype, device=device, layout=layout) for shape, layout in cases]
    student = [make(shape, dtype=teacher_dtype, device=device, layout=layout, seed=1) for shape, layout in cases]
    copies = [relaid(torch.zeros_like(t).to(copy_dtype), layout) for t, (_, layout) in zip(teacher, cases)]
    wide = torch.float64 if torch.float64 in (teacher_dtype, copy_dtype) else torch.float32
    # All but the last are averaged.
    ema_update_(teacher, student, scalar(0.75, device), len(teacher) - 1, copies)
    assert torch.equal(teacher[-1], student[-1])
    for mine, copied in zip(teacher, copies):
        assert copied.dtype == copy_dtype and torch.equal(copied, mine.to(wide).to(copy_dtype))
    numbers = [torch.arange(5, device=device), torch.zeros(5, dtype=torch.int64, device=device)]
    ema_update_(numbers[1:], numbers[:1], scalar(0.75, device), 0, [torch.zeros_like(numbers[0])])
    assert torch.equal(*numbers)


def test_several_threads_agree_with_one(ema_update_):
    teacher = [torch.randn(size) for size in (0, 100_000, 1, 0, 16384, 16385, 0)]
    other, student = [t.clone() for t in teacher], [torch.randn_like(t) for t in teacher]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ema_update_(teacher, student, scalar(0.9), 7)
    finally:
        torch.set_num_threads(threads)
    ema_update_(other, student, scalar(0.9), 7)
    assert all(torch.equal(a, b) for a, b in zip(teacher, other))


def test_autograd_sees_the_change():
    teacher, x = torch.ones(3), torch.ones(3, requires_grad=True)
    y = (x * teacher).sum()
    update = torch.ops.vreid_fast.ema_update_
    update([teacher], [torch.zeros(3)], [], *schedule(scalar(0.5)), 1, False)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        update([leaf], [torch.zeros(3)], [], *schedule(scalar(0.5)), 1, False)


def test_bad_arguments_of_the_op():
    def op(teacher, student, decay, averaged, copies=()):
        torch.ops.vreid_fast.ema_update_(teacher, student, list(copies), *schedule(decay), averaged, False)

    half, numbers = scalar(0.5), torch.ones(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="student must hold 1 tensors like teacher, got 2"):
        op([torch.ones(3)], [torch.ones(3)] * 2, half, 1)
    with pytest.raises(ValueError, match=r"student tensor 1 must have shape \[3\] like the teacher's, got \[1\]"):
        op([torch.ones(3)] * 2, [torch.ones(3), torch.ones(1)], half, 2)
    with pytest.raises(TypeError, match=r"student tensor 0 must be .* got torch.int64 for torch.int64"):
        op([numbers], [numbers.clone()], half, 1)
    with pytest.raises(TypeError, match="got torch.int32 for torch.int64"):
        op([numbers], [numbers.int()], half, 0)
    with pytest.raises(ValueError, match="teacher tensor 0 must be dense in memory"):
        op([torch.ones(3, 2)[:, 0]], [torch.ones(3)], half, 1)
    with pytest.raises(TypeError, match=r"rates must be torch.float64, got torch.float32"):
        op([torch.ones(3)], [torch.ones(3)], torch.tensor(0.5), 1)
    with pytest.raises(ValueError, match=r"rates must hold 2 elements, got shape \[2, 2\]"):
        op([torch.ones(3)], [torch.ones(3)], scalar([0.5, 0.5]), 1)
    with pytest.raises(ValueError, match="copies must be empty or hold 1 tensors like teacher, got 2"):
        op([torch.ones(3)], [torch.ones(3)], half, 1, [torch.ones(3)] * 2)
    with pytest.raises(ValueError, match=r"copy tensor 0 must have shape \[3\] like the teacher's, got \[1\]"):
        op([torch.ones(3)], [torch.ones(3)], half, 1, [torch.ones(1)])
    with pytest.raises(ValueError, match=r"copy tensor 0 must have strides \[2, 1\] like the teacher's, got \[1, 2\]"):
        op([torch.ones(2, 2)], [torch.ones(2, 2)], half, 1, [torch.ones(2, 2).T])


def test_opcheck():
    teacher = [make((3, 4)), torch.zeros(2, dtype=torch.int64)]
    student = [make((3, 4), layout="strided", seed=1), torch.ones(2, dtype=torch.int64)]
    for copies in ([], [make((3, 4), dtype=torch.bfloat16), torch.ones(2, dtype=torch.int64)]):
        arguments = teacher, student, copies, *schedule(scalar(0.9)), 1, True
        torch.library.opcheck(torch.ops.vreid_fast.ema_update_.default, arguments)
