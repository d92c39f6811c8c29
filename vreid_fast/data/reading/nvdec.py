"""Which videos a GPU's own decoder takes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from vreid_fast.errors import InputError

from ..tracklets import Tracklet
from .video import contents, probe
from .video_facts import VideoFacts

# With the least width and height that NVDEC takes (its programming guide); crops of people can be smaller.
GPU_CODECS = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128)}


def decodes(facts: VideoFacts) -> bool:
    """Whether DALI decodes such a video on a GPU."""
    width, height = GPU_CODECS.get(facts.codec, (np.inf, np.inf))
    return facts.width >= width and facts.height >= height and facts.pixels == "yuv420p"


def video_notes(tracklets: Iterable[Tracklet], device: torch.device) -> tuple[str, ...]:
    """Of a GPU: one note a codec that PyAV has to decode, and one on files of which DALI would show other frames."""
    if device.type == "cpu":
        return ()
    videos = {str(tracklet.video): tracklet.video for tracklet in tracklets if tracklet.video is not None}
    codecs, files = set(), []
    for name, video in videos.items():
        try:
            facts = probe(video)
            # Looking into the videos of a pack means reading all of it: that is done when they are wanted.
            plain = contents(name).plain if video == name else True
        except InputError:
            continue  # an error when it is wanted
        if not decodes(facts):
            codecs.add(facts.codec)
        elif not plain:
            files.append(name)
    why = "the GPU decodes 8-bit 4:2:0 video of {}".format(
        ", ".join(f"{codec} from {width}x{height}" for codec, (width, height) in GPU_CODECS.items())
    )
    notes = [f"{codec} video is decoded by PyAV: {why}" for codec in sorted(codecs)]
    if files:
        notes.append(
            f"{len(files)} of {len(videos)} videos, as {files[0]}, are decoded by PyAV: they hide or lack frames that "
            "their headers count, are damaged, hold several videos, or say that their frames are to be turned or have "
            "colours of their own"
        )
    return tuple(notes)
