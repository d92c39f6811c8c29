"""Which tracklets make a training batch. A sampler is a pure function of its seed and the step.

Nothing is carried from step to step, so a run that is taken up in the middle sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vreid_fast.errors import InputError


class IdentitySampler:
    """P people x K tracklets: entries k K to (k + 1) K of a batch share an identity, and no two groups do.

    In an epoch every person's tracklets are shuffled and cut into groups of K (a remainder is left out, a
    person with fewer than K tracklets repeats them), and the groups are dealt to as many batches as can have
    P different people.

    Args:
        identities: (N,) of the tracklets.
        people, per_person: P and K.
        seed: not negative.
        once: whether an epoch has one group of each person, drawn anew, in place of all (PSTA).

    Raises:
        InputError: fewer than 2 people, or fewer than P.
    """

    def __init__(self, identities: Sequence[int], people: int, per_person: int, seed: int = 0, once: bool = False):
        _, person = np.unique(np.asarray(identities, dtype=np.int64), return_inverse=True)
        self._tracklets = [np.flatnonzero(person == p) for p in range(person.max(initial=-1) + 1)]
        found = len(self._tracklets)
        if found < 2:
            raise InputError(f"source: wanted at least 2 people to tell apart, found {found}")
        if people < 1 or per_person < 1:
            raise InputError(f"batch of {people} people x {per_person}: --people and --per_person start at 1")
        if people > found:
            raise InputError(
                f"batch of {people} people x {per_person} but the source has {found} people; lower --people"
            )
        self._people, self._per_person, self._seed = people, per_person, seed
        self._groups = [1 if once else max(1, len(own) // per_person) for own in self._tracklets]
        groups = np.array(self._groups)
        # M batches of P different people take at most M groups of each person: the largest such M.
        self.batches_per_epoch = next(
            m for m in range(groups.sum() // people, 0, -1) if np.minimum(groups, m).sum() >= m * people
        )
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def __call__(self, step: int) -> np.ndarray:
        """Tracklets of a step's batch, (P K,) int64."""
        epoch, batch = divmod(step, self.batches_per_epoch)
        return self._epoch(epoch)[batch].copy()

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        """(batches, P K)."""
        rng = np.random.default_rng((self._seed, epoch))
        batches, people, per_person = self.batches_per_epoch, self._people, self._per_person
        groups = []
        for person in rng.permutation(len(self._tracklets)):
            own = rng.permutation(self._tracklets[person])
            own = np.resize(own, (self._groups[person], per_person))
            groups.extend(own[:batches])
        kept = np.sort(rng.permutation(len(groups))[: batches * people])
        # A person's groups stand in a row of at most M, so dealing in turn gives each batch at most one.
        dealt = np.array(groups)[kept].reshape(people, batches, per_person).swapaxes(0, 1)
        dealt = dealt[rng.permutation(batches)]
        return dealt.reshape(batches, people * per_person)


class CameraSampler:
    """Tracklets balanced over cameras.

    Each camera's tracklets are gone through in random order, without replacement until all were seen.
    Tracklets of unknown camera count as one more camera. It has no way to learn an identity.

    Args:
        cameras: (N,) of the tracklets.
        batch: tracklets a step.
        seed: not negative.
        mixed: whether each batch holds all cameras, with counts that differ by at most one; otherwise each
            is of one camera, and the cameras take turns.

    Raises:
        InputError: no tracklets, or an empty batch.
    """

    def __init__(self, cameras: Sequence[int | None], batch: int, seed: int = 0, mixed: bool = True):
        self._tracklets = _by_camera(cameras, batch)
        self._batch, self._seed, self._mixed = batch, seed, mixed
        self._pass = lru_cache(maxsize=2 * len(self._tracklets))(self._draw_pass)
        seen = len(cameras) if mixed else min(map(len, self._tracklets))
        where = "the target" if mixed else "a camera of it"
        self.notes = (
            (f"a batch of {batch} repeats tracklets: {where} has {seen}; lower --target_batch",) if batch > seen else ()
        )

    def __call__(self, step: int) -> np.ndarray:
        """Tracklets of a step's batch, (batch,) int64."""
        chosen = np.empty(self._batch, dtype=np.int64)
        for slot in range(self._batch):
            # Cameras take turns over all slots, or all steps; `draw` counts the turns of one.
            if self._mixed:
                draw, camera = divmod(step * self._batch + slot, len(self._tracklets))
            else:
                turn, camera = divmod(step, len(self._tracklets))
                draw = turn * self._batch + slot
            passed, position = divmod(draw, len(self._tracklets[camera]))
            chosen[slot] = self._pass(camera, passed)[position]
        return chosen

    def _draw_pass(self, camera: int, passed: int) -> np.ndarray:
        return np.random.default_rng((self._seed, camera, passed)).permutation(self._tracklets[camera])


class CameraPass:
    """Passes over all tracklets in full batches of one camera each; the last batch of a camera repeats some.

    Args: as of `CameraSampler`.
    """

    def __init__(self, cameras: Sequence[int | None], batch: int, seed: int = 0):
        self._tracklets = _by_camera(cameras, batch)
        self._batch, self._seed = batch, seed
        self._pass = lru_cache(maxsize=1)(self._draw_pass)

    def __len__(self) -> int:
        """Batches of a pass."""
        return sum(-(-len(tracklets) // self._batch) for tracklets in self._tracklets)

    def __call__(self, step: int) -> np.ndarray:
        """Tracklets of a step's batch, (batch,) int64; steps count on from pass to pass."""
        passed, position = divmod(step, len(self))
        return self._pass(passed)[position]

    def _draw_pass(self, passed: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self._seed, passed))
        batches = []
        for tracklets in self._tracklets:
            whole = -(-len(tracklets) // self._batch) * self._batch
            batches.extend(np.resize(rng.permutation(tracklets), whole).reshape(-1, self._batch))
        return batches


def _by_camera(cameras: Sequence[int | None], batch: int) -> list[np.ndarray]:
    """Positions of the tracklets of each camera, unknown ones last."""
    if not len(cameras) or batch < 1:
        raise InputError(f"target: batch of {batch} from {len(cameras)} tracklets; both must be at least 1")
    order = sorted(set(cameras), key=lambda camera: (camera is None, camera or 0))
    return [np.flatnonzero([c == camera for c in cameras]) for camera in order]
