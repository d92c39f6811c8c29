"""Videos by where their key frames are, and by whether frames refer to later ones."""

import io

import numpy as np
from every_reader import HEIGHT, WIDTH, write

CLOSED = "log-level=none:crf=5:open-gop=0"
KINDS = {
    "vp9": ("libvpx-vp9", {"crf": "5", "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0"}, "webm"),
    "h264": ("libx264", {"crf": "5", "bf": "0", "sc_threshold": "0"}, "mp4"),
    "h264 b-frames": ("libx264", {"crf": "5", "bf": "3", "sc_threshold": "0"}, "mp4"),
    "h264 b-frames mkv": ("libx264", {"crf": "5", "bf": "2", "x264-params": "bframes=2:b-adapt=0:scenecut=0"}, "mkv"),
    "h264 open": ("libx264", {"crf": "5", "x264-params": "open-gop=1:bframes=2:b-adapt=0:scenecut=0"}, "mp4"),
    "hevc": ("libx265", {"x265-params": f"{CLOSED}:bframes=0"}, "mp4"),
    "hevc b-frames": ("libx265", {"x265-params": f"{CLOSED}:bframes=3"}, "mp4"),
    "hevc as packed before": ("libx265", {"x265-params": "log-level=none:bframes=0:scenecut=0"}, "mp4"),
    "hevc open": ("libx265", {"x265-params": "log-level=none:crf=5:open-gop=1:bframes=2:b-adapt=0"}, "mkv"),
}


def write_kind(path, kind, frames, every, height=HEIGHT, width=WIDTH):
    """A video of a kind with a key frame every `every` frames."""
    codec, options, ending = KINDS[kind]
    return write(
        path, codec, options, "yuv420p", ending, height=height, width=width, times=range(frames), gop=every
    )  # fmt: skip


def from_the_start(video):
    """All frames of a file or of its bytes, (T, H, W, 3) uint8, by FFmpeg alone and in the same colours."""
    import av

    from vreid_fast.data.reading.video_colours import ToRgb

    to_rgb = ToRgb(threads=1)
    with av.open(video if isinstance(video, io.BytesIO) else str(video)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return np.stack([to_rgb(frame) for frame in container.decode(video=0)])
