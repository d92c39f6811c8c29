"""Which cameras of a data set are some: what sees few tracklets sees few people, and is taken together with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .tracklets import all_known

FEWEST = 12
"""Tracklets of a camera that can have statistics and neighbours of its own. Of fewer, what they have in common may be
the people: a visit as a camera is one person, of up to 10 tracklets in PETS 2009."""
POOL = -1
"""The number of those taken together."""


def pool_cameras(cameras: Sequence[int | None]) -> list[int] | None:
    """The cameras (N,), where each sees `FEWEST` tracklets or more.

    Those that see fewer are one, with the number `POOL`. Where that one sees too few too, it is a part of the smallest
    of the others. None where a camera is unknown.
    """
    known = all_known(cameras)
    if known is None:
        return None
    counts = Counter(known)
    few = {camera for camera, count in counts.items() if count < FEWEST}
    others = counts.keys() - few
    pool = POOL
    if others and sum(counts[camera] for camera in few) < FEWEST:
        pool = min(others, key=lambda camera: (counts[camera], camera))
    return [pool if camera in few else camera for camera in known]


def notes_on_cameras(cameras: Sequence[int | None]) -> list[str]:
    """A note that names the cameras that `pool_cameras` takes together."""
    pooled = pool_cameras(cameras)
    changed = {before: after for before, after in zip(cameras, pooled or cameras) if before != after}
    if not changed:
        return []
    named = ", ".join(map(str, sorted(changed)[:10])) + (f" and {len(changed) - 10} more" if len(changed) > 10 else "")
    onto = "" if POOL in changed.values() else f" with camera {next(iter(changed.values()))}"
    return [
        f"cameras with fewer than {FEWEST} tracklets count as one{onto}, without statistics of their own: {named}; "
        "name as a camera what sees many people"
    ]
