"""Small images and videos whose content says which frame they are."""

import io
from pathlib import Path

import numpy as np


def picture(number: int, height: int = 48, width: int = 32) -> np.ndarray:
    """(H, W, 3) uint8: a slope whose brightness grows by 5 a frame, brighter to the right and downwards."""
    down, right = np.mgrid[0:height, 0:width]
    levels = 20 + 5 * number + 40 * down / height + 30 * right / width
    return np.stack([levels, levels * 0.9, levels * 0.8], axis=-1).clip(0, 255).astype(np.uint8)


def encoded_picture(number: int, kind: str = "JPEG", **size) -> np.ndarray:
    """The bytes of an image file, (bytes,) uint8, by Pillow's name of its kind."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture(number, **size)).save(file, kind)
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def write_images(folder: Path, frames: int, *, ending: str = "jpg", height: int = 48, width: int = 32) -> Path:
    """A tracklet folder F1.jpg, F2.jpg, ... whose image F(n + 1) is `picture(n)`."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(frames):
        Image.fromarray(picture(number, height, width)).save(folder / f"F{number + 1}.{ending}", quality=95)
    return folder


def write_video(
    path: Path, frames: int, *, codec: str = "libvpx-vp9", height: int = 48, width: int = 32, gop: int | None = None
) -> Path:
    """A video whose frame n is `picture(n)`, as near as the codec keeps it, with a key frame at least every `gop`."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec != "mjpeg":
            stream.options = {"crf": "5", "b": "0", "x265-params": "log-level=none"}
        if gop:
            stream.codec_context.gop_size = gop
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, height, width), format="rgb24")))
        container.mux(stream.encode())
    return path
