"""How a person walks: joint positions over time.

Body frame: x to the person's left, y up from the ground, z forward; unit: body height.
"""

import numpy as np

from .person import Person

THIGH, SHIN, ANKLE, FOOT = 0.245, 0.235, 0.035, 0.085
UPPER_ARM, FOREARM = 0.165, 0.15
TORSO, NECK, HEAD = 0.3, 0.05, 0.085
CYCLE_LENGTH = 0.8  # body heights walked in one gait cycle (two steps) at stride 1


def joints(person: Person, cycle: np.ndarray) -> dict[str, np.ndarray]:
    """Joint positions, each (T, 3), at gait phases `cycle` (T,) (1 = two steps, 0 = left heel strike)."""
    lean = np.radians(person.lean)
    upright = np.array([0.0, np.cos(lean), np.sin(lean)])
    sway = 0.008 * np.sin(2 * np.pi * cycle)
    pelvis = np.stack([sway, np.full_like(cycle, person.legs), np.zeros_like(cycle)], -1)
    chest = pelvis + TORSO * upright
    neck = chest + 0.02 * upright
    pose = {"pelvis": pelvis, "chest": chest, "neck": neck, "chin": neck + NECK * upright}
    pose["crown"] = pose["chin"] + HEAD * np.array([0.0, 1.0, 0.1])
    for side, sign, phase in (("left", 1.0, cycle % 1), ("right", -1.0, (cycle + 0.5) % 1)):
        wave = np.cos(2 * np.pi * phase)
        across = np.array([sign, 0.0, 0.0])

        hip = pelvis + across * person.hips
        flexion = np.radians(7 + 21 * person.stride * wave)
        knee_bend = np.radians(4 + 52 * _bump(phase, 0.72, 0.12) + 12 * _bump(phase, 0.14, 0.09))
        knee = hip + THIGH * _swing(flexion)
        ankle = knee + SHIN * _swing(flexion - knee_bend)
        sole = flexion - knee_bend - np.radians(30 * _bump(phase, 0.6, 0.09) - 12 * _bump(phase, 0.0, 0.08))
        toe = ankle + FOOT * np.stack([np.zeros_like(sole), np.sin(sole), np.cos(sole)], -1)
        toe = toe - np.array([0.0, 0.022, 0.0]) + across * 0.012

        # Arms swing against the leg of their own side, and the shoulders turn a little with them.
        turn = np.radians(5) * person.arm_swing * -wave
        shoulder = chest + person.shoulders * sign * np.stack(
            [np.cos(turn), np.zeros_like(turn), sign * np.sin(turn)], -1
        )
        shoulder = shoulder - np.array([0.0, 0.022, 0.0])
        swing = np.radians(-22 * person.arm_swing * wave + 2)
        bend = np.radians(person.elbow + 12 * person.arm_swing * np.maximum(-wave, 0))
        elbow = shoulder + UPPER_ARM * _swing(swing) + across * 0.018
        hand = elbow + FOREARM * _swing(swing + bend) - across * 0.004
        for name, position in zip(
            ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "hand"),
            (hip, knee, ankle, toe, shoulder, elbow, hand),
        ):
            pose[f"{side}_{name}"] = position

    # The lower foot stands on the ground; this makes the body rise and fall twice a cycle.
    lowest = np.minimum.reduce(
        [pose[f"{side}_{name}"][:, 1] for side in ("left", "right") for name in ("ankle", "toe")]
    )
    for position in pose.values():
        position[:, 1] += 0.02 - lowest
    return pose


def _swing(angle: np.ndarray) -> np.ndarray:
    """Unit vectors (T, 3) hanging down and swung forward by `angle` (T,) radians."""
    return np.stack([np.zeros_like(angle), -np.cos(angle), np.sin(angle)], -1)


def _bump(phase: np.ndarray, centre: float, width: float) -> np.ndarray:
    distance = (phase - centre + 0.5) % 1 - 0.5
    return np.exp(-((distance / width) ** 2))
