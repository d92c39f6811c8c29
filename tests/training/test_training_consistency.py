"""The two consistency objects: what they learn from the target, what they remember, what they refuse."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vreid_fast.config.groups import ClusterKnobs, ConsistencyKnobs, ProxyKnobs
from vreid_fast.data.reading.loader import Batch
from vreid_fast.device import Precision
from vreid_fast.errors import InputError
from vreid_fast.losses import choose_list_size
from vreid_fast.models import build
from vreid_fast.training import proxy_consistency
from vreid_fast.training.consistency import Clustering, Consistency, PaperConsistency, count_clusters
from vreid_fast.training.methods import METHODS
from vreid_fast.training.proxy_consistency import ProxyConsistency
from vreid_fast.training.teacher import MeanTeacher

CPU = torch.device("cpu")
CAMERAS = torch.tensor([0, 1, 0, 1, 0, 1])


class Statistics(list):
    """Batches of a pass over the target, as `Batches.statistics` gives them."""

    def __enter__(self):
        return self

    def __exit__(self, *_): ...


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("small", identities=4, frames=2).train()


def no_pairs():
    return np.zeros((0, 2), np.int64)


@pytest.fixture
def target():
    """Six tracklets in two views, and what the objects need of the loaders."""
    torch.manual_seed(1)
    views = torch.randn(6, 2, 3, 32, 16), torch.randn(6, 2, 3, 32, 16)
    domains = SimpleNamespace(target_tracklets=range(6), cameras=lambda: CAMERAS, overlaps=no_pairs)
    passes = Statistics([(Batch((views[0],), torch.arange(6)),)])
    batches = SimpleNamespace(domains=domains, target_pass=lambda: 2, target_batch=6, statistics=lambda: passes)
    return SimpleNamespace(views=views, rows=torch.arange(6), batches=batches)


def paper(target, network, clusters=None, **knobs):
    clusters = ClusterKnobs(**{"clusters": 3, "cluster_restarts": 2, **(clusters or {})})
    precision = Precision("fp32", CPU)
    return PaperConsistency(ConsistencyKnobs(**knobs), clusters, target.batches, precision, network.width, CPU)


def plus(target, network, embed=None, by="kmeans", identities=None, listed=2, **knobs):
    embed = embed or (lambda network: network(target.views[0]).clip.detach())
    clusters = ClusterKnobs(clusters=3, cluster_restarts=2, cluster_by=by, cluster_neighbours=listed)
    return ProxyConsistency(
        ProxyKnobs(**knobs), clusters, target.batches, lambda network, halves: [embed(network) for _ in halves],
        network.width, CPU, identities,
    )  # fmt: skip


@pytest.fixture
def crowd(target):
    """24 tracklets of two cameras; a batch is the first six of them."""
    domains = SimpleNamespace(target_tracklets=range(24), cameras=lambda: CAMERAS.repeat(4), overlaps=no_pairs)
    batches = SimpleNamespace(domains=domains, target_pass=lambda: 2, target_batch=6)
    return SimpleNamespace(views=target.views, rows=target.rows, batches=batches)


FOUR, SHIFTED = [row // 6 for row in range(24)], [(row + 3) // 6 % 4 for row in range(24)]
TWO, HEAP = [row // 12 for row in range(24)], [0] * 24
"""Whom the tracklets of a crowd may look like."""


def showing(crowd, network, *passes, **options):
    """`plus` by neighbours, to which the tracklets look like these people, one list a pass."""
    shown, width = iter(passes), network.width
    jitter = 0.01 * torch.randn(24, width, generator=torch.Generator().manual_seed(3))
    return plus(crowd, network, lambda _: torch.eye(width)[list(next(shown))] + jitter, "neighbours", **options)


def step(consistency, network, target, number=0):
    """One step as `Steps.adapt` makes it, without the gradient step: losses and facts."""
    teacher = MeanTeacher(network)
    consistency.before_step(number, teacher)
    student, of_teacher = network(target.views[0]).clip, teacher(target.views[1])
    clustering = Clustering(number) if consistency.clusters_in_losses(number) else None
    found = consistency.losses(target.rows, student, of_teacher, clustering)
    consistency.after_step(target.rows, of_teacher)
    return found


@pytest.mark.parametrize("over", ["memory", "batch"])
@pytest.mark.parametrize("term", ["l1c", "l2c"])
def test_l1c_and_l2c_reach_the_backbone_each_alone(network, target, term, over):
    consistency = paper(target, network, {"cluster_over": over}, **{"l1c": 0.0, "l2c": 0.0, term: 0.5})
    losses, facts = step(consistency, network, target)
    assert list(losses) == [term] and consistency.factors == {term: 0.5} and 0 <= facts["disagreement"].item() <= 1
    losses[term].backward()
    assert torch.cat([parameter.grad.flatten() for parameter in network.trunk.parameters()]).abs().max() > 1e-6
    assert ("clusters" in facts) == (over == "memory") and (consistency.state_dict() is None) == (over == "batch")


def test_the_proxies_reach_the_backbone_and_follow_the_teacher_after_the_step(network, target):
    consistency, teacher = plus(target, network), MeanTeacher(network)
    consistency.before_step(0, teacher)
    before = consistency.proxies.proxies.clone()
    of_teacher = teacher(target.views[1])
    losses, facts = consistency.losses(target.rows, network(target.views[0]).clip, of_teacher)
    assert list(losses) == ["proxy"] and facts["clusters"] == 3 and torch.equal(consistency.proxies.proxies, before)
    losses["proxy"].backward()
    assert torch.cat([parameter.grad.flatten() for parameter in network.trunk.parameters()]).abs().max() > 1e-6
    consistency.after_step(target.rows, of_teacher)
    assert not torch.equal(consistency.proxies.proxies, before)


def test_the_memory_is_clustered_anew_once_a_pass(network, target):
    consistency, centroids = paper(target, network), []
    for number in range(4):
        step(consistency, network, target, number)
        centroids.append(consistency.memory.centroids.clone())
    same = [torch.equal(one, other) for one, other in zip(centroids, centroids[1:])]
    assert same == [True, False, True]


def test_the_target_is_embedded_anew_once_a_pass(network, target):
    calls = []

    def embed(teacher):
        calls.append(len(calls))
        return teacher(target.views[0]).clip.detach()

    consistency = plus(target, network, embed)
    for number in range(4):
        step(consistency, network, target, number)
    assert len(calls) == 2


def test_the_first_clusters_see_the_whole_target(network, target):
    consistency = paper(target, network)
    assert not consistency.memory.written.any()
    consistency.start(MeanTeacher(network))
    assert consistency.memory.written.all() and torch.equal(*consistency.memory.features)


@pytest.mark.parametrize("make", [paper, plus, lambda *given: plus(*given, by="neighbours")])
def test_a_state_goes_to_disk_and_back(network, target, make, tmp_path):
    one, other = make(target, network), make(target, network)
    step(one, network, target)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize(("make", "off"), [(paper, {"l1c": 0.0, "l2c": 0.0}), (plus, {"proxy": 0.0})])
def test_what_is_switched_off_costs_nothing(network, target, make, off):
    consistency = make(target, network, **off)
    consistency.start(None)
    consistency.before_step(0, None)
    assert consistency.losses(target.rows, None, None) == ({}, {})
    consistency.after_step(target.rows, None)
    assert consistency.state_dict() is None and consistency.factors == {}


@pytest.mark.parametrize(
    ("knobs", "wanted"),
    [({"clusters": 5}, 5), ({}, 2), ({"cluster_over": "batch"}, 6), ({"clusters": 4, "cluster_over": "batch"}, 4)],
)
def test_the_number_of_clusters_is_the_knob_or_a_guess(target, knobs, wanted):
    assert count_clusters(ClusterKnobs(**knobs), target.batches) == wanted


def test_the_guess_is_one_cluster_for_seven_tracklets(target):
    target.batches.domains.target_tracklets = range(432)
    assert count_clusters(ClusterKnobs(), target.batches) == 61


def test_what_the_target_does_to_the_clusters_is_told(target):
    domains = target.batches.domains
    assert PaperConsistency.notes(ClusterKnobs(clusters=6), domains, 4) == []
    (note,) = ProxyConsistency.notes(ClusterKnobs(clusters=7, cluster_by="kmeans"), domains, 4)
    assert note == "--clusters 7: the target has 6 tracklets, so there are 6 clusters"
    assert ProxyConsistency.notes(ClusterKnobs(), domains, 4) == []
    (note,) = ProxyConsistency.notes(ClusterKnobs(clusters=7), domains, 4)
    assert note == "--clusters 7 is for --cluster_by kmeans; neighbours need no number"
    (note,) = ProxyConsistency.notes(ClusterKnobs(cluster_neighbours=3, cluster_by="kmeans"), domains, 4)
    assert note == "--cluster_neighbours 3 is for --cluster_by neighbours"
    assert ProxyConsistency.notes(ClusterKnobs(cluster_neighbours=3), domains, 4) == []
    domains.overlaps = lambda: np.zeros((1234, 2), np.int64)
    assert ProxyConsistency.notes(ClusterKnobs(), domains, 4) == [
        "1,234 pairs of the target's tracklets were before one camera at once: two people each"
    ]
    with pytest.raises(InputError, match="--cluster_by neighbours is for --method plus; --method paper has k-means"):
        PaperConsistency.notes(ClusterKnobs(cluster_by="neighbours"), domains, 4)
    blind = SimpleNamespace(target_tracklets=range(6), cameras=lambda: None)
    assert "clusters may fall apart by camera" in PaperConsistency.notes(ClusterKnobs(), blind, 4)[0]
    assert PaperConsistency.notes(ClusterKnobs(camera_aware=False), blind, 4) == []
    with pytest.raises(InputError, match="--clusters 9: a batch has 8 features"):
        PaperConsistency.notes(ClusterKnobs(clusters=9, cluster_over="batch"), domains, 4)


def facts_of(consistency, network, target):
    """Facts of the next pass."""
    consistency.before_step(0, MeanTeacher(network))
    student = network(target.views[0]).clip
    losses, facts = consistency.losses(target.rows, student, None)
    assert losses["proxy"].isfinite()
    return {name: fact.item() for name, fact in facts.items()}


def test_each_pass_tells_of_its_clusters_and_of_the_pass_before(network, crowd):
    identities = torch.tensor(FOUR)
    identities[:2] = -1
    consistency = showing(crowd, network, FOUR, SHIFTED, identities=identities)
    assert facts_of(consistency, network, crowd) == {
        "clusters": 4, "cluster_size_smallest": 6, "cluster_size_median": 6, "cluster_size_largest": 6,
        "cameras_per_cluster": 2, "outliers": 0, "pairs_kept": 0, "clusters_stayed": 0, "neighbours": 2,
        "unseen_pair_precision": 1, "unseen_pair_recall": 1,
    }  # fmt: skip
    facts = facts_of(consistency, network, crowd)
    assert facts["pairs_kept"] == pytest.approx(6 / 15)
    # Nobody knows two tracklets of a cluster of six: the others are 3 * 15 + 6 pairs, and 3 * 6 + 3 are of one person.
    assert facts["unseen_pair_precision"] == pytest.approx(21 / 51)
    assert facts["unseen_pair_recall"] == pytest.approx(21 / 51)


def test_tracklets_that_were_seen_at_once_are_kept_apart_and_counted(network, crowd):
    crowd.batches.domains.overlaps = lambda: np.array([(0, 1), (6, 18)])  # of one person's looks, and of two
    facts = facts_of(showing(crowd, network, FOUR), network, crowd)
    assert facts["overlaps_met"] == 0.5 and list(facts)[-1] == "overlaps_met"
    crowd.batches.domains.overlaps = lambda: np.array([(0, place) for place in range(1, 6)])
    consistency = showing(crowd, network, FOUR)
    assert facts_of(consistency, network, crowd)["overlaps_met"] == 0
    assert consistency.labels[0] == -1 and consistency.labels[1:6].unique().tolist() == [0]


def test_a_number_of_clusters_that_changes_needs_no_more_room(network, crowd, monkeypatch):
    consistency = showing(crowd, network, *[FOUR] * 3)
    places = set()
    for people in (FOUR, TWO, FOUR):
        monkeypatch.setattr(proxy_consistency, "cluster", lambda *_, found=people, **__: torch.tensor(found))
        assert facts_of(consistency, network, crowd)["clusters"] == len(set(people))
        places.add(tuple(tensor.data_ptr() for tensor in consistency.state_dict().values()))
    assert len(places) == 1, "a recorded step goes on"


@pytest.mark.parametrize(
    ("found", "said"),
    [(1, "all tracklets that are in a cluster are in one"), (0, "no two tracklets are in a cluster")],
)
def test_where_no_clusters_are_found_those_before_stay_and_the_log_says_so(
    network, crowd, found, said, capsys, monkeypatch
):
    consistency = showing(crowd, network, FOUR, HEAP, SHIFTED)
    facts_of(consistency, network, crowd)
    consistency.after_step(crowd.rows, torch.randn(6, network.width))
    before = {name: value.clone() for name, value in consistency.proxies.state_dict().items()}
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        labels = torch.tensor([0] * 20 + [-1] * 4) if found else torch.full((24,), -1)
        patch.setattr(proxy_consistency, "cluster", lambda *_, **__: labels)
        facts = facts_of(consistency, network, crowd)
    assert (facts["clusters_stayed"], facts["clusters"], facts["pairs_kept"]) == (1, 4, 1)
    for name in ("labels", "proxies", "present"):
        assert torch.equal(consistency.proxies.state_dict()[name], before[name])
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"note: clusters at step 0 of adaptation: {said}; those of the pass before stay"
    facts = facts_of(consistency, network, crowd)
    assert facts["clusters_stayed"] == 0 and facts["pairs_kept"] == pytest.approx(6 / 15)


def test_where_the_first_pass_finds_none_the_loss_waits_for_the_next(network, crowd, capsys):
    consistency, first = showing(crowd, network, FOUR), [[torch.ones(24, network.width)]]
    consistency.embed = lambda *given, then=consistency.embed: first.pop() if first else then(*given)
    facts = facts_of(consistency, network, crowd)
    assert (facts["clusters"], facts["outliers"], facts["clusters_stayed"]) == (0, 24, 1)
    assert "are in one; the proxies' loss waits for the next pass" in capsys.readouterr().err
    losses, _ = consistency.losses(crowd.rows, network(crowd.views[0]).clip, None)
    losses["proxy"].backward()
    assert losses["proxy"].item() == 0 and all(not p.grad.any() for p in network.trunk.parameters())
    consistency.before_step(1, None)  # within a pass: nothing is embedded
    facts = facts_of(consistency, network, crowd)
    assert (facts["clusters"], facts["clusters_stayed"]) == (4, 0)


def test_a_state_of_an_earlier_version_has_its_facts_found_again(network, crowd):
    one, other = showing(crowd, network, FOUR), plus(crowd, network, by="neighbours")
    wanted = facts_of(one, network, crowd)
    older = {name: value for name, value in one.state_dict().items() if name not in ("facts", "listed")}
    for facts in ({}, {"facts": torch.zeros(8)}):  # without any, and with those that there were before lists had sizes
        other.facts.zero_()
        other.load_state_dict({**older, **facts})
        assert dict(zip(other.names, other.facts.tolist())) == wanted


def halves_of(people, noise, width=32):
    """Features (24, width) of two halves of tracklets that show these people."""
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(24, width, generator=generator)[people]
    return [whole + noise * torch.randn(24, width, generator=generator) for _ in range(2)]


def test_the_first_pass_chooses_the_size_of_lists_and_the_others_keep_it(network, crowd, capsys):
    """Two tracklets of a person before each camera, and halves that tell no other."""
    people = [row // 4 for row in range(24)]
    shown, asked = halves_of(people, 0.3, network.width), []

    def embed(_, halves):
        asked.append(tuple(halves))
        return [shown[half or 0] for half in halves]

    def choosing():
        consistency = plus(crowd, network, by="neighbours", listed=0)
        consistency.embed = embed
        return consistency

    one, other = choosing(), choosing()
    facts = [facts_of(one, network, crowd) for _ in range(2)]
    assert asked == [(None, 0, 1), (None,)] and facts[0]["neighbours"] == facts[1]["neighbours"] == one.listed
    (line,) = capsys.readouterr().err.splitlines()
    wanted = choose_list_size(shown, CAMERAS.repeat(4))
    assert wanted.size == one.listed and line.startswith(f"note: clusters by lists of {one.listed} of each camera")
    assert line.endswith(f": {', '.join(f'{size}: {part:.2f}' for size, part in wanted.agreement.items())}")
    other.load_state_dict(one.state_dict())
    facts_of(other, network, crowd)
    assert other.listed == one.listed and asked[2:] == [(None,)], "a run that is gone on with keeps it too"
    for bad in (torch.tensor([1, 2]), torch.tensor(-1)):
        with pytest.raises(ValueError, match="listed"):
            choosing().load_state_dict({**one.state_dict(), "listed": bad})
    older = choosing()
    older.load_state_dict({name: value for name, value in one.state_dict().items() if name != "listed"})
    assert older.listed == 2, "lists of a run that is older than the choice"


def test_a_method_is_a_class_with_this_interface():
    interface = {name for name in vars(Consistency) if not name.startswith("_")}
    assert {"start", "before_step", "losses", "after_step", "state_dict", "load_state_dict"} <= interface
    for method in METHODS.values():
        assert method.consistency is None or not inspect.isabstract(method.consistency)
