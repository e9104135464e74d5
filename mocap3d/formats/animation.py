"""Joint positions as a skeleton that turns: a T-pose at rest, a rotation of every joint in every frame.

Positions do not say how a straight limb is twisted about itself. An upper arm or thigh takes its twist from the plane
in which elbow or knee is bent, in frames where the bend is large enough to show it, and between those from the nearest
ones; forearm and shin turn about the axis of that plane. Trunk and pelvis follow the lines of shoulders and hips. Every
other bone is turned from its parent's direction by the smallest rotation; so are feet, to the toes of h36m19.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M19, Skeleton

BENT = 20.0  # degrees of flexion from which elbow and knee show the twist of the limb above them
STEADY = 0.1  # seconds, over which a twist is averaged
HAND, FOOT = 0.08, 0.15  # metres, of ends that h36m17 does not have; they only show a direction, as h36m19's toes do
_UP, _DOWN, _AHEAD = (0, 1, 0), (0, -1, 0), (0, 0, 1)


@dataclass(frozen=True, eq=False)
class Animation:
    """A skeleton in a T-pose that faces +z with y up and its left at +x, and its motion.

    Args:
        joints: J names, those of Mixamo without prefix.
        parents: J indices, -1 for the root; parents come before children.
        offsets: (J, 3) metres, each joint from its parent at rest.
        ends: {joint: (3,) metres}, where the last bones end.
        root: (T, 3) metres, position of the first joint.
        rotations: (T, J, 3, 3), each joint relative to its parent.
        twist_known: (T, 4) bool, of left and right arm, left and right leg: bent enough in that frame.
        fps: frames per second.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    ends: dict[str, np.ndarray]
    root: np.ndarray
    rotations: np.ndarray
    twist_known: np.ndarray
    fps: float


# name, parent, the joints it lies at and points to, direction at rest, and its side joint that shows the twist
_BONES = [
    ("Hips", None, "pelvis", None, None),
    ("Spine", "Hips", "pelvis", "spine", _UP),
    ("Spine1", "Spine", "spine", "thorax", _UP),
    ("Neck", "Spine1", "thorax", "nose", _UP),
    ("Head", "Neck", "nose", "head", _UP),
]
for _side, _x in (("Left", 1), ("Right", -1)):
    _joint = _side.lower() + "_"
    _BONES += [
        (f"{_side}Shoulder", "Spine1", "thorax", f"{_joint}shoulder", (_x, 0, 0)),
        (f"{_side}Arm", f"{_side}Shoulder", f"{_joint}shoulder", f"{_joint}elbow", (_x, 0, 0)),
        (f"{_side}ForeArm", f"{_side}Arm", f"{_joint}elbow", f"{_joint}wrist", (_x, 0, 0)),
        (f"{_side}Hand", f"{_side}ForeArm", f"{_joint}wrist", None, (_x, 0, 0)),
        (f"{_side}UpLeg", "Hips", f"{_joint}hip", f"{_joint}knee", _DOWN),
        (f"{_side}Leg", f"{_side}UpLeg", f"{_joint}knee", f"{_joint}foot", _DOWN),
        (f"{_side}Foot", f"{_side}Leg", f"{_joint}foot", f"{_joint}toe", _AHEAD),  # of h36m19 alone
    ]
# the joint that bends, the one after it, and the axis about which it bends in the T-pose
_HINGES = {
    "LeftArm": ("left_elbow", "left_wrist", (0, -1, 0)), "RightArm": ("right_elbow", "right_wrist", (0, 1, 0)),
    "LeftUpLeg": ("left_knee", "left_foot", (1, 0, 0)), "RightUpLeg": ("right_knee", "right_foot", (1, 0, 0)),
}  # fmt: skip


