"""Crawling on hands and knees along a curved path, with pauses; hands and knees that rest on the floor do not slide."""

from __future__ import annotations

import numpy as np

from mocap3d.data.synthetic.body import SIDES, SIGN, Body, Motion, pose_body, settle
from mocap3d.data.synthetic.gait import on_path, root_path
from mocap3d.data.synthetic.limbs import covering, unit
from mocap3d.data.synthetic.primitives import bump, drift, min_jerk
from mocap3d.data.synthetic.reach import draw_goal
from mocap3d.data.synthetic.upright import one_of
from mocap3d.skeleton import H36M17

DUTY = 0.64  # share of a stride in which a hand or knee rests on the floor
REST = 0.07  # phase at which all four rest
KNEE, WRIST, ANKLE = 0.06, 0.06, 0.065  # m above the floor


def crawl(rng: np.random.Generator, body: Body, time: np.ndarray) -> Motion:
    """Crawl forward, backward, and pause on hands and knees to look about, rock, or reach out with one hand.

    Args:
        body: segment lengths, metres. time: (T,) seconds at a constant rate.
    Returns:
        A Motion about the origin, world frame z up.
    Source: diagonal limbs half a stride apart, as most people crawl (Patrick et al. 2009); all else own, by eye.
    """
    stride = rng.uniform(0.3, 0.46) * body.stature / 1.75
    phase, pauses = _phase(rng, time)
    lap = root_path(rng, "round")
    begin = rng.uniform(6, 9)  # m along the path; it may go backward from there
    s = begin + stride * phase
    root, heading = on_path(lap, s)

    trunk_line = body.spine * unit(-0.09, 0.0, 1.0) + body.chest * unit(0.11, 0.0, 1.0)
    trunk_line = trunk_line - [0.0, 0.0, 0.1 * body.shoulder]  # from pelvis to shoulders
    long, lean = np.hypot(trunk_line[0], trunk_line[2]), np.arctan2(trunk_line[0], trunk_line[2])
    excursion = 1.2 * DUTY / 2 * stride + 0.02  # of a hand on the floor, turns included
    height = min(rng.uniform(0.84, 0.91) * body.arm, np.sqrt((0.945 * body.arm) ** 2 - excursion**2))
    rise = WRIST + height - KNEE - 0.985 * body.thigh  # of the shoulders over the hips
    pitch = np.arccos(rise / long) - lean
    ahead = long * np.sin(pitch + lean)  # of the shoulders

    knee, palm, ankle = _limbs(rng, body, lap, lambda strides: begin + stride * strides, phase, ahead)
    grip = np.ones((len(time), 2))
    noise = drift(rng, time, 9)
    sway = np.sin(2 * np.pi * (phase - 0.2))
    normal = np.stack([-np.sin(heading), np.cos(heading)], -1)
    pelvis = np.full((len(time), 3), KNEE + body.thigh)  # the height is left to `settle`
    pelvis[:, :2] = root + 0.02 * sway[:, None] * normal + 0.006 * noise[:, :2]
    angles = np.stack([heading + 0.06 * sway, pitch + 0.015 * noise[:, 2], 0 * heading], -1)
    trunk = np.stack([0.05 + 0.03 * noise[:, 3], -0.06 * sway, -0.06 * sway], -1)
    neck = np.array([-rng.uniform(0.1, 0.75), 0.0, 0.0]) + np.array([0.08, 0.05, 0.12]) * noise[:, 4:7]
    hand = np.zeros((len(time), 2, 5))
    for start, length in pauses:  # long enough to do something
        hill = bump((time - start) / length)
        way = one_of(rng, "look rock arch reach reach")
        if way == "rock":
            along = 0.04 * hill * np.sin(2 * np.pi * (time - start))
            pelvis[:, :2] += along[:, None] * normal[:, ::-1] * [1, -1]
        elif way == "arch":  # the back, up and down
            trunk[:, 0] += 0.4 * hill * np.sin(2 * np.pi * (time - start) / length)
        elif way == "reach":
            side = int(rng.integers(2))
            inside = (time >= start) & (time <= start + length)
            hand[inside, side, :4] = draw_goal(rng, one_of(rng, "front side overhead mouth"))[:4]
            grip[:, side] *= 1 - min_jerk(np.minimum(time - start, start + length - time) / (0.3 * length))
    flat = np.zeros((len(time), 2))
    motion = Motion(
        pelvis,
        angles,
        trunk,
        neck,
        ankle,
        flat + 1,
        flat.copy(),
        hand[..., :3],
        hand[..., 3],
        hand[..., 4] - 0.1,
        np.zeros((len(time), 2, 2)),
        palm,
        grip,
        knee,
        flat + 1,
    )
    settle(body, motion)
    motion.trunk[:, 2] -= 0.8 * motion.angles[:, 2]  # the shoulders stay level
    shoulders = [H36M17.index(f"{name}_shoulder") for name in SIDES]
    for _ in range(3):  # bow until both hands reach the floor
        away = np.linalg.norm(pose_body(body, motion)[:, shoulders] - palm, axis=-1)
        motion.angles[:, 1] += covering((grip * (away - 0.95 * body.arm)).max(1).clip(0.0)) / ahead
        settle(body, motion)
    return motion


