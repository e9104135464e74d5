"""Augmentation with new bodies and movements: other bone lengths, exchanged limbs, rotated limbs.

Open motion capture has few performers and few actions, and networks overfit to them. Here each clip gets another
body, and some clips get the legs or an arm of another clip: drawn once per clip, for many clips at once, so that smooth
motion stays smooth. Balance, contact and collisions are ignored: feet slide, hands may pass through the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mocap3d.data.cameras import clip_starts
from mocap3d.skeleton import H36M17

# limbs exchanged together, with their reference frame, from the trunk outwards
GROUPS = (
    ("pelvis", (("left_hip", "left_knee", "left_foot"), ("right_hip", "right_knee", "right_foot"))),
    ("thorax", (("left_shoulder", "left_elbow", "left_wrist"),)),
    ("thorax", (("right_shoulder", "right_elbow", "right_wrist"),)),
)
LIKE = [min(pair) for pair in enumerate(H36M17.mirror)]  # left and right bones share a draw


@dataclass(frozen=True)
class BodyMixture:
    """How much bodies and movements vary.

    Args:
        lengths: standard deviation of the logarithm of a bone's length factor, which left and right share.
        exchange: probability, for both legs together and for each arm, of being replaced by those of another clip.
        leg_turn, arm_turn: degrees, standard deviation of the constant angle by which each limb is rotated, any axis.
    Raises:
        ValueError: for a number out of range.
    Source: own; assumptions.
    """

    lengths: float = 0.12
    exchange: float = 0.3
    leg_turn: float = 8.0
    arm_turn: float = 12.0

    def __post_init__(self) -> None:
        if not (0 <= self.lengths <= 0.5 and 0 <= self.exchange <= 1):
            raise ValueError(f"lengths={self.lengths!r} must be in [0, 0.5] and exchange={self.exchange!r} in [0, 1]")
        if not (0 <= self.leg_turn <= 90 and 0 <= self.arm_turn <= 90):
            raise ValueError(f"leg_turn={self.leg_turn!r} and arm_turn={self.arm_turn!r} are degrees; give 0 to 90")


BODIES = BodyMixture()


@torch.no_grad()
def vary_bodies(
    points: Tensor, clip: Tensor, mixture: BodyMixture = BODIES, generator: torch.Generator | None = None
) -> Tensor:
    """Give every clip another body, and some clips the limbs of another clip.

    First, limbs are exchanged and rotated: the directions of their bones change, relative to pelvis (legs) or thorax
    (arms), but not their lengths. Then all bones are scaled. Last, each pose is moved vertically so that its lowest
    foot is as high as before.

    Args:
        points: (N, 17, 3) h36m17, metres, world frame (z up), all clips concatenated; NaN where missing.
        clip: (N,) int64, ascending from 0 without gaps: which clip a frame belongs to.
        mixture: amount of variation.
        generator: on any device; the same state gives the same bodies. None draws from torch's own.
    Returns:
        (N, 17, 3) new tensor. A missing joint stays missing, as do the joints that depend on it: a foot on its knee, a
        limb on the one it is copied from.
    Raises:
        ValueError: for wrong shapes or labels.
    Source: own.
    """
    start = clip_starts(points, clip)
    if points.shape[1] != len(H36M17):
        raise ValueError(f"points have {points.shape[1]} joints; give the {len(H36M17)} of h36m17")
    device = points.device if generator is None else generator.device
    uniform = torch.rand(3, len(start), 3, generator=generator, device=device).to(points)
    normal = torch.randn(len(start), len(H36M17) + 4 * 4, generator=generator, device=device).to(points)
    factors = (mixture.lengths * normal[:, : len(H36M17)][:, LIKE]).exp()  # (K, 17) of the bone to the parent
    turns = _turns(normal[:, len(H36M17) :].unflatten(1, (4, 4)), mixture)  # (K, 4, 3, 3)
    sources = _sources(start, clip, uniform, mixture.exchange)  # (N, 3)

    old = dict(zip(H36M17.joints, points.unbind(1), strict=True))  # each (N, 3)
    axes = trunk_axes(points)
    limbs, turn = {}, iter(turns.unbind(1))
    for (trunk, chains), source in zip(GROUPS, sources.unbind(1), strict=True):
        for chain in chains:
            pairs = list(zip(chain, chain[1:], strict=False))
            bones = torch.stack([old[child] - old[parent] for parent, child in pairs], 1)  # (N, 2, 3)
            local = bones @ axes[trunk].mT
            taken = local[source] @ next(turn)[clip] @ axes[trunk]
            length = bones.norm(dim=-1, keepdim=True) / taken.norm(dim=-1, keepdim=True).clamp_min(1e-9)
            limbs |= dict(zip(chain[1:], (taken * length).unbind(1), strict=True))

    factors = factors[clip][..., None]  # (N, 17, 1)
    varied = torch.empty_like(points)
    new = dict(zip(H36M17.joints, varied.unbind(1), strict=True))  # views of it
    new["pelvis"].copy_(old["pelvis"])
    for parent, child in H36M17.bones:  # from the root outwards
        factor, parent, child = factors[:, child], H36M17.joints[parent], H36M17.joints[child]
        bone = limbs[child] if child in limbs else old[child] - old[parent]
        torch.addcmul(new[parent], bone, factor, out=new[child])
    varied[..., 2] += _rise(old, new)[:, None]
    return varied


def trunk_axes(points: Tensor) -> dict[str, Tensor]:
    """The reference frames of legs ("pelvis") and arms ("thorax").

    Args:
        points: (N, 17, 3) h36m17.
    Returns:
        (N, 3, 3) for each of the two: rows are the person's right, front and up (the component of the spine
        perpendicular to right), right-handed.
    """
    joint = lambda name: points[:, H36M17.index(name)]  # noqa: E731
    axes = {}
    for name, side, base in (("pelvis", "hip", "pelvis"), ("thorax", "shoulder", "spine")):
        top = {"pelvis": "spine", "spine": "thorax"}[base]
        right = torch.nn.functional.normalize(joint(f"right_{side}") - joint(f"left_{side}"), dim=-1)
        front = torch.linalg.cross(joint(top) - joint(base), right)
        front = torch.nn.functional.normalize(front, dim=-1)
        axes[name] = torch.stack([right, front, torch.linalg.cross(right, front)], 1)
    return axes


def _turns(normal: Tensor, mixture: BodyMixture) -> Tensor:
    """(K, 4, 4) normal numbers -> (K, 4, 3, 3) rotations of left leg, right leg, left arm, right arm."""
    spread = normal.new_tensor([mixture.leg_turn, mixture.leg_turn, mixture.arm_turn, mixture.arm_turn])
    angle = (spread * normal[..., 3]).deg2rad()
    x, y, z = (torch.nn.functional.normalize(normal[..., :3], dim=-1) * angle[..., None]).unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


def _sources(start: Tensor, clip: Tensor, uniform: Tensor, exchange: float) -> Tensor:
    """(N, 3) frames that each frame's legs, left arm and right arm are copied from: its own, or another clip's.

    uniform: (3, K, 3). A longer clip is used in part; a shorter one is played forwards and backwards in turn.
    """
    count = len(start)
    own = torch.arange(count, device=start.device)[:, None]
    lengths = torch.bincount(clip, minlength=count)
    other = (own + 1 + (uniform[0] * (count - 1)).long()) % count
    other = torch.where(uniform[1] < exchange, other, own)  # (K, 3)
    spare = (lengths[other] - lengths[:, None]).clamp_min(0)
    first = (uniform[2] * (spare + 1)).long()  # 0 where a clip keeps its own
    at = first[clip] + (torch.arange(len(clip), device=clip.device) - start[clip])[:, None]  # (N, 3)
    there_and_back = (2 * (lengths[other] - 1)).clamp_min(1)[clip]
    at = at % there_and_back
    return start[other][clip] + at.minimum(there_and_back - at)


def _rise(old: dict[str, Tensor], new: dict[str, Tensor]) -> Tensor:
    """(N,) metres by which to raise new poses, so that the lowest foot is as high as before; 0 without feet."""
    lowest = [torch.fmin(pose["left_foot"][:, 2], pose["right_foot"][:, 2]) for pose in (old, new)]
    return (lowest[0] - lowest[1]).nan_to_num()
