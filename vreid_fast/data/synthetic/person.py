"""Who walks: build, skin, hair, clothes and bag, drawn once for an identity."""

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from .style import Style

GARMENTS = ("hat", "hat_cloth", "top", "sleeves", "coat", "bottom", "bottom_cloth", "shoes")
TEXTURES = ("plain", "stripes", "checks", "dots", "open")
BOTTOMS = ("trousers", "shorts", "skirt")
SLEEVES = ("long", "short", "none")
HAIR = ("short", "long", "bun", "bald")
HATS = ("none", "cap", "beanie")
BAGS = ("none", "backpack", "shoulder", "hand")

SKIN = ((0.96, 0.80, 0.69), (0.89, 0.70, 0.57), (0.78, 0.57, 0.43), (0.60, 0.42, 0.30), (0.42, 0.29, 0.21))
HAIR_COLOURS = ((0.08, 0.07, 0.06), (0.22, 0.14, 0.09), (0.42, 0.27, 0.15), (0.78, 0.62, 0.36), (0.55, 0.53, 0.51))


@dataclass(frozen=True)
class Cloth:
    """A fabric: RGB colours in [0, 1], a texture and the size of its repeat in body heights."""

    colour: np.ndarray
    second: np.ndarray
    texture: str = "plain"
    repeat: float = 0.06
    phase: float = 0.0


@dataclass(frozen=True)
class Person:
    """One identity. Lengths are in body heights; `walk` scales are about 1."""

    shoulders: float  # half-width
    hips: float  # half-width of the pelvis
    girth: float  # scale of torso depth and width
    limbs: float  # scale of the limb radii
    legs: float  # hip height
    skin: np.ndarray
    hair: str
    hair_colour: np.ndarray
    beard: bool
    hat: str
    hat_cloth: Cloth
    top: Cloth
    sleeves: str
    coat: float  # length below the hips, 0 for a waist-long top
    bottom: str
    bottom_cloth: Cloth
    shoes: Cloth
    bag: str
    bag_cloth: Cloth
    stride: float
    arm_swing: float
    elbow: float  # degrees of bend at rest
    lean: float  # degrees forward


def draw_person(rng: np.random.Generator, style: Style) -> Person:
    """A person of `style`'s population."""
    slender = rng.random()
    bottom = rng.choice(BOTTOMS, p=(0.66, 0.18, 0.16))
    sleeves = rng.choice(SLEEVES, p=(0.58, 0.34, 0.08))
    coat = rng.uniform(0.08, 0.2) if sleeves == "long" and rng.random() < 0.35 else 0.0
    texture = rng.choice(TEXTURES[1:]) if rng.random() < style.textured else "plain"
    return Person(
        shoulders=rng.uniform(0.085, 0.105) + 0.015 * (1 - slender),
        hips=rng.uniform(0.048, 0.058),
        girth=rng.uniform(0.85, 1.05) + 0.22 * (1 - slender) ** 2,
        limbs=rng.uniform(0.88, 1.05) + 0.2 * (1 - slender) ** 2,
        legs=rng.uniform(0.49, 0.53),
        skin=np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.94, 1.04),
        hair=str(rng.choice(HAIR, p=(0.5, 0.3, 0.12, 0.08))),
        hair_colour=np.array(HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]) * rng.uniform(0.8, 1.2),
        beard=bool(rng.random() < 0.15),
        hat=str(rng.choice(HATS, p=(0.76, 0.13, 0.11))),
        hat_cloth=_cloth(rng, style),
        top=_cloth(rng, style, str(texture)),
        sleeves=str(sleeves),
        coat=coat,
        bottom=str(bottom),
        bottom_cloth=_cloth(rng, style, "checks" if bottom == "skirt" and rng.random() < 0.3 else "plain", dark=0.35),
        shoes=_cloth(rng, style, dark=0.5),
        bag=str(rng.choice(BAGS, p=(0.46, 0.22, 0.18, 0.14))),
        bag_cloth=_cloth(rng, style),
        stride=rng.uniform(0.85, 1.15),
        arm_swing=rng.uniform(0.5, 1.2),
        elbow=rng.uniform(10, 35),
        lean=rng.uniform(0, 6),
    )


def dressed_as(person: Person, other: Person) -> Person:
    """The same person, with build, hair, gait and bag, in somebody else's clothes."""
    return replace(person, **{garment: getattr(other, garment) for garment in GARMENTS})


def _cloth(rng: np.random.Generator, style: Style, texture: str = "plain", dark: float = 0.0) -> Cloth:
    colour = _colour(rng, style, dark)
    # The second colour must be seen beside the first: a light one on dark cloth and the other way round.
    contrast = 0.9 if colour.mean() < 0.45 else 0.12
    second = 0.35 * _colour(rng, style, 0.0) + 0.65 * contrast
    return Cloth(colour, second, texture, rng.uniform(0.045, 0.085), rng.uniform(0, 1))


def _colour(rng: np.random.Generator, style: Style, dark: float) -> np.ndarray:
    kind = rng.random()
    if kind < style.grey:
        grey = rng.choice((0.08, 0.16, 0.3, 0.5, 0.72, 0.92)) * rng.uniform(0.85, 1.08)
        colour = grey * rng.uniform(0.95, 1.05, 3)
    elif kind < style.grey + style.blue:
        colour = colorsys.hsv_to_rgb(rng.uniform(0.56, 0.66), rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.65))
    else:
        colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*style.saturation), rng.uniform(*style.value))
    if rng.random() < dark:
        colour = np.asarray(colour) * 0.45
    return np.clip(colour, 0.02, 0.97)
