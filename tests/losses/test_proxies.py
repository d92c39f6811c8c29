"""Camera proxies against their definition, written out clip by clip."""

import math

import pytest
import torch
from torch.nn import functional as F

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
    proxies.cluster(clusters, restarts=5, seed=0)
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


def test_without_cameras_a_cluster_has_one_proxy_and_clusters_are_no_more_than_tracklets():
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
