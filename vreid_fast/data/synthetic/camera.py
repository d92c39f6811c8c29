"""Where the people are seen from: view, light, scene and sensor of one camera."""

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .render import Light
from .scene import draw_scene
from .style import Style

HEIGHT, WIDTH = 128, 64  # pixels of a frame
NOISE_BANK = 1 << 17


@dataclass(frozen=True)
class Camera:
    """One camera. Angles in radians."""

    yaw: float  # mean walking direction: 0 comes towards the camera, pi/2 walks right
    pitch: float  # how far it looks down
    light: Light
    scene: np.ndarray  # (3, rows, columns) RGB in [0, 1], wider than a frame: people walk along it
    curve: np.ndarray  # (3, 256) uint8: exposure, tint and gamma
    resolution: float  # scale at which frames are seen
    noise: np.ndarray  # (NOISE_BANK,) int16 grey levels
    quality: int  # of the JPEG files


def draw_cameras(rng: np.random.Generator, style: Style) -> list[Camera]:
    """The cameras of `style`.

    Their differences are drawn together, evenly spaced and shuffled: every seed has other cameras, yet
    no seed has three equal ones or three extremes, and data sets of different seeds are about as hard.
    """
    spaced = {
        "pitch": _spaced(rng, *np.radians(style.pitch), style.cameras),
        "exposure": _spaced(rng, *style.exposure, style.cameras),
        "gamma": np.exp(_spaced(rng, -style.gamma, style.gamma, style.cameras)),
        "hue": rng.random() + _spaced(rng, 0, 1, style.cameras),
    }
    if style.alike:
        spaced = {name: values[:1].repeat(style.cameras) for name, values in spaced.items()}
    cameras = [
        _draw_camera(rng, style, number, **{name: values[number] for name, values in spaced.items()})
        for number in range(style.cameras)
    ]
    if style.alike:
        cameras = [replace(cameras[0], yaw=camera.yaw, scene=camera.scene) for camera in cameras]
    return cameras


def _spaced(rng, low: float, high: float, count: int) -> np.ndarray:
    """`count` values, one from the middle of each equal part of the range, shuffled."""
    return rng.permutation(low + (high - low) * (np.arange(count) + rng.uniform(0.3, 0.7)) / count)


def _draw_camera(rng, style: Style, number: int, pitch: float, exposure: float, gamma: float, hue: float) -> Camera:
    towards = np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9)])
    cast = 1 + style.tint * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
    level = np.linspace(0, 1, 256) ** gamma
    return Camera(
        yaw=np.radians(style.views[number % len(style.views)] + rng.uniform(-15, 15)),
        pitch=pitch,
        light=Light(towards / np.linalg.norm(towards), rng.uniform(*style.ambient), style.folds),
        scene=draw_scene(rng, style, number, pitch),
        curve=np.clip(255 * exposure * cast[:, None] * level + 0.5, 0, 255).astype(np.uint8),
        resolution=rng.uniform(*style.resolution),
        noise=np.rint(rng.normal(0, rng.uniform(*style.noise), NOISE_BANK)).astype(np.int16),
        quality=int(rng.integers(style.quality[0], style.quality[1] + 1)),
    )


@dataclass(frozen=True)
class View:
    """How one walk projects to the image (orthographic): body heights to pixels."""

    yaw: np.ndarray  # (T,)
    pitch: float
    scale: np.ndarray  # (T,) pixels per body height
    feet: np.ndarray  # (T, 2) image position of the ground below the pelvis
    depth: float = 0.0  # pixels towards the camera, against the tracked person

    def project(self, points: np.ndarray) -> np.ndarray:
        """(T, 3) body frame -> (T, 3) image frame."""
        x, y, z = points.T
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        towards = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        up = y * np.cos(self.pitch) - towards * np.sin(self.pitch)
        near = towards * np.cos(self.pitch) + y * np.sin(self.pitch)
        return np.stack(
            [
                self.feet[:, 0] + self.scale * across,
                self.feet[:, 1] - self.scale * up,
                self.scale * near + self.depth,
            ],
            -1,
        ).astype(np.float32)

    def half_width(self, width: float, depth: float) -> np.ndarray:
        """(T,) pixels seen of an upright ellipse with these half-axes, in body heights."""
        return self.scale * np.hypot(width * np.cos(self.yaw), depth * np.sin(self.yaw))


def expose(camera: Camera, colour: np.ndarray, rng: np.random.Generator) -> list[bytes]:
    """Rendered frames (3, T, H, W) in [0, 1] -> T JPEG files as this camera writes them."""
    levels = (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)
    levels = np.stack([curve[channel] for curve, channel in zip(camera.curve, levels)], -1)  # (T, H, W, 3)
    seen = (max(8, round(WIDTH * camera.resolution)), max(16, round(HEIGHT * camera.resolution)))
    files = []
    for frame in levels:
        if camera.resolution < 1:
            image = Image.fromarray(frame).resize(seen, Image.Resampling.BILINEAR)
            frame = np.asarray(_noisy(image, camera, rng).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
            image = Image.fromarray(frame)
        else:
            image = _noisy(Image.fromarray(frame), camera, rng)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=camera.quality)
        files.append(file.getvalue())
    return files


def _noisy(image: Image.Image, camera: Camera, rng: np.random.Generator) -> Image.Image:
    levels = np.asarray(image)
    start = rng.integers(NOISE_BANK - levels.size)
    noise = camera.noise[start : start + levels.size].reshape(levels.shape)
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))
