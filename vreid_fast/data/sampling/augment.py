"""Random flip, shift and erasing of a clip: drawn here, once a clip, and applied by `kernels.gather_clips`.

In this order: mirror the frame, normalise it, pad it with `pad` pixels of 0 on every side, cut (H, W) out at
`crop`, write 0 into `erase`. After normalisation 0 is ImageNet's mean colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ERASED_AREA = (0.02, 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Augmentation:
    """What is done to all frames of a clip; pixels of the network's input (H, W)."""

    flip: bool = False
    """Mirror left and right."""
    crop: tuple[int, int] = (0, 0)
    """(top, left) of the input within the padded frame, 0 to 2 `pad`."""
    pad: int = 0
    """Pixels added to every side."""
    erase: tuple[int, int, int, int] = (0, 0, 0, 0)
    """(top, left, height, width) of the erased rectangle; size 0 = none."""

    def row(self) -> np.ndarray:
        """(7,) int32, as `gather_clips` takes it."""
        top, left = self.crop
        return np.array([self.flip, top - self.pad, left - self.pad, *self.erase], dtype=np.int32)


NO_AUGMENTATION = Augmentation()


def draw_augmentation(
    rng: np.random.Generator, height: int, width: int, *, flip: float = 0.5, pad: int = 0, erase: float = 0.5
) -> Augmentation:
    """Draw the augmentation of one clip.

    Args:
        height, width: (H, W) of the network's input, pixels.
        flip: probability of a mirror image.
        pad: largest shift in each direction, pixels.
        erase: probability of random erasing (arXiv 1708.04896): 2 to 40 % of the area, height / width
            from 0.3 to 3.33, evenly in its logarithm.
    """
    return Augmentation(
        flip=bool(rng.random() < flip),
        crop=(int(rng.integers(2 * pad + 1)), int(rng.integers(2 * pad + 1))),
        pad=pad,
        erase=_draw_rectangle(rng, height, width) if rng.random() < erase else (0, 0, 0, 0),
    )


def _draw_rectangle(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    low, high = (math.log(aspect) for aspect in ERASED_ASPECT)
    # Most draws fit; a shape so thin that none of 20 does is left whole.
    for _ in range(20):
        area = rng.uniform(*ERASED_AREA) * height * width
        aspect = math.exp(rng.uniform(low, high))
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall < height and 0 < wide < width:
            return int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide
    return 0, 0, 0, 0
