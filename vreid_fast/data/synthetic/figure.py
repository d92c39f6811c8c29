"""A dressed body on the canvas: from joints and clothes to capsules."""

import numpy as np

from .camera import View
from .person import Cloth, Person
from .render import Canvas, Paint, Surface

SHADOW = (0.05, 0.05, 0.07)


def draw_shadow(canvas: Canvas, pose: dict[str, np.ndarray], view: View) -> None:
    """Contact shadows of the feet and the soft shadow that the light casts along the ground."""
    for side in ("left", "right"):
        heel, toe = (_on_ground(pose[f"{side}_{name}"]) for name in ("ankle", "toe"))
        lift = np.maximum(pose[f"{side}_toe"][:, 1] - 0.02, 0)
        radius = view.scale * 0.035 / (1 + 20 * lift)
        canvas.capsule(
            view.project(heel), view.project(toe), (radius,) * 3, SHADOW, softness=3, opacity=0.45, lit=False
        )
    foot = view.project(_on_ground(pose["pelvis"]))
    away = -canvas.light.direction[0] * view.scale * 0.7
    tip = foot + np.stack([away, -0.12 * np.abs(away), np.zeros_like(away)], -1)
    radii = (view.scale * 0.06, view.scale * 0.07, view.scale * 0.05)
    canvas.capsule(foot, tip, radii, SHADOW, softness=6, opacity=0.28, lit=False)


def draw_person(canvas: Canvas, person: Person, pose: dict[str, np.ndarray], view: View) -> None:
    """Draw the person in every frame, far parts first."""
    at = {name: view.project(position) for name, position in pose.items()}
    parts = [
        *_legs(person, at, view),
        *_arms(person, at, view),
        *_torso(person, pose, at, view),
        *_head(person, pose, at, view),
        *_bag(person, pose, at, view),
    ]
    parts.sort(key=lambda part: part["depth"])
    for part in parts:
        canvas.capsule(**{key: value for key, value in part.items() if key != "depth"})


def _part(start, end, radii, paint, **options) -> dict:
    depth = float((start[:, 2] + end[:, 2]).mean()) + options.pop("above", 0.0)
    if (lift := options.pop("lift", None)) is not None:
        # Loose cloth hangs in front of the limbs that it wraps, wherever they swing.
        start, end = (point + np.stack([0 * lift, 0 * lift, lift], -1) for point in (start, end))
    return {"start": start, "end": end, "radii": radii, "paint": paint, "depth": depth, **options}


def _legs(person, at, view):
    scale = view.scale * person.limbs
    cloth = wear(person.bottom_cloth, view)
    wide = person.bottom == "trousers"
    for side in ("left", "right"):
        hip, knee, ankle, toe = (at[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "toe"))
        if person.bottom == "skirt":  # hides the thigh down to its hem
            bare = hip + 0.6 * (knee - hip)
            yield _part(bare, knee, (scale * 0.05, scale * 0.047, scale * 0.042), person.skin)
        else:
            yield _part(hip, knee, (scale * 0.066, scale * 0.06, scale * 0.046), cloth, folds=1.0)
        if wide:
            yield _part(knee, ankle, (scale * 0.046, scale * 0.043, scale * 0.035), cloth, folds=1.0)
        else:
            yield _part(knee, ankle, (scale * 0.038, scale * 0.042, scale * 0.022), person.skin)
        if person.bottom == "shorts":
            hem = hip + 0.94 * (knee - hip)
            yield _part(hip, hem, (scale * 0.07, scale * 0.066, scale * 0.062), cloth, blunt=5, folds=1.0)
        sole = view.scale * 0.026
        heel = ankle + 0.2 * (ankle - toe)
        yield _part(heel, toe, (sole * 1.1, sole * 1.05, sole * 0.8), person.shoes.colour)


def _arms(person, at, view):
    scale = view.scale * person.limbs
    sleeve = wear(person.top, view) if person.top.texture != "open" else person.top.colour
    for side in ("left", "right"):
        shoulder, elbow, hand = (at[f"{side}_{name}"] for name in ("shoulder", "elbow", "hand"))
        if person.sleeves == "long":
            yield _part(shoulder, elbow, (scale * 0.04, scale * 0.038, scale * 0.033), sleeve, folds=1.0)
            yield _part(elbow, hand, (scale * 0.034, scale * 0.032, scale * 0.025), sleeve, folds=1.0)
        else:
            bare = shoulder + (0.25 if person.sleeves == "short" else 0.0) * (elbow - shoulder)
            yield _part(bare, elbow, (scale * 0.032, scale * 0.029, scale * 0.025), person.skin)
            yield _part(elbow, hand, (scale * 0.026, scale * 0.025, scale * 0.017), person.skin)
        if person.sleeves == "short":
            end = shoulder + 0.62 * (elbow - shoulder)
            yield _part(shoulder, end, (scale * 0.04, scale * 0.04, scale * 0.038), sleeve, folds=1.0)
        palm = hand + 0.22 * (hand - elbow)
        yield _part(hand, palm, (scale * 0.02, scale * 0.022, scale * 0.016), person.skin)


