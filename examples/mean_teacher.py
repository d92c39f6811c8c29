"""A mean teacher: the moving average of a student that learns from wrong labels too.

Three labels of ten are wrong, batches are small and the learning rate stays high, so the student jumps about its goal.
`EmaUpdater` lets the teacher follow it, parameters and buffers in one pass after each step. On clean test samples the
teacher is right more often, and its accuracy changes less from step to step.

    python examples/mean_teacher.py     # two seconds on two cores
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vreid_fast.kernels import EmaUpdater

WRONG = 0.3
"""Part of the labels that is wrong."""


def sample(count: int) -> tuple[Tensor, Tensor]:
    """Points (N, 2), and which of them lie below a sine."""
    points = 1.5 * torch.randn(count, 2)
    return points, (points[:, 1] < torch.sin(2 * points[:, 0])).long()


def make_network() -> nn.Module:
    hidden = [nn.Linear(2, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(64, 2))


@torch.no_grad()
def accuracy(network: nn.Module, points: Tensor, below: Tensor) -> float:
    return float((network.eval()(points).argmax(1) == below).float().mean())


def main(steps: int = 800, seed: int = 0) -> dict[str, Tensor]:
    """Accuracies on clean samples of the student and the teacher, every 20 steps."""
    torch.manual_seed(seed)
    test = sample(4000)
    student = make_network()
    teacher = copy.deepcopy(student).requires_grad_(False)
    updater = EmaUpdater(teacher, student, decay=0.99)
    optimiser = torch.optim.Adam(student.parameters(), lr=0.02)
    found = []
    for step in range(1, steps + 1):
        points, below = sample(16)
        labels = torch.where(torch.rand(len(below)) < WRONG, 1 - below, below)
        optimiser.zero_grad()
        F.cross_entropy(student.train()(points), labels).backward()
        optimiser.step()
        updater.update()
        if step % 20 == 0:
            found.append([accuracy(student, *test), accuracy(teacher, *test)])
        if step % 100 == 0:
            print(f"step {step:4}: student {found[-1][0]:.1%}, teacher {found[-1][1]:.1%}")

    curves = dict(zip(("student", "teacher"), torch.tensor(found).T))
    for name, curve in curves.items():
        later = curve[len(curve) // 2 :]
        print(f"{name} in the second half: {later.mean():.1%} in mean, standard deviation {later.std():.1%}")
    return curves


if __name__ == "__main__":
    torch.set_num_threads(1)  # on tensors so small threads wait for each other longer than they work
    main()
