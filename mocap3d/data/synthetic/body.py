"""An articulated body: bone lengths from anthropometry, joint limits, and poses from joint angles and goals.

Lengths are fractions of stature after Drillis and Contini (1966) as tabulated by Winter, "Biomechanics and Motor
Control of Human Movement": thigh 0.245, shank 0.246, forearm 0.146, hip joint 0.53 and shoulder 0.82 of stature
above the floor. Optical markers put the shoulder joint nearer to the neck and lower than those tables do, so the
upper arm (0.162) and the thorax-shoulder bone (0.100), and where spine, thorax and nose lie along the trunk, follow
motion-capture skeletons instead (by eye, CMU subject 01). Each subject deviates from these by a few per cent, both
sides alike.

Body frame: x forward, y left, z up; metres; radians. Side 0 is right, side 1 is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mocap3d.data.synthetic.limbs import FLOOR, apply, bend, covering, in_front, rotation, two_bone, unit, within
from mocap3d.skeleton import H36M17

SIDES = ("right", "left")
SIGN = np.array([-1.0, 1.0])  # y of each side

# Degrees. Flexion is positive forward, lateral to the right, twist to the left.
LIMITS = {
    "knee_flexion": (3.0, 152.0),
    "elbow_flexion": (7.0, 146.0),
    "trunk_flexion": (-25.0, 75.0),
    "trunk_lateral": (-32.0, 32.0),
    "trunk_twist": (-42.0, 42.0),
    "neck_flexion": (-45.0, 50.0),
    "neck_lateral": (-35.0, 35.0),
    "neck_twist": (-70.0, 70.0),
}

FRACTIONS = {
    "hip": 0.062, "thigh": 0.245, "shank": 0.246, "ankle": 0.045, "spine": 0.128, "chest": 0.172, "neck": 0.059,
    "head": 0.060, "shoulder": 0.100, "upper_arm": 0.162, "forearm": 0.146,
}  # fmt: skip
# Stature in metres, then each subject's relative deviations: hip, leg, trunk split, trunk, shoulder, arm, neck/head.
SUBJECTS = {
    "S1": (1.67, 0.02, 0.010, -0.04, -0.01, -0.06, -0.02, 0.05),
    "S5": (1.63, 0.10, -0.025, 0.05, 0.01, -0.10, -0.03, -0.06),
    "S6": (1.80, -0.08, 0.025, 0.08, -0.02, 0.06, 0.02, 0.10),
    "S7": (1.75, -0.22, -0.015, -0.10, 0.03, 0.10, 0.03, -0.10),
    "S8": (1.86, 0.12, 0.000, 0.00, 0.00, 0.12, -0.01, 0.00),
    "S9": (1.77, -0.03, 0.015, -0.06, 0.01, 0.04, 0.01, 0.03),
    "S11": (1.70, 0.06, -0.010, 0.04, -0.02, -0.02, 0.00, -0.03),
}


@dataclass(frozen=True)
class Body:
    """Segment lengths of one subject, in metres; both sides are alike."""

    stature: float
    hip: float
    thigh: float
    shank: float
    ankle: float
    spine: float
    chest: float
    neck: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float

    @property
    def leg(self) -> float:
        return self.thigh + self.shank

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm


def subject_body(subject: str) -> Body:
    """Return the body of one of the seven subjects.

    Args:
        subject: "S1", "S5", "S6", "S7", "S8", "S9" or "S11".
    Returns:
        The body, lengths in metres.
    Raises:
        ValueError: for any other name.
    Source: fractions of stature after Drillis and Contini (1966); deviations own.
    """
    if subject not in SUBJECTS:
        raise ValueError(f"subject {subject!r} is not one of {', '.join(SUBJECTS)}: choose one of these.")
    stature, hip, leg, split, trunk, shoulder, arm, neck = SUBJECTS[subject]
    scale = {
        "hip": 1 + hip, "thigh": 1 + leg, "shank": 1 + leg * 0.6, "ankle": 1.0, "spine": (1 + trunk) * (1 + split),
        "chest": (1 + trunk) * (1 - split * 0.75), "neck": 1 + neck, "head": 1 - neck * 0.5, "shoulder": 1 + shoulder,
        "upper_arm": 1 + arm, "forearm": 1 - arm * 0.5,
    }  # fmt: skip
    return Body(stature=stature, **{name: stature * FRACTIONS[name] * scale[name] for name in FRACTIONS})


@dataclass
class Motion:
    """What drives a body for T frames; angles in radians, lengths in metres, world frame z up.

    Attributes:
        pelvis: (T, 3) middle of the hips. angles: (T, 3) pelvis heading, pitch forward, roll to the right.
        trunk, neck: (T, 3) flexion, lateral, twist. ankle: (T, 2, 3) goals. planted: (T, 2) 1 = the foot bears load.
        knee_out: (T, 2) turn of the knee outward. hand: (T, 2, 3) wrist goal from the shoulder in the thorax frame,
        in arm lengths, y outward. at_head: (T, 2) 1 = the goal counts from the nose in the head frame instead.
        elbow_out: (T, 2) turn of the elbow outward and up. girdle: (T, 2, 2) shoulder raised, shoulder forward.
        palm, grip: (T, 2, 3) world wrist goals that replace those of `hand` by weight (T, 2). knee, kneel: (T, 2, 3)
        where knees rest, by weight (T, 2); the shank from there to the ankle goal should have its length.
    """

    pelvis: np.ndarray
    angles: np.ndarray
    trunk: np.ndarray
    neck: np.ndarray
    ankle: np.ndarray
    planted: np.ndarray
    knee_out: np.ndarray
    hand: np.ndarray
    at_head: np.ndarray
    elbow_out: np.ndarray
    girdle: np.ndarray
    palm: np.ndarray | None = None
    grip: np.ndarray | None = None
    knee: np.ndarray | None = None
    kneel: np.ndarray | None = None


def _limited(values: np.ndarray, part: str) -> np.ndarray:
    bounds = np.radians([LIMITS[f"{part}_{name}"] for name in ("flexion", "lateral", "twist")])
    return np.clip(values, bounds[:, 0], bounds[:, 1])


def _clear_of_trunk(hand: np.ndarray, shoulder: np.ndarray) -> np.ndarray:
    """Push wrist goals, in the thorax frame from the thorax, out of the trunk's elliptic cylinder."""
    radii, sign = np.array([0.15, 0.19]), np.sign(shoulder[..., 1:2])
    flat = hand[..., :2] / radii
    inside = 1 / (1 + np.exp(-(shoulder[..., 2:] - 0.02 - hand[..., 2:]) / 0.04))  # only below the shoulders
    aside = 0.7 * np.exp(-2 * np.sum(flat**2, -1, keepdims=True))  # which way round, for one from behind the spine
    flat = flat + inside * aside * sign * np.array([0.4, 1.0])
    radius = np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 0.05)
    out = (radius**4 + 1) ** 0.25 / radius
    moved = hand.copy()
    moved[..., :2] = radii * flat * (1 + inside * (out - 1))
    return moved


