"""Batch-norm statistics of the target, and its vectors under them."""

import pytest
import torch

from vreid_fast.config import Config
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import embed
from vreid_fast.training import build
from vreid_fast.training.target_statistics import adopt_target_statistics, embed_target, measure_cameras

CPU = Precision("fp32", torch.device("cpu"))


@pytest.fixture
def scene(data):
    """A network that has seen nothing, the loaders and the protocol of a small run."""
    config = Config.of(**data, people=3, target_batch=6, frames=2, height=32, width=16, loader="torch")
    domains = build.read_domains(config)
    batches = build.make_batches(config, domains, CPU, per_camera=False)
    network, _ = build.initial_network(config, domains.identities)
    return network, batches, build.make_protocol(config, batches.reading)


def neck(network):
    return network.neck.running_mean.clone()


def test_the_statistics_of_the_target_replace_those_of_a_network(scene):
    network, batches, _ = scene
    before = neck(network)
    adopt_target_statistics(network, batches, CPU)
    assert not torch.allclose(neck(network), before)


def test_each_camera_has_its_own_and_the_network_keeps_what_it_had(scene):
    network, batches, _ = scene
    before = neck(network)
    found = measure_cameras(network, batches, CPU)
    assert found.keys() == {0, 1} and torch.equal(neck(network), before)
    assert not torch.allclose(found[0]["neck.running_mean"], found[1]["neck.running_mean"])


@pytest.mark.parametrize("per_camera", [False, True])
def test_the_target_is_embedded_as_at_test(scene, per_camera):
    network, batches, protocol = scene
    plain = embed(network, batches.domains.target_tracklets, protocol, CPU)
    before = neck(network)
    found, first, second = embed_target(
        network, (None, 0, 1), batches=batches, protocol=protocol, precision=CPU, per_camera=per_camera
    )
    assert found.shape == (len(batches.domains.target_tracklets), network.width) and not torch.allclose(found, plain)
    assert torch.equal(neck(network), before) == per_camera
    statistics = measure_cameras(network, batches, CPU) if per_camera else None
    again = embed(network, batches.domains.target_tracklets, protocol, CPU, statistics)
    torch.testing.assert_close(found, again)
    assert first.shape == second.shape == found.shape and not torch.allclose(first, second)
