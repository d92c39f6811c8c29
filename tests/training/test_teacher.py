"""The mean teacher."""

import torch

from vreid_fast.models import build
from vreid_fast.training.teacher import MeanTeacher


def test_teacher_follows_by_the_warm_up_rule_over_global_steps():
    torch.manual_seed(0)
    student = build("small", identities=3, frames=2)
    teacher = MeanTeacher(student, decay=0.6)
    expected = None
    for step in range(5):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn_like(parameter))
        decay = min(1 - 1 / (step + 1), 0.6)
        weight = student.classifier.weight.detach()
        expected = weight.clone() if expected is None else decay * expected + (1 - decay) * weight
        teacher.follow()
    torch.testing.assert_close(teacher.network.classifier.weight, expected)


def test_teacher_gives_clip_features_without_gradient_and_uses_batch_statistics():
    student = build("small", identities=3, frames=2)
    teacher = MeanTeacher(student)
    clips = torch.randn(4, 2, 3, 32, 16)
    features = teacher(clips)
    assert features.shape == (4, student.width) and not features.requires_grad
    torch.testing.assert_close(features, student.train()(clips).clip.detach())


def test_state_goes_on():
    student = build("small", identities=3, frames=2)
    one, other = MeanTeacher(student), MeanTeacher(student)
    for _ in range(3):
        with torch.no_grad():
            student.classifier.weight.add_(1.0)
        one.follow()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        student.classifier.weight.add_(1.0)
    one.follow()
    other.follow()
    assert torch.equal(one.network.classifier.weight, other.network.classifier.weight)
