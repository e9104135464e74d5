"""Keyframes off the feet: sitting at a desk and on the floor, lying down and getting up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mocap3d.data.synthetic.body import SIGN, Body
from mocap3d.data.synthetic.keyframes import Keyframe, Move
from mocap3d.data.synthetic.upright import arms, one_of, somewhere, standing

PALM = 0.06  # m, wrist of a hand that lies on something


def _hand(u, side: int, x: float, y: float, z: float, spread: float = 0.05) -> np.ndarray:
    """Return a point (3,) for a hand, y outward of its side."""
    return np.array([x + u(-spread, spread), SIGN[side] * (y + u(-spread, spread)), z])


def desk(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Sit at a desk: type, write, reach, lean, turn, cross the legs."""
    u, place, tempo, size = rng.uniform, np.zeros(3), rng.uniform(0.8, 1.3), body.stature / 1.75
    seat = u(0.50, 0.60) * size
    top = seat + u(0.17, 0.25) * size  # wrists on the desk
    writes = int(rng.random() < 0.2)  # the hand that writes and holds the mouse
    key = Keyframe(pelvis=np.array([0.0, 0.0, seat]), weight=np.zeros(2), free=0.8)
    _legs_of_a_sitter(u, rng, body, key)
    while True:
        key = key.at(np.zeros(3))
        if rng.random() < 0.3:
            _legs_of_a_sitter(u, rng, body, key)
        hold = _desk_work(u, rng, key, top, writes if rng.random() < 0.8 else 1 - writes)
        yield Move(key, place, u(0.8, 1.4) / tempo, hold)


def _legs_of_a_sitter(u, rng: np.random.Generator, body: Body, key: Keyframe) -> None:
    way, a = one_of(rng, "flat flat far under ankles over ankle_up"), int(rng.integers(2))
    b, seat = 1 - a, key.pelvis[2]
    ahead = np.sqrt(max(body.shank**2 - (seat - body.ankle) ** 2, 0.0)) + body.thigh * 0.93  # shanks upright
    ahead = min(ahead, body.thigh)
    key.load[:] = 1.0
    key.knee_out = u(0.0, 0.3, 2)
    key.feet[:] = [[ahead + u(-0.12, 0.08), sign * u(0.07, 0.2), 0.0] for sign in SIGN]
    if way == "far":
        key.feet[:, 0] += u(0.1, 0.25)
    elif way == "under":
        key.feet[:, 0] = u(0.1, 0.25, 2)
        key.feet[:, 2] = u(0.02, 0.07)
    elif way == "ankles":
        key.feet[:] = [[ahead + 0.1 * (side == a), -sign * 0.03, 0.0] for side, sign in enumerate(SIGN)]
        key.feet[a, 2] = 0.05
        key.knee_out = u(0.2, 0.5, 2)
    elif way == "over":  # thigh upon thigh, the shank hangs
        key.feet[b, 1] = SIGN[b] * 0.06
        low = seat - body.ankle - body.shank * u(0.62, 0.8)
        key.feet[a] = body.thigh + u(0.08, 0.2), SIGN[b] * u(0.06, 0.14), low
        key.load[a], key.knee_out[a] = 0.0, -0.05
    elif way == "ankle_up":  # the ankle on the other knee
        key.feet[b, 1] = SIGN[b] * u(0.1, 0.16)
        key.feet[a] = body.thigh * 0.85, SIGN[b] * u(0.04, 0.12), seat - body.ankle + u(0.08, 0.12)
        key.load[a], key.knee_out[a] = 0.0, u(1.0, 1.3)


