"""The street behind the people: a wide picture that a camera's people walk along."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .style import Style

ROWS, COLUMNS = 200, 448  # pixels; a frame is a 128 x 64 window of it
FEET = 158  # row on which people walk when the tracker centres them
FINE = 2  # drawn at this multiple and reduced

GROUNDS = {
    "paving": (0.66, 0.64, 0.60),
    "asphalt": (0.45, 0.46, 0.48),
    "grass": (0.42, 0.55, 0.30),
    "tiles": (0.72, 0.66, 0.58),
}
WALLS = ((0.72, 0.55, 0.44), (0.82, 0.78, 0.70), (0.62, 0.64, 0.68), (0.86, 0.82, 0.62), (0.55, 0.42, 0.36))


def draw_scene(rng: np.random.Generator, style: Style, number: int, pitch: float) -> np.ndarray:
    """The scene of camera `number`, (3, ROWS, COLUMNS), RGB in [0, 1], seen from `pitch` radians above."""
    image = Image.new("RGB", (COLUMNS * FINE, ROWS * FINE))
    pen = ImageDraw.Draw(image)
    kind = style.grounds[number % len(style.grounds)]
    ground = np.array(GROUNDS[kind]) * rng.uniform(0.85, 1.1)
    horizon = int(FINE * (FEET - 18 - 230 * np.sin(pitch)))
    _draw_ground(pen, rng, kind, ground, horizon)
    if horizon > 0:
        _draw_backdrop(pen, rng, style, horizon)
    for _ in range(rng.poisson(5 * style.clutter)):
        _draw_object(pen, rng, horizon)
    picture = image.resize((COLUMNS, ROWS), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.6))
    scene = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
    scene += style.drab * (scene.mean(0) - scene)
    return np.clip(scene * (1 + 0.28 * style.clutter * _grain(rng)), 0, 1)


def _draw_ground(pen, rng, kind, colour, horizon):
    width, height = COLUMNS * FINE, ROWS * FINE
    pen.rectangle((0, horizon, width, height), fill=_rgb(colour))
    # Bands grow towards the camera: a plane seen at an angle.
    band, row = 5.0, float(horizon)
    joint = {"paving": 0.86, "tiles": 0.82, "asphalt": 0.98, "grass": 0.96}[kind]
    while row < height:
        if kind == "tiles":
            pen.rectangle((0, row, width, row + band / 2), fill=_rgb(colour * 0.94))
        pen.line((0, row, width, row), fill=_rgb(colour * joint), width=2)
        row += band
        band *= 1.25
    if kind in ("paving", "tiles"):
        centre = rng.uniform(0.3, 0.7) * width
        for x in np.arange(-6 * width, 7 * width, 110):
            pen.line((centre + (x - centre) * 0.35, horizon, x, height), fill=_rgb(colour * joint), width=2)
    if kind == "asphalt":
        near = horizon + 0.55 * (height - horizon)
        pen.rectangle((0, near, width, near + 9), fill=_rgb((0.85, 0.83, 0.72)))
        pen.rectangle((0, horizon, width, horizon + 16), fill=_rgb(np.full(3, 0.66)))


def _draw_backdrop(pen, rng, style, horizon):
    width = COLUMNS * FINE
    if rng.random() < 0.3:  # a hedge under the sky
        pen.rectangle((0, 0, width, horizon), fill=_rgb((0.70, 0.80, 0.90)))
        for x in range(-40, width, 26):
            size = rng.uniform(40, 90)
            leaf = np.array((0.22, 0.38, 0.18)) * rng.uniform(0.8, 1.3)
            pen.ellipse((x, horizon - size, x + size, horizon + 8), fill=_rgb(leaf))
        return
    x = 0
    while x < width:
        house = int(rng.uniform(180, 340))
        wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.85, 1.1)
        pen.rectangle((x, 0, x + house, horizon), fill=_rgb(wall))
        pen.rectangle((x, horizon - 10, x + house, horizon), fill=_rgb(wall * 0.7))
        glass = np.array((0.30, 0.38, 0.46)) * rng.uniform(0.7, 1.4)
        pane = int(rng.uniform(36, 64))
        for left in range(x + 22, x + house - pane, pane + int(rng.uniform(20, 40))):
            door = rng.random() < 0.25
            top, bottom = (horizon - 150, horizon - 4) if door else (horizon - 140, horizon - 60)
            pane_colour = wall * 0.5 if door else glass
            pen.rectangle((left - 4, top - 4, left + pane + 4, bottom + 4), fill=_rgb(np.minimum(wall * 1.15, 1)))
            pen.rectangle((left, top, left + pane, bottom), fill=_rgb(pane_colour))
        if rng.random() < style.clutter:  # an awning
            cloth = rng.uniform(0.25, 0.8, 3)
            pen.rectangle((x + 10, horizon - 185, x + house - 10, horizon - 158), fill=_rgb(cloth))
        x += house


def _draw_object(pen, rng, horizon):
    """Something that stands in the street: a post, a bin, a sign or a parked car."""
    x = rng.uniform(0, COLUMNS * FINE)
    foot = max(horizon, 0) + rng.uniform(8, 60)
    colour = rng.uniform(0.15, 0.75, 3)
    kind = rng.integers(4)
    if kind == 0:
        pen.rectangle((x, foot - 260, x + 8, foot), fill=_rgb(colour * 0.5 + 0.1))
    elif kind == 1:
        pen.rounded_rectangle((x, foot - 60, x + 36, foot), 6, fill=_rgb(colour * 0.6))
        pen.rectangle((x, foot - 60, x + 36, foot - 52), fill=_rgb(colour * 0.4))
    elif kind == 2:
        pen.rectangle((x + 20, foot - 120, x + 26, foot), fill=_rgb((0.4, 0.4, 0.42)))
        pen.rectangle((x, foot - 150, x + 48, foot - 100), fill=_rgb(colour))
        pen.rectangle((x + 6, foot - 140, x + 42, foot - 132), fill=_rgb((0.9, 0.9, 0.88)))
    else:
        pen.rounded_rectangle((x + 36, foot - 104, x + 190, foot - 40), 24, fill=_rgb(colour * 0.9))
        pen.rounded_rectangle((x + 50, foot - 96, x + 176, foot - 60), 14, fill=_rgb((0.22, 0.27, 0.32)))
        pen.rounded_rectangle((x, foot - 66, x + 230, foot - 14), 16, fill=_rgb(colour))
        for wheel in (x + 30, x + 164):
            pen.ellipse((wheel, foot - 36, wheel + 38, foot + 2), fill=_rgb((0.1, 0.1, 0.11)))


def _grain(rng) -> np.ndarray:
    """(ROWS, COLUMNS) texture of about unit range, the sum of three octaves."""
    total = np.zeros((ROWS, COLUMNS), np.float32)
    for octave, weight in ((2, 0.35), (6, 0.35), (24, 0.3)):
        noise = rng.uniform(-1, 1, (ROWS // octave + 2, COLUMNS // octave + 2)).astype(np.float32)
        total += weight * np.asarray(Image.fromarray(noise).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC))
    return total


def _rgb(colour) -> tuple[int, int, int]:
    return tuple(int(255 * min(max(float(c), 0.0), 1.0)) for c in colour)