def _phase(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return strides gone (T,) and pauses (start s, length s), in which all four limbs rest."""
    cadence, clock = rng.uniform(0.7, 1.25), -rng.uniform(0.0, 3.0)  # strides a second
    phase, pauses, ramp = np.full(len(time), REST), [], 0.35
    while clock < time[-1]:
        strides = 0.5 * rng.integers(2, 11) * (1 if rng.random() < 0.75 else -1)
        length = abs(strides) / cadence + ramp
        gone = _ramp((time - clock) / ramp) - _ramp((time - clock - length) / ramp + 1)
        phase += strides * gone * ramp / (length - ramp)
        clock += length
        pauses.append((clock, rng.uniform(0.3, 2.5)))
        clock += pauses[-1][1]
    return phase, [pause for pause in pauses if pause[1] > 1.4]


def _ramp(x: np.ndarray) -> np.ndarray:
    """Return the integral of the minimum-jerk profile: a smooth start from rest to unit speed."""
    held = np.clip(x, 0.0, 1.0)
    return held**4 * (2.5 + held * (-3.0 + held)) + np.maximum(x - 1.0, 0.0)


def _limbs(rng: np.random.Generator, body: Body, lap, along, phase: np.ndarray, ahead: float):
    """Return where knees, wrists and ankles are, (T, 2, 3) each; `along` is the way gone at a phase."""
    knee, palm, ankle = (np.zeros((len(phase), 2, 3)) for _ in range(3))
    knee_width, hand_width, toes = rng.uniform(0.08, 0.16), rng.uniform(0.14, 0.22), rng.uniform(-0.1, 0.15)
    lag, lift = rng.uniform(-0.06, 0.06), rng.uniform(0.01, 0.03)
    for side, sign in enumerate(SIGN):
        start = 0.5 * side
        knee[:, side], turn = _limb(rng, lap, along, phase, start, 0.0, sign * knee_width, lift)
        palm[:, side], _ = _limb(rng, lap, along, phase, start + 0.5 + lag, ahead, sign * hand_width, 3 * lift)
        knee[:, side, 2] += KNEE
        palm[:, side, 2] += WRIST
        shank = np.sqrt(body.shank**2 - (knee[:, side, 2] - ANKLE) ** 2)  # the foot is dragged along the floor
        turn = turn - sign * toes
        back = np.stack([np.cos(turn), np.sin(turn)], -1)
        ankle[:, side, :2], ankle[:, side, 2] = knee[:, side, :2] - shank[:, None] * back, ANKLE
    return knee, palm, ankle


def _limb(rng, lap, along, phase, offset: float, ahead: float, aside: float, lift: float):
    """Return where a hand or knee is (T, 3), z above its resting height, and the heading there (T,)."""
    count, u = np.divmod(phase - offset, 1.0)
    jitter = rng.normal(0, 0.01, (64, 2))
    steps, turns = [], []
    for step in (0, 1):
        at, heading = on_path(lap, along(count + step + offset + DUTY / 2))
        way = np.stack([np.cos(heading), np.sin(heading)], -1)
        normal = np.stack([-way[:, 1], way[:, 0]], -1)
        number = (count + step).astype(int) % 64
        steps.append(at + ahead * way + aside * normal + jitter[number])
        turns.append(heading)
    swing = (u - DUTY) / (1 - DUTY)
    move = min_jerk(swing)
    place = steps[0] + move[:, None] * (steps[1] - steps[0])
    turn = turns[0] + move * (turns[1] - turns[0])
    return np.append(place, (lift * bump(swing) ** 0.75)[:, None], axis=1), turn
