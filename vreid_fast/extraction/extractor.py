"""A trained network as a function from people in pictures to vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vreid_fast.data.formats.single import tracklet_at, tracklet_of
from vreid_fast.data.scenes import is_scene, size_of
from vreid_fast.data.tracklets import Tracklet
from vreid_fast.device import Precision, choose_device
from vreid_fast.errors import InputError
from vreid_fast.evaluation.embed import embed, embed_clips
from vreid_fast.training.build import load_network, make_protocol, reading_options
from vreid_fast.training.network_checks import check_vectors

NORMALISED = 20
"""No pixel is so far from ImageNet's mean, in standard deviations; 0..255 is."""


class Extractor:
    """People in pictures -> vectors that are alike for the same person.

        vectors = Extractor("runs/mine/last.pt")(["camera1_track7_1", "walk.mp4"])

    Args:
        checkpoint: last.pt of a run.
        network: the student, or its moving average.
        device: "auto" takes a GPU where there is one.
        camera: number of the camera that all was filmed with, one of the run's: its batch-norm statistics serve, where
            the run has them (`--method plus`). None = those of the whole target.
        batch: clips that the network sees at once.
        scenes: take pictures that look like whole scenes as if they were crops of people.

    Raises:
        InputError: no checkpoint, or one that is damaged; a camera that it has no statistics of.
        ValueError: another network than these.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        network: Literal["student", "teacher"] = "student",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        camera: int | None = None,
        *,
        batch: int = 64,
        scenes: bool = False,
    ):
        if network not in ("student", "teacher"):
            raise ValueError(f"Extractor: network must be student or teacher, got {network!r}")
        module, config, statistics = load_network(Path(checkpoint), network)
        check_vectors(module, "Extractor")
        if camera is not None and camera not in (statistics or {}):
            known = f"the cameras {', '.join(map(str, sorted(statistics)))}" if statistics else "no cameras"
            raise InputError(
                f"camera {camera}: {checkpoint} has statistics of {known}; leave camera out, then those of the whole "
                "target serve"
            )
        self._precision = Precision(config.device.precision, choose_device(device))
        self._network = module.to(self._precision.device)
        config = config.replace(test_batch=batch)
        self._protocol = make_protocol(config, reading_options(config, self._precision))
        self._camera, self._scenes = camera, scenes
        self._statistics = None if camera is None else statistics
        self.width: int = module.width
        """D."""

    def __call__(self, people: str | os.PathLike | np.ndarray | Tensor | Sequence) -> Tensor:
        """The vectors (N, D), float32 on the CPU, not normalised; compare them by the cosine.

        Args:
            people: N tracklets in one of these forms. One path: a folder of images, a video or an image. One array
                (T, H, W, 3) or image (H, W, 3), uint8 RGB of any size. A list of paths, arrays and tracklets. A tensor
                (N, T, 3, H, W): uint8 RGB of any size, or floats that are normalised by ImageNet's mean and deviation
                and have the network's size already. Of long ones T frames are taken, of one image it is repeated.

        Raises:
            InputError: what cannot be read, or whole scenes.
            ValueError: an array or tensor of another shape or type.
        """
        if isinstance(people, Tensor):
            if people.is_floating_point():
                return self._of_clips(people)
            if people.dim() != 5 or people.shape[2] != 3:
                raise ValueError(f"Extractor: wanted a tensor (N, T, 3, H, W), got {tuple(people.shape)}")
            people = list(people.permute(0, 1, 3, 4, 2).cpu().numpy())
        elif isinstance(people, (str, os.PathLike)) or (isinstance(people, np.ndarray) and people.ndim < 5):
            people = [people]
        tracklets = [self._tracklet(number, one) for number, one in enumerate(people)]
        return embed(self._network, tracklets, self._protocol, self._precision, self._statistics)

    def _tracklet(self, number: int, one: str | os.PathLike | np.ndarray | Tensor | Tracklet) -> Tracklet:
        if isinstance(one, Tracklet):
            tracklet = replace(one, camera=self._camera)
        elif isinstance(one, (str, os.PathLike)):
            tracklet = tracklet_at(one, self._camera)
        else:
            tracklet = tracklet_of(np.asarray(one), f"Extractor: item {number}", self._camera)
        size = None if self._scenes else size_of(tracklet, 0)
        if size and is_scene(*size):
            raise InputError(
                f"{tracklet} has {size[1]}x{size[0]} pixels (width x height), a whole scene: cut the person out, as "
                "python -m vreid_fast.data crop does, or allow it with scenes=True"
            )
        return tracklet

    @torch.no_grad()
    def _of_clips(self, clips: Tensor) -> Tensor:
        height, width = self._protocol.reading.size
        if clips.dim() != 5 or not clips.shape[1] or clips.shape[2:] != (3, height, width):
            raise ValueError(
                f"Extractor: wanted a tensor (N, T, 3, {height}, {width}) of floats, got {tuple(clips.shape)}; uint8 "
                "RGB may have any size"
            )
        if len(clips) and not clips.abs().max() <= NORMALISED:
            raise ValueError(
                f"Extractor: floats must be normalised by ImageNet's mean and deviation, and finite; got values up to "
                f"{float(clips.abs().max()):g}; give uint8 for RGB 0..255"
            )
        own = self._statistics[self._camera] if self._statistics else None
        return embed_clips(self._network, clips, self._protocol.batch, self._precision, own)
