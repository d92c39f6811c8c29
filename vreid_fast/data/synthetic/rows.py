"""Which tracklets an embedded data set has: who is seen where, how often, and in what."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..sighting import Sighting
from .style import Style
from .walk import FRAMES

TRACKLETS = 2  # by each person and camera
WORDS = {
    "outfits": "each person has two or three outfits, and wears two of them before each camera",
    "single": "one tracklet of each person and camera in place of two",
    "six": "six of them",
    "once": "of every fifth person to train on there is one tracklet alone",
    "timed": "when each tracklet was seen is known, and with whom at the same time",
    "switched": "every tenth tracklet to train on shows another person from its middle on, as where a tracker fails",
}
"""What may follow a style."""


@dataclass(frozen=True, slots=True)
class Row:
    """One tracklet of the index. `split` joins the subsets it belongs to, as in "query|gallery"."""

    path: str  # relative to the index
    identity: int
    camera: int
    frames: int
    split: str
    clothes: int | None = None  # number of the outfit, from 1; None where nobody changes
    then: int | None = None  # identity of who is seen from the middle on


def rows_of(style: Style, people: int | None = None, words: Collection[str] = ()) -> list[Row]:
    """The index of a style: training people first, then test people, numbered on from 1.

    people: to train on, in place of the style's own; test people in proportion.
    """
    trained = people or style.people
    tested = max(2, round(style.test_people * trained / style.people))
    each = 6 if "six" in words else 1 if "single" in words else TRACKLETS
    rows: list[Row] = []
    for identity in range(1, trained + tested + 1):
        seen = [(camera, tracklet) for camera in range(1, style.cameras + 1) for tracklet in range(1, each + 1)]
        if "once" in words and identity <= trained and identity % 5 == 0:
            seen = [seen[identity // 5 % len(seen)]]
        for camera, tracklet in seen:
            if identity <= trained:
                split = "train"
            else:
                split = "query|gallery" if tracklet == 1 else "gallery"
            switched = "switched" in words and split == "train" and len(rows) % 10 == 9
            rows.append(Row(
                f"{identity:04d}C{camera}T{tracklet:04d}", identity, camera, FRAMES, split,
                clothes=1 + (camera + tracklet) % (2 + identity % 2) if "outfits" in words else None,
                then=identity % trained + 1 if switched else None,
            ))  # fmt: skip
    return rows


def seen_at(rows: Sequence[Row], seed: int) -> dict[str, Sighting]:
    """Where in its camera's recording each tracklet is, by its path: up to four others are there too, and a person
    never twice. Those to train on have a recording of their own."""
    recordings: dict[tuple[bool, int], list[Row]] = defaultdict(list)
    for row in rows:
        recordings[row.split == "train", row.camera].append(row)
    found = {}
    for (trained, camera), own in recordings.items():
        order = np.random.default_rng([seed, trained, camera]).permutation(len(own))
        rounds: Counter[int] = Counter()
        queue = []
        for number in order:
            queue.append((rounds[own[number].identity], own[number]))
            rounds[own[number].identity] += 1
        begins, before = 0, 0
        for number, row in sorted(queue, key=lambda one: one[0]):  # everybody once, then everybody once more
            begins, before = begins + (FRAMES if number > before else FRAMES // 3), number
            video = f"{'train' if trained else 'test'}-camera{camera}"
            found[row.path] = Sighting(video, begins, begins + row.frames - 1)
    return found
