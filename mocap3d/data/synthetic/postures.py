"""Whole-body postures: standing, lunging, squatting, kneeling, sitting, each drawn at random within its kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap3d.data.synthetic.body import SIGN, Body

STANDING = {"stand", "ease", "wide", "lunge", "squat", "bow", "raise", "kick"}  # ways from which one can jump
ONE_LEG = {"raise", "kick"}
KNEELING = {"kneel", "kneel_both"}
SEATED = {"chair", "chair_crossed", "floor_knees", "floor_crossed", "floor_long", "side_sit"}


@dataclass
class Posture:
    """One whole-body posture relative to a place on the floor (x forward, y left; metres, radians).

    Attributes:
        feet: (2, 3) ankles, z above a flat foot. root: (3,) pelvis, z above the floor.
        tilt: (2,) pelvis pitch forward and roll to the right. trunk: (3,) flexion, lateral, twist.
        knee_out: (2,). light: whether the feet carry no load (sitting, kneeling).
    """

    feet: np.ndarray
    root: np.ndarray
    tilt: np.ndarray
    trunk: np.ndarray
    knee_out: np.ndarray
    light: bool = False


def random_posture(rng: np.random.Generator, body: Body, kind: str) -> Posture:
    """Draw a posture.

    Args:
        body: segment lengths, metres.
        kind: "stand", "ease", "wide", "lunge", "squat", "bow", "reach_down", "raise", "kick", "kneel", "kneel_both",
            "chair", "chair_crossed", "floor_knees", "floor_crossed", "floor_long" or "side_sit".
    Returns:
        A Posture; which leg does what is drawn too.
    Source: own, by eye.
    """
    u = rng.uniform
    posture = Posture(
        feet=np.array([[u(-0.08, 0.1), -u(0.07, 0.15), 0.0], [u(-0.08, 0.1), u(0.07, 0.15), 0.0]]),
        root=np.array([0.0, u(-0.02, 0.02), body.ankle + body.leg * u(0.965, 0.99)]),
        tilt=np.array([u(-0.08, 0.12), u(-0.04, 0.04)]),
        trunk=np.array([u(-0.12, 0.25), u(-0.12, 0.12), u(-0.3, 0.3)]),
        knee_out=u(-0.05, 0.35, 2),
    )
    active = int(rng.integers(2))
    draw = _kneel if kind in KNEELING else _sit if kind in SEATED else _one_leg if kind in ONE_LEG else _stand
    draw(u, body, kind, posture, active, 1 - active)
    return posture


def _stand(u, body: Body, kind: str, p: Posture, a: int, b: int) -> None:
    """Both feet on the floor. a, b: the leg that does it, and the other; likewise below."""
    leg = body.leg
    if kind == "ease":
        p.root[1] = SIGN[a] * u(0.04, 0.10)
        p.tilt[1] = -SIGN[a] * u(0.0, 0.1)
        p.feet[b, 0] += u(-0.05, 0.15)
    elif kind == "wide":
        p.feet[:, 1] = SIGN * u(0.2, 0.42, 2)
        p.root[1:] = u(-0.18, 0.18), body.ankle + leg * u(0.72, 0.93)
        p.knee_out = u(0.2, 0.8, 2)
        p.trunk = np.array([u(-0.15, 0.5), u(-0.4, 0.4), u(-0.6, 0.6)])
    elif kind == "lunge":
        p.feet[a, :2] = u(0.25, 0.55), SIGN[a] * u(0.05, 0.22)
        p.feet[b] = -u(0.2, 0.5), SIGN[b] * u(0.05, 0.22), u(0.0, 0.08)
        p.root[:] = u(-0.08, 0.22), u(-0.06, 0.06), body.ankle + leg * u(0.62, 0.9)
        p.tilt = np.array([u(-0.05, 0.5), u(-0.1, 0.1)])
        p.trunk = np.array([u(-0.15, 0.5), u(-0.3, 0.3), u(-0.6, 0.6)])
        p.knee_out = u(0.0, 0.4, 2)
    elif kind == "squat":
        depth = u(0.0, 1.0)
        p.feet[:, 1] = SIGN * u(0.1, 0.28, 2)
        p.feet[:, 2] = u(0.0, 0.07) * depth
        p.root[:] = -0.12 + u(-0.05, 0.1), u(-0.03, 0.03), body.ankle + leg * (0.82 - 0.44 * depth)
        p.tilt = np.array([u(0.1, 0.7) * (0.5 + 0.5 * depth), u(-0.06, 0.06)])
        p.trunk[0] = u(0.0, 0.6)
        p.knee_out = u(0.1, 0.8, 2)
    elif kind in ("bow", "reach_down"):
        deep = kind == "reach_down"
        p.tilt[0] = u(0.5, 1.1) if deep else u(0.15, 0.8)
        p.trunk = np.array([u(0.3, 0.8) if deep else u(0.1, 0.6), u(-0.3, 0.3), u(-0.5, 0.5)])
        p.root[0] = -0.16 * p.tilt[0]
        p.root[2] = body.ankle + leg * (u(0.6, 0.95) if deep else u(0.88, 0.97))
        p.feet[:, 1] = SIGN * u(0.08, 0.28, 2)
        p.feet[a, 0] += u(0.0, 0.3)


def _one_leg(u, body: Body, kind: str, p: Posture, a: int, b: int) -> None:
    p.feet[b, 0] = u(-0.04, 0.04)
    p.root[:2] = 0.0, SIGN[b] * u(0.05, 0.11)
    if kind == "raise":  # a knee or a straight leg in front or to the side
        p.feet[a] = u(0.0, 0.55), SIGN[a] * u(0.05, 0.4), u(0.12, 0.58)
        p.tilt = np.array([u(-0.25, 0.1), SIGN[b] * u(-0.1, 0.15)])
    else:  # a foot behind, knee bent or the body tipped forward
        p.feet[a] = -u(0.2, 0.6), SIGN[a] * u(0.0, 0.15), u(0.12, 0.42)
        p.tilt[0] = u(0.0, 0.8)


def _kneel(u, body: Body, kind: str, p: Posture, a: int, b: int) -> None:
    back = body.leg / 2  # about a shank
    p.light = True
    if kind == "kneel":
        p.feet[a] = u(0.28, 0.42), SIGN[a] * u(0.08, 0.2), 0.0
        p.feet[b] = -u(0.77, 1.0) * back, SIGN[b] * u(0.06, 0.14), u(0.01, 0.06)
        p.root[:] = u(-0.05, 0.05), 0.0, body.thigh + u(0.05, 0.08)
        p.tilt[0], p.knee_out = u(-0.1, 0.4), u(-0.05, 0.2, 2)
        return
    p.feet[:] = [[-0.95 * back, s * u(0.07, 0.16), u(0.0, 0.04)] for s in SIGN]
    p.root[:] = u(-0.1, 0.04), 0.0, body.thigh + 0.05
    if u() < 0.4:  # sitting on the heels
        p.root[:] = -0.82 * back, 0.0, body.ankle + u(0.15, 0.2)
    p.tilt[0], p.knee_out = u(-0.1, 0.3), u(-0.05, 0.3, 2)
    p.trunk[0] = u(-0.1, 0.5)


def _sit(u, body: Body, kind: str, p: Posture, a: int, b: int) -> None:
    p.light = True
    if kind.startswith("chair"):
        p.root[:] = -u(0.32, 0.5), u(-0.03, 0.03), u(0.46, 0.60) * body.stature / 1.75
        p.feet[:, 0] = u(-0.15, 0.25, 2)
        p.feet[:, 1] = SIGN * u(0.06, 0.24, 2)
        p.tilt = np.array([u(-0.35, 0.4), u(-0.06, 0.06)])
        p.trunk = np.array([u(-0.1, 0.6), u(-0.25, 0.25), u(-0.5, 0.5)])
        p.knee_out = u(-0.1, 0.5, 2)
        if kind == "chair_crossed":
            p.feet[a] = p.root[0] + 0.42, -SIGN[a] * u(0.02, 0.22), p.root[2] - u(0.05, 0.3)
            p.feet[b, :2] = u(0.0, 0.1), SIGN[b] * u(0.06, 0.12)
            p.knee_out[a] = u(0.2, 1.0) if p.feet[a, 2] > 0.3 else 0.0
        return
    p.root[:] = -0.3, 0.0, u(0.11, 0.16)
    p.tilt = np.array([u(-0.5, 0.15), u(-0.08, 0.08)])
    p.trunk = np.array([u(0.0, 0.8), u(-0.2, 0.2), u(-0.5, 0.5)])
    x = p.root[0]
    if kind == "floor_knees":
        p.feet[:] = [[x + u(0.3, 0.62), s * u(0.06, 0.2), 0.0] for s in SIGN]
        p.knee_out = u(-0.1, 0.4, 2)
    elif kind == "floor_crossed":
        p.feet[:] = [[x + u(0.22, 0.36), -s * u(0.04, 0.14), u(-0.02, 0.03)] for s in SIGN]
        p.knee_out = u(1.05, 1.3, 2)
    elif kind == "floor_long":
        p.feet[:] = [[x + body.leg * u(0.9, 0.97), s * u(0.06, 0.3), 0.0] for s in SIGN]
        p.feet[a, 0] -= u(0.0, 0.4)
        p.knee_out = u(0.0, 0.2, 2)
    else:  # both shanks folded to one side
        p.feet[b] = x + u(-0.04, 0.08), p.root[1] + SIGN[b] * u(0.36, 0.45), 0.03
        p.feet[a] = x + u(0.28, 0.36), SIGN[b] * u(0.08, 0.2), 0.02
        p.knee_out[[a, b]] = u(1.0, 1.25), 0.0
