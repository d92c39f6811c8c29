"""Clusters (eq. 13), L1C (eq. 14) and L2C (eq. 15)."""

import pytest
import torch
from torch.nn import functional as F

from vreid_fast.losses import FeatureMemory, assignment_loss, cluster_batch, compactness_loss, disagreement
from vreid_fast.losses.consistency import Assignment


def people_under_cameras(people=6, cameras=3, per=4, bias=4.0, width=24):
    """Features of `people` seen by `cameras`, each camera shifting all features by a bias of its own."""
    generator = torch.Generator().manual_seed(0)
    identity = torch.arange(people).repeat_interleave(cameras * per)
    camera = torch.arange(cameras).repeat_interleave(per).repeat(people)
    centre = torch.randn(people, width, generator=generator)
    shift = bias * torch.randn(cameras, width, generator=generator)
    noise = 0.1 * torch.randn(len(identity), width, generator=generator)
    return centre[identity] + shift[camera] + noise, identity, camera


def purity(labels, identity):
    """Fraction of rows whose cluster's commonest identity is their own."""
    right = sum(identity[labels == cluster].bincount().max().item() for cluster in labels.unique())
    return right / len(labels)


def filled(features, cameras, clusters=6):
    memory = FeatureMemory(len(features), features.shape[1], cameras)
    memory.write(torch.arange(len(features)), features, features)
    memory.cluster(clusters, restarts=10, seed=0)
    return memory


def test_camera_aware_clusters_find_people_where_blind_ones_find_cameras():
    features, identity, camera = people_under_cameras()
    rows = torch.arange(len(features))
    aware = filled(features, camera).assign(rows, features, features).student
    blind = filled(features, None).assign(rows, features, features).student
    assert purity(aware, identity) > 0.95
    assert purity(blind, camera) > purity(blind, identity)


def test_means_are_the_plain_means_of_the_clusters():
    features, _, camera = people_under_cameras()
    memory = filled(features, camera)
    of = memory.assign(torch.arange(len(features)), features, features)
    normalised = F.normalize(features, dim=1)
    for cluster in of.student.unique():
        torch.testing.assert_close(of.means[cluster], normalised[of.student == cluster].mean(0))


def test_camera_numbers_need_not_count_from_zero():
    features, _, camera = people_under_cameras()
    rows = torch.arange(len(features))
    one = filled(features, camera).assign(rows, features, features).student
    other = filled(features, camera * 7 + 3).assign(rows, features, features).student
    assert torch.equal(one, other)


def test_rows_never_written_stay_out_of_the_clusters():
    features, _, camera = people_under_cameras()
    memory = FeatureMemory(len(features) + 5, features.shape[1], torch.cat([camera, camera[:5]]))
    memory.write(torch.arange(len(features)), features, features)
    memory.cluster(6, restarts=10, seed=0)
    assert torch.equal(memory.means, filled(features, camera).means)


def test_more_clusters_than_features_is_cut_down():
    features, _, camera = people_under_cameras(people=2, cameras=2, per=1)
    memory = filled(features, camera, clusters=64)
    assert len(memory.means) == 2 * len(features)


def test_memory_state_goes_on_where_it_was():
    features, _, camera = people_under_cameras()
    one = filled(features, camera)
    other = FeatureMemory(len(features), features.shape[1], camera)
    other.load_state_dict(one.state_dict())
    rows = torch.arange(len(features))
    assert torch.equal(one.assign(rows, features, features).student, other.assign(rows, features, features).student)


def test_l1c_pulls_the_student_to_the_teacher_s_cluster():
    means = F.normalize(torch.eye(3, 8), dim=1)
    assignment = Assignment(student=torch.tensor([1]), teacher=torch.tensor([0]), means=means)
    features = torch.zeros(1, 8)
    features[0, 1] = 1.0
    features.requires_grad_()
    assert disagreement(assignment).item() == 1.0
    before = assignment_loss(features, assignment)
    before.backward()
    moved = (features - 0.1 * features.grad).detach()
    assert assignment_loss(moved, assignment) < before
    assert features.grad[0, 0] < 0  # towards the teacher's cluster
    assert disagreement(Assignment(assignment.teacher, assignment.teacher, means)).item() == 0.0


def test_l1c_is_the_cross_entropy_of_soft_assignments():
    features, means = torch.randn(5, 8), F.normalize(torch.randn(3, 8), dim=1)
    assignment = Assignment(torch.zeros(5, dtype=torch.long), torch.tensor([0, 1, 2, 1, 0]), means)
    squared = torch.cdist(F.normalize(features, dim=1), means).square()
    expected = F.cross_entropy(-squared / 0.1, assignment.teacher)
    torch.testing.assert_close(assignment_loss(features, assignment, 0.1), expected, rtol=1e-4, atol=1e-5)


def test_l2c_is_the_mean_distance_to_the_own_cluster_and_safe_at_zero():
    means = torch.eye(2, 4)
    assignment = Assignment(torch.tensor([0, 1]), torch.tensor([0, 0]), means)
    features = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]], requires_grad=True)
    loss = compactness_loss(features, assignment)
    assert loss.item() == pytest.approx((0 + 2**0.5) / 2, abs=1e-5)
    loss.backward()
    assert features.grad.isfinite().all()


def test_clusters_of_one_batch_agree_at_once():
    features, _, _ = people_under_cameras()
    assignment = cluster_batch(features, features + 0.001, clusters=6, restarts=10, seed=0)
    assert disagreement(assignment).item() == 0.0


def test_student_and_teacher_keep_their_own_clusters():
    features, _, camera = people_under_cameras()
    memory = filled(features, camera)
    rows = torch.arange(0, len(features), 12)  # one clip a person, all under the first camera
    own = memory.assign(rows, features[rows], features[rows]).student
    mixed = memory.assign(rows, features[rows], features[rows].roll(1, 0))
    assert torch.equal(mixed.student, own) and torch.equal(mixed.teacher, own.roll(1, 0))
    assert len(own.unique()) > 1