def _desk_work(u, rng: np.random.Generator, key: Keyframe, top: float, a: int) -> float:
    """Give the upper body something to do with hand a first; return for how many seconds."""
    way, b = one_of(rng, "type type write mouse fetch fetch back head aside talk"), 1 - a
    near = [_hand(u, side, 0.38, 0.12, top) for side in range(2)]
    key.palm[:], key.grip[:] = near, 1.0
    key.angles = np.array([u(-0.05, 0.05), u(-0.1, 0.1), u(-0.04, 0.04)])
    key.trunk = np.array([u(0.0, 0.3), u(-0.08, 0.08), u(-0.12, 0.12)])
    key.neck = np.array([u(-0.05, 0.25), u(-0.08, 0.08), u(-0.15, 0.15)])
    key.hands = arms(rng, {"lap": 3, "belly": 1, "low": 1})
    if way == "type":
        key.palm[:, 1] = SIGN * u(0.06, 0.16)
        return u(0.8, 3.0)
    if way == "write":
        key.palm[a, :2] = u(0.28, 0.4), SIGN[a] * u(0.0, 0.15)
        key.trunk[:2], key.neck[0] = (u(0.25, 0.55), -SIGN[a] * u(0.0, 0.15)), u(0.2, 0.6)
        return u(0.5, 2.0)
    if way == "mouse":
        key.palm[a] = _hand(u, a, 0.42, 0.28, top)
        key.grip[b] = float(rng.random() < 0.6)
        return u(0.5, 2.0)
    if way == "fetch":
        aside = u(-0.2, 1.0) * SIGN[a]
        far = u(0.5, 0.75)
        key.palm[a] = far * np.cos(aside), far * np.sin(aside), top + rng.choice([0.0, u(0.0, 0.5)])
        key.trunk, key.angles[1] = np.array([u(0.1, 0.5), -0.15 * aside, 0.4 * aside]), u(0.0, 0.35)
        key.neck[2] = 0.3 * aside
        key.grip[b] = float(rng.random() < 0.7)
        return u(0.1, 0.7)
    if way == "back":
        key.grip[:] = 0.0
        key.angles[1], key.trunk[0] = -u(0.15, 0.45), u(-0.15, 0.2)
        key.hands = arms(rng, {"nape": 2, "overhead": 1, "fold": 2, "lap": 2, "hang": 1}, 0.9)
        return u(0.5, 2.0)
    if way == "head":
        key.grip[a] = 0.0
        key.hands[a] = arms(rng, {"mouth": 2, "ear": 2, "brow": 1})[0]
        key.trunk[0] = u(0.1, 0.5)
        return u(0.5, 2.0)
    if way == "aside":  # turn to a neighbour, or down to a drawer
        turn = u(0.3, 0.7) * SIGN[a]
        key.trunk[2], key.neck[2], key.angles[0] = turn, u(0.2, 0.8) * SIGN[a], 0.3 * turn
        key.grip[a], key.palm[a] = float(rng.random() < 0.6), _hand(u, a, 0.15, 0.5, u(0.35, 0.8) * top)
        key.trunk[1] = -SIGN[a] * u(0.0, 0.35) * key.grip[a]
        return u(0.3, 1.2)
    key.grip[:] = [0.0, float(rng.random() < 0.5)][:: rng.choice([-1, 1])]
    key.hands = arms(rng, {"front": 2, "anywhere": 2, "fold": 1, "lap": 1}, 0.3)
    return u(0.2, 1.0)


