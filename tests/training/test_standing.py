"""Random numbers of a run that goes on: each process has those of its own GPU."""

import torch

from vreid_fast.training.standing import chance, set_chance


def test_each_process_goes_on_with_the_numbers_of_the_one_that_wrote(monkeypatch):
    """The first computes on GPU 0, and knows nothing of what the second has drawn on GPU 1: the same as itself."""
    drawn, given = {0: torch.tensor([7], dtype=torch.uint8), 1: torch.tensor([0], dtype=torch.uint8)}, {}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: drawn[device.index])
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(drawn.values()))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.update({device: int(state)}))
    monkeypatch.setattr(
        torch.cuda, "set_rng_state_all", lambda states: given.update({n: int(one) for n, one in enumerate(states)})
    )
    written = chance(torch.device("cuda:0"))
    set_chance(written, torch.device("cuda:1"))
    assert given == {torch.device("cuda:1"): 7}
    set_chance({**written, "random_cuda": list(drawn.values())}, torch.device("cuda:0"))  # of earlier versions
    assert given[torch.device("cuda:0")] == 7
