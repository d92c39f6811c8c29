"""Which protocols on clothes a data set allows: the same clothes, a change of clothes."""

from __future__ import annotations

from collections.abc import Sequence

from vreid_fast.data import Dataset, Tracklet
from vreid_fast.data.tracklets import all_known


def clothes_protocols(data: Dataset) -> tuple[list[str], list[str]]:
    """The protocols on clothes under which a query of a data set has a match, and notes on those that fall out.

    Without clothes, both lists are empty.
    """
    query, gallery = clothes_of(data.query), clothes_of(data.gallery)
    if query is None or gallery is None:
        return [], []
    seen: dict[int | None, set] = {}
    for tracklet in data.gallery:
        seen.setdefault(tracklet.identity, set()).add((tracklet.camera, tracklet.clothes))
    # Of every pair of one person before two cameras: whether the clothes are the same.
    pairs = {
        tracklet.clothes == clothes
        for tracklet in data.query
        for camera, clothes in seen.get(tracklet.identity, ())
        if camera != tracklet.camera and tracklet.identity != -1  # -1 is junk
    }
    possible = {"same_clothes": True in pairs, "clothes_change": False in pairs}
    notes = [
        f"{data.name}: no query has a match under {protocol}, which is left out"
        for protocol, matched in possible.items()
        if not matched
    ]
    return [protocol for protocol, matched in possible.items() if matched], notes


def clothes_of(tracklets: Sequence[Tracklet]) -> list[int] | None:
    """Clothes of tracklets, or None where those of one are unknown."""
    return all_known(tracklet.clothes for tracklet in tracklets)
