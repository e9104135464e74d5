"""Keyframes on the feet: balancing on one leg, reaching, lunging, squatting, turning while bent."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mocap3d.data.synthetic.body import SIGN, Body
from mocap3d.data.synthetic.keyframes import Keyframe, Move
from mocap3d.data.synthetic.reach import draw_goal

ARMS = {
    "hang": 2,
    "hip": 1.5,
    "front": 2,
    "side": 1,
    "overhead": 1,
    "fold": 0.7,
    "nape": 0.5,
    "anywhere": 1.5,
    "belly": 1,
}


def arms(rng: np.random.Generator, shares: dict[str, float], together: float = 0.7) -> np.ndarray:
    """Draw (2, 5) hand goals, mirrored with chance `together`. Source: own."""
    names, chances = list(shares), np.array(list(shares.values())) / sum(shares.values())
    first = draw_goal(rng, str(rng.choice(names, p=chances)))
    if rng.random() < together:
        return np.stack([first, first + rng.normal(0, 0.03, 5) * [1, 1, 1, 0, 1]])
    return np.stack([first, draw_goal(rng, str(rng.choice(names, p=chances)))])[:: rng.choice([-1, 1])]


def one_of(rng: np.random.Generator, names: str) -> str:
    """Draw one of several words, each as likely as it is often there. Source: own."""
    return str(rng.choice(names.split()))


def standing(rng: np.random.Generator, body: Body) -> Keyframe:
    """Draw a relaxed standing posture with hanging arms. Source: own."""
    u, width = rng.uniform, rng.uniform(0.08, 0.14)
    return Keyframe(
        pelvis=np.array([0.0, 0.0, body.ankle + body.leg * u(0.965, 0.985)]),
        angles=np.array([0.0, u(-0.02, 0.08), 0.0]),
        trunk=np.array([u(-0.05, 0.12), u(-0.05, 0.05), u(-0.1, 0.1)]),
        neck=np.array([u(-0.1, 0.15), 0.0, u(-0.2, 0.2)]),
        feet=np.array([[u(-0.03, 0.03), sign * width, 0.0] for sign in SIGN]),
        knee_out=u(0.0, 0.25, 2),
        hands=arms(rng, {"hang": 1}),
    )


def somewhere(rng: np.random.Generator, place: np.ndarray, roam: float = 0.15, turn: float = 0.6) -> np.ndarray:
    """Draw a place (x, y, heading) near another, drawn back to the origin. Source: own."""
    return place * [0.8, 0.8, 1.0] + np.append(rng.normal(0, roam, 2).clip(-0.35, 0.35), rng.normal(0, turn))


def balancing(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Stand on one leg, the other raised in front, aside, behind or knee up, and put it down again."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.7, 1.3)
    out = {"side": 4, "front": 1, "overhead": 1.5, "hip": 1, "anywhere": 1, "hang": 0.5}
    while True:
        stand = standing(rng, body)
        yield Move(stand, place, u(1.0, 1.5) / tempo, u(0.0, 0.6))
        a, before = int(rng.integers(2)), None  # a: the raised leg
        for _ in range(rng.integers(1, 4)):
            key = standing(rng, body)
            key.feet[1 - a] = stand.feet[1 - a]
            key.load[a] = key.weight[a] = 0.0
            key.pelvis[2] -= u(0.0, 0.05) * body.leg
            key.pelvis[1] = SIGN[1 - a] * u(0.07, 0.11)  # about where balance will put it
            key.hands = arms(rng, out)
            way = one_of(rng, "front side back knee scale tree heel")
            key.feet[a], key.angles[1:], key.trunk[0] = _raised(u, body, key, way, a)
            key.knee_out[a] = u(0.9, 1.2) if way == "tree" else u(0.0, 0.2)
            if before is not None and before.feet[a, 0] * key.feet[a, 0] < -0.02:  # between front and back
                low = copy_of(key, rng)
                low.feet[a] = 0.0, SIGN[a] * (body.hip + 0.04), u(0.1, 0.2)
                low.angles[1], low.trunk[0], low.knee_out[a] = 0.0, 0.0, 0.1
                yield Move(low, place, u(0.8, 1.1) / tempo, -0.2)
            before = key
            yield Move(key, place, u(0.9, 1.6) / tempo, u(0.4, 2.0))
        place = somewhere(rng, place)


def _raised(u, body: Body, key: Keyframe, way: str, a: int) -> tuple[np.ndarray, tuple[float, float], float]:
    """Return ankle of the raised leg, (pitch, roll) of the pelvis and flexion of the trunk."""
    sign, hip = SIGN[a], key.pelvis + [0.0, SIGN[a] * body.hip, -body.ankle]
    tilt, flex = u(-0.1, 0.1), u(-0.05, 0.15)

    def leg(angle: float, shank: float | None = None, aside: float = 0.0) -> np.ndarray:
        """The ankle; `angle` of the thigh forward and `shank` of the shank backward, from straight down."""
        if shank is None:  # straight
            length = body.leg * u(0.88, 0.96)
            return hip + length * np.array([np.sin(angle), sign * np.sin(aside), -np.cos(angle) * np.cos(aside)])
        knee = hip + body.thigh * np.array([np.sin(angle), 0.0, -np.cos(angle)])
        return knee + body.shank * np.array([-np.sin(shank), 0.0, -np.cos(shank)])

    if way == "front":
        rise = u(0.35, 1.15)
        return leg(rise), (-0.25 * rise + 0.1, 0.0), 0.25 * rise
    if way == "side":
        rise = u(0.25, 0.85)
        return leg(0.0, aside=rise), (tilt, -sign * 0.25 * rise), flex
    if way == "back":
        rise = u(0.2, 0.7)
        return leg(-rise), (0.9 * rise, 0.0), flex - 0.2 * rise
    if way == "scale":  # trunk and leg in one line, level at the utmost
        rise = u(0.9, 1.45)
        return leg(-rise), (0.9 * rise, 0.0), -0.1
    if way == "tree":  # the sole against the other thigh or shank
        return np.array([0.02, -sign * u(0.02, 0.06), body.leg * u(0.25, 0.55)]), (tilt, 0.0), flex
    if way == "knee":
        rise = u(0.8, 1.7)
        return leg(rise, u(-0.2, 0.4)), (-0.1 * rise, 0.0), flex
    return leg(0.05, u(1.2, 2.0)), (0.1, 0.0), flex  # the heel behind, towards the seat


def squatting(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Squat shallow or deep, narrow or wide, once or repeatedly."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.7, 1.3)
    while True:
        stand, width = standing(rng, body), u(0.09, 0.4)
        stand.feet[:, 1] = SIGN * width
        stand.pelvis[2] -= 0.35 * width**2
        stand.knee_out = np.full(2, u(0.05, 0.3) + width)
        stand.hands = arms(rng, ARMS)
        yield Move(stand, place, u(0.9, 1.3) / tempo, u(0.0, 0.5))
        for _ in range(rng.integers(1, 4)):
            depth, down = u(0.15, 1.0), standing(rng, body)
            down.feet, down.knee_out = stand.feet.copy(), stand.knee_out
            down.pelvis[2] = body.ankle + body.leg * (0.88 - 0.46 * depth)
            down.feet[:, 2] = u(0.03, 0.08) * depth * (rng.random() < 0.3)  # on the balls of the feet
            down.angles[1] = u(0.15, 0.75) * (0.4 + 0.6 * depth)
            down.trunk = np.array([u(0.0, 0.5), u(-0.15, 0.15), u(-0.4, 0.4)])
            down.neck[0] = -0.5 * down.angles[1]
            down.hands = arms(rng, {**ARMS, "low": 2, "front": 4}, 0.8)
            yield Move(down, place, u(0.7, 1.5) / tempo, rng.choice([0.0, u(0.2, 2.0)]))
            if rng.random() < 0.7:
                yield Move(copy_of(stand, rng), place, u(0.7, 1.3) / tempo, u(0.0, 0.4))
        place = somewhere(rng, place)


def copy_of(stand: Keyframe, rng: np.random.Generator) -> Keyframe:
    """Return the posture once more, a little different above the legs. Source: own."""
    key = stand.at(np.zeros(3))
    key.trunk, key.neck = key.trunk + rng.normal(0, 0.05, 3), key.neck + rng.normal(0, 0.1, 3)
    key.hands = key.hands + rng.normal(0, 0.04, (2, 5)) * [1, 1, 1, 0, 1]
    return key


def lunging(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Lunge forward, backward or to the side, and push back to standing."""
    u, place, tempo, leg = rng.uniform, np.zeros(3), rng.uniform(0.8, 1.3), body.leg
    while True:
        stand = standing(rng, body)
        yield Move(stand, place, u(0.7, 1.1) / tempo, u(0.0, 0.5))
        a = int(rng.integers(2))
        for _ in range(rng.integers(1, 3)):
            key, b, way = standing(rng, body), 1 - a, one_of(rng, "front front side back")
            key.feet[:] = stand.feet
            key.trunk = np.array([u(-0.15, 0.4), u(-0.15, 0.15), u(-0.5, 0.5)])
            key.hands = arms(rng, ARMS, 0.6)
            if way == "side":
                key.feet[a, 1] = SIGN[a] * leg * u(0.6, 0.9)
                key.pelvis[2] = body.ankle + leg * u(0.5, 0.78)
                key.weight[b], key.knee_out[a] = u(0.25, 0.6), u(0.2, 0.5)
                key.angles[1], key.trunk[0] = u(0.2, 0.7), u(0.0, 0.5)
            else:
                front, back = (a, b) if way == "front" else (b, a)
                key.feet[a, 0] += leg * u(0.7, 1.1) * (1 if way == "front" else -1)
                key.feet[back, 2] = u(0.06, 0.12)  # the heel rises
                key.feet[back, 0] += 0.04
                key.pelvis[2] = body.ankle + leg * u(0.5, 0.78)
                key.weight[back] = u(0.4, 0.9)
                key.angles[1] = u(-0.05, 0.35)
            yield Move(key, place, u(0.8, 1.3) / tempo, rng.choice([0.0, u(0.2, 1.5)]))
            if rng.random() < 0.35:  # lower once more, or higher
                again = copy_of(key, rng)
                again.pelvis[2] = body.ankle + leg * u(0.5, 0.8)
                yield Move(again, place, u(0.6, 1.0) / tempo, u(0.0, 0.4))
            yield Move(copy_of(stand, rng), place, u(0.7, 1.2) / tempo, u(0.0, 0.3))
            a = b if rng.random() < 0.7 else a
        place = somewhere(rng, place, turn=0.8)