def animate(pose: Pose3D) -> Animation:
    """The motion of a skeleton with bones of constant length that follows a pose.

    Args:
        pose: any skeleton with a conversion to h36m17, either frame. A pose with timestamps is resampled to its rate;
            missing joints are interpolated, with a warning. A pose without a place (root "relative") is put on the
            ground: its lowest ankle is at height 0.
    Returns:
        the Animation. Bones have their median length; where lengths vary, joints are off by as much.
    Raises:
        ValueError: if a joint is missing in all frames.
    Source: own. Rotations of least angle between two directions; flexion planes as in motion capture practice.
    """
    pose = pose if pose.timestamps is None else pose.resample(pose.fps)
    pose = pose if pose.skeleton == H36M19 else pose.convert("h36m17")
    points = _without_gaps(y_up(pose), pose.skeleton)
    at = {joint: points[:, i] for i, joint in enumerate(pose.skeleton.joints)}  # (T, 3) each
    at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
    if pose.root == "relative":
        lowest = min(at["left_foot"][:, 1].min(), at["right_foot"][:, 1].min())
        at = {joint: place - [0, lowest, 0] for joint, place in at.items()}

    joints = tuple(bone[0] for bone in _BONES)
    turned: dict[str, np.ndarray] = {}  # orientations in the world, (T, 3, 3)
    known = {}
    for name, parent, start, aim, rest in _BONES:
        if name == "Hips":
            turned[name] = _basis(at["left_hip"] - at["right_hip"], at["spine"] - at["pelvis"])
            continue
        turned[name] = turned[parent]
        if aim not in at:
            continue
        direction = unit(at[aim] - at[start])
        if name == "Spine1":
            y, x, z = np.moveaxis(_basis(direction, at["left_shoulder"] - at["right_shoulder"]), -1, 0)
            turned[name] = np.stack([x, y, -z], axis=-1)
            continue
        if parent in _HINGES:  # bent about the axis of the bone above
            axis = np.float64(_HINGES[parent][2])
            turned[name] = _basis(direction, turned[parent] @ axis) @ _basis(np.float64(rest)[None], axis[None])[0].T
            continue
        turned[name] = least_rotation(turned[parent] @ np.float64(rest), direction) @ turned[parent]
        if name in _HINGES:
            middle, end, axis = _HINGES[name]
            twist, bent = _twist(turned[name], direction, unit(at[end] - at[middle]), np.float64(axis), pose.fps)
            turned[name] = _about(direction, twist) @ turned[name]
            known[name] = bent
    parents = tuple(-1 if bone[1] is None else joints.index(bone[1]) for bone in _BONES)
    offsets = np.stack([_offset(bone, at) for bone in _BONES])
    ends = {"Head": np.median(_length(at["head"] - at["nose"])) * np.float64(_UP)}
    for side, sign in (("Left", 1), ("Right", -1)):
        toe, ankle = at.get(f"{side.lower()}_toe"), at[f"{side.lower()}_foot"]
        foot = FOOT if toe is None else np.median(_length(toe - ankle))
        ends |= {f"{side}Hand": np.float64((sign * HAND, 0, 0)), f"{side}Foot": np.float64((0, 0, foot))}
    rotations = [
        turned[j] if p is None else turned[p].transpose(0, 2, 1) @ turned[j] for j, p in ((b[0], b[1]) for b in _BONES)
    ]
    return Animation(
        joints, parents, offsets, ends, at["pelvis"], np.stack(rotations, axis=1),
        np.stack([known[name] for name in _HINGES], axis=-1), pose.fps,
    )  # fmt: skip


def _offset(bone: tuple, at: dict[str, np.ndarray]) -> np.ndarray:
    """(3,) from the parent: the median length between both, in the direction the parent has at rest."""
    name, parent, start, _, _ = bone
    if parent is None:
        return np.zeros(3)
    length = np.median(_length(at[start] - at[next(b[2] for b in _BONES if b[0] == parent)]))
    rest = next(b[4] for b in _BONES if b[0] == parent)
    if parent == "Hips":
        rest = (0, 0, 0) if name == "Spine" else (1, 0, 0) if name.startswith("Left") else (-1, 0, 0)
    return length * np.float64(rest)


