"""The rasteriser: shaded, anti-aliased, depth-tested tapered capsules on a stack of frames.

A figure is a few dozen capsules. All T frames of a tracklet are drawn at once, each part in the
window that holds it in every frame; edges are smoothed by the distance to the outline, so nothing is
supersampled. Image frame: x right, y down, z towards the camera; unit: pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Surface:
    """The visible points of a part, each array (T, h, w)."""

    along: np.ndarray  # 0 at the part's start, 1 at its end
    across: np.ndarray  # -1 .. 1 from one outline to the other
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]  # unit, image frame
    length: np.ndarray  # (T, 1, 1) pixels


Paint = Callable[[Surface], np.ndarray]  # -> RGB in [0, 1], (3, T, h, w) or broadcastable to it


@dataclass(frozen=True)
class Light:
    direction: np.ndarray  # (3,) unit vector towards the light, image frame
    ambient: float  # share of the light that has no direction
    folds: float = 0.0  # depth of the folds of cloth


class Canvas:
    """T frames under construction: `colour` (3, T, H, W) in [0, 1] and the `depth` (T, H, W) of what is seen."""

    def __init__(self, background: np.ndarray, light: Light):
        self.colour = np.ascontiguousarray(background, dtype=np.float32)
        self.depth = np.full(background.shape[1:], -np.inf, np.float32)
        self.light = light

    def capsule(self, start, end, radii, paint, *, blunt=1.0, folds=0.0, softness=1.0, opacity=1.0, lit=True) -> None:
        """Draw one part.

        start, end: (T, 3) ends of the axis; radii: (at start, midway, at end), each a number or (T,);
        paint: RGB (3,) or a Paint; blunt: 1 rounds the ends, more flattens them; softness: pixels over
        which the outline fades; lit=False leaves out shading and depth, for shadows and flat signs.
        """
        start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
        first, middle, last = (np.broadcast_to(np.asarray(r, np.float32), len(start))[:, None, None] for r in radii)
        window = self._window(start, end, max(first.max(), middle.max(), last.max()) + softness)
        if window is None:
            return
        rows, columns = window
        axis = end[:, :2] - start[:, :2] + np.array([0, 1e-3], np.float32)
        length = np.sqrt((axis**2).sum(1))[:, None, None]
        unit_x, unit_y = axis[:, 0, None, None] / length, axis[:, 1, None, None] / length
        x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - start[:, 0, None, None]
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5 - start[:, 1, None, None]

        distance = x * unit_x + y * unit_y
        lateral = y * unit_x - x * unit_y
        along = np.clip(distance / length, 0, 1)
        beyond = (distance - along * length) * blunt
        radius = first + (last - first) * along + (4 * middle - 2 * first - 2 * last) * along * (1 - along)
        from_axis = np.sqrt(lateral**2 + beyond**2)
        coverage = np.clip((radius - from_axis) / softness + 0.5, 0, 1) * opacity
        if not lit:
            self._blend(window, coverage, np.asarray(paint, np.float32).reshape(3, 1, 1, 1))
            return

        across = lateral / radius
        height = np.sqrt(np.maximum(1 - (from_axis / radius) ** 2, 0))
        cap = beyond / radius
        normal = (cap * unit_x - across * unit_y, cap * unit_y + across * unit_x, height)
        depth = start[:, 2, None, None] + (end - start)[:, 2, None, None] * along + radius * height
        seen = self.depth[:, rows, columns]
        coverage *= depth > seen
        np.copyto(seen, depth, where=coverage > 0.5)

        surface = Surface(along, np.clip(across, -1, 1), normal, length)
        colour = paint(surface) if callable(paint) else np.asarray(paint, np.float32).reshape(3, 1, 1, 1)
        shade = self._shade(surface, folds * self.light.folds)
        self._blend(window, coverage, colour * shade)

    def _window(self, start, end, margin):
        """Rows and columns that hold the part in every frame, or None outside the image."""
        low = np.minimum(start[:, :2], end[:, :2]).min(0) - margin
        high = np.maximum(start[:, :2], end[:, :2]).max(0) + margin
        height, width = self.depth.shape[1:]
        left, top = np.clip(np.floor(low).astype(int), 0, (width, height))
        right, bottom = np.clip(np.ceil(high).astype(int) + 1, 0, (width, height))
        return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None

    def _shade(self, surface, folds):
        """Lambert's cosine law over an ambient share, and creases across the cloth."""
        towards = sum(n * d for n, d in zip(surface.normal, self.light.direction.astype(np.float32)))
        shade = self.light.ambient + (1.1 - self.light.ambient) * np.maximum(towards, 0)
        if folds:
            wave = np.sin(surface.along * 5 + surface.across * 2) * np.sin(surface.along * 13 - surface.across * 3)
            shade *= 1 + folds * wave
        return shade

    def _blend(self, window, coverage, colour):
        rows, columns = window
        under = self.colour[:, :, rows, columns]
        under += coverage * (colour - under)
