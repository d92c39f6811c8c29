"""The two domains of a run: the labelled source and the unlabelled target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vreid_fast.errors import InputError

from . import read_dataset
from .cameras import notes_on_cameras, pool_cameras
from .checks import notes_on_scores, why_no_source, why_no_target
from .overlaps import overlapping
from .scenes import find_scenes
from .tracklets import Dataset, Tracklet, all_known, identity_labels


class SourceClothes(NamedTuple):
    worn: Tensor
    """(N,) int64 classes of clothes of the source's tracklets, 0 to C - 1; clothes of two people are never one."""
    owners: Tensor
    """(C,) int64, the class of identity that each is of."""

    @classmethod
    def of(cls, tracklets: Sequence[Tracklet], labels: Tensor) -> SourceClothes | None:
        """None where the clothes of a tracklet are not known."""
        if all_known(tracklet.clothes for tracklet in tracklets) is None:
            return None
        pairs = [(label, tracklet.clothes) for label, tracklet in zip(labels.tolist(), tracklets, strict=True)]
        classes = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
        return cls(torch.tensor([classes[pair] for pair in pairs]), torch.tensor([label for label, _ in classes]))


@dataclass
class Domains:
    source_data: Dataset
    """The source whole."""
    source_tracklets: list[Tracklet]
    """Its labelled training tracklets."""
    labels: Tensor
    """(N,) int64 classes of the source's tracklets, 0 to identities - 1."""
    identities: int
    target_data: Dataset
    """The target whole, for scoring."""
    target_tracklets: list[Tracklet]
    """Its training tracklets, stripped of identity and clothes, which what trains can see no more, with their cameras
    as `pool_cameras` has them."""
    clothes: SourceClothes | None = None
    """What the source's tracklets wear, where that is known of all."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls, source: str, target: str, *,
        split: int = 0, mars_gallery: str = "with_query",
        authors_pieces_train: int = 0, authors_pieces_test: int = 0, scenes: bool = False, **options,
    ) -> Domains:  # fmt: skip
        """Read two SPECs; `options` as of `read_dataset`.

        `split`, the gallery and the pieces are the target's. A source that has splits takes the same one, so
        that with one data set as both nothing learns from the test people.

        Raises:
            InputError: a SPEC that cannot be read, a source without identities or with one person only,
                a target without training tracklets, whole scenes in place of people unless `scenes` allows them.
        """
        of_source = read_dataset(source, **options)
        if split and of_source.splits > 1:
            of_source = read_dataset(source, split=split, **options)
        of_target = read_dataset(
            target, split=split, mars_gallery=mars_gallery, authors_pieces_train=authors_pieces_train,
            authors_pieces_test=authors_pieces_test, **options,
        )  # fmt: skip
        if reason := why_no_source(of_source):
            raise InputError(f"--source {source}: {reason}")
        if reason := why_no_target(of_target):
            raise InputError(f"--target {target}: {reason}")
        notes = [*of_source.notes, *of_target.notes, *notes_on_scores(of_target)]
        for name, data in () if scenes else (("source", of_source), ("target", of_target)):
            found = find_scenes(data)
            if found.why:
                raise InputError(f"--{name} {data.name}: {found.why}")
            notes += found.notes(data.name)
        classes = identity_labels(of_source.train)
        cameras = [tracklet.camera for tracklet in of_target.train]
        notes += notes_on_cameras(cameras)
        labels = torch.tensor([classes[tracklet.identity] for tracklet in of_source.train])
        return cls(
            source_data=of_source,
            source_tracklets=of_source.train,
            labels=labels,
            identities=len(classes),
            clothes=SourceClothes.of(of_source.train, labels),
            target_data=of_target,
            target_tracklets=[
                replace(tracklet, identity=None, clothes=None, camera=camera)
                for tracklet, camera in zip(of_target.train, pool_cameras(cameras) or cameras, strict=True)
            ],
            notes=notes,
        )

    def cameras(self) -> Tensor | None:
        """(N,) cameras of the target's training tracklets, or None where one of them is unknown."""
        cameras = all_known(tracklet.camera for tracklet in self.target_tracklets)
        return None if cameras is None else torch.tensor(cameras)

    def overlaps(self) -> np.ndarray:
        """(P, 2) int64 pairs of the target's training tracklets that one camera saw at the same time: two people."""
        own = self.target_data.train
        return overlapping([tracklet.sighting for tracklet in own], [tracklet.camera for tracklet in own])

    def hidden_identities(self) -> Tensor | None:
        """(N,) identities of the target's training tracklets, -1 where unknown, or None where all are. For what is
        logged beside training: nothing may learn from them."""
        identities = [-1 if tracklet.identity is None else tracklet.identity for tracklet in self.target_data.train]
        return torch.tensor(identities) if max(identities) >= 0 else None
