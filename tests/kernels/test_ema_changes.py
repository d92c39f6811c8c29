"""Networks that change after the EmaUpdater was made: followed by name, or refused by name with no tensor touched."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils import parametrizations, prune

from vreid_fast.kernels import EmaUpdater

BACKENDS = ("cpp", "foreach", "reference")


class Net(nn.Module):
    """Two Linears, tied or not, in a trunk, and a classifier."""

    def __init__(self, tied=False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4, bias=False))
        self.classifier = nn.Linear(4, 3)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        if tied:
            self.trunk[2].weight = self.trunk[0].weight


@pytest.fixture(params=BACKENDS)
def made(request):
    """teacher, student and an updater of decay 0.75 that has made a step"""

    def make(tied=False, **knobs):
        torch.manual_seed(0)
        teacher, student = Net(tied).requires_grad_(False), Net(tied)
        updater = EmaUpdater(teacher, student, 0.75, warmup=False, backend=request.param, **knobs)
        updater.update()
        return teacher, student, updater

    return make


def follows(teacher, student, updater):
    """Whether an update makes all of the teacher's state the average."""
    stirred = [value for value in student.state_dict().values() if value.is_floating_point()]
    for value in stirred:
        value.add_(torch.randn_like(value))
    theirs = student.state_dict()
    wanted = {name: 0.75 * value + 0.25 * theirs[name] for name, value in teacher.state_dict().items()}
    updater.update()
    floating = {name: value for name, value in teacher.state_dict().items() if value.is_floating_point()}
    return all(torch.allclose(value, wanted[name], atol=1e-6) for name, value in floating.items())


def refused(teacher, updater, said):
    """Whether an update raises what is said and touches neither the teacher nor the schedule, time and again."""
    before, steps = copy.deepcopy(teacher.state_dict()), updater.steps.item()
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            updater.update()
    same = all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    return same and updater.steps == steps


def new_classifier(*networks, out=3):
    for network in networks:
        network.classifier = nn.Linear(4, out)


def test_a_replaced_module_is_followed(made):
    teacher, student, updater = made()
    dropped = student.classifier
    for _ in range(3):
        new_classifier(student)
        assert follows(teacher, student, updater)
    assert not torch.equal(dropped.weight, student.classifier.weight)
    new_classifier(teacher)
    assert follows(teacher, student, updater)
    student.trunk = Net().trunk
    assert follows(teacher, student, updater)
    student.trunk[1] = nn.BatchNorm1d(4)
    assert follows(teacher, student, updater)


def test_a_module_replaced_in_all_may_have_another_shape_or_name(made):
    half = Net().bfloat16()
    teacher, student, updater = made(half=half)
    new_classifier(teacher, student, half, out=7)
    half.bfloat16()
    assert follows(teacher, student, updater)
    assert torch.equal(half.classifier.weight, teacher.classifier.weight.bfloat16())
    for network in (teacher, student, half):
        network.neck = nn.BatchNorm1d(4)
    assert follows(teacher, student, updater)


@pytest.mark.parametrize("whole", [True, False], ids=["all", "one"])
def test_replaced_tensors_are_followed_each_time(made, whole):
    teacher, student, updater = made()
    for _ in range(3):
        names = list(student.state_dict()) if whole else ["trunk.1.running_mean"]
        for name in names:
            path, key = name.rsplit(".", 1)
            module = student.get_submodule(path)
            new = getattr(module, key).detach().clone()
            setattr(module, key, nn.Parameter(new) if key in module._parameters else new)
        student.scratch = torch.ones(2)
        assert follows(teacher, student, updater)
    student.load_state_dict(copy.deepcopy(student.state_dict()), assign=True)
    student.trunk[1].running_var = student.trunk[1].running_var.detach()
    assert follows(teacher, student, updater)


