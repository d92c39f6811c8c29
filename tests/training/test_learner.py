"""Schedules, optimiser groups, and the state that goes to disk."""

from types import SimpleNamespace

import pytest
import torch

from vreid_fast.config.groups import ClusterKnobs, ConsistencyKnobs
from vreid_fast.models import build
from vreid_fast.training.consistency import PaperConsistency
from vreid_fast.training.learner import Learner
from vreid_fast.training.optimiser import learning_rate_factor


def make(adapting=True):
    torch.manual_seed(0)
    learner = Learner(build("small", identities=3, frames=2), learning_rate=1e-3, weight_decay=5e-4)
    if adapting:
        # Of the loaders, the memory needs the number of the target's tracklets and their cameras alone.
        domains = SimpleNamespace(target_tracklets=range(5), cameras=lambda: torch.tensor([0, 1, 0, 1, 0]))
        batches = SimpleNamespace(domains=domains, target_pass=lambda: 1, target_batch=5)
        consistency = PaperConsistency(
            ConsistencyKnobs(), ClusterKnobs(), batches, None, learner.student.width, learner.device
        )
        learner.start_adaptation(consistency, learning_rate=4e-4, head_learning_rate=1e-3)
    return learner


def test_learning_rate_rises_then_falls_to_a_fiftieth():
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1.0)
    assert factors[9] == 1.0 and factors[-1] == pytest.approx(0.02, abs=1e-3)
    assert all(late <= early for early, late in zip(factors[10:], factors[11:]))
    assert learning_rate_factor(0, 5, 0) == 1.0


def test_learning_rate_falls_in_the_authors_steps():
    factors = [learning_rate_factor(step, 300, 0, "steps") for step in range(300)]
    assert [step for step in range(1, 300) if factors[step] != factors[step - 1]] == [80, 160, 240]
    assert factors[0] == factors[79] == 1.0 and factors[80::80] == pytest.approx([0.1, 0.01, 0.001])
    learner = make()
    assert learner.set_learning_rate(100, 300, 0, "steps") == pytest.approx(0.1 * 4e-4)
    assert learner.set_learning_rate(4, 300, 10, "steps") == pytest.approx(0.5 * 4e-4)


def test_other_authors_drop_elsewhere_and_to_another_part():
    drops = {"drops": (70, 140, 210, 310, 410, 500), "drop_to": 0.3}
    factors = [learning_rate_factor(step, 1000, 20, "steps", **drops) for step in range(1000)]
    assert [step for step in range(21, 1000) if factors[step] != factors[step - 1]] == [140, 280, 420, 620, 820]
    assert factors[820] == pytest.approx(0.3**5) and factors[0] == pytest.approx(1 / 20) and factors[20] == 1
    assert make().set_learning_rate(150, 1000, 20, "steps", **drops) == pytest.approx(0.3 * 4e-4)