def settle(body: Body, motion: Motion, straightest: float = 10.0) -> Motion:
    """Lower the pelvis where needed, smoothly, so that legs bent by `straightest` degrees reach both loaded feet.

    Where knees rest, the pelvis moves up or down and rolls so that the hips are a thigh's length away. Source: own.
    """
    heading, pitch, roll = motion.angles.T
    pelvis_frame = rotation(2, heading) @ bend(pitch, roll, 0 * heading)
    reach = np.sqrt(body.thigh**2 + body.shank**2 + 2 * body.thigh * body.shank * np.cos(np.radians(straightest)))
    caps = []
    for side in range(2):
        hip = apply(pelvis_frame, [0.0, SIGN[side] * body.hip, 0.0])
        flat = motion.ankle[:, side, :2] - motion.pelvis[:, :2] - hip[:, :2]
        drop = np.sqrt(np.maximum(reach**2 - np.sum(flat**2, -1), 0.02))
        caps.append(motion.ankle[:, side, 2] + drop - hip[:, 2] + 1.5 * (1 - motion.planted[:, side]))
    excess = np.maximum(motion.pelvis[:, 2] - np.min(caps, axis=0), 0.0)
    motion.pelvis[:, 2] -= covering(excess)
    if motion.kneel is not None and motion.kneel.any():
        _rest_on_knees(body, motion)
    return motion


def _rest_on_knees(body: Body, motion: Motion) -> None:
    for _ in range(6):  # the roll moves the hips sideways a little, which changes the heights
        heading, pitch, roll = motion.angles.T
        pelvis_frame = rotation(2, heading) @ bend(pitch, roll, 0 * heading)
        rise = np.zeros((len(heading), 2))
        for side in range(2):
            hip = motion.pelvis + apply(pelvis_frame, [0.0, SIGN[side] * body.hip, 0.0])
            flat = np.sum((motion.knee[:, side, :2] - hip[:, :2]) ** 2, -1)
            rise[:, side] = motion.knee[:, side, 2] + np.sqrt(np.maximum(body.thigh**2 - flat, 0.01)) - hip[:, 2]
        rise *= motion.kneel
        motion.pelvis[:, 2] += rise.sum(1) / np.maximum(motion.kneel.sum(1), 1.0)
        motion.angles[:, 2] += motion.kneel.prod(1) * (rise[:, 1] - rise[:, 0]) / (2 * body.hip)


