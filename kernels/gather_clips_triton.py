"""Triton kernel of gather_clips: each byte is read and each number written once, in the order of the output."""

import triton
import triton.language as tl

BLOCK = 1024


@triton.jit
def gather_clips_kernel(
    clips, frames, rows, augmentations, count, length,
    mean_0, mean_1, mean_2, scale_0, scale_1, scale_2,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS_LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program writes BLOCK numbers of one frame (3, H, W) of the clips."""
    size: tl.constexpr = 3 * HEIGHT * WIDTH
    blocks: tl.constexpr = (size + BLOCK - 1) // BLOCK
    place = (tl.program_id(0) // blocks).to(tl.int64)
    how = augmentations + place // length * 7
    flip, down, right = tl.load(how), tl.load(how + 1), tl.load(how + 2)
    top, left, tall, wide = tl.load(how + 3), tl.load(how + 4), tl.load(how + 5), tl.load(how + 6)
    frame = tl.minimum(tl.maximum(tl.load(rows + place), 0), count - 1).to(tl.int64)
    at = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    if CHANNELS_LAST:
        colour = at % 3
        pixel = at // 3
    else:
        colour = at // (HEIGHT * WIDTH)
        pixel = at % (HEIGHT * WIDTH)
    y = pixel // WIDTH
    x = pixel % WIDTH
    from_y = y + down
    from_x = x + right
    shown = (from_y >= 0) & (from_y < HEIGHT) & (from_x >= 0) & (from_x < WIDTH)
    shown = shown & ((y < top) | (y >= top + tall) | (x < left) | (x >= left + wide))
    from_x = tl.where(flip != 0, WIDTH - 1 - from_x, from_x)
    offset = (from_y * WIDTH + from_x) * 3 + colour
    value = tl.load(frames + frame * size + offset, mask=shown & (at < size), other=0).to(tl.float32)
    mean = tl.where(colour == 0, mean_0, tl.where(colour == 1, mean_1, mean_2))
    scale = tl.where(colour == 0, scale_0, tl.where(colour == 1, scale_1, scale_2))
    value = tl.where(shown, (value - mean) * scale, 0.0)
    tl.store(clips + place * size + at, value, mask=at < size)


def gather(clips, frames, rows, augmentations, mean, std) -> None:
    """See gather_clips.py."""
    height, width = frames.shape[1:3]
    grid = (rows.numel() * triton.cdiv(3 * height * width, BLOCK),)
    gather_clips_kernel[grid](
        clips, frames.contiguous(), rows.contiguous(), augmentations.contiguous(), len(frames), rows.shape[1],
        *mean, *(1 / value for value in std),
        HEIGHT=height, WIDTH=width, CHANNELS_LAST=not clips.is_contiguous(), BLOCK=BLOCK,
    )  # fmt: skip
