"""The video network: a trunk over frames, pooling over space and time, a neck, a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vreid_fast.errors import InputError
from vreid_fast.kernels import temporal_pool

from .heads import make_classifier, make_neck
from .over_time import OverTime
from .whole_batch import normalised


class StreamOutput(NamedTuple):
    clip: Tensor
    """(B, Dk) features of clips in this stream, after its neck."""
    logits: Tensor
    """(B, identities) of its classifier."""


class NetworkOutput(NamedTuple):
    frames: Tensor
    """(B, T, Df) features of single frames, or of the shortest pieces that the network has features of, after the
    neck; Df = `frame_width`."""
    clip: Tensor
    """(B, D) features of clips, after the neck: f of eq. 4."""
    logits: Tensor
    """(B, identities) of the classifier; where there are several, of the last."""
    streams: tuple[StreamOutput, ...] = ()
    """Of networks with several necks and classifiers, each of which has losses of its own."""
    projected: Tensor | None = None
    """(B, T, D) for `info_nce`, of networks that have a projection, in training."""
    maps: Tensor | None = None
    """(B, C, h, w) of networks that score pairs, by `pair_score`, and have no use for the others."""


class VideoNetwork(nn.Module):
    """Clips (B, T, 3, H, W) -> features of frames and clips, and identity logits.

    Frame features are the maximum over space, clip features their mean over time; both pass the same
    batch-norm neck. At test both give one vector: the neck is affine, so the mean of its frames is its clip.

    Args:
        trunk: frames (N, 3, H, W) -> maps (N, D, h, w), with its D in `width`.
        identities: number of people in the source.
        frames: T that the network is built for; this class takes any T.
        size: (H, W) that it is built for; this class takes any.
    """

    authors: ClassVar[Mapping[str, str] | None] = None
    """The authors' prefixes of names by ours, where checkpoints of theirs are known, see `convert`."""
    containers: ClassVar[tuple[str, ...]] = ()
    """Of the authors' files, where they keep the parts of one network apart, see `joined`."""
    unused: ClassVar[tuple[str, ...]] = ()
    """What names in the authors' files begin with that are of no use to them either."""
    frames_move_neck: ClassVar[bool] = True
    """Whether in training frames too, after the clips, update the neck's running statistics, as SINet has it.
    Otherwise clips alone do, and frames are normalised by what they are themselves."""
    compares_pairs: ClassVar[bool] = False
    """Whether it scores pairs of what it says of tracklets, by `compare`, in place of a distance of vectors."""
    fixed: tuple[str, ...] = ()
    """Of "frames" and "size" what clips must have as built."""
    multiple: ClassVar[int] = 1
    """T must be a multiple of it."""

    def __init__(self, trunk: nn.Module, identities: int, frames: int, size: tuple[int, int] = (256, 128)):
        super().__init__()
        self.trunk = trunk
        self._over_time = [module for module in trunk.modules() if isinstance(module, OverTime)]
        self.frames, self.size = frames, size
        self.identities = identities
        self.width: int = trunk.width
        """D, of clips and of the vectors that are compared."""
        self.frame_width: int = trunk.width
        self._make_heads()

    def _make_heads(self) -> None:
        self.neck = make_neck(self.width)
        self.classifier = make_classifier(self.width, self.identities)

    def maps(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> the trunk's maps (B*T, C, h, w).

        Raises:
            ValueError: `clips` is not (B, T, 3, H, W).
            InputError: clips of another T or size than the network was built for, where that matters.
        """
        if clips.dim() != 5 or clips.shape[2] != 3:
            raise ValueError(f"clips must be (B, T, 3, H, W), got {tuple(clips.shape)}")
        frames, size = clips.shape[1], tuple(clips.shape[3:])
        self.check_frames(frames)
        if ("frames" in self.fixed and frames != self.frames) or ("size" in self.fixed and size != self.size):
            raise InputError(
                f"this network is built for clips of {self.frames} frames of {self.size[0]} x {self.size[1]} "
                f"pixels, got {frames} frames of {size[0]} x {size[1]}; give such clips, or build and train it "
                f"with --frames {frames} --height {size[0]} --width {size[1]}"
            )
        for module in self._over_time:
            module.frames = frames
        return self.trunk(clips.flatten(0, 1).contiguous(memory_format=torch.channels_last))

    @property
    def frames_alone(self) -> bool:
        """Whether what it says of a clip is the mean of what it says of each frame alone."""
        return not self.whole_clips and not self._over_time

    @property
    def whole_clips(self) -> bool:
        """Whether clips of fewer frames than built for are refused."""
        return "frames" in self.fixed or self.multiple > 1

    @classmethod
    def check_frames(cls, frames: int, knob: str = "--frames") -> None:
        """InputError for a T that is no multiple of what this network takes."""
        if frames < 1 or frames % cls.multiple:
            raise InputError(
                f"{knob} {frames}: network {cls.__name__.lower()} takes clips of a multiple of {cls.multiple} frames; "
                f"set {knob} {cls.multiple}"
            )

    def pool(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 3, H, W) -> features before the neck, of frames (B, T, D) and clips (B, D); raises as `maps`."""
        return temporal_pool(self.maps(clips), frames=clips.shape[1], spatial="max")

    def forward(self, clips: Tensor) -> NetworkOutput:
        frames, clip = self.pool(clips)
        clip = self.neck(clip)
        frames = self._pass_frames(self.neck, frames)
        return NetworkOutput(frames, clip, self.classifier(clip))

    def _pass_frames(self, neck: nn.BatchNorm1d, frames: Tensor) -> Tensor:
        """Frames (B, T, Df) through a neck, after its clips."""
        rows = frames.flatten(0, 1)
        if self.frames_move_neck or not neck.training:
            rows = neck(rows)
        else:
            rows = normalised(neck, rows)
        return rows.unflatten(0, frames.shape[:2])

    def _pass_streams(self, raw: Tensor) -> tuple[StreamOutput, ...]:
        """(B, S, Dk) features before the necks, through the neck and the classifier of each of S streams."""
        clips = [neck(of_stream) for neck, of_stream in zip(self.neck, raw.unbind(1), strict=True)]
        return tuple(StreamOutput(clip, head(clip)) for clip, head in zip(clips, self.classifier, strict=True))

    def with_margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, identities) of the output, labels (B,) -> those whose cross-entropy is learned from: the same,
        but of a classifier with a margin."""
        return logits

    def describe(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> the vectors (B, D) whose mean over the clips of a tracklet goes to `finish`."""
        return self.neck(self.pool(clips)[1])

    def finish(self, means: Tensor) -> Tensor:
        """Means (N, D) of `describe` -> the vectors (N, D) that are compared at test."""
        return means

    def compare(self, query: Tensor, gallery: Tensor) -> Tensor:
        """What `finish` leaves of Q and G tracklets -> how alike they are, (Q, G), of a network that compares pairs."""
        raise NotImplementedError

    def pair_score(self, query_maps: Tensor, gallery_maps: Tensor) -> Tensor:
        """Maps (Q, C, h, w) and (G, C, h, w) -> how alike they are, (Q, G), of a network that compares pairs."""
        raise NotImplementedError

    def compare_frames(self, frames: int) -> None:
        """Of a network that compares pairs: have `compare` take so many frames of each; 0 = what all are in mean."""
        raise NotImplementedError

    def drawn(self, vectors: Tensor) -> Tensor:
        """What of vectors (N, D) a picture of many tracklets is drawn from, (N, D')."""
        return vectors

    def embed(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) -> the vectors (B, D) that are compared at test, each of one clip."""
        return self.finish(self.describe(clips))