def test_heads_have_their_own_rate_and_no_weight_decay():
    learner = make()
    rate = learner.set_learning_rate(50, 100, 0)
    student, heads, weights = learner.optimiser.param_groups
    assert rate == student["lr"] < heads["lr"] == weights["lr"]
    assert (student["weight_decay"], heads["weight_decay"]) == (5e-4, 0.0)
    count = sum(len(group["params"]) for group in learner.optimiser.param_groups)
    assert count == sum(
        len(list(m.parameters())) for m in (learner.student, learner.adaptation.heads, learner.adaptation.weights)
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_gradient_descent_steps_by_its_formula_and_the_trunk_by_a_part_of_it(nesterov):
    torch.manual_seed(0)
    kind = "nesterov" if nesterov else "sgd"
    learner = Learner(
        build("small", identities=3, frames=2), learning_rate=0.1, weight_decay=0.01, optimiser=kind, trunk_rate=0.1
    )
    rest, trunk = learner.optimiser.param_groups
    assert learner.set_learning_rate(0, 1, 0) == rest["lr"] == pytest.approx(10 * trunk["lr"])
    assert sum(map(len, (rest["params"], trunk["params"]))) == len(list(learner.student.parameters()))
    for name, rate in (("classifier.weight", 0.1), ("trunk.conv1.weight", 0.01)):
        parameter = learner.student.get_parameter(name)
        wanted, speed = parameter.detach().clone(), 0
        for step in range(2):
            parameter.grad = torch.full_like(parameter, step + 1.0)
            slope = parameter.grad + 0.01 * wanted
            speed = slope if step == 0 else 0.9 * speed + slope
            wanted -= rate * (slope + 0.9 * speed if nesterov else speed)
            learner.optimiser.step()
        torch.testing.assert_close(parameter.detach(), wanted)
        parameter.grad = None


def test_the_momentum_of_gradient_descent_goes_to_disk_and_back(tmp_path):
    def start():
        return Learner(
            build("small", identities=3, frames=2),
            learning_rate=0.1,
            weight_decay=0.01,
            optimiser="sgd",
            trunk_rate=0.1,
        )

    one, other = start(), start()
    for parameter in one.student.parameters():
        parameter.grad = torch.ones_like(parameter)
    one.optimiser.step()
    torch.save(one.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(state)
    (mine, theirs) = (learner.optimiser.state_dict()["state"] for learner in (one, other))
    assert len(mine) == len(list(one.student.parameters()))
    assert all(torch.equal(mine[key]["momentum_buffer"], theirs[key]["momentum_buffer"]) for key in mine)
    state["optimiser"]["state"][0]["momentum_buffer"][0] = torch.nan
    with pytest.raises(ValueError, match="optimiser, parameter 0: momentum_buffer holds .* NaN"):
        start().load_state_dict(state)


def test_the_teacher_starts_as_a_copy_without_gradients():
    learner = make()
    teacher = learner.adaptation.teacher.network
    for one, other in zip(teacher.parameters(), learner.student.parameters()):
        assert torch.equal(one, other) and one is not other and not one.requires_grad
    assert learner.networks() == {"student": learner.student, "teacher": teacher}


def test_state_goes_to_disk_and_back(tmp_path):
    one = make()
    one.step = 7
    loss = one.student(torch.randn(2, 2, 3, 32, 16)).clip.square().sum()
    loss.backward()
    one.optimiser.step()
    one.adaptation.teacher.follow()
    width = one.student.width
    one.adaptation.consistency.memory.write(torch.tensor([1, 2]), torch.randn(2, width), torch.randn(2, width))
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other = make()
    with torch.no_grad():
        other.student.classifier.weight.add_(1.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))

    def flat(state, prefix=""):
        for name, value in state.items() if isinstance(state, dict) else enumerate(state):
            if isinstance(value, (dict, list)):
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

    for (name, mine), (_, theirs) in zip(flat(one.state_dict()), flat(other.state_dict()), strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs, name


def test_first_stage_has_no_second_stage_parts():
    state = make(adapting=False).state_dict()
    assert all(state[name] is None for name in ("heads", "weights", "teacher", "memory"))


def test_a_state_goes_from_one_way_of_computing_to_another():
    """As from a GPU, whose Adam is fused, to a CPU and back."""
    torch.manual_seed(0)
    states = []
    for fused in (True, False):
        learner = Learner(build("small", identities=3, frames=2), learning_rate=1e-3, weight_decay=0.0)
        for group in learner.optimiser.param_groups:
            group["fused"] = fused
        for parameter in learner.student.parameters():
            parameter.grad = torch.ones_like(parameter)
        learner.optimiser.step()
        states.append((learner, learner.state_dict()))
    for (learner, _), (_, other) in zip(states, states[::-1]):
        fused = learner.optimiser.param_groups[0]["fused"]
        learner.load_state_dict(other)
        assert learner.optimiser.param_groups[0]["fused"] is fused
        for parameter in learner.student.parameters():
            parameter.grad = torch.ones_like(parameter)
        learner.optimiser.step()
