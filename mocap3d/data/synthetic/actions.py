"""The fifteen Human3.6M actions, each a recipe of what the legs and what the hands do."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mocap3d.data.synthetic.body import Body, Motion
from mocap3d.data.synthetic.gait import blend_hands, random_style, walk
from mocap3d.data.synthetic.primitives import drift
from mocap3d.data.synthetic.reach import glances, hand_paths, shoulder_girdle
from mocap3d.data.synthetic.stance import act
from mocap3d.data.synthetic.wide import WIDE, perform_wide

Shares = dict[str, float]
TALK = {"front": 3, "anywhere": 3, "belly": 2, "hang": 2, "side": 1, "hail": 1}
REST = {"hang": 3, "pocket": 1, "hip": 1, "belly": 1, "fold": 1, "back": 0.5}
STAND = {"stand": 4, "ease": 3, "wide": 0.5, "bow": 0.5}
FLOOR = {"floor_knees": 2, "floor_crossed": 2, "floor_long": 1.5, "side_sit": 0.7, "kneel_both": 1, "kneel": 0.7,
         "squat": 1, "stand": 0.3}  # fmt: skip
SPORT = {"stand": 2, "wide": 2, "lunge": 3, "squat": 2, "bow": 1, "reach_down": 1.5, "raise": 1.2, "kick": 0.8,
         "ease": 1}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What one action is made of.

    Attributes:
        postures: posture -> share, for takes on the spot. gaits: gait style -> share, for takes on the move.
        moving: share of takes on the move. right, left: hand goals -> share. tempo: range, 1 = unhurried.
        jumps: chance that a change of standing posture is a jump. hands: range of how far hand goals replace the arm
        swing of a gait. wave, beat, together: see `hand_paths`. roam: see `act`. look: head turns, radians.
    """

    postures: Shares = field(default_factory=lambda: STAND)
    gaits: Shares = field(default_factory=lambda: {"walk": 1})
    moving: float = 0.0
    right: Shares = field(default_factory=lambda: TALK)
    left: Shares = field(default_factory=lambda: TALK)
    tempo: tuple[float, float] = (0.8, 1.4)
    jumps: float = 0.0
    hands: tuple[float, float] = (1.0, 1.0)
    wave: float = 0.0
    beat: float = 0.0
    together: float = 0.2
    roam: float = 1.0
    look: float = 0.35


