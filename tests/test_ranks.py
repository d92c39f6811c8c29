"""The functions that know of ranks, and batch norm over them: two and four processes against one, in float64."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch
from support.ranked import ended, furthest, run, start
from torch import nn
from torch.nn import functional as F

from vreid_fast import ranks
from vreid_fast.data.reading.memory import shared_memory
from vreid_fast.data.sampling.plans import RankPlan
from vreid_fast.errors import exit_code
from vreid_fast.kernels import FusedBatchNorm
from vreid_fast.losses import batch_hard_triplet
from vreid_fast.models.whole_batch import normalised, over_whole_batch
from vreid_fast.ranks.store import RankStore
from vreid_fast.training.rank_agreement import different


class Small(nn.Module):
    """Norms of all kinds, as the networks use them."""

    def __init__(self):
        super().__init__()
        self.conv, self.maps = nn.Conv2d(3, 4, 3), FusedBatchNorm(4)
        self.neck, self.average = nn.BatchNorm1d(4), nn.BatchNorm1d(4, momentum=None)

    def forward(self, images):
        maps = self.conv(images)
        maps = self.maps(maps, add=maps.flip(1), relu=True)
        rows = self.average(self.neck(maps.mean((2, 3))))
        return rows, normalised(self.neck, rows.square())


def compute():
    """Two steps on 8 images, of which each rank sees its slice: losses, gradients, running statistics, sums."""
    torch.manual_seed(0)
    images, labels = torch.randn(2, 8, 3, 5, 4), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    network, head = over_whole_batch(Small()), nn.Linear(4, 5)
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    found = []
    for batch in images:
        rows = RankPlan([list(range(8))])[0]
        features, others = ranks.gather(network(batch[rows].contiguous(memory_format=torch.channels_last)))
        loss = batch_hard_triplet(features, labels) + F.cross_entropy(head(others), labels)
        optimiser.zero_grad()
        loss.backward()
        ranks.average(parameter.grad for parameter in parameters)
        optimiser.step()
        found.append({"loss": loss.detach(), "gradients": [parameter.grad.clone() for parameter in parameters]})
    sums = torch.zeros(9)
    sums[ranks.share(range(9))] = 1.0
    shared = ranks.of_first(lambda: [*network.state_dict().values()])
    apart = different({"one": torch.zeros(2), "two": {"a": torch.tensor(0.0 if ranks.first() else 1.0)}})
    again = different(network.state_dict())
    scored = network.eval()(images[0])[0]
    numbers = {"steps": found, "running": dict(network.state_dict()), "scored": scored, "sums": ranks.add_up(sums)}
    memory = shared_memory(9)
    for one in ranks.share(range(9)):
        memory[one] = one
    ranks.anyone(False)  # all have written
    return {**numbers, "first": shared, "memory": torch.tensor(memory)}, (apart, again, ranks.anyone(not ranks.first()))


def test_slices_give_what_the_whole_batch_gives(tmp_path):
    size = 4
    left = run(size, [tmp_path / "found"], script=Path(__file__))
    assert [one.code for one in left] == [0] * size, [one.err for one in left]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        alone, _ = compute()
    finally:
        torch.set_default_dtype(before)
    for rank in range(size):
        numbers, facts = torch.load(f"{tmp_path / 'found'}{rank}", weights_only=True)
        assert furthest(numbers, alone) < (1e-12, "")
        assert facts == ("two.a", None, True)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGSTOP, r"process 2 of 0 to 2 did not come within 8 s \(--rank_timeout\)"),
        (signal.SIGKILL, r"another of the 3 processes of this run ended \(.*\)"),
    ],
)
def test_of_a_process_that_does_not_come_or_ends_the_others_tell_once(number, said):
    processes = start(3, ["lose", number], script=Path(__file__))
    try:
        left = ended(processes[:2])
    finally:
        processes[2].kill()
    assert [one.code for one in left] == [2, 2]
    [line] = [line for one in left for line in one.err.splitlines() if line.startswith("error:")]
    assert re.fullmatch(f"error: {said}", line)


def test_micro_batches_are_cut_and_put_together_in_the_order_of_the_batch(monkeypatch):
    batch, slices = list(range(12)), []
    monkeypatch.setattr(ranks.group, "size", 3)
    for rank in range(3):
        monkeypatch.setattr(ranks.group, "rank", rank)
        slices.append(ranks.part(batch, 2))
    assert slices == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    own = torch.tensor(slices[1], dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(ranks.group, "rank", 1)

    def all_gather(parts, _):
        for one, values in zip(parts, slices, strict=True):  # both tensors, as bytes
            kinds = (torch.bfloat16, torch.float64)
            one.copy_(torch.cat([torch.tensor(values).to(kind).view(torch.uint8) for kind in kinds]))

    monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
    rough, whole = ranks.gather((own.detach().bfloat16(), own), 2)
    assert rough.tolist() == whole.tolist() == batch
    (whole * torch.arange(12)).sum().backward()
    assert own.grad.tolist() == [3 * one for one in slices[1]]  # times the ranks, see `average`


def test_one_process_is_left_as_it_is():
    network, values = Small(), torch.ones(3)
    assert over_whole_batch(network) is network and type(network.maps) is FusedBatchNorm
    assert ranks.gather(values) is values and ranks.add_up(values) is values
    assert ranks.gather((values, None)) == (values, None)
    assert ranks.part(range(4)) == ranks.share(range(4)) == [0, 1, 2, 3]
    assert ranks.of_all("me") == ["me"] and ranks.local() == (0, 1) and not ranks.restarted()


def test_ranks_that_are_started_again_go_on_with_what_those_before_had_begun(monkeypatch):
    found = torch.distributed.HashStore()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setattr(ranks.group, "_store", RankStore(found, 0, 2, start=1))
    assert not ranks.restarted(), "what is in the folder is of another run"
    RankStore(found, 0, 2, start=0).begin()
    assert ranks.restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not ranks.restarted()


def test_who_does_not_come_is_named():
    found = torch.distributed.HashStore()
    RankStore(found, 2, 3, start=0).meet(0.0)
    assert RankStore(found, 0, 3, start=0).meet(0.05) == [1] and RankStore(found, 0, 3, start=1).meet(0.0) == [1, 2]


def lose(number):
    """Add up, but for the last rank, which gets a signal."""
    ranks.add_up(torch.ones(2))
    ranks.wait_at_most(8)
    if os.environ["RANK"] == "2":
        os.kill(os.getpid(), number)
    ranks.add_up(torch.ones(2))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    if sys.argv[1] == "lose":
        sys.exit(exit_code(lambda: lose(int(sys.argv[2])), together=ranks))
    with ranks.joined():
        found = compute()
        rank = os.environ["RANK"]
        torch.save(found, f"{sys.argv[1]}{rank}")
