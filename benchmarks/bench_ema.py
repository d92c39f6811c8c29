"""One EMA update of a ResNet-50 state: EmaUpdater against the naive loop, foreach, AveragedModel and timm's ModelEmaV3.

An update reads teacher and student and writes the teacher, 12 bytes an element; "copy of as many bytes" is one
copy that touches 12 bytes for each of them, so that its ratio is the share of the copy's bandwidth that we reach.
"""

from __future__ import annotations

import copy
import sys

import torch
from failures import exit_status
from providers import graphed
from timing import arguments, compare, installed
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from vreid_fast.kernels import EmaUpdater
from vreid_fast.models import build

DECAY = 0.99


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv, __doc__)
    network = "small" if options.quick else "resnet50"
    student = build(network, identities=625, frames=8).to(options.device)
    averaged = sum(tensor.is_floating_point() for tensor in student.state_dict().values())
    elements = sum(tensor.numel() for tensor in student.state_dict().values()) / 1e6
    start = other_state(student)
    providers = {
        "vreid_fast": updater(copy.deepcopy(start), student, None),
        "vreid_fast reference": updater(copy.deepcopy(start), student, "reference"),
        "naive loop": naive(copy.deepcopy(start), student),
        "_foreach_lerp_, cached lists": foreach(copy.deepcopy(start), student),
        "AveragedModel": averaged_model(start, student, avg_fn=get_ema_avg_fn(DECAY)),
        "AveragedModel, multi": averaged_model(start, student, multi_avg_fn=get_ema_multi_avg_fn(DECAY)),
    }
    if options.device == "cuda":
        for name in ("vreid_fast", "_foreach_lerp_, cached lists"):
            # Captured on teachers of their own: warming up moves them.
            moved = copy.deepcopy(start)
            made = updater(moved, student, None) if name == "vreid_fast" else foreach(moved, student)
            providers[f"{name}, CUDA graph"] = restarted(graphed(made), moved, start)
    if timm := installed("timm.utils"):
        providers["timm ModelEmaV3"] = timm_model(timm, copy.deepcopy(start), student)
    expected = [DECAY * t + (1 - DECAY) * s for t, s in zip(floats(start), floats(student))]
    teacher = copy.deepcopy(start)
    half = copy.deepcopy(start).bfloat16()
    providers["vreid_fast, with a bfloat16 copy"] = updater(teacher, student, None, half)
    source = torch.empty(int(1.5 * sum(tensor.numel() for tensor in expected)), device=options.device)
    target = torch.empty_like(source)

    def copied():
        target.copy_(source)
        return expected

    providers["copy of as many bytes"] = copied
    case = f"{network} {averaged} tensors {elements:.1f}M"
    compare("ema", case, providers, expected, device=options.device, quick=options.quick)
    return exit_status()


def other_state(student: nn.Module) -> nn.Module:
    """A teacher that is not the student yet."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    for tensor in floats(teacher):
        tensor.add_(0.1)
    return teacher


def floats(network: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def counters(network: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in network.state_dict().values() if not tensor.is_floating_point()]


def following(update, teacher: nn.Module):
    """`update`, then the floating-point state of `teacher`."""
    result = floats(teacher)

    def run():
        update()
        return result

    return run


def updater(teacher: nn.Module, student: nn.Module, backend: str | None, half: nn.Module | None = None):
    ema = EmaUpdater(teacher, student, DECAY, warmup=False, half=half, backend=backend)
    return following(ema.update, teacher)


def naive(teacher: nn.Module, student: nn.Module):
    """What most Re-ID code does at every step, with the buffers."""
    result = floats(teacher)

    @torch.no_grad()
    def update():
        theirs = student.state_dict()
        for name, mine in teacher.state_dict().items():
            if mine.is_floating_point():
                mine.mul_(DECAY).add_(theirs[name], alpha=1 - DECAY)
            else:
                mine.copy_(theirs[name])
        return result

    return update


def foreach(teacher: nn.Module, student: nn.Module):
    mine, theirs = floats(teacher), floats(student)
    my_counters, their_counters = counters(teacher), counters(student)

    @torch.no_grad()
    def update():
        torch._foreach_lerp_(mine, theirs, 1 - DECAY)
        torch._foreach_copy_(my_counters, their_counters)
        return mine

    return update


def averaged_model(start: nn.Module, student: nn.Module, **average):
    model = AveragedModel(start, use_buffers=True, **average)
    model.n_averaged.fill_(1)  # the first update would copy
    return following(lambda: model.update_parameters(student), model.module)


def timm_model(timm, teacher: nn.Module, student: nn.Module):
    ema = timm.ModelEmaV3(teacher, decay=DECAY)
    return following(lambda: ema.update(student), ema.module)


def restarted(update, teacher: nn.Module, start: nn.Module):
    """`update`, and `teacher` put back where it started."""
    teacher.load_state_dict(start.state_dict())
    return update


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
