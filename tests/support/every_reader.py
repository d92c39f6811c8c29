"""A video through every reader: that of single frames, `crop`'s, the loaders with and without DALI, and a pack."""

import numpy as np
from media import picture
from packs import run_pack

from vreid_fast.data import read_dataset, read_frames
from vreid_fast.data.reading.decoder import ReadingOptions
from vreid_fast.data.reading.make_decoder import make_decoder
from vreid_fast.data.reading.video import each_frame
from vreid_fast.errors import InputError

HEIGHT, WIDTH, FRAMES = 128, 64, 6


def coloured(number, height, width):
    """`picture`, with a red and a blue corner that another colour matrix shows otherwise."""
    pixels = picture(number, height, width)
    pixels[: height // 4, : width // 2] = 200, 40, 40
    pixels[: height // 4, width // 2 :] = 40, 40, 200
    return pixels


def write(
    path,
    codec,
    options,
    pixels,
    ending,
    colours=(2, 0),
    height=HEIGHT,
    width=WIDTH,
    aspect=1,
    times=range(FRAMES),
    gop=12,
):
    """A video of the frames `coloured(0)`, `coloured(1)`, ..., shown at `times`, in 25ths of a second.

    Args:
        path: without its ending.
        colours: matrix and range as in H.273.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    matrix, levels = colours
    full = levels == 2 or pixels.startswith("yuvj")
    path = path.with_suffix(f".{ending}")
    spaces = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M, 9: 9}
    strict = {"strict": "-1"} if ending == "y4m" else {}  # more than 8 bits are an extension of it
    with av.open(str(path), "w", options=strict) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        stream.codec_context.sample_aspect_ratio, stream.codec_context.gop_size = aspect, gop
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(coloured(number, height, width), format="rgb24").reformat(
                format=pixels, dst_colorspace=spaces.get(matrix, Colorspace.ITU601),
                dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            )  # fmt: skip
            frame.pts, frame.colorspace, frame.color_range = time, matrix, levels
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def by_reader(folder):
    """What each reader makes of the only tracklet of a folder, (T, H, W, 3), or the words of its refusal."""

    def loader(backend, spec):
        (tracklet,) = read_dataset(spec).train
        height, width = read_frames(tracklet, [0])[0].shape[:2]
        decoder = make_decoder(ReadingOptions(size=(height, width), backend=backend))
        try:
            pixels, rows = decoder.decode(decoder.read([(tracklet, np.arange(len(tracklet)))]))
            return pixels.numpy()[rows]
        finally:
            decoder.rest()

    def frames():
        (tracklet,) = read_dataset(f"folder:{folder}").train
        return np.stack(read_frames(tracklet, range(len(tracklet))))

    def parallel():
        (tracklet,) = read_dataset(f"folder:{folder}").train
        found = dict(each_frame(tracklet.video, range(len(tracklet)), parallel=True))
        return np.stack([found[number] for number in range(len(tracklet))])

    readers = {
        "frames": frames,
        "parallel": parallel,
        "torch": lambda: loader("torch", f"folder:{folder}"),
        "dali": lambda: loader("dali", f"folder:{folder}"),
        "pack": lambda: loader("torch", run_pack(f"folder:{folder}", folder.parent / "pack")),
    }
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read().astype(int)
        except InputError as error:
            found[name] = str(error)
    return found