def pose_body(body: Body, motion: Motion) -> np.ndarray:
    """Return the joints of a body driven by a motion.

    Args:
        body: segment lengths, metres. motion: see `Motion`; its feet should be within reach (`settle`).
    Returns:
        (T, 17, 3) metres, world, order of H36M17.
    Source: own.
    """
    heading, pitch, roll = motion.angles.T
    trunk, neck = _limited(motion.trunk, "trunk"), _limited(motion.neck, "neck")
    pelvis_frame = rotation(2, heading) @ bend(pitch, roll, 0 * heading)
    low_frame = pelvis_frame @ bend(*(0.45 * trunk.T))
    thorax_frame = low_frame @ bend(*(0.55 * trunk.T))
    neck_frame = thorax_frame @ bend(*(0.5 * neck.T))
    head_frame = neck_frame @ bend(*(0.5 * neck.T))

    joints = {"pelvis": motion.pelvis}
    joints["spine"] = motion.pelvis + apply(low_frame, body.spine * unit(-0.09, 0.0, 1.0))
    joints["thorax"] = joints["spine"] + apply(thorax_frame, body.chest * unit(0.11, 0.0, 1.0))
    joints["nose"] = joints["thorax"] + apply(neck_frame, body.neck * unit(0.35, 0.0, 1.0))
    joints["head"] = joints["nose"] + apply(head_frame, body.head * unit(0.05, 0.0, 1.0))
    for side, name in enumerate(SIDES):
        hip = motion.pelvis + apply(pelvis_frame, [0.0, SIGN[side] * body.hip, 0.0])
        joints[f"{name}_hip"] = hip
        joints[f"{name}_knee"], joints[f"{name}_foot"] = _leg(body, motion, side, hip, pelvis_frame)
        arm = _arm(body, motion, side, joints["thorax"], thorax_frame, joints["nose"], head_frame)
        joints[f"{name}_shoulder"], joints[f"{name}_elbow"], joints[f"{name}_wrist"] = arm
    return np.stack([joints[name] for name in H36M17.joints], axis=1)  # (T, 17, 3)


def _leg(body: Body, motion: Motion, side: int, hip: np.ndarray, frame: np.ndarray):
    """Return knee and ankle, (T, 3) each. A loaded foot is where it was planned; a free one avoids extremes."""
    ankle, load = motion.ankle[:, side], motion.planted[:, side, None]
    free = ankle + apply(frame, in_front(ankle - hip, 0.3 * body.leg, [1.0, 0.0, 0.0]))
    free = within(free, hip, 0.36 * body.leg, 0.97 * body.leg)
    free[:, 2] = np.logaddexp(0.0, (free[:, 2] - 0.04) * 80) / 80 + 0.04
    middle = None if motion.kneel is None else (motion.knee[:, side], motion.kneel[:, side, None])
    return two_bone(hip, load * ankle + (1 - load) * free, body.thigh, body.shank, frame, [0.0, 0.0, -1.0],
                    [1.0, 0.0, 0.0], -SIGN[side] * motion.knee_out[:, side], LIMITS["knee_flexion"],
                    middle)  # fmt: skip


def _held(free: np.ndarray, held: np.ndarray, grip: np.ndarray, front: np.ndarray, arm: float) -> np.ndarray:
    """Go from where a free hand is to where it rests, all (T, 3) from the shoulder, not through the shoulder."""
    along = held - free
    share = -np.sum(free * along, -1, keepdims=True) / np.maximum(np.sum(along**2, -1, keepdims=True), 1e-9)
    nearest, near, far = (
        np.linalg.norm(free + x * along, axis=-1, keepdims=True) for x in (np.clip(share, 0.0, 1.0), 0.0, 1.0)
    )
    detour = np.maximum(np.minimum(np.minimum(near, far), 0.8 * arm) - nearest, 0.0)
    return free + grip * along + 4 * grip * (1 - grip) * detour * front


def _arm(body: Body, motion: Motion, side: int, thorax, thorax_frame, nose, head_frame):
    """Return shoulder, elbow and wrist, (T, 3) each."""
    sign = SIGN[side]
    raised, forward = motion.girdle[:, side].T
    turned = rotation(2, -sign * forward) @ rotation(0, sign * raised)
    local = apply(turned, body.shoulder * unit(-0.10, sign * 1.0, -0.10))
    shoulder = thorax + apply(thorax_frame, local)
    goal = motion.hand[:, side] * np.array([1.0, sign, 1.0]) * body.arm
    hand = thorax + apply(thorax_frame, _clear_of_trunk(local + goal, local))
    hand = hand + motion.at_head[:, side, None] * (nose + apply(head_frame, goal) - hand)
    if motion.grip is not None:
        front = apply(thorax_frame, unit(0.75, 0.45 * sign, -0.35))
        hand = shoulder + _held(
            hand - shoulder, motion.palm[:, side] - shoulder, motion.grip[:, side, None], front, body.arm
        )
    hand = hand + apply(thorax_frame, in_front(hand - shoulder, 0.3 * body.arm, [0.75, 0.45 * sign, -0.35]))
    hand[:, 2] = np.logaddexp(0.0, (hand[:, 2] - FLOOR) * 60) / 60 + FLOOR
    hand = within(hand, shoulder, 0.32 * body.arm, 0.975 * body.arm)
    elbow, wrist = two_bone(shoulder, hand, body.upper_arm, body.forearm, thorax_frame, unit(0.75, 0.50 * sign, -0.43),
                            unit(-0.57, 0.20 * sign, -0.76), sign * motion.elbow_out[:, side],
                            LIMITS["elbow_flexion"], lying=motion.grip is not None)  # fmt: skip
    return shoulder, elbow, wrist
