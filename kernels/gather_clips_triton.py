"""Triton kernel of gather_clips: each byte is read and each number written once, in the order of the output."""

from functools import cache

import triton
import triton.language as tl

from .sizes import cdiv, next_power_of_2


@triton.jit
def gather_clips_kernel(
    clips, frames, rows, augmentations, count, length,
    mean_0, mean_1, mean_2, scale_0, scale_1, scale_2,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """One program writes BLOCK_Y lines of BLOCK_X numbers of one frame: of pixels, or without CHANNELS_LAST of a plane.

    What depends on the line or on the column alone is worked out once for each, not for each number.
    """
    lines: tl.constexpr = HEIGHT if CHANNELS_LAST else 3 * HEIGHT
    columns: tl.constexpr = 3 * WIDTH if CHANNELS_LAST else WIDTH
    across: tl.constexpr = (columns + BLOCK_X - 1) // BLOCK_X
    tiles: tl.constexpr = across * ((lines + BLOCK_Y - 1) // BLOCK_Y)
    place = (tl.program_id(0) // tiles).to(tl.int64)
    how = augmentations + place // length * 7
    flip, down, right = tl.load(how), tl.load(how + 1), tl.load(how + 2)
    top, left, tall, wide = tl.load(how + 3), tl.load(how + 4), tl.load(how + 5), tl.load(how + 6)
    frame = tl.minimum(tl.maximum(tl.load(rows + place), 0), count - 1).to(tl.int64)
    line = (tl.program_id(0) % tiles // across * BLOCK_Y + tl.arange(0, BLOCK_Y))[:, None]
    column = (tl.program_id(0) % across * BLOCK_X + tl.arange(0, BLOCK_X))[None, :]
    if CHANNELS_LAST:
        y, x, colour = line, column // 3, column % 3
    else:
        y, x, colour = line % HEIGHT, column, line // HEIGHT
    from_y, from_x = y + down, x + right
    # One operation a number: nothing is shown where line and column share a bit. 4 is in all columns, for lines from
    # outside; 2 is in all lines, for columns from outside; 1 is what is erased.
    hides_y = tl.where((from_y < 0) | (from_y >= HEIGHT) | (line >= lines), 6, 2)
    hides_x = tl.where((from_x < 0) | (from_x >= WIDTH), 6, 4)
    hides_y |= ((y >= top) & (y < top + tall)).to(tl.int32)
    hides_x |= ((x >= left) & (x < left + wide)).to(tl.int32)
    shown = (hides_y & hides_x) == 0
    from_x = tl.where(flip != 0, WIDTH - 1 - from_x, from_x)
    offset = from_y * (3 * WIDTH) + (from_x * 3 + colour)
    # In one axis from here on. Of two, Triton 3.6 has neighbouring threads read what lies in one column.
    numbers: tl.constexpr = BLOCK_Y * BLOCK_X
    shown = tl.reshape(shown, [numbers])
    value = tl.load(frames + frame * (3 * HEIGHT * WIDTH) + tl.reshape(offset, [numbers]), mask=shown).to(tl.float32)
    zero = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)  # added, since what is broadcast takes more registers
    mean = zero + tl.where(colour == 0, mean_0, tl.where(colour == 1, mean_1, mean_2))
    scale = zero + tl.where(colour == 0, scale_0, tl.where(colour == 1, scale_1, scale_2))
    value = tl.where(shown, value - tl.reshape(mean, [numbers]), 0.0) * tl.reshape(scale, [numbers])
    into = tl.reshape(line * columns + column, [numbers])
    inside = tl.reshape((line < lines) & (column < columns), [numbers])
    if columns % 8 == 0:  # so that numbers are written 8 at a time
        into = tl.max_contiguous(tl.multiple_of(into, 8), 8)
        inside = tl.max_constancy(inside, 8)
    tl.store(clips + place * (3 * HEIGHT * WIDTH) + into, value, mask=inside)


@cache
def blocks(height: int, width: int, channels_last: bool) -> tuple[int, dict[str, int]]:
    """Programs for each frame, and launch options."""
    lines, columns = (height, 3 * width) if channels_last else (3 * height, width)
    block_x = min(next_power_of_2(columns), 128)
    # Lines that are not aligned are written number by number, which takes more registers.
    block_y = min(next_power_of_2(lines), (4096 if columns % 16 == 0 else 2048) // block_x)
    tiles = cdiv(lines, block_y) * cdiv(columns, block_x)
    return tiles, {"BLOCK_Y": block_y, "BLOCK_X": block_x, "num_warps": 4, "maxnreg": 96}


def gather(clips, frames, rows, augmentations, mean, std) -> None:
    """See gather_clips.py."""
    height, width = frames.shape[1:3]
    channels_last = not clips.is_contiguous()
    tiles, options = blocks(height, width, channels_last)
    gather_clips_kernel[(rows.numel() * tiles,)](
        clips, frames.contiguous(), rows.contiguous(), augmentations.contiguous(), len(frames), rows.shape[1],
        *mean, *(1 / value for value in std),
        HEIGHT=height, WIDTH=width, CHANNELS_LAST=channels_last, **options,
    )  # fmt: skip