def _torso(person, pose, at, view):
    girth = person.girth
    top = wear(person.top, view)
    hips = view.half_width(person.hips + 0.042 * girth, 0.072 * girth)
    waist = view.half_width(0.083 * girth, 0.062 * girth)
    chest = view.half_width(person.shoulders * 1.02, 0.076 * girth)
    belt = view.project(pose["pelvis"] + 0.16 * (pose["chest"] - pose["pelvis"]))
    crotch = view.project(pose["pelvis"] - np.array([0, 0.03, 0]))
    yield _part(crotch, belt, (hips * 0.92, hips, waist), wear(person.bottom_cloth, view), blunt=2.5, folds=1.0)
    below = view.project(pose["pelvis"] + np.array([0, 0.015, 0]))
    above = view.project(pose["chest"] - np.array([0, 0.02, 0]))
    yield _part(below, above, (hips * 1.03, waist * 1.02, chest), top, blunt=2.4, folds=1.0, above=1.0)
    if person.coat:
        hem = view.project(pose["pelvis"] - np.array([0, person.coat, 0]))
        spread = np.abs(at["left_knee"][:, 0] - at["right_knee"][:, 0]) / 2
        radii = (waist * 1.05, hips * 1.1, hips * 1.12 + 1.6 * person.coat * spread)
        yield _part(belt, hem, radii, top, blunt=6, folds=1.0, above=1.0, lift=view.scale * 0.12)
    if person.bottom == "skirt":
        knees = 0.5 * (pose["left_knee"] + pose["right_knee"])
        spread = np.abs(at["left_knee"][:, 0] - at["right_knee"][:, 0]) / 2
        flare = hips * 1.02 + 0.55 * spread
        cloth = wear(person.bottom_cloth, view)
        yield _part(
            belt,
            view.project(knees),
            (waist * 1.02, hips * 1.1, flare),
            cloth,
            blunt=6,
            folds=1.0,
            lift=view.scale * 0.12,
        )


def _head(person, pose, at, view):
    scale = view.scale
    chin, crown = at["chin"], at["crown"]
    yield _part(at["neck"], chin, (scale * 0.034, scale * 0.031, scale * 0.031), person.skin * 0.92)
    jaw, skull = scale * 0.043, scale * 0.056
    low = chin + 0.3 * (crown - chin)
    yield _part(low, crown, (jaw, skull, skull * 0.97), _face(person, view), above=2.0)
    if person.hair == "long":
        back = pose["crown"] + np.array([0, -0.02, -0.02])
        tips = pose["neck"] + np.array([0, -0.05, -0.055])
        radii = (view.half_width(0.05, 0.04), view.half_width(0.06, 0.035), view.half_width(0.052, 0.025))
        yield _part(view.project(back), view.project(tips), radii, person.hair_colour, folds=1.0)
    if person.hair == "bun":
        bun = view.project(pose["crown"] + np.array([0, 0.02, -0.06]))
        yield _part(bun, bun, (scale * 0.03,) * 3, person.hair_colour)
    if person.hat != "none":
        brow = view.project(pose["crown"] + np.array([0, 0.012, 0]))
        top = view.project(pose["crown"] + np.array([0, 0.03, -0.004]))
        yield _part(brow, top, (skull * 1.1, skull * 1.08, skull * 0.95), person.hat_cloth.colour, above=6.0)
    if person.hat == "cap":
        root = view.project(pose["crown"] + np.array([0, 0.012, 0.03]))
        peak = view.project(pose["crown"] + np.array([0, 0.0, 0.095]))
        width = view.half_width(0.045, 0.008)
        yield _part(root, peak, (width, width, width * 0.8), person.hat_cloth.colour * 0.8, blunt=3, above=7.0)