def _without_gaps(points: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T, J, 3) with missing joints interpolated in time."""
    missing = ~np.isfinite(points).all(-1)  # (T, J)
    if not missing.any():
        return points
    if missing.all(0).any():
        names = ", ".join(joint for joint, gone in zip(skeleton.joints, missing.all(0), strict=True) if gone)
        raise ValueError(f"{names} missing in all frames: an animation needs every joint at least once")
    warnings.warn(
        f"joints are missing in {missing.any(1).sum():,} of {len(points):,} frames: interpolated", stacklevel=4
    )
    points, times = points.copy(), np.arange(len(points))
    for joint in np.flatnonzero(missing.any(0)):
        seen = ~missing[:, joint]
        for axis in range(3):
            points[~seen, joint, axis] = np.interp(times[~seen], times[seen], points[seen, joint, axis])
    return points


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) vectors of length 1.

    >>> unit(np.array([0.0, 3.0, 4.0])).tolist()
    [0.0, 0.6, 0.8]
    """
    return vectors / np.maximum(_length(vectors), 1e-9)[..., None]


def y_up(pose: Pose3D) -> np.ndarray:
    """(T, J, 3) float64 with y up, as most programs of animation have it; determinant +1, metres.

    >>> y_up(Pose3D(np.float32([[[1, 2, 3]] * 17]), frame="camera"))[0, 0].tolist()
    [1.0, -2.0, -3.0]
    """
    x, y, z = np.moveaxis(pose.points.astype(np.float64), -1, 0)
    return np.stack([x, -y, -z] if pose.frame == "camera" else [x, z, -y], axis=-1)


def _basis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T, 3, 3) of orthonormal columns: the first vector, the second as near as can be, and their cross product."""
    x = unit(first)
    y = unit(second - (second * x).sum(-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def least_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(T, 3, 3) that turn unit vectors (T, 3) into others: half a turn about the first, then one about their middle.

    >>> (least_rotation(np.eye(3)[:1], np.eye(3)[1:2])[0] @ np.eye(3)[0]).tolist()
    [0.0, 1.0, 0.0]
    """
    middle = start + end
    opposite = _length(middle) < 1e-6
    if opposite.any():
        axis = np.eye(3)[np.abs(start[opposite]).argmin(-1)]
        middle[opposite] = np.cross(start[opposite], axis)
    half_turn = lambda v: 2 * v[:, :, None] * v[:, None, :] - np.eye(3)  # noqa: E731  v v^T twice, less one
    return half_turn(unit(middle)) @ half_turn(start)


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations about unit vectors (T, 3) by (T,) radians. Source: Rodrigues' formula."""
    x, y, z = axis.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sin * cross + (1 - cos) * cross @ cross


def _twist(
    turned: np.ndarray, upper: np.ndarray, lower: np.ndarray, axis: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Radians (T,) by which a limb is twisted about itself, and in which frames its bend shows it, (T,)."""
    normal = np.cross(upper, lower)
    bent = np.degrees(np.arctan2(_length(normal), (upper * lower).sum(-1))) > BENT
    if not bent.any():
        return np.zeros(len(upper)), bent
    untwisted = turned @ axis  # (T, 3)
    angle = np.arctan2((np.cross(untwisted, normal) * upper).sum(-1), (untwisted * normal).sum(-1))
    frames = np.arange(len(upper))
    angle = np.interp(frames, frames[bent], np.unwrap(angle[bent]))
    reach = round(3 * STEADY * fps)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (STEADY * fps)) ** 2)
    weight = np.where(bent, (normal**2).sum(-1), 1e-6)  # the more a limb is bent, the better its plane is known
    total = lambda values: np.convolve(np.pad(values, reach, "edge"), kernel, "valid")  # noqa: E731
    return total(weight * angle) / total(weight), bent
