"""Walking and running along a curved path, from published joint-angle curves, on footsteps that do not slide.

Hip and knee flexion over the gait cycle (degrees, every 5 % from foot contact) have the shape of the mean curves in
Winter, "The Biomechanics and Motor Control of Human Gait" (1991), for walking, and Novacheck, "The biomechanics of
running" (Gait & Posture 7, 1998), for running. They are approximations, written down without the figures at hand and
not digitised from them: good to several degrees, no source for gait analysis. Kept to six harmonics, they shape the
swing of the foot; the stance foot is a footstep planned on the floor, and the leg between it and the pelvis is solved
by inverse kinematics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap3d.data.synthetic.body import SIGN, Body, Motion
from mocap3d.data.synthetic.primitives import drift, min_jerk

CURVES = {
    "walk": {
        "hip": (30, 28, 25, 20, 15, 9, 4, -1, -5, -9, -10, -8, -3, 5, 13, 21, 27, 31, 33, 32),
        "knee": (5, 11, 17, 18, 17, 13, 10, 7, 6, 8, 13, 24, 38, 52, 60, 59, 50, 36, 19, 6),
        "duty": 0.62, "heel_off": 0.40,
    },
    "run": {
        "hip": (35, 34, 32, 26, 18, 10, 2, -4, -5, -3, 4, 12, 22, 32, 41, 48, 51, 50, 46, 40),
        "knee": (20, 30, 38, 43, 42, 36, 28, 20, 19, 30, 50, 70, 87, 95, 93, 82, 66, 48, 31, 20),
        "duty": 0.37, "heel_off": 0.22,
    },
}  # fmt: skip


@dataclass(frozen=True)
class GaitStyle:
    """How somebody walks.

    Attributes:
        kind: "walk" or "run". speed: m/s. width: of the steps, m. height: of the pelvis, share of leg length.
        lean, stoop: of pelvis and trunk, radians. sway, arms, lift: movement of pelvis, arms and feet, 1 = usual.
        elbow: radians. crab: heading of the pelvis off the path, radians. bank: share of the lean a curve asks for.
    """

    kind: str = "walk"
    speed: float = 1.2
    width: float = 0.12
    height: float = 0.985
    lean: float = 0.05
    stoop: float = 0.05
    sway: float = 1.0
    arms: float = 1.0
    elbow: float = 0.4
    lift: float = 1.0
    crab: float = 0.0
    bank: float = 0.7


STYLES = {  # ranges of GaitStyle's fields, own
    "walk": {"speed": (0.7, 1.75), "width": (0.05, 0.18), "height": (0.96, 0.99), "lean": (-0.02, 0.08),
             "stoop": (-0.1, 0.12), "sway": (0.5, 1.6), "arms": (0.3, 1.6), "elbow": (0.15, 0.55), "lift": (0.8, 1.3),
             "crab": (-0.15, 0.15), "bank": (0.2, 0.8)},
    "jog": {"speed": (1.7, 2.6), "width": (0.04, 0.12), "height": (0.90, 0.955), "lean": (0.05, 0.25),
            "stoop": (0.0, 0.2), "sway": (0.7, 1.6), "arms": (0.7, 1.5), "elbow": (1.0, 1.7), "lift": (0.7, 1.3),
            "bank": (0.2, 0.9)},
    "spot": {"speed": (0.3, 0.9), "width": (0.08, 0.2), "height": (0.92, 0.97), "lean": (0.0, 0.15),
             "stoop": (0.0, 0.2), "sway": (0.5, 1.5), "arms": (0.5, 1.5), "elbow": (0.8, 1.7), "lift": (0.8, 1.9)},
    "stalk": {"speed": (0.5, 1.2), "width": (0.12, 0.35), "height": (0.78, 0.93), "lean": (0.05, 0.4),
              "stoop": (0.1, 0.6), "sway": (0.5, 2.0), "arms": (0.2, 1.2), "elbow": (0.3, 1.4), "lift": (0.9, 2.2),
              "crab": (-0.4, 0.4), "bank": (0.3, 0.8)},
}  # fmt: skip


def random_style(rng: np.random.Generator, name: str) -> GaitStyle:
    """Draw a gait style: "walk", "jog", "spot" (jogging on the spot) or "stalk" (low and wide). Source: own."""
    drawn = {field: float(rng.uniform(*bounds)) for field, bounds in STYLES[name].items()}
    return GaitStyle("run" if name in ("jog", "spot") else "walk", **drawn)


def _curve(table: tuple[float, ...], phase: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(table)[:7] / len(table)
    spectrum[1:] *= 2
    return np.radians((np.exp(2j * np.pi * np.arange(7) * phase[..., None]) @ spectrum).real)


def _swing(kind: str, thigh: float, shank: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return phase (N,), progress 0..1 to the next footstep and ankle height m, from the curves' forward kinematics.

    The ankle leaves the floor before it goes forward, as the heel rises over the toes, and lands after it has stopped.
    """
    curves = CURVES[kind]
    off, phase = curves["heel_off"], np.linspace(0.0, 1.2, 241)
    hip, knee = _curve(curves["hip"], phase), _curve(curves["knee"], phase)
    ahead = thigh * np.sin(hip) + shank * np.sin(hip - knee)
    stance = (phase > 0.08) & (phase < off)
    speed = -np.polyfit(phase[stance], ahead[stance], 1)[0]  # the pelvis passes over the foot, m per cycle
    swing = (phase > off + 0.05) & (phase < 0.965)
    world = np.maximum.accumulate((ahead + speed * phase)[swing])
    progress = np.interp(phase, phase[swing], (world - world[0]) / (world[-1] - world[0]))
    height = -thigh * np.cos(hip) - shank * np.cos(hip - knee)
    height = height - np.interp(phase, [off, 1.0], np.interp([off, 1.0], phase, height))
    along = (phase - off) / (1.0 - off)
    height = np.maximum(height, 0.0) + 0.025  # toes clear the floor
    height = height * min_jerk(along / 0.2) * min_jerk((1 - along) / 0.12)
    kernel = np.exp(-0.5 * (np.arange(-12, 13) * 0.005 / 0.018) ** 2)
    progress = np.convolve(np.pad(progress, 12, mode="edge"), kernel / kernel.sum(), mode="valid")
    height = np.convolve(np.pad(height, 12), kernel / kernel.sum(), mode="valid")
    return phase, 1 - (1 - progress) * min_jerk((1 - phase) / 0.05), height * min_jerk((1 - phase) / 0.05)


