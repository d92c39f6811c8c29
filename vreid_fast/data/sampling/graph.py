"""Batches of people that a network takes for each other.

Liao and Shao, "Graph Sampling Based Deep Metric Learning for Generalizable Person Re-Identification", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vreid_fast.errors import InputError


class GraphSampler:
    """An epoch has a batch around each person: the P - 1 people nearest to that one, and that one, K tracklets each.

    The tracklets of a person are shuffled for each epoch and gone through, again from the first where they run out.
    Who is near to whom is measured before each epoch, see `begin`; all else is a function of the seed and the step.

    Args:
        identities: (N,) of the tracklets.
        people, per_person: P and K.
        seed: not negative.

    Raises:
        InputError: fewer than 2 people, or fewer than P.
    """

    def __init__(self, identities: Sequence[int], people: int, per_person: int, seed: int = 0):
        _, person = np.unique(np.asarray(identities, dtype=np.int64), return_inverse=True)
        self._tracklets = [np.flatnonzero(person == p) for p in range(person.max(initial=-1) + 1)]
        self._people, self._per_person, self._seed = people, per_person, seed
        found = len(self._tracklets)
        if not 2 <= people <= found:
            raise InputError(
                f"batch of {people} people x {per_person} but the source has {found} people; --people must be 2 to "
                "as many"
            )
        self.epoch = -1
        """Of which `near` is; -1 = none yet."""
        self.near = torch.zeros(found, people - 1, dtype=torch.int64)
        """Of each person the nearest others, nearest first."""
        self._batches = lru_cache(maxsize=1)(self._draw)

    def __len__(self) -> int:
        """Batches of an epoch, as many as people."""
        return len(self._tracklets)

    def probes(self, epoch: int) -> np.ndarray:
        """A random tracklet of each person, by which who is near is measured before an epoch."""
        rng = np.random.default_rng((self._seed, epoch, 1))
        return np.array([rng.choice(own) for own in self._tracklets])

    def begin(self, epoch: int, distances: Tensor) -> None:
        """Take the distances (people, people) of the `probes` of an epoch. Their diagonal does not count."""
        away = distances.clone().fill_diagonal_(torch.inf)
        self._set(epoch, away.topk(self._people - 1, largest=False, sorted=True).indices)

    def __call__(self, step: int) -> np.ndarray:
        """Tracklets of a step's batch, (P K,) int64, the K of a person side by side, last those it is around."""
        epoch, batch = divmod(step, len(self))
        if epoch != self.epoch:
            raise ValueError(f"GraphSampler: step {step} is of epoch {epoch}, begin was called for {self.epoch}")
        return self._batches(epoch)[batch].copy()

    def state_dict(self) -> dict:
        return {"epoch": self.epoch, "near": self.near}

    def load_state_dict(self, state: dict) -> None:
        """Take a state back; ValueError for one of others."""
        epoch, near, own = state.get("epoch"), state.get("near"), self.near
        like = isinstance(near, Tensor) and (near.shape, near.dtype) == (own.shape, own.dtype)
        if type(epoch) is not int or not like or (epoch >= 0 and not ((near >= 0) & (near < len(self))).all()):
            raise ValueError(f"neighbours: wanted those of {len(self)} people, {own.shape[1]} each")
        self._set(epoch, near)

    def _set(self, epoch: int, near: Tensor) -> None:
        self.epoch, self.near = epoch, near.cpu()
        self._batches.cache_clear()

    def _draw(self, epoch: int) -> np.ndarray:
        """(batches, P K)."""
        rng = np.random.default_rng((self._seed, epoch, 0))
        waiting = [rng.permutation(own) for own in self._tracklets]
        batches = []
        for person in rng.permutation(len(self)):
            batch = []
            for one in (*self.near[person].tolist(), person):
                batch.append(np.resize(waiting[one], self._per_person))
                waiting[one] = np.roll(waiting[one], -self._per_person)
            batches.append(np.concatenate(batch))
        return np.stack(batches)
