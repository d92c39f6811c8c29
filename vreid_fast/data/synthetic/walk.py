"""One tracklet: a person walks past a camera, and a tracker cuts the frames out."""

from functools import lru_cache

import numpy as np

from .camera import HEIGHT, WIDTH, Camera, View, draw_cameras, expose
from .figure import draw_person as draw_figure
from .figure import draw_shadow
from .gait import CYCLE_LENGTH, joints
from .person import Person, draw_person, dressed_as
from .render import Canvas
from .scene import COLUMNS, FEET, ROWS
from .style import STYLES, Style

FRAMES = 12
PEOPLE, CAMERAS, WALKS = 1, 2, 3  # second word of a seed


def random(style: Style, seed: int, *words: int) -> np.random.Generator:
    """The generator of one thing; a different thing never shares its stream."""
    return np.random.default_rng(np.random.SeedSequence((seed, style.stream, *words)))


@lru_cache(maxsize=4)
def cameras(style_name: str, seed: int) -> list[Camera]:
    """The cameras of a data set; drawn once in each process."""
    style = STYLES[style_name]
    return draw_cameras(random(style, seed, CAMERAS), style)


def film(style_name: str, seed: int, identity: int, camera_number: int, tracklet: int, outfit: int = 0) -> list[bytes]:
    """The JPEG files of one tracklet; a pure function of its arguments."""
    style = STYLES[style_name]
    camera = cameras(style_name, seed)[camera_number]
    person = draw_person(random(style, seed, PEOPLE, identity), style)
    if outfit:
        person = dressed_as(person, draw_person(random(style, seed, PEOPLE, identity, outfit), style))
    rng = random(style, seed, WALKS, identity, camera_number, tracklet)

    cycle = _stroll(rng, person)
    view = _follow(rng, style, camera)
    canvas = Canvas(_backdrop(rng, camera, view, cycle, person), camera.light)
    if rng.random() < style.crowded:
        _pass_by(rng, style, canvas, view)
    pose = joints(person, cycle)
    draw_shadow(canvas, pose, view)
    draw_figure(canvas, person, pose, view)
    if rng.random() < style.occluded:
        _occlude(rng, canvas)
    light = rng.normal(0, style.weather) + rng.normal(0, style.weather / 2, 3)
    return expose(camera, canvas.colour * np.exp(light)[:, None, None, None], rng)


def _stroll(rng, person: Person) -> np.ndarray:
    return rng.random() + rng.uniform(0.075, 0.1) * np.arange(FRAMES)


def _follow(rng, style: Style, camera: Camera) -> View:
    """The tracker's box around the walk: direction, scale and place, each wandering a little."""
    turn = rng.uniform(-0.2, 0.2) * np.linspace(-0.5, 0.5, FRAMES)
    lane = camera.yaw + np.pi * (rng.random() < style.turned)
    yaw = lane + np.radians(rng.uniform(-style.view_spread, style.view_spread)) + turn
    wander = np.cumsum(rng.normal(0, 0.35, (FRAMES, 3)), 0) + rng.normal(0, 0.8, 3)
    scale = HEIGHT * (rng.uniform(0.87, 0.92) + 0.006 * style.jitter * wander[:, 0])
    feet = np.array([WIDTH / 2, HEIGHT - 7.0]) + style.jitter * wander[:, 1:]
    return View(yaw, camera.pitch, scale, feet)


def _backdrop(rng, camera: Camera, view: View, cycle: np.ndarray, person: Person) -> np.ndarray:
    """(3, T, H, W): the window of the scene that moves along with the person."""
    walked = CYCLE_LENGTH * person.stride * (cycle - cycle.mean()) * view.scale
    across = walked * np.sin(view.yaw)
    towards = walked * np.cos(view.yaw) * np.sin(camera.pitch)
    reach = WIDTH + np.abs(across).max() + 8
    left = rng.uniform(reach, COLUMNS - reach) + across - view.feet[:, 0]
    top = FEET + towards - view.feet[:, 1]
    left = np.clip(np.rint(left), 0, COLUMNS - WIDTH).astype(int)
    top = np.clip(np.rint(top), 0, ROWS - HEIGHT).astype(int)
    return np.stack([camera.scene[:, y : y + HEIGHT, x : x + WIDTH] for y, x in zip(top, left)], 1)


def _pass_by(rng, style: Style, canvas: Canvas, view: View) -> None:
    """Someone else, a little farther away, who walks through the frame."""
    other = draw_person(rng, style)
    side = rng.choice((-1, 1))
    path = np.linspace(rng.uniform(20, 44), rng.uniform(6, 40), FRAMES) * side
    feet = view.feet + np.stack([path, np.full(FRAMES, -rng.uniform(3, 10))], -1)
    beside = View(
        view.yaw * 0 + rng.uniform(0, 2 * np.pi), view.pitch, view.scale * rng.uniform(0.82, 0.95), feet, -400.0
    )
    pose = joints(other, _stroll(rng, other))
    draw_shadow(canvas, pose, beside)
    draw_figure(canvas, other, pose, beside)


def _occlude(rng, canvas: Canvas) -> None:
    """A post, a board or a low wall between the camera and the person, which drifts through the frame."""
    colour = rng.uniform(0.15, 0.7) * rng.uniform(0.7, 1.3, 3)
    drift = rng.uniform(-40, 40) * np.linspace(-0.5, 0.5, FRAMES)
    x = rng.uniform(8, WIDTH - 8) + drift
    kind = rng.integers(3)
    if kind == 0:
        ends, radius, blunt = ((x, -20.0), (x, HEIGHT + 20.0)), rng.uniform(2.5, 5), 1.0
    elif kind == 1:
        y = rng.uniform(60, 105)
        ends, radius, blunt = ((x, y - 14), (x, y + 14)), rng.uniform(12, 18), 9.0
        _place(canvas, (x, y), (x, HEIGHT + 9.0), 2.0, (0.4, 0.4, 0.42), 1.0)
    else:
        y = rng.uniform(108, 122)
        ends, radius, blunt = ((x - 90, y + 20), (x + 50, y + 20)), 22.0, 1.0
    _place(canvas, *ends, radius, colour, blunt)


def _place(canvas: Canvas, start, end, radius: float, colour, blunt: float) -> None:
    """A thing nearer than any person; its ends are (x, y), each a number or (T,)."""
    ends = (np.stack([np.broadcast_to(c, FRAMES) for c in (*place, 500.0)], -1) for place in (start, end))
    canvas.capsule(*ends, (radius,) * 3, colour, blunt=blunt)
