"""Source and target of a run, and the batches drawn from them."""

import dataclasses

import pytest
import torch
from small_runs import write_people

from vreid_fast.data.batches import Batches
from vreid_fast.data.domains import Domains
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.errors import InputError


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    root = tmp_path_factory.mktemp("domains")
    source, target = write_people(root / "source", 0), write_people(root / "target", 1, cameras=3)
    return Domains.read(f"folder:{source}", f"folder:{target}")


@pytest.fixture(scope="module")
def batches(domains):
    return Batches(
        domains, ReadingOptions(size=(32, 16), backend="torch"), frames=2, people=3, per_person=2, target_batch=6,
        flip=0.5, erase=0.5, pad=2, seed=0,
    )  # fmt: skip


def test_unlabelled_tracklets_have_lost_their_identity_and_keep_their_camera(domains):
    assert {tracklet.identity for tracklet in domains.target_tracklets} == {None}
    assert {tracklet.clothes for tracklet in domains.target_tracklets} == {None}
    assert [tracklet.camera for tracklet in domains.target_tracklets] == [t.camera for t in domains.target_data.train]
    assert domains.cameras().unique().tolist() == [0, 1, 2]


def test_labels_are_classes_from_zero(domains):
    assert domains.identities == 6 and domains.labels.unique().tolist() == list(range(6))


def test_one_unknown_camera_makes_cameras_unknown(domains):
    unlabelled = [dataclasses.replace(domains.target_tracklets[0], camera=None), *domains.target_tracklets[1:]]
    assert dataclasses.replace(domains, target_tracklets=unlabelled).cameras() is None


def test_source_batches_are_people_times_tracklets(batches):
    with batches.source(0, 3) as loader:
        for (batch,) in loader:
            assert batch.clips.shape == (6, 2, 3, 32, 16)
            labels = batches.domains.labels[batch.tracklets]
            assert labels.unique().numel() == 3 and torch.equal(labels[::2], labels[1::2])


def test_target_batches_have_two_views_and_balanced_cameras(batches):
    with batches.both(10, 14, done=0) as loader:
        for _, batch in loader:
            cameras = batches.domains.cameras()[batch.tracklets]
            assert cameras.bincount().tolist() == [2, 2, 2]
            assert len(batch.views) == 2 and not torch.equal(batch.views[0], batch.views[1])


def test_batches_go_on_in_the_middle(batches):
    with batches.both(10, 14, done=0) as whole, batches.both(12, 14, done=2) as rest:
        later = list(whole)[2:]
        for step, other in zip(later, rest, strict=True):
            for one, two in zip(step, other, strict=True):
                assert torch.equal(one.tracklets, two.tracklets)
                assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))


def test_a_source_batch_is_the_same_alone_and_beside_a_target_batch(batches):
    with batches.both(3, 6, done=0) as both, batches.source(3, 6) as alone:
        for (one, _), (two,) in zip(both, alone, strict=True):
            assert torch.equal(one.tracklets, two.tracklets) and torch.equal(one.clips, two.clips)


def test_a_cache_changes_no_batch(domains, batches):
    cached = dataclasses.replace(batches, cache="cpu")
    for _ in range(2):
        for load in (lambda of: of.both(0, 5, done=0), lambda of: of.statistics()):
            with load(batches) as plain, load(cached) as kept:
                for step, other in zip(plain, kept, strict=True):
                    for one, two in zip(step, other, strict=True):
                        assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))


def test_statistics_batches_are_one_pass_without_augmentation(batches):
    with batches.statistics() as loader:
        seen = [batch for (batch,) in loader]
    assert len(seen) == batches.target_pass() == 6
    assert sorted(torch.cat([batch.tracklets for batch in seen]).tolist()) == list(range(36))
    # An erased rectangle is exactly 0 after normalisation; the images hold no such pixel.
    assert not any((batch.clips == 0).all(2).any() for batch in seen)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"people": 1}, "wanted at least 2 people"), ({"labelled": False}, "24 of which 24 have no identity")],
)
def test_sources_that_cannot_teach_are_refused(tmp_path, changes, said):
    source = write_people(tmp_path / "source", 0, **changes)
    target = write_people(tmp_path / "target", 1)
    with pytest.raises(InputError, match=said):
        Domains.read(f"folder:{source}", f"folder:{target}")