RECIPES = {
    "Directions": Recipe(
        {"stand": 3, "ease": 3, "wide": 1, "lunge": 0.7, "bow": 0.5, "reach_down": 0.5}, tempo=(0.9, 2.0), look=0.5,
        right={"anywhere": 6, "side": 2, "front": 1, "overhead": 1, "hail": 1, "hang": 1, "hip": 0.5},
        left={"anywhere": 5, "side": 2, "across": 1, "overhead": 1, "hang": 2, "hip": 1}),
    "Discussion": Recipe(
        {"stand": 3, "ease": 3, "wide": 1, "lunge": 1, "squat": 0.5}, tempo=(0.9, 2.2), beat=0.1, together=0.4,
        moving=0.2, jumps=0.05),
    "Eating": Recipe(
        {"chair": 2, "stand": 2, "ease": 2, "chair_crossed": 0.5, "floor_crossed": 0.5},
        right={"mouth": 4, "front": 2, "belly": 2, "low": 1}, left={"mouth": 1, "belly": 3, "front": 2, "lap": 1}),
    "Greeting": Recipe(
        {"stand": 3, "ease": 2, "bow": 2, "reach_down": 0.5, "lunge": 1, "kneel": 0.6, "raise": 0.5}, tempo=(1.0, 2.5),
        right={"hail": 4, "front": 2, "anywhere": 2, "overhead": 2, "brow": 1, "hang": 1, "across": 1},
        left={"hail": 2, "front": 2, "anywhere": 2, "overhead": 1, "hang": 3, "side": 1}, wave=0.7, jumps=0.15,
        together=0.35),
    "Phoning": Recipe(
        {"stand": 2, "ease": 3, "wide": 0.5, "chair": 1, "squat": 0.3}, moving=0.35, right={"ear": 8, "front": 1},
        left={"hang": 2, "hip": 1, "pocket": 1, "fold": 1, "anywhere": 2, "side": 0.5}, hands=(0.9, 1.0)),
    "Posing": Recipe(
        SPORT, tempo=(1.2, 3.0), jumps=0.15, together=0.35, look=0.5,
        right={"anywhere": 6, "hip": 1, "overhead": 2, "nape": 1, "across": 1, "side": 1, "brow": 0.5, "low": 1},
        left={"anywhere": 6, "hip": 1, "overhead": 2, "nape": 1, "across": 1, "side": 1, "back": 0.5, "low": 1}),
    "Purchases": Recipe(
        {"stand": 2, "reach_down": 2, "squat": 2, "lunge": 1.5, "bow": 1, "wide": 1, "kneel": 0.5, "raise": 0.4},
        tempo=(1.0, 2.5), together=0.4, moving=0.15, jumps=0.05, roam=1.5,
        right={"anywhere": 3, "low": 3, "front": 2, "overhead": 2, "belly": 1, "across": 1},
        left={"anywhere": 3, "low": 3, "front": 2, "overhead": 1, "belly": 1, "hang": 1}),
    "Sitting": Recipe(
        {"chair": 5, "chair_crossed": 3, "stand": 0.4}, tempo=(0.7, 1.3), beat=0.03, together=0.4, look=0.5,
        right={"lap": 4, "belly": 1, "front": 1, "fold": 1, "mouth": 1, "anywhere": 2, "nape": 0.5, "overhead": 0.3},
        left={"lap": 4, "belly": 1, "front": 1, "fold": 1, "brow": 0.5, "anywhere": 2, "low": 1}),
    "SittingDown": Recipe(
        FLOOR, tempo=(0.7, 1.3), together=0.4, look=0.5,
        right={"lap": 3, "low": 2, "belly": 1, "front": 2, "anywhere": 2, "side": 1},
        left={"lap": 3, "low": 2, "belly": 1, "front": 2, "anywhere": 2, "side": 1}),
    "Smoking": Recipe(
        {"stand": 2, "ease": 3, "chair": 1.5, "chair_crossed": 1, "squat": 0.4}, moving=0.2,
        right={"mouth": 4, "low": 1, "front": 1, "belly": 1, "hang": 1, "side": 0.5}, left=REST),
    "Photo": Recipe(
        {"stand": 3, "wide": 1, "lunge": 1.5, "squat": 2, "kneel": 1.5, "bow": 1.5, "ease": 1}, tempo=(0.9, 1.8),
        together=0.75, right={"camera": 6, "front": 1, "anywhere": 1, "overhead": 0.5},
        left={"camera": 5, "front": 1, "belly": 1, "anywhere": 1}),
    "Waiting": Recipe(
        {"stand": 3, "ease": 4, "wide": 0.5, "chair": 0.7, "squat": 0.4, "raise": 0.4, "kick": 0.3}, moving=0.25,
        gaits={"walk": 3, "spot": 0.4}, right={**REST, "nape": 1, "brow": 1, "mouth": 1, "anywhere": 1},
        left={**REST, "nape": 1, "anywhere": 1}, hands=(0.2, 1.0), together=0.35),
    "Walking": Recipe(moving=1.0, gaits={"walk": 3, "jog": 1.2, "stalk": 0.5, "spot": 0.4}, right=REST, left=REST,
                      hands=(0.0, 0.15)),
    "WalkDog": Recipe(
        {"lunge": 2, "squat": 2, "reach_down": 2, "stand": 2, "bow": 1, "wide": 1, "kick": 0.5}, moving=0.65,
        gaits={"walk": 2, "jog": 2, "stalk": 1}, right={"low": 3, "front": 3, "anywhere": 1, "side": 0.5},
        left={"hang": 2, "low": 1, "anywhere": 2}, hands=(0.1, 0.9), tempo=(1.0, 2.4), roam=1.5, jumps=0.05),
    "WalkTogether": Recipe(moving=1.0, gaits={"walk": 3, "stalk": 0.5, "jog": 0.5}, right={**TALK, "anywhere": 4},
                           left={**TALK, "across": 1}, hands=(0.0, 1.0), look=0.7, beat=0.04),
}  # fmt: skip
ACTIONS = tuple(RECIPES)


def perform(rng: np.random.Generator, body: Body, action: str, time: np.ndarray) -> Motion:
    """Draw one motion of an action, about the origin of the world frame.

    Args:
        body: segment lengths, metres. action: one of `ACTIONS` or `WIDE`. time: (T,) seconds.
    Returns:
        The Motion; give it to `settle` and `pose_body`.
    Raises:
        ValueError: for an unknown action.
    Source: own.
    """
    if action in WIDE:
        return perform_wide(rng, body, action, time)
    if action not in RECIPES:
        raise ValueError(f"action {action!r} is not one of {', '.join(ACTIONS + WIDE)}: choose one of these.")
    recipe = RECIPES[action]
    tempo = rng.uniform(*recipe.tempo)
    goals = (recipe.right, recipe.left) if rng.random() < 0.75 else (recipe.left, recipe.right)  # a left-hander
    hands = hand_paths(rng, time, goals, tempo, recipe.together, recipe.wave, recipe.beat)
    if rng.random() < recipe.moving:
        shares = np.array(list(recipe.gaits.values()), dtype=float)
        style = str(rng.choice(list(recipe.gaits), p=shares / shares.sum()))
        shape = "round" if style == "jog" else str(rng.choice(["loop", "loop", "eight"]))
        motion = walk(rng, body, time, random_style(rng, style), shape)
        motion.trunk[:, 2] += 0.1 * drift(rng, time, 1, 0.1, 0.6)[:, 0]
        blend_hands(motion, hands, np.tile(rng.uniform(*recipe.hands, 2), (len(time), 1)))
    else:
        motion = act(
            rng, body, time, list(recipe.postures), list(recipe.postures.values()), tempo, recipe.jumps, recipe.roam
        )
        blend_hands(motion, hands, np.ones((len(time), 2)))
    motion.neck += glances(rng, time, recipe.look)
    motion.girdle = shoulder_girdle(np.concatenate([motion.hand, motion.at_head[..., None]], -1))
    return motion