def root_path(rng: np.random.Generator, shape: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return arc length (N,), position (N, 2) and unwrapped heading (N,) of one lap of a closed walking path.

    Args:
        shape: "loop" (a bent ellipse), "round" or "eight". Metres, about the origin.
    Source: own.
    """
    angle = np.linspace(0.0, 2 * np.pi, 721)
    if shape == "eight":
        a, b = rng.uniform(1.0, 1.35), rng.uniform(0.6, 0.85)
        place = np.stack([a * np.sin(angle), b * np.sin(2 * angle)], -1)
    else:
        a, b = rng.uniform(0.85, 1.25), rng.uniform(0.7, 1.0)
        bent = 1 + sum(rng.uniform(0, 0.06 / k) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in (2, 3))
        if shape == "round":
            a = b = rng.uniform(0.9, 1.1)
            bent = np.ones_like(angle)
        place = np.stack([a * bent * np.cos(angle), b * bent * np.sin(angle)], -1)
    if rng.random() < 0.5:
        place[:, 1] *= -1
    turn = rng.uniform(0, 2 * np.pi)
    place = place @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    delta = np.diff(place, axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(delta, axis=-1))])
    tangent = np.gradient(np.concatenate([place[-2:-1], place, place[1:2]]), axis=0)[1:-1]
    return length, place, np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))


def on_path(lap: tuple[np.ndarray, np.ndarray, np.ndarray], s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return position (T, 2) and unwrapped heading (T,) at way `s` (T,), in metres, along a lap. Source: own."""
    length, place, heading = lap
    laps, rest = np.divmod(s, length[-1])
    at = np.stack([np.interp(rest, length, place[:, i]) for i in range(2)], -1)
    return at, np.interp(rest, length, heading) + laps * (heading[-1] - heading[0])


def _curvature(lap: tuple[np.ndarray, np.ndarray, np.ndarray], s: np.ndarray) -> np.ndarray:
    length, _, heading = lap
    inner = np.gradient(heading, length)
    inner[0] = inner[-1] = (inner[1] + inner[-2]) / 2
    return np.interp(s % length[-1], length, inner)


def walk(rng: np.random.Generator, body: Body, time: np.ndarray, style: GaitStyle, shape: str = "loop") -> Motion:
    """Walk or run along a random closed path.

    Args:
        body: segment lengths, metres. time: (T,) seconds at a constant rate. style, shape: see there.
    Returns:
        A Motion about the origin, world frame z up.
    Source: curves as in the module docstring; cadence from a constant walk ratio of 0.0065 m per step a minute
        (Sekiya et al. 1996); the sizes of pelvis and trunk movements are round numbers near Perry's (1992).
    """
    curves, sway = CURVES[style.kind], style.sway
    running = style.kind == "run"
    step_rate = (158 + 5 * style.speed if running else np.sqrt(style.speed * 60 / 0.0065)) / 60  # steps a second
    step_rate *= rng.uniform(0.92, 1.08) / np.sqrt(body.stature / 1.75)
    margin = int(3 / step_rate / (time[1] - time[0])) + 2  # the path goes on before and after the take
    dt = time[1] - time[0]
    long = np.arange(-margin, len(time) + margin) * dt
    pace = 1 + 0.06 * drift(rng, long, 1, 0.08, 0.5)[:, 0].clip(-3, 3)
    phase = np.cumsum(pace) * dt * step_rate / 2 + rng.uniform(0, 1)
    s = np.cumsum(pace) * dt * style.speed + rng.uniform(0, 6)
    lap = root_path(rng, shape)

    now = slice(margin, margin + len(time))
    p, (root, heading) = phase[now], on_path(lap, s[now])
    normal = np.stack([-np.sin(heading), np.cos(heading)], -1)
    wave = lambda shift, k=1: np.cos(2 * np.pi * k * (p - shift))  # noqa: E731
    ankle, planted = _feet(rng, body, style, p, lap, lambda wanted: np.interp(wanted, phase, s))
    mid = curves["duty"] / 2
    lean_in = style.bank * np.arctan(style.speed**2 / 9.81 * _curvature(lap, s[now]))
    pelvis = np.zeros((len(time), 3))
    pelvis[:, :2] = root + normal * (-0.018 * sway * wave(mid) * (0.4 if running else 1.0))[:, None]
    pelvis[:, :2] += normal * (np.sin(lean_in) * 0.9 * body.leg * 0.5)[:, None]
    rise = 0.032 if running else 0.016
    pelvis[:, 2] = body.ankle + style.height * body.leg - rise * sway * wave(mid if running else mid - 0.25, 2) - rise
    angles, trunk, neck = _turning(rng, style, time, heading, lean_in, wave)
    hand = np.stack([_arm_swing(body, style, wave(0.5 if side == 0 else 0.0), running) for side in range(2)], 1)
    flat = np.zeros((len(time), 2))
    return Motion(
        pelvis,
        angles,
        trunk,
        neck,
        ankle,
        planted,
        flat + rng.uniform(0, 0.12),
        hand,
        flat.copy(),
        flat + rng.uniform(-0.1, 0.3),
        np.zeros((len(time), 2, 2)),
    )


def _turning(rng: np.random.Generator, style: GaitStyle, time: np.ndarray, heading, lean_in, wave):
    """Return angles of pelvis, trunk and neck, (T, 3) each; `wave(shift)` is a cosine of the gait phase."""
    mid, size = CURVES[style.kind]["duty"] / 2, style.sway
    list_to = np.radians(3.0) * size * wave(mid * 0.6)  # the pelvis drops on the side of the swinging leg
    noise = drift(rng, time, 6).T * np.array([0.03, 0.02, 0.03, 0.05, 0.03, 0.08])[:, None]
    pitch = style.lean * 0.6 + np.radians(1.5) * wave(0.1, 2)
    angles = [heading + style.crab + np.radians(4.5) * size * wave(0.0), pitch, -list_to - 0.7 * lean_in]
    twist = -style.crab * 0.7 - np.radians(9.0) * size * min(style.speed / 1.2, 1.5) * wave(0.0)
    trunk = [style.lean * 0.4 + style.stoop + noise[0], list_to - 0.2 * lean_in + noise[1], twist + noise[2]]
    neck = [noise[3] - 0.5 * style.stoop, noise[4], np.radians(4.0) * wave(0.0) + noise[5]]
    return tuple(np.stack(parts, -1) for parts in (angles, trunk, neck))


def _feet(rng: np.random.Generator, body: Body, style: GaitStyle, phase: np.ndarray, lap, s_of):
    """Return ankle goals (T, 2, 3) and loads (T, 2): footsteps along the path, `s_of` the way walked at a phase."""
    swing_phase, progress, height = _swing(style.kind, body.thigh, body.shank)
    height = height * style.lift * (np.clip(style.speed / 2.2, 0.45, 1.2) if style.kind == "run" else 1.0)
    duty = CURVES[style.kind]["duty"]
    ankle, planted = np.zeros((len(phase), 2, 3)), np.zeros((len(phase), 2))
    jitter = rng.normal(0, 0.012, (2, 64, 2))  # no two steps alike
    for side in range(2):
        count, u = np.divmod(phase - 0.5 * side, 1.0)
        steps = []
        for ahead in (0, 1):
            at, direction = on_path(lap, s_of(count + ahead + 0.5 * side + duty / 2))
            across = np.stack([-np.sin(direction), np.cos(direction)], -1)
            number = (count + ahead).astype(int) % 64
            steps.append(at + across * (SIGN[side] * style.width / 2) + jitter[side, number])
        move = np.interp(u, swing_phase, progress)[:, None]
        ankle[:, side, :2] = steps[0] + move * (steps[1] - steps[0])
        ankle[:, side, 2] = body.ankle + np.interp(u, swing_phase, height)
        planted[:, side] = 1 - min_jerk((u - duty) / 0.08) + min_jerk((u - 0.86) / 0.08)
    return ankle, planted


def _arm_swing(body: Body, style: GaitStyle, forward: np.ndarray, running: bool) -> np.ndarray:
    """Return (T, 3) wrist goals, in arm lengths, of an arm that swings with `forward` in -1..1."""
    size = style.arms * (0.45 if running else 0.16 + 0.14 * style.speed)
    shoulder = (-0.35 if running else -0.02) + size * forward
    elbow = style.elbow + 0.3 * style.arms * np.maximum(forward, -0.5)
    out = 0.12 + 0.05 * style.arms
    upper = np.stack([np.sin(shoulder), 0 * shoulder + out, -np.cos(shoulder)], -1)
    whole = shoulder + elbow
    fore = np.stack([np.sin(whole), out - 0.22 * np.sin(elbow), -np.cos(whole)], -1)
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)  # noqa: E731
    return (body.upper_arm * unit(upper) + body.forearm * unit(fore)) / body.arm


def blend_hands(motion: Motion, hand: np.ndarray, weight: np.ndarray) -> None:
    """Let (T, 2, 5) hand goals (see `reach`) replace the arm swing by weight (T, 2), in place. Source: own."""
    w = weight[..., None]
    motion.hand = motion.hand * (1 - w) + hand[..., :3] * w
    motion.at_head = motion.at_head * (1 - weight) + hand[..., 3] * weight
    motion.elbow_out = motion.elbow_out * (1 - weight) + hand[..., 4] * weight