def floor(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Sit on the floor: cross-legged, legs stretched or astride, knees up, hands in the lap or propped behind."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.7, 1.2)
    key = Keyframe(pelvis=np.array([0.0, 0.0, u(0.10, 0.13)]), weight=np.zeros(2), free=0.7)
    while True:
        key = key.at(np.zeros(3))
        _floor_legs(u, rng, body, key)
        for number in range(rng.integers(1, 4)):  # the legs stay
            key = key.at(np.zeros(3))
            _floor_arms(u, rng, body, key)
            yield Move(key, place, (u(1.0, 1.6) if number else u(1.0, 1.7)) / tempo, u(0.1, 1.4))


def _floor_legs(u, rng: np.random.Generator, body: Body, key: Keyframe) -> None:
    a = int(rng.integers(2))
    way = one_of(rng, "crossed crossed long astride knees knees hurdle half folded")
    if way == "crossed":
        key.feet[:] = [[u(0.22, 0.34), -sign * u(0.04, 0.14), 0.0] for sign in SIGN]
        key.knee_out = u(1.05, 1.3, 2)
    elif way == "folded":  # soles together
        key.feet[:] = [[u(0.3, 0.36), sign * 0.04, 0.0] for sign in SIGN]
        key.knee_out = u(1.1, 1.35, 2)
    elif way == "knees":
        key.feet[:] = [[u(0.38, 0.66), sign * u(0.06, 0.2), 0.0] for sign in SIGN]
        key.knee_out = u(0.0, 0.4, 2)
    else:  # at least one leg stretched
        wide = u(0.3, 0.75) if way == "astride" else u(0.0, 0.15)
        far = body.leg * u(0.92, 0.97)
        key.feet[:] = [[far * np.cos(wide), sign * (0.08 + far * np.sin(wide)), 0.0] for sign in SIGN]
        key.knee_out = u(0.0, 0.2, 2)
        if way == "half":  # the other foot flat, knee up
            key.feet[a], key.knee_out[a] = (u(0.35, 0.55), SIGN[a] * u(0.05, 0.15), 0.0), u(-0.1, 0.3)
        elif way == "hurdle":  # the other sole against the thigh
            key.feet[a], key.knee_out[a] = (u(0.28, 0.4), SIGN[a] * 0.02, 0.0), u(1.0, 1.3)


def _floor_arms(u, rng: np.random.Generator, body: Body, key: Keyframe) -> None:
    way, a = one_of(rng, "lap lap behind behind aside toes talk"), int(rng.integers(2))
    key.grip[:] = 0.0
    key.angles = np.array([u(-0.15, 0.15), u(-0.3, 0.05), u(-0.05, 0.05)])
    key.trunk = np.array([u(0.1, 0.6), u(-0.12, 0.12), u(-0.3, 0.3)])
    key.neck = np.array([u(-0.3, 0.3), 0.0, u(-0.3, 0.3)])
    if way == "lap":
        key.hands = arms(rng, {"lap": 4, "belly": 1, "low": 2, "fold": 0.5, "front": 1}, 0.8)
    elif way == "behind":
        key.palm[:] = [_hand(u, side, -0.28, 0.26, PALM) for side in range(2)]
        key.grip[:], key.angles[1], key.trunk[0] = 1.0, -u(0.4, 0.65), u(-0.15, 0.15)
    elif way == "aside":  # propped on one hand
        key.palm[a], key.grip[a] = _hand(u, a, -0.1, 0.38, PALM), 1.0
        key.trunk[1], key.angles[2] = -SIGN[a] * u(0.1, 0.3), -SIGN[a] * 0.08
        key.hands = arms(rng, {"lap": 2, "anywhere": 1, "hip": 0.5, "front": 1})
    elif way == "toes":
        key.palm[:] = key.feet + [0.05, 0.0, body.ankle + 0.06]
        key.palm[:, 1], key.grip[:] = (SIGN * np.abs(key.feet[:, 1]), 1.0)  # crossed feet, but not crossed hands
        far = np.linalg.norm(key.feet[:, :2], axis=-1).mean() / body.leg
        key.angles[1], key.trunk[0], key.neck[0] = 0.4 * far, u(0.4, 1.0) * far, u(-0.4, 0.3)
    else:
        key.hands = arms(rng, {"front": 2, "anywhere": 2, "overhead": 1, "side": 1, "mouth": 0.5, "nape": 0.5}, 0.4)
    _chest_off_thighs(body, key)


def _chest_off_thighs(body: Body, key: Keyframe) -> None:
    """Lean back, where the thighs are steep, as far as hips and spine bend."""
    steep = np.arccos(np.clip(np.linalg.norm(key.feet[:, :2], axis=-1).min() / body.leg, 0.0, 1.0))
    if key.knee_out.min() < 0.6:
        key.angles[1] -= max(0.0, key.angles[1] + 0.7 * key.trunk[0] - (1.2 - steep))


def lying(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Squat, sit down, lie on the back or a side, roll over, sit up, stand up."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.8, 1.2)
    while True:
        stand = standing(rng, body)
        yield Move(stand, place, u(1.2, 1.7) / tempo, u(0.0, 0.8))
        seat = np.array([-body.leg * u(0.46, 0.54), 0.0, u(0.10, 0.13)])
        sit = _sit_up(u, rng, body, stand, seat)
        yield Move(_squat(u, rng, body, stand), place, u(1.0, 1.5) / tempo, -0.25)
        yield Move(sit, place, u(0.9, 1.3) / tempo, u(0.0, 0.8))
        yield Move(_half_down(u, rng, body, sit), place, u(0.8, 1.2) / tempo, -0.25)
        for _ in range(rng.integers(1, 4)):  # on the back, perhaps over to a side and back; the arms go first
            back = _on_back(u, rng, body, sit)
            yield Move(back, place, u(0.9, 1.4) / tempo, u(0.3, 1.5))
            if rng.random() < 0.65:
                aside = _on_side(u, rng, body, sit, int(rng.integers(2)))
                ready = replace(back.at(np.zeros(3)), hands=aside.hands)
                yield Move(ready, place, u(0.6, 1.0) / tempo, -0.2)
                yield Move(aside, place, u(1.2, 1.8) / tempo, u(0.3, 1.8))
                yield Move(replace(back.at(np.zeros(3)), hands=aside.hands), place, u(1.2, 1.7) / tempo, -0.2)
        yield Move(_half_down(u, rng, body, sit), place, u(1.1, 1.6) / tempo, -0.2)
        yield Move(_sit_up(u, rng, body, stand, seat), place, u(0.9, 1.3) / tempo, u(0.0, 0.6))
        yield Move(_squat(u, rng, body, stand), place, u(1.0, 1.4) / tempo, -0.25)
        yield Move(stand.at(np.zeros(3)), place, u(1.0, 1.5) / tempo, u(0.0, 0.6))
        place = somewhere(rng, place, 0.1)


def _squat(u, rng: np.random.Generator, body: Body, stand: Keyframe) -> Keyframe:
    key = stand.at(np.zeros(3))
    key.pelvis = np.array([-0.3, 0.0, body.ankle + body.leg * u(0.33, 0.4)])
    key.weight[:] = 0.2  # falling backward, or swinging forward
    key.angles[1], key.trunk[0], key.neck[0] = u(0.35, 0.6), u(0.3, 0.7), -0.3
    key.knee_out = u(0.1, 0.4, 2)
    key.hands = arms(rng, {"front": 2, "low": 2, "lap": 1})
    return key


def _sit_up(u, rng: np.random.Generator, body: Body, stand: Keyframe, seat: np.ndarray) -> Keyframe:
    """Sitting, knees up, hands propped behind."""
    key = stand.at(np.zeros(3))
    key.pelvis, key.weight, key.free = seat.copy(), np.zeros(2), 0.6
    key.angles, key.trunk = np.array([0.0, -u(0.4, 0.6), 0.0]), np.array([u(-0.1, 0.2), 0.0, 0.0])
    key.palm[:] = [_hand(u, side, seat[0] - 0.28, 0.26, PALM) for side in range(2)]
    key.grip[:] = 1.0
    return key


def _half_down(u, rng: np.random.Generator, body: Body, sit: Keyframe) -> Keyframe:
    """Between sitting and lying: the trunk curled."""
    key = sit.at(np.zeros(3))
    key.angles[1], key.trunk[0], key.neck[0] = -u(0.75, 0.95), u(0.5, 0.8), u(0.3, 0.6)
    key.grip[:] = float(rng.random() < 0.6)
    key.hands = arms(rng, {"lap": 2, "front": 2, "low": 1})
    return key


def _on_back(u, rng: np.random.Generator, body: Body, sit: Keyframe) -> Keyframe:
    key = sit.at(np.zeros(3))
    key.pelvis[2], key.free = 0.105, 0.25
    key.angles = np.array([u(-0.05, 0.05), -1.53, 0.0])
    key.trunk = np.array([0.0, u(-0.1, 0.1), u(-0.05, 0.05)])
    key.neck = np.array([u(-0.05, 0.3), u(-0.15, 0.15), u(-0.5, 0.5)])
    key.grip[:] = 0.0
    key.hands = arms(rng, {"hang": 3, "belly": 2, "side": 2, "overhead": 1, "fold": 1}, 0.7)
    key.hands[:, 4] = u(0.3, 1.0, 2)  # elbows beside the trunk, not under it
    for side, sign in enumerate(SIGN):
        if rng.random() < 0.55:  # stretched; else the foot stays, knee up
            far, wide = body.leg * u(0.93, 0.97), u(0.0, 0.25)
            key.feet[side] = key.pelvis[0] + far * np.cos(wide), sign * (body.hip + far * np.sin(wide)), 0.0
    key.knee_out = u(0.0, 0.4, 2)
    return key


def _on_side(u, rng: np.random.Generator, body: Body, sit: Keyframe, side: int) -> Keyframe:
    """Lying on a side, legs more or less bent; the face looks where that side is when lying on the back."""
    key, sign, bent = sit.at(np.zeros(3)), SIGN[side], u(0.1, 0.9)
    key.pelvis += [0.0, sign * 0.12, 0.0]
    key.pelvis[2], key.free = 0.21, 0.25
    key.angles = np.array([0.0, -1.53, -sign * u(1.3, 1.6)])
    key.trunk = np.array([0.45 * bent + u(-0.1, 0.1), 0.1 * sign, -sign * u(-0.1, 0.15)])
    key.neck = np.array([u(-0.1, 0.4), 0.0, 0.0])
    for leg in range(2):
        own = bent if leg == side else float(np.clip(bent + u(-0.3, 0.4), 0.1, 1.0))
        along = body.leg * (0.95 - 0.55 * own)
        high = 0.0 if leg == side else u(0.06, 0.12)
        key.feet[leg] = key.pelvis[0] + along, key.pelvis[1] + sign * 0.25 * own, high
    key.knee_out = np.zeros(2)
    key.grip[:] = 0.0
    along = u(-0.4, 0.9)  # the lower arm lies in front
    key.hands[side] = 0.9 * np.cos(along), -0.1, 0.9 * np.sin(along), 0.0, -u(0.5, 0.9)
    key.hands[1 - side] = arms(rng, {"front": 2, "belly": 1, "hang": 1, "hip": 1, "lap": 1})[0]
    return key
