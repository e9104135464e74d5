"""The small curves all synthetic motion is made of: minimum-jerk paths, bumps, jumps and coordinated noise."""

from __future__ import annotations

import numpy as np

FPS = 50.0
GRAVITY = 9.81

Key = tuple[float, float, np.ndarray]  # start s, duration s, value (D,)


def min_jerk(progress: np.ndarray) -> np.ndarray:
    """Return the minimum-jerk profile of progress in 0..1 (held outside). Source: Flash and Hogan (1985), eq. 2."""
    x = np.clip(progress, 0.0, 1.0)
    return x * x * x * (10.0 + x * (-15.0 + 6.0 * x))


def bump(progress: np.ndarray) -> np.ndarray:
    """Return a smooth hill over progress 0..1 of height 1, flat at both ends. Source: own."""
    x = np.clip(progress, 0.0, 1.0)
    return (4 * x * (1 - x)) ** 3


def path(keys: list[Key], time: np.ndarray) -> np.ndarray:
    """Join keyed values by minimum-jerk moves; moves that overlap in time add up, as human movements do.

    Args:
        keys: (start s, duration s, value (D,)) in order of start; the first value holds from the beginning.
        time: (T,) seconds.
    Returns:
        (T, D).
    Source: superposition after Flash and Henis (1991).
    """
    starts, durations, values = (np.array(column, dtype=float) for column in zip(*keys, strict=True))
    weight = min_jerk((time[:, None] - starts[1:]) / durations[1:])  # (T, K-1)
    return values[0] + weight @ np.diff(values, axis=0)


def drift(
    rng: np.random.Generator, time: np.ndarray, count: int, low: float = 0.1, high: float = 5.0, slope: float = 0.9
) -> np.ndarray:
    """Return (T, count) smooth noise, deviation about 1, amplitude falling as frequency ** -slope from low to high Hz.

    Source: own.
    """
    frequency = np.exp(rng.uniform(np.log(low), np.log(high), (10, count)))
    size = frequency**-slope
    size = size / np.sqrt((size**2).sum(0) / 2)
    phase = rng.uniform(0, 2 * np.pi, (10, count))
    return (size * np.sin(2 * np.pi * frequency * time[:, None, None] + phase)).sum(1)


def jump(time: np.ndarray, start: float, crouch: float, flight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the height of the pelvis and of the feet, (T,) each, in a jump that leaves the floor after `crouch` s.

    Source: flight is ballistic; the crouch and the landing are quintics with that take-off speed, own.
    """
    speed = GRAVITY * flight / 2
    x = np.clip((time - start) / crouch, 0.0, 1.0)
    y = np.clip((start + 2 * crouch + flight - time) / crouch, 0.0, 1.0)
    dip = sum(speed * crouch * z**3 * (-4.0 + z * (7.0 - 3.0 * z)) for z in (x, y))
    air = np.clip(time - start - crouch, 0.0, flight)
    rise = GRAVITY / 2 * air * (flight - air)
    return dip + rise, rise