def reaching(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Reach for points high and low, near the toes and above the head, with one hand or both."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.7, 1.2)
    stand, key = standing(rng, body), None
    while True:
        if key is None or rng.random() < 0.4:
            place = somewhere(rng, place, 0.2)
            stand = standing(rng, body)
            stand.feet[:, 1] *= u(1.0, 1.8)
            stand.feet[int(rng.integers(2)), 0] += u(0.0, 0.25)
            yield Move(stand, place, u(0.7, 1.2) / tempo, u(0.0, 0.4))
        a, both = int(rng.integers(2)), rng.random() < 0.45
        key = copy_of(stand, rng)
        aside = u(-0.9, 0.9)  # where it is, radians to the left
        height = u(0.02, 0.3) if rng.random() < 0.5 else u(0.95, 1.35)  # of stature
        if height > 0.5:
            away, tiptoe = u(0.1, 0.45), u(0.0, 0.07) * (height > 1.1)
            key.feet += [0.3 * tiptoe, 0.0, tiptoe]
            key.pelvis[2] += tiptoe
            key.trunk = np.array([u(-0.18, 0.05), 0.0 if both else -SIGN[1 - a] * u(0.0, 0.2), 0.5 * aside])
            key.neck = np.array([-u(0.2, 0.6), 0.0, 0.4 * aside])
        else:
            away, deep = u(0.2, 0.5), 1.15 - height / 0.35
            by_legs = u(0.0, 1.0)
            key.pelvis[2] -= body.leg * deep * (0.06 + 0.46 * by_legs)
            key.angles[1] = deep * (1.25 - 0.7 * by_legs)
            key.trunk = np.array([deep * u(0.5, 1.0), 0.0, 0.5 * aside])
            key.neck = np.array([-0.3 * deep, 0.0, 0.3 * aside])
            key.knee_out = u(0.1, 0.5, 2)
        key.angles[0] = 0.25 * aside
        target = np.array([away * np.cos(aside) + 0.1, away * np.sin(aside), height * body.stature])
        key.palm[:] = [target + [0.0, sign * (0.15 if both else 0.08), 0.0] for sign in SIGN]
        key.palm[:, 2] = np.maximum(key.palm[:, 2], 0.07)
        key.grip[:], key.hands = 1.0, arms(rng, {"front": 1})  # on the way from one target to the next
        if not both:
            key.grip[1 - a] = 0.0
            key.hands[1 - a] = arms(rng, {"hang": 3, "hip": 1, "belly": 1, "low": 1, "side": 1})[0]
        yield Move(key, place, u(0.9, 1.5) / tempo, u(0.1, 0.9))
        if rng.random() < 0.3:
            yield Move(copy_of(stand, rng), place, u(0.9, 1.4) / tempo, u(0.0, 0.4))


def turning_bent(rng: np.random.Generator, body: Body) -> Iterator[Move]:
    """Turn round in small steps, and twist, with the trunk bent forward."""
    u, place, tempo = rng.uniform, np.zeros(3), rng.uniform(0.8, 1.4)
    low = {"front": 5, "low": 3, "lap": 2, "across": 1, "side": 0.5, "hang": 0.7, "hip": 0.5, "back": 0.3}
    while True:
        if rng.random() < 0.5:
            yield Move(standing(rng, body), place, u(1.2, 1.7) / tempo, u(0.0, 0.4))
        pitch, flex, drop, way = u(0.4, 1.0), u(0.3, 0.8), u(0.03, 0.3), rng.choice([-1, 1])
        width, hands = u(0.1, 0.24), arms(rng, low)
        for number in range(rng.integers(3, 8)):
            key = standing(rng, body)
            if number:
                turn = u(0.3, 0.8) * way
                place = place * [0.9, 0.9, 1.0] + np.append(rng.normal(0, 0.05, 2), turn)
            key.feet[:, 1] = SIGN * width
            key.pelvis[2] = body.ankle + body.leg * (0.97 - drop)
            key.angles[1] = pitch + u(-0.15, 0.15)
            key.trunk = np.array([flex + u(-0.15, 0.15), u(-0.2, 0.2), u(-0.6, 0.6)])
            key.neck = np.array([-u(0.0, 0.7), 0.0, u(-0.4, 0.4)])
            hands = arms(rng, low, 0.5) if rng.random() < 0.4 else hands
            key.hands = hands
            duration = u(0.7, 1.1) if number else u(1.2, 1.7)
            yield Move(key, place, duration / tempo, rng.choice([-0.1, 0.0, u(0.1, 0.9)]))
        if rng.random() < 0.4:
            place = somewhere(rng, place, turn=0.3)
