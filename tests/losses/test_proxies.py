"""Camera proxies against their definition, written out clip by clip."""

import math

import pytest
import torch
from torch.nn import functional as F

from vreid_fast.kernels import kmeans
from vreid_fast.losses import CameraProxies


def people(seed=0, count=4, cameras=3, each=2, width=8):
    """Features around one centre a person, moved a little by camera; persons and cameras of them."""
    generator = torch.Generator().manual_seed(seed)
    person = torch.arange(count).repeat_interleave(cameras * each)
    camera = torch.arange(cameras).repeat_interleave(each).repeat(count)
    centres = 4 * torch.randn(count, width, generator=generator)
    shifts = 0.5 * torch.randn(cameras, width, generator=generator)
    return centres[person] + shifts[camera] + 0.1 * torch.randn(len(person), width, generator=generator), person, camera


def clustered(features, cameras, clusters=4, **options):
    proxies = CameraProxies(len(features), features.shape[1], cameras, **options)
    proxies.write(torch.arange(len(features)), features)
    clusters = min(clusters, len(features))
    proxies.represent(kmeans(proxies.features, clusters, restarts=5, seed=0).labels, clusters)
    return proxies


def test_clusters_and_proxies_are_the_means_of_their_tracklets():
    features, person, camera = people()
    proxies = clustered(features, camera * 7)  # any numbers name a camera
    for who in range(4):
        assert len(set(proxies.labels[person == who].tolist())) == 1
        for where in range(3):
            here = (person == who) & (camera == where)
            mean = F.normalize(F.normalize(features[here], dim=1).mean(0), dim=0)
            row = proxies.labels[here][0] * 3 + where
            torch.testing.assert_close(proxies.proxies[row], mean)
    assert proxies.present.all()


