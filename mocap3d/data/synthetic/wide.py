"""Nine actions beyond Human3.6M's: on one leg, on the floor, on hands and knees, at a desk, bent, low and high."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mocap3d.data.synthetic import seated, upright
from mocap3d.data.synthetic.body import Body, Motion
from mocap3d.data.synthetic.crawl import crawl
from mocap3d.data.synthetic.keyframes import Move, play
from mocap3d.data.synthetic.reach import glances, shoulder_girdle

Script = Callable[[np.random.Generator, Body], Iterator[Move]]
SCRIPTS: dict[str, tuple[Script, float, float]] = {  # script, `lead` and `fall` of `play`
    "SittingAtDesk": (seated.desk, 4.0, 0.0),
    "SittingOnFloor": (seated.floor, 4.0, 0.0),
    "Balancing": (upright.balancing, 4.0, 0.0),
    "Reaching": (upright.reaching, 4.0, 0.0),
    "Lunging": (upright.lunging, 4.0, 0.8),
    "Squatting": (upright.squatting, 4.0, 0.0),
    "TurningBent": (upright.turning_bent, 4.0, 0.0),
    "LyingDown": (seated.lying, 10.0, 0.0),
}
WIDE = (*SCRIPTS, "Crawling")


def perform_wide(rng: np.random.Generator, body: Body, action: str, time: np.ndarray) -> Motion:
    """Draw one motion of an action, about the origin of the world frame.

    Args:
        body: segment lengths, metres. action: one of `WIDE`. time: (T,) seconds.
    Returns:
        The Motion; give it to `settle` and `pose_body`.
    Source: own.
    """
    if action == "Crawling":
        motion = crawl(rng, body, time)
    else:
        script, lead, fall = SCRIPTS[action]
        motion = play(rng, body, time, script(rng, body), lead, fall)
    motion.neck += glances(rng, time, 0.2)
    goals = np.concatenate([motion.hand, motion.at_head[..., None]], -1)
    motion.girdle = (1 - motion.grip[..., None]) * shoulder_girdle(goals)
    return motion
