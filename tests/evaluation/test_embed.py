"""Tracklets to vectors: all frames or some, with the statistics of each camera."""

import pytest
import torch

from vreid_fast.data import read_dataset
from vreid_fast.data.reading.loader import ReadingOptions
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import Protocol, embed, evaluating
from vreid_fast.models import build, camera_statistics, using_statistics

CPU = Precision("fp32", torch.device("cpu"))


@pytest.mark.parametrize(("frames", "clips"), [(1, "all"), (2, "contiguous")])
def test_embedding_all_frames_averages_over_clips_and_leaves_the_network_as_it_was(data, frames, clips):
    tracklets = read_dataset(data["target"]).query[:5]
    network = build("small", identities=3, frames=2).train()
    settings = Protocol(frames, ReadingOptions(size=(32, 16), backend="torch"), clips=clips, batch=2)
    every = embed(network, tracklets, settings, CPU)
    assert network.training and every.shape == (5, network.width)
    # Three frames a tracklet, clips of one frame, or of two and of one, which counts for half as much: the mean over
    # frames is the embedding of the whole.
    whole = embed(network, tracklets, Protocol(3, ReadingOptions(size=(32, 16), backend="torch")), CPU)
    torch.testing.assert_close(every, whole, rtol=1e-4, atol=1e-4)


def test_each_tracklet_is_embedded_with_the_statistics_of_its_camera(data):
    tracklets = read_dataset(data["target"]).query[:8]
    assert {tracklet.camera for tracklet in tracklets} == {0, 1}
    network = build("small", identities=3, frames=2)
    protocol = Protocol(2, ReadingOptions(size=(32, 16), backend="torch"), batch=3)
    clips = 3 * torch.randn(4, 2, 3, 32, 16)
    statistics = camera_statistics(network, [(1, clips)])  # camera 0 has none: its tracklets get the network's own
    found = embed(network, tracklets, protocol, CPU, statistics)
    plain = embed(network, tracklets, protocol, CPU)
    with using_statistics(network, statistics[1]):
        other = embed(network, tracklets, protocol, CPU)
    assert not torch.allclose(plain, other)
    for row, tracklet in enumerate(tracklets):
        torch.testing.assert_close(found[row], (plain, other)[tracklet.camera][row])


def test_after_an_error_the_network_is_in_the_mode_it_was_in():
    network = torch.nn.Linear(1, 1).train()
    with pytest.raises(KeyError), evaluating(network):
        assert not network.training
        raise KeyError
    assert network.training