@pytest.mark.parametrize("negatives", [1, 3, 50])
def test_loss_is_its_definition(negatives):
    features, _, camera = people()
    keep = torch.ones(len(features), dtype=torch.bool)
    keep[:2] = False  # the first person is not seen by the first camera
    features, camera = features[keep], camera[keep]
    proxies = clustered(features, camera)
    assert proxies.present.sum() == 11
    batch = torch.tensor([0, 5, 9, 21])
    student = (features[batch] + torch.randn(4, 8)).requires_grad_()
    wanted = 0.0
    for row, tracklet in enumerate(batch.tolist()):
        cosines = F.normalize(student[row].detach(), dim=0) @ proxies.proxies.T / 0.1
        mine = [k for k in range(12) if proxies.present[k] and k // 3 == proxies.labels[tracklet]]
        other = sorted((cosines[k].item() for k in range(12) if proxies.present[k] and k not in mine), reverse=True)
        below = sum(math.exp(value) for value in other[:negatives])
        losses = [-math.log(math.exp(cosines[k]) / (math.exp(cosines[k]) + below)) for k in mine]
        wanted += sum(losses) / len(losses) / len(batch)
    loss = proxies.loss(batch, student, temperature=0.1, negatives=negatives)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    assert student.grad.isfinite().all() and student.grad.abs().max() > 0


def test_a_step_down_the_loss_draws_a_person_together_across_cameras():
    features, person, camera = people()
    proxies = clustered(features, camera)
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    student = (features + 6 * noise).requires_grad_()
    rows = torch.arange(len(features))

    def across(values):
        similar = F.normalize(values, dim=1) @ F.normalize(values, dim=1).T
        return similar[(person[:, None] == person) & (camera[:, None] != camera)].mean().item()

    before = across(student.detach())
    for _ in range(20):
        (gradient,) = torch.autograd.grad(proxies.loss(rows, student, 0.1, 50), student)
        student = (student - 20 * gradient).detach().requires_grad_()
    assert across(student.detach()) > before + 0.05


def test_proxies_follow_the_features_of_their_own_cluster_and_camera():
    features, person, camera = people()
    proxies = clustered(features, camera, momentum=0.25)
    before = proxies.proxies.clone()
    rows = ((person == 1) & (camera == 2)).nonzero().squeeze(1)
    teacher = torch.randn(len(rows), 8)
    proxies.follow(rows, teacher)
    own = int(proxies.labels[rows[0]]) * 3 + 2
    wanted = F.normalize(0.75 * before[own] + 0.25 * F.normalize(teacher, dim=1).mean(0), dim=0)
    torch.testing.assert_close(proxies.proxies[own], wanted)
    others = torch.arange(12) != own
    assert torch.equal(proxies.proxies[others], before[others])


def test_without_cameras_a_cluster_has_one_proxy():
    features, _, _ = people(count=2)
    proxies = clustered(features, None, clusters=100)
    assert len(proxies.proxies) == len(features) == 12
    loss = proxies.loss(torch.arange(12), features, 0.1, 50)
    assert loss.isfinite()


def test_one_cluster_has_nothing_to_be_drawn_away_from():
    features, _, camera = people()
    assert clustered(features, camera, clusters=1).loss(torch.arange(4), features[:4], 0.1, 50).item() == 0


def test_state_comes_back():
    features, _, camera = people()
    proxies, again = clustered(features, camera), CameraProxies(len(features), 8, camera)
    again.load_state_dict(proxies.state_dict())
    rows = torch.arange(6)
    assert again.loss(rows, features[rows], 0.1, 9) == proxies.loss(rows, features[rows], 0.1, 9)


def some_in_none():
    """Proxies where the second person is in no cluster; features, persons and cameras."""
    features, person, camera = people()
    proxies = clustered(features, camera)
    labels = torch.where(person == 1, -1, torch.where(person > 1, person - 1, person))
    proxies.represent(labels, 3)
    return proxies, features, person, camera


def test_what_is_in_no_cluster_takes_no_part():
    proxies, features, person, camera = some_in_none()
    without = person != 1
    alone = CameraProxies(int(without.sum()), 8, camera[without])
    alone.write(torch.arange(len(alone.features)), features[without])
    alone.represent(proxies.labels[without], 3)
    rows = 9  # three people before three cameras; there was room for four
    assert torch.equal(proxies.proxies[:rows], alone.proxies) and not proxies.present[rows:].any()
    # Nor in a batch: its loss and gradient are those of the clips that are in a cluster, whose mean is taken.
    student = torch.randn(len(features), 8, requires_grad=True)
    loss = proxies.loss(torch.arange(len(features)), student, 0.1, 50)
    wanted = alone.loss(torch.arange(int(without.sum())), student[without], 0.1, 50)
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, student)[0])
    assert (gradient[~without] == 0).all() and (gradient[without] != 0).any()
    # And it moves no proxy.
    before = proxies.proxies.clone()
    proxies.follow((~without).nonzero().squeeze(1), torch.randn(6, 8))
    assert torch.equal(proxies.proxies, before)
    proxies.follow(torch.arange(len(features)), student.detach())
    alone.follow(torch.arange(int(without.sum())), student[without].detach())
    assert torch.equal(proxies.proxies[:rows], alone.proxies)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_batch_that_is_in_no_cluster_has_a_loss_of_zero_and_a_gradient_of_zero(all_of_them):
    proxies, features, person, camera = some_in_none()
    if all_of_them:
        proxies = clustered(features, camera)
        proxies.represent(torch.full_like(person, -1), 1)
    batch = (person == 1).nonzero().squeeze(1)
    student = features[batch].clone().requires_grad_()
    loss = proxies.loss(batch, student, 0.1, 50)
    loss.backward()
    assert loss.item() == 0 and torch.equal(student.grad, torch.zeros_like(student))


def test_one_cluster_has_a_finite_gradient():
    features, _, camera = people()
    student = features[:4].clone().requires_grad_()
    clustered(features, camera, clusters=1).loss(torch.arange(4), student, 0.1, 50).backward()
    assert student.grad.isfinite().all()


def test_proxies_stay_in_their_memory_while_it_has_room():
    features, person, camera = people()
    proxies = clustered(features, camera)
    places = [tensor.data_ptr() for tensor in (proxies.labels, proxies.proxies, proxies.present)]
    proxies.represent(person % 2, 2)
    assert [tensor.data_ptr() for tensor in (proxies.labels, proxies.proxies, proxies.present)] == places
    fresh = CameraProxies(len(features), 8, camera)
    fresh.write(torch.arange(len(features)), features)
    fresh.represent(person % 2, 2)
    rows = torch.arange(len(features))
    torch.testing.assert_close(proxies.loss(rows, features, 0.1, 50), fresh.loss(rows, features, 0.1, 50))
    proxies.represent(torch.arange(len(features)), len(features))
    assert len(proxies.proxies) == 3 * len(features) and proxies.present.sum() == len(features)


def test_a_state_with_tracklets_in_no_cluster_comes_back():
    proxies, features, _, camera = some_in_none()
    again = CameraProxies(len(features), 8, camera)
    again.load_state_dict(proxies.state_dict())
    rows = torch.arange(len(features))
    assert again.loss(rows, features, 0.1, 9) == proxies.loss(rows, features, 0.1, 9)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in proxies.state_dict().items())
