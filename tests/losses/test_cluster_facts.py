"""How many clusters are used, their sizes, and the cameras in each."""

import pytest
import torch

from vreid_fast.losses import FeatureMemory, cluster_facts


def numbers(facts):
    return {name: value.item() for name, value in facts.items()}


def test_facts_of_three_used_clusters_of_five():
    labels = torch.tensor([4, 0, 0, -1, 4, 4, 2, 0, 0, -1])
    cameras = torch.tensor([7, 1, 1, 0, 7, 2, 3, 2, 3, 9])
    facts = cluster_facts(labels, 5, cameras)
    assert all(value.dim() == 0 for value in facts.values())
    assert numbers(facts) == {
        "clusters": 3,
        "cluster_size_smallest": 1,
        "cluster_size_median": 3.0,
        "cluster_size_largest": 4,
        "cameras_per_cluster": pytest.approx((2 + 1 + 3) / 3),
    }


def test_the_median_of_an_even_number_lies_between():
    facts = numbers(cluster_facts(torch.tensor([0, 1, 1, 1, 1]), 2))
    assert facts["cluster_size_median"] == 2.5 and "cameras_per_cluster" not in facts


@pytest.mark.parametrize("clusters", [0, 4])
@pytest.mark.parametrize("samples", [0, 3])
def test_no_cluster_at_all_is_zero(samples, clusters):
    labels = torch.full((samples,), -1)
    assert set(numbers(cluster_facts(labels, clusters, labels + 1)).values()) == {0}


@pytest.mark.parametrize("seed", range(5))
def test_facts_equal_a_count_by_hand(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 30, (50,), generator=generator)
    cameras = torch.randint(0, 4, (50,), generator=generator)
    members = [cameras[labels == cluster] for cluster in range(30) if (labels == cluster).any()]
    sizes = sorted(len(cameras) for cameras in members)
    facts = numbers(cluster_facts(labels, 30, cameras))
    middle = (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2
    counted = [facts[name] for name in ("clusters", "cluster_size_smallest", "cluster_size_median")]
    assert counted == [len(sizes), sizes[0], middle] and facts["cluster_size_largest"] == sizes[-1]
    different = sum(len(cameras.unique()) for cameras in members)
    assert facts["cameras_per_cluster"] == pytest.approx(different / len(sizes))


def memory_of(cameras):
    """Two people, three tracklets each, and a row that is never written."""
    memory = FeatureMemory(7, 4, cameras)
    memory.write(torch.arange(6), torch.eye(4)[[0, 0, 0, 1, 1, 1]], torch.eye(4)[[0, 0, 0, 1, 1, 1]])
    return memory


def test_a_memory_tells_of_its_last_clustering_and_after_a_resume_too():
    memory = memory_of(None)
    assert memory.cluster_facts() == {}
    memory.cluster(2, restarts=2, seed=0)
    told = numbers(memory.cluster_facts())
    # Sizes count tracklets, though a tracklet has two features; the row never written is in no cluster.
    assert told == {
        "clusters": 2,
        "cluster_size_smallest": 3,
        "cluster_size_median": 3.0,
        "cluster_size_largest": 3,
    }
    other = memory_of(None)
    other.load_state_dict(memory.state_dict())
    assert numbers(other.cluster_facts()) == told


def test_a_memory_with_cameras_counts_them():
    memory = memory_of(torch.tensor([5, 5, 5, 5, 8, 8, 8]))
    memory.cluster(1, restarts=1, seed=0)
    assert memory.cluster_facts()["cameras_per_cluster"] == 2


@pytest.mark.gpu
def test_nothing_waits_for_the_device():
    labels = torch.tensor([0, 1, -1, 1], device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        facts = cluster_facts(labels, 3, labels.abs())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value.is_cuda for value in facts.values())
