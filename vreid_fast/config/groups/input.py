"""What goes in: data sets, clips, batches, and how they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..bounds import Bound, KnobGroup, at_least, between, fixed, free, same_data

A_SPLIT = Bound(lambda split: re.fullmatch(r"all|[0-9]{1,9}", str(split)), "a number from 0, or all")


@dataclass(frozen=True)
class DataKnobs(KnobGroup):
    """Data sets, source and target."""

    source: str = same_data("synthetic")
    """Labelled tracklets to learn from: SPEC = synthetic | synthetic:STYLE | FORMAT:PATH (styles, with words behind
    them: docs/data-sets.md; formats: folder, mars, ilidsvid, prid2011, lsvid, ccvid, dukemtmc-videoreid, svreid,
    svreid_cc, svreid_plus)."""
    target: str = same_data("synthetic:real")
    """Unlabelled tracklets to adapt to, in the same words; its query and gallery are what is scored."""
    synthetic_seed: int = fixed(0, at_least(0))
    """Seed of the synthetic people; another seed renders other people."""
    synthetic_cache: str | None = free(None)
    """Folder that keeps rendered synthetic tracklets; default ~/.cache/vreid_fast."""
    split: str | int = fixed("0", A_SPLIT)
    """Split of a target that has several (ilidsvid, prid2011: 0 to 9), or all: a run for each, then the mean."""
    mars_gallery: Literal["with_query", "without_query"] = fixed("with_query")
    """Gallery of MARS: the official 11,310 tracklets with the queries, or the 9,330 without them (authors)."""
    authors_pieces_train: int = fixed(0, at_least(0))
    """Cut the target's training tracklets into pieces of N frames (authors: 48 LS-VID, 32 DukeMTMC, 64 CCVID)."""
    authors_pieces_test: int = fixed(0, at_least(0))
    """Cut query and gallery tracklets likewise, each piece scored as one (authors: 48 LS-VID); 0 = whole."""
    scenes: bool = fixed(False)
    """Take whole scenes, wider than high, as if they were people; without it they are refused."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "split", str(self.split))  # a YAML file says 3 where a command line says "3"


@dataclass(frozen=True)
class ClipKnobs(KnobGroup):
    """Clips at the network's input."""

    height: int = fixed(64, at_least(16))
    """Height of a frame at the network's input, pixels (paper: 256)."""
    width: int = fixed(32, at_least(8))
    """Width of a frame at the network's input, pixels (paper: 128)."""
    frames: int = fixed(4, at_least(1))
    """T, frames of a clip (paper: 4)."""
    train_clips: Literal["blocks", "chunks", "window", "bins"] = fixed("blocks")
    """Frames of a training clip: a random one out of each of T equal blocks, or T parts that hold all frames (CAViT);
    every STRIDE-th of a random window (AP3D, TCLNet); a random one out of each of T bins of STRIDE frames (PSTA)."""
    stride: int = fixed(8, at_least(1))
    """Frames from one to the next of a clip, where --train_clips or --test_clips has a stride."""


@dataclass(frozen=True)
class BatchKnobs(KnobGroup):
    """Batches and augmentation."""

    people: int = fixed(8, at_least(2))
    """P, people in a source batch (paper: 8)."""
    per_person: int = fixed(2, at_least(2))
    """K, tracklets a person in a source batch (paper: 4)."""
    per_epoch: Literal["tracklets", "people", "graph"] = fixed("tracklets")
    """An epoch of the source goes through all tracklets; takes K of each person once (PSTA); or has a batch around each
    person, of those whom the network then takes for that one (QAConv's graph sampler)."""
    target_batch: int = fixed(16, at_least(2))
    """Target clips in a batch, drawn without identities and balanced over the cameras (paper: 32)."""
    accumulate: int = fixed(1, at_least(1))
    """Micro-batches that a batch is computed in, one after the other, where it is too large for the memory. Losses are
    of the whole batch; batch norm sees each micro-batch alone. Forward is computed twice."""
    flip: float = fixed(0.5, between(0, 1))
    """Probability that a clip is mirrored."""
    erase: float = fixed(0.5, between(0, 1))
    """Probability that a clip loses a random rectangle, the same one in all of its frames."""
    pad: int = fixed(4, at_least(0))
    """Pixels of padding around a frame before a random crop of the input's size."""


@dataclass(frozen=True)
class LoadingKnobs(KnobGroup):
    """Loading."""

    loader: Literal["auto", "dali", "torch"] = free("auto")
    """What decodes: NVIDIA DALI, plain torch, or DALI where it is installed."""
    loader_threads: int = free(1, at_least(1))
    """CPU threads of each loader."""
    cache: Literal["none", "cpu", "gpu"] = free("none")
    """Where decoded training frames are kept after the first epoch; refused where they would not fit."""
    on_bad_frame: Literal["error", "skip"] = free("error")
    """A frame that cannot be read ends the run, or its neighbour is taken and it is listed at the end."""
