"""What a data set can serve for: source, target, scores; each function gives the reason why not, or None."""

from __future__ import annotations

from .tracklets import Dataset, identity_labels


def why_no_source(data: Dataset) -> str | None:
    """Why a data set cannot be the labelled source, or None when it can."""
    unlabelled = sum(tracklet.identity is None for tracklet in data.train)
    if not data.train or unlabelled:
        return (
            f"wanted labelled training tracklets, found {len(data.train)} of which {unlabelled} have no identity; "
            "give identities (folder: a tracklets.csv) or use it as --target"
        )
    people = len(identity_labels(data.train))
    return f"wanted at least 2 people to tell apart, found {people}" if people < 2 else None


def why_no_target(data: Dataset) -> str | None:
    """Why a data set cannot be the unlabelled target, or None when it can."""
    return None if data.train else "no training tracklets to adapt to"


def why_unreadable(data: Dataset) -> str | None:
    """Why a data set that was read with `keep_unreadable` serves for nothing, or None when all of it was read."""
    count = len(data.unreadable)
    return f"{count:,} tracklets cannot be read at all: mend them or take them out" if count else None


def why_unscored(data: Dataset) -> str | None:
    """Why a data set gives no scores, or None when it does."""
    if not data.query or not data.gallery:
        return f"{data.name} has no labelled query and gallery tracklets (folder: identities in tracklets.csv)"
    for tracklet in (*data.query, *data.gallery):
        if tracklet.identity is None or tracklet.camera is None:
            return f"{data.name} has test tracklets without {'identity' if tracklet.identity is None else 'camera'}"
    cameras: dict[int, set[int]] = {}
    for tracklet in data.gallery:
        cameras.setdefault(tracklet.identity, set()).add(tracklet.camera)
    if not any(cameras.get(tracklet.identity, set()) - {tracklet.camera} for tracklet in data.query):
        return f"{data.name} has no query whose identity is in the gallery under another camera"
    return None


def notes_on_scores(data: Dataset) -> list[str]:
    """A note on scores that say nothing: a gallery of one person, whom nobody can be taken for."""
    people = {tracklet.identity for tracklet in data.gallery}
    if len(people) != 1 or why_unscored(data):
        return []
    return [f"{data.name}: its gallery is of one person, for whom none can be taken: every network scores 100 % on it"]