def _face(person: Person, view: View) -> Paint:
    """Skin towards the front of the head, hair on top, behind and at the sides, eyes and a beard."""
    yaw = view.yaw[:, None, None]
    skin, hair = person.skin, person.hair_colour

    def paint(surface: Surface) -> np.ndarray:
        x, y, z = surface.normal
        up, near = z * np.sin(view.pitch) - y * np.cos(view.pitch), z * np.cos(view.pitch) + y * np.sin(view.pitch)
        front = x * np.sin(yaw) + near * np.cos(yaw)
        # The axis of the head carries most of the height; the caps add the rest.
        height = surface.along * 1.4 + up * 0.6 - 0.7
        if person.hair == "bald":
            face = np.ones_like(front)
        else:
            face = np.clip(4 * (front - 0.1), 0, 1) * np.clip(6 * (0.62 - height), 0, 1)
        eyes = np.clip(5 * (front - 0.55), 0, 1) * np.clip(1 - np.abs(height - 0.1) * 9, 0, 1)
        colour = hair[:, None, None, None] + face * (skin - hair)[:, None, None, None]
        if person.beard:
            shaved = 1 - 0.8 * np.clip(4 * (front - 0.15), 0, 1) * np.clip(6 * (-0.3 - height), 0, 1)
            colour = hair[:, None, None, None] + shaved * (colour - hair[:, None, None, None])
        return colour * (1 - 0.35 * eyes)

    return paint


def _bag(person, pose, at, view):
    cloth = person.bag_cloth.colour
    girth = person.girth
    if person.bag == "backpack":
        behind = np.array([0, 0, -0.1 * girth])
        width = view.half_width(0.085, 0.05)
        bottom = view.project(pose["pelvis"] + behind + np.array([0, 0.07, 0]))
        top = view.project(pose["chest"] + behind - np.array([0, 0.03, 0]))
        yield _part(bottom, top, (width, width * 1.03, width * 0.85), cloth, blunt=2.5)
        for sign in (1.0, -1.0):
            high = view.project(pose["chest"] + np.array([sign * 0.06, 0.0, 0.07 * girth]))
            low = view.project(pose["chest"] + np.array([sign * 0.075, -0.17, 0.066 * girth]))
            yield _part(high, low, (view.scale * 0.013,) * 3, cloth * 0.8, above=8.0)
    elif person.bag == "shoulder":
        out = person.hips + 0.07 * girth
        bottom = view.project(pose["pelvis"] + np.array([out, -0.05, -0.01]))
        top = view.project(pose["pelvis"] + np.array([out, 0.05, -0.01]))
        width = view.half_width(0.03, 0.08)
        yield _part(bottom, top, (width, width * 1.05, width * 0.95), cloth, blunt=4, above=4.0)
        for face in (0.078, -0.078):
            high = view.project(pose["chest"] + np.array([-0.06, 0.01, face * girth * 0.7]))
            low = view.project(pose["pelvis"] + np.array([out * 0.75, 0.08, face * girth]))
            yield _part(high, low, (view.scale * 0.011,) * 3, cloth * 0.75, above=8.0)
    elif person.bag == "hand":
        grip = pose["right_hand"] - np.array([0, 0.03, 0])
        width = view.half_width(0.03, 0.075)
        top, bottom = view.project(grip - np.array([0, 0.03, 0])), view.project(grip - np.array([0, 0.13, 0]))
        yield _part(top, bottom, (width * 0.85, width, width), cloth, blunt=4, above=2.0)
        yield _part(at["right_hand"], top, (view.scale * 0.01,) * 3, cloth * 0.8)


def wear(cloth: Cloth, view: View) -> Paint | np.ndarray:
    """Paint of a cloth whose texture turns with the body."""
    if cloth.texture == "plain":
        return cloth.colour
    base, change = cloth.colour[:, None, None, None], (cloth.second - cloth.colour)[:, None, None, None]
    yaw, scale = view.yaw[:, None, None], view.scale[:, None, None]

    def paint(surface: Surface) -> np.ndarray:
        rows = surface.along * surface.length / (scale * cloth.repeat) + cloth.phase
        around = np.arcsin(np.clip(surface.normal[0], -1, 1)) - yaw
        if cloth.texture == "open":
            front = np.clip(8 * (np.cos(around) - 0.9), 0, 1) * (surface.normal[2] > 0)
            return base + change * front
        vertical = np.sin(2 * np.pi * rows)
        if cloth.texture == "stripes":
            share = np.clip(0.5 + 1.6 * vertical, 0, 1)
        else:
            columns = np.sin(around * (0.62 / cloth.repeat))
            if cloth.texture == "checks":
                share = 0.5 * np.clip(0.5 + 1.6 * vertical, 0, 1) + 0.5 * np.clip(0.5 + 1.6 * columns, 0, 1)
            else:
                share = np.clip(2.5 * vertical * columns - 0.4, 0, 1)
        return base + change * share

    return paint


def _on_ground(points: np.ndarray) -> np.ndarray:
    return points * np.array([1.0, 0.0, 1.0])