def test_a_non_persistent_buffer_may_come_and_go(made):
    teacher, student, updater = made()
    student.trunk[1].register_buffer("seen", torch.zeros(1), persistent=False)
    assert follows(teacher, student, updater)
    del student.scratch
    assert follows(teacher, student, updater)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: new_classifier(net, out=5), r"must be like .* classifier\.weight float32 \(5, 4\)"),
        (lambda net: delattr(net, "classifier"), r"classifier\.weight, classifier\.bias in the teacher only"),
        (lambda net: net.add_module("neck", nn.Linear(2, 2)), r"neck\.weight, neck\.bias in the student only"),
        (lambda net: net.classifier.add_module("low", nn.Linear(2, 2, bias=False)), r"low\.weight in the student"),
        (lambda net: net.register_buffer("queue", torch.zeros(3)), "queue in the student only"),
        (lambda net: net.trunk[1].register_buffer("more", torch.zeros(3)), r"trunk\.1\.more in the student only"),
        (lambda net: setattr(net.trunk[2], "bias", nn.Parameter(torch.zeros(4))), r"trunk\.2\.bias in the student"),
        (lambda net: setattr(net.trunk[0], "weight", nn.Parameter(torch.zeros(4, 9))), r"trunk\.0\.weight .*\(4, 9\)"),
        (lambda net: setattr(net.trunk[0].weight, "data", torch.zeros(4, 9)), r"trunk\.0\.weight .*\(4, 9\)"),
        (lambda net: prune.l1_unstructured(net.trunk[0], "weight", 0.5), r"trunk\.0\.weight in the teacher only"),
        (lambda net: parametrizations.weight_norm(net.trunk[0]), r"trunk\.0\.weight in the teacher only"),
        (lambda net: net.to("meta"), r"classifier\.weight float32 \(3, 4\) on meta|on meta for"),
    ],
)  # fmt: skip
def test_what_no_longer_corresponds_is_named(made, change, said):
    teacher, student, updater = made()
    change(student)
    assert refused(teacher, updater, said + ".*change the networks alike, or make a new EmaUpdater")


def test_weights_tied_in_one_network_only_are_refused(made):
    teacher, student, updater = made(tied=True)
    assert follows(teacher, student, updater)
    student.trunk[2].weight = nn.Parameter(torch.randn(4, 4))
    assert refused(
        teacher, updater, r"got trunk\.2\.weight tied to trunk\.0\.weight in the teacher only; tie them in both"
    )
    teacher.trunk[2].weight = nn.Parameter(torch.randn(4, 4), requires_grad=False)
    assert follows(teacher, student, updater)
    student.trunk[2].weight = student.trunk[0].weight
    assert refused(teacher, updater, r"got trunk\.2\.weight tied to trunk\.0\.weight in the student only")
    with pytest.raises(ValueError, match=r"trunk\.2\.weight tied to trunk\.0\.weight in the teacher only"):
        EmaUpdater(Net(tied=True), Net())


def test_weights_in_one_place_are_tied(made):
    """`load_state_dict(assign=True)` makes two parameters of one memory."""
    teacher, student, updater = made(tied=True)
    teacher.load_state_dict(copy.deepcopy(teacher.state_dict()), assign=True)
    assert teacher.trunk[0].weight is not teacher.trunk[2].weight
    assert follows(teacher, student, updater)
    teacher.load_state_dict(student.state_dict(), assign=True)
    with pytest.raises(ValueError, match=r"student must be a network of its own, .* with the teacher"):
        updater.update()


def test_a_copy_follows_its_own_networks(made):
    teacher, student, updater = made()
    teacher2, student2, updater2 = copy.deepcopy((teacher, student, updater))
    new_classifier(student2)
    assert follows(teacher2, student2, updater2)
    assert follows(teacher, student, updater)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_update_follows_modules(backend):
    torch._dynamo.reset()
    teacher, student = Net().requires_grad_(False), Net()
    updater = EmaUpdater(teacher, student, 0.75, warmup=False, backend=backend)
    counter = CompileCounterWithBackend("aot_eager")
    updater.update = torch.compile(updater.update, backend=counter, fullgraph=True)
    assert follows(teacher, student, updater)
    new_classifier(student)
    assert follows(teacher, student, updater)
    student.trunk = Net().trunk
    assert follows(teacher, student, updater)
    assert counter.frame_count <= 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_half_teacher_is_warned_of_once(made, dtype):
    with pytest.warns(
        UserWarning, match=r"float32, got .*weight (b)?float16.*keep the teacher in float32 and pass half="
    ) as found:
        updater = EmaUpdater(Net().to(dtype), Net())
    assert len(found) == 1 and found[0].filename == __file__
    teacher, _, full = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmaUpdater(Net(), Net().to(dtype), half=Net().to(dtype)).update()
        new_classifier(updater._networks["student"])
        updater.update()
    teacher.to(dtype)
    with pytest.warns(UserWarning, match="ema: teacher should be float32"):
        full.update()
