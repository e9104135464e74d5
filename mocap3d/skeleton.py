"""Joint names, bones and left/right pairs of the skeletons used in this field, and conversion between them by name.

Outside this file, joints are referred to by name, never by number. The canonical skeleton is `h36m17`: the 17 joints of
Human3.6M that all published lifters use. Every joint of a conversion has a provenance: its source joints, and whether
it is copied or approximated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from mocap3d.arguments import Points, check_arguments
from mocap3d.camera import floating
from mocap3d.conversions import CONVERSIONS, describe, origins

JointNames = Mapping[str, str | Sequence[str]]  # of a target joint: the joints that it is the middle of


class SkeletonError(ValueError):
    """A skeleton that contradicts itself, an unknown name, or a conversion that does not exist."""


@dataclass(frozen=True)
class Skeleton:
    """Named joints in a tree.

    Args:
        name: used in conversions and messages.
        joints: joint names, unique, in array order.
        parents: index of each joint's parent, -1 for a root; a parent may come anywhere in the array.
        left, right: names of mirrored joints, paired by position.
    Raises:
        SkeletonError: if the fields contradict each other.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_arguments(Skeleton, vars(self), SkeletonError)
        for field in ("joints", "parents", "left", "right"):  # lists are welcome
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(set(self.joints)) != len(self.joints) or not self.joints:
            raise SkeletonError(f"skeleton {self.name!r}: joint names must be unique and at least one")
        if len(self.parents) != len(self.joints):
            raise SkeletonError(
                f"skeleton {self.name!r}: {len(self.parents)} parents for {len(self.joints)} joints; give one each"
            )
        if any(not -1 <= parent < len(self.joints) or parent == i for i, parent in enumerate(self.parents)):
            raise SkeletonError(f"skeleton {self.name!r}: a parent must be -1 or the index of another joint")
        if len(self.left) != len(self.right):
            raise SkeletonError(f"skeleton {self.name!r}: left and right must pair up, one name each")
        self.indices(self.left + self.right)

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {joint: i for i, joint in enumerate(self.joints)}

    def index(self, joint: str) -> int:
        """Array index of a joint name; SkeletonError lists the valid names.

        >>> H36M17.index("left_knee")
        5
        """
        if joint not in self._position:
            raise SkeletonError(f"skeleton {self.name!r} has no joint {joint!r}; it has: {', '.join(self.joints)}")
        return self._position[joint]

    def indices(self, joints: tuple[str, ...] | list[str]) -> list[int]:
        """Array indices of several joint names.

        >>> H36M17.indices(["pelvis", "head"])
        [0, 10]
        """
        return [self.index(joint) for joint in joints]

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) index pairs, one per joint that has a parent.

        >>> H36M17.bones[:2]
        ((0, 1), (1, 2))
        """
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Permutation of joint indices that swaps left and right.

        >>> H36M17.mirror[1], H36M17.mirror[4]
        (4, 1)
        """
        order = list(range(len(self)))
        for left, right in zip(self.indices(self.left), self.indices(self.right), strict=True):
            order[left], order[right] = right, left
        return tuple(order)

    def side(self, joint: str) -> str:
        """'left', 'right' or 'centre'.

        >>> H36M17.side("left_knee"), H36M17.side("head")
        ('left', 'centre')
        """
        return "left" if joint in self.left else "right" if joint in self.right else "centre"


def _tree(name: str, *edges: str, left: str, right: str) -> Skeleton:
    """Skeleton from "joint" / "joint<parent" words in array order; `left` in a name is mirrored to `right`."""
    pairs = [edge.partition("<")[::2] for edge in edges]
    joints = tuple(joint for joint, _ in pairs)
    parents = tuple(joints.index(parent) if parent else -1 for _, parent in pairs)
    twins = [(joint, re.sub(left, right, joint)) for joint in joints]
    twins = [(joint, twin) for joint, twin in twins if twin != joint and twin in joints]
    return Skeleton(name, joints, parents, tuple(joint for joint, _ in twins), tuple(twin for _, twin in twins))


# Human3.6M, the 17 joints kept by every published lifter. "foot" is the ankle; "nose" is the data set's
# "Neck/Nose", between the neck and the face; "head" is the top of the head.
H36M17 = _tree(
    "h36m17",
    *"pelvis right_hip<pelvis right_knee<right_hip right_foot<right_knee".split(),
    *"left_hip<pelvis left_knee<left_hip left_foot<left_knee spine<pelvis thorax<spine nose<thorax head<nose".split(),
    *"left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow".split(),
    *"right_shoulder<thorax right_elbow<right_shoulder right_wrist<right_elbow".split(),
    left="left_", right="right_",
)  # fmt: skip

# The same with toes, for animations.
H36M19 = Skeleton("h36m19", (*H36M17.joints, "left_toe", "right_toe"),
                  (*H36M17.parents, *H36M17.indices(["left_foot", "right_foot"])),
                  (*H36M17.left, "left_toe"), (*H36M17.right, "right_toe"))  # fmt: skip

ROOT = H36M17.index("pelvis")  # the joint at the origin of root-relative poses

# Human3.6M as recorded: 32 joints, several of them copies of others.
H36M32 = _tree(
    "h36m32",
    *"pelvis right_hip<pelvis right_knee<right_hip right_foot<right_knee".split(),
    *"right_toe_base<right_foot right_toe_end<right_toe_base".split(),
    *"left_hip<pelvis left_knee<left_hip left_foot<left_knee".split(),
    *"left_toe_base<left_foot left_toe_end<left_toe_base".split(),
    *"spine_base<pelvis spine<spine_base thorax<spine nose<thorax head<nose".split(),
    *"left_collar<spine left_shoulder<left_collar left_elbow<left_shoulder left_wrist<left_elbow".split(),
    *"left_thumb<left_wrist left_thumb_end<left_thumb left_hand<left_wrist left_hand_end<left_hand".split(),
    *"right_collar<spine right_shoulder<right_collar right_elbow<right_shoulder right_wrist<right_elbow".split(),
    *"right_thumb<right_wrist right_thumb_end<right_thumb right_hand<right_wrist right_hand_end<right_hand".split(),
    left="left_", right="right_",
)  # fmt: skip

_COCO_EDGES = (
    *"nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye".split(),
    *"left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder".split(),
    *"left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder right_hip<right_shoulder".split(),
    *"left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee".split(),
)
COCO17 = _tree("coco17", *_COCO_EDGES, left="left_", right="right_")

HALPE26 = _tree(
    "halpe26", *_COCO_EDGES,
    *"head<nose neck<nose hip<neck left_big_toe<left_ankle right_big_toe<right_ankle".split(),
    *"left_small_toe<left_ankle right_small_toe<right_ankle left_heel<left_ankle right_heel<right_ankle".split(),
    left="left_", right="right_",
)  # fmt: skip

BODY25 = _tree(
    "body25",
    *"nose<neck neck right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow".split(),
    *"left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow mid_hip<neck".split(),
    *"right_hip<mid_hip right_knee<right_hip right_ankle<right_knee".split(),
    *"left_hip<mid_hip left_knee<left_hip left_ankle<left_knee".split(),
    *"right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye".split(),
    *"left_big_toe<left_ankle left_small_toe<left_ankle left_heel<left_ankle".split(),
    *"right_big_toe<right_ankle right_small_toe<right_ankle right_heel<right_ankle".split(),
    left="left_", right="right_",
)  # fmt: skip

MEDIAPIPE33 = _tree(
    "mediapipe33",
    *"nose left_eye_inner<nose left_eye<left_eye_inner left_eye_outer<left_eye".split(),
    *"right_eye_inner<nose right_eye<right_eye_inner right_eye_outer<right_eye".split(),
    *"left_ear<left_eye_outer right_ear<right_eye_outer mouth_left<nose mouth_right<nose".split(),
    *"left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder".split(),
    *"left_wrist<left_elbow right_wrist<right_elbow left_pinky<left_wrist right_pinky<right_wrist".split(),
    *"left_index<left_wrist right_index<right_wrist left_thumb<left_wrist right_thumb<right_wrist".split(),
    *"left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip right_knee<right_hip".split(),
    *"left_ankle<left_knee right_ankle<right_knee left_heel<left_ankle right_heel<right_ankle".split(),
    *"left_foot_index<left_ankle right_foot_index<right_ankle".split(),
    left="left", right="right",
)  # fmt: skip

# CMU's Acclaim skeletons; a joint is the far END of the bone it is named after.
CMU = _tree(
    "cmu",
    *"root lhipjoint<root lfemur<lhipjoint ltibia<lfemur lfoot<ltibia ltoes<lfoot".split(),
    *"rhipjoint<root rfemur<rhipjoint rtibia<rfemur rfoot<rtibia rtoes<rfoot".split(),
    *"lowerback<root upperback<lowerback thorax<upperback lowerneck<thorax upperneck<lowerneck head<upperneck".split(),
    *"lclavicle<thorax lhumerus<lclavicle lradius<lhumerus lwrist<lradius lhand<lwrist lfingers<lhand".split(),
    *"lthumb<lwrist rclavicle<thorax rhumerus<rclavicle rradius<rhumerus rwrist<rradius rhand<rwrist".split(),
    *"rfingers<rhand rthumb<rwrist".split(),
    left="^l", right="r",
)  # fmt: skip

# Bandai-Namco's skeleton, plus two markers fixed to the head joint that the files do not have (see open_mocap.py).
BANDAI = _tree(
    "bandai",
    *"joint_Root Hips<joint_Root Spine<Hips Chest<Spine Neck<Chest Head<Neck Nose<Head HeadTop<Head".split(),
    *"Shoulder_L<Chest UpperArm_L<Shoulder_L LowerArm_L<UpperArm_L Hand_L<LowerArm_L".split(),
    *"Shoulder_R<Chest UpperArm_R<Shoulder_R LowerArm_R<UpperArm_R Hand_R<LowerArm_R".split(),
    *"UpperLeg_L<Hips LowerLeg_L<UpperLeg_L Foot_L<LowerLeg_L Toes_L<Foot_L".split(),
    *"UpperLeg_R<Hips LowerLeg_R<UpperLeg_R Foot_R<LowerLeg_R Toes_R<Foot_R".split(),
    left="_L", right="_R",
)  # fmt: skip

# The common avatar of the CMU motions converted to BVH; fingers, toes, face and twist joints left out.
CC = _tree(
    "cc",
    *"CC_Base_Hip CC_Base_Pelvis<CC_Base_Hip CC_Base_L_Thigh<CC_Base_Pelvis CC_Base_L_Calf<CC_Base_L_Thigh".split(),
    *"CC_Base_L_Foot<CC_Base_L_Calf CC_Base_L_ToeBase<CC_Base_L_Foot CC_Base_R_Thigh<CC_Base_Pelvis".split(),
    *"CC_Base_R_Calf<CC_Base_R_Thigh CC_Base_R_Foot<CC_Base_R_Calf CC_Base_R_ToeBase<CC_Base_R_Foot".split(),
    *"CC_Base_Waist<CC_Base_Hip CC_Base_Spine01<CC_Base_Waist CC_Base_Spine02<CC_Base_Spine01".split(),
    *"CC_Base_NeckTwist01<CC_Base_Spine02 CC_Base_NeckTwist02<CC_Base_NeckTwist01".split(),
    *"CC_Base_Head<CC_Base_NeckTwist02 CC_Base_R_Eye<CC_Base_Head CC_Base_L_Eye<CC_Base_Head".split(),
    *"CC_Base_L_Clavicle<CC_Base_Spine02 CC_Base_L_Upperarm<CC_Base_L_Clavicle".split(),
    *"CC_Base_L_Forearm<CC_Base_L_Upperarm CC_Base_L_Hand<CC_Base_L_Forearm".split(),
    *"CC_Base_R_Clavicle<CC_Base_Spine02 CC_Base_R_Upperarm<CC_Base_R_Clavicle".split(),
    *"CC_Base_R_Forearm<CC_Base_R_Upperarm CC_Base_R_Hand<CC_Base_R_Forearm".split(),
    left="_L_", right="_R_",
)  # fmt: skip

SKELETONS = {s.name: s for s in (H36M17, H36M19, H36M32, COCO17, HALPE26, BODY25, MEDIAPIPE33, CMU, BANDAI, CC)}


def get_skeleton(skeleton: str | Skeleton) -> Skeleton:
    """The skeleton with this name (a Skeleton is returned unchanged); SkeletonError lists the known names.

    >>> len(get_skeleton("coco17"))
    17
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    check_arguments(get_skeleton, locals())
    if skeleton not in SKELETONS:
        raise SkeletonError(f"unknown skeleton {skeleton!r}; known: {', '.join(SKELETONS)}")
    return SKELETONS[skeleton]


@lru_cache(maxsize=64)
def _plan(source: Skeleton, target: Skeleton, mapping: tuple | None) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Gather indices (J, K), weights (J, K) and provenance texts of a conversion."""
    if target != H36M17:
        raise SkeletonError(f"no conversion to {target.name!r}; conversions lead to 'h36m17'")
    try:
        found = origins(source.name, source.joints, target.joints, None if mapping is None else dict(mapping))
    except ValueError as error:
        raise SkeletonError(f"skeleton {source.name!r}: {error}") from None
    if not found:
        raise SkeletonError(
            f"no conversion from skeleton {source.name!r} ({len(source)} joints: {', '.join(source.joints[:6])}...) to "
            f"'h36m17'; known sources: h36m32, {', '.join(CONVERSIONS)}, and the usual names of motion files. Name "
            'the joints yourself: convert(..., mapping={"left_hip": "LeftUpLeg", ...})'
        )
    width = max(len(origin.weights) for origin in found.values())
    index = np.zeros((len(target), width), dtype=np.int64)
    weight = np.zeros((len(target), width), dtype=np.float64)
    texts = {}
    for row, joint in enumerate(target.joints):
        names, values = zip(*found[joint].weights.items(), strict=True)
        used = source.indices(list(names))
        index[row] = used + used[:1] * (width - len(used))  # pad with a joint already used: NaN stays local
        weight[row, : len(used)] = values
        texts[joint] = describe(found[joint])
    return index, weight, texts


def _planned(source: Skeleton, target: Skeleton, mapping: JointNames | None) -> tuple:
    """`_plan` of a mapping that may hold lists."""
    if mapping is None:
        return _plan(source, target, None)
    pairs = ((joint, names if isinstance(names, str) else tuple(names)) for joint, names in mapping.items())
    return _plan(source, target, tuple(pairs))


def joints_of(values, source: Skeleton, axis: int):
    """Floating-point values whose `axis` holds the joints of `source`; midpoints of integer pixels need fractions.

    >>> joints_of(np.zeros((5, 17, 2), int), H36M17, -2).dtype
    dtype('float64')
    """
    values = floating(values)
    if values.ndim < -axis or values.shape[axis] != len(source):
        raise SkeletonError(
            f"the points have shape {tuple(values.shape)}; skeleton {source.name!r} has {len(source)} joints, and they "
            f"belong on axis {axis}: name the right skeleton"
        )
    return values


def convert(points, source: str | Skeleton, target: str | Skeleton = "h36m17", mapping: JointNames | None = None):
    """Convert poses from one skeleton to another by joint name.

    Args:
        points: (..., J_source, C) array or tensor, any unit and frame; NaN where missing.
        source, target: skeletons or their names. A skeleton with all the joints of a known one (a motion file
            with fingers, for example) is converted in the same way, and so are motion files with the joint names of
            Mixamo, Rokoko, LaFAN1, cgspeed, SMPL or MPII.
        mapping: for any other skeleton, the joint or joints each target joint is the middle of: {"left_hip":
            "LeftUpLeg", "spine": ("Spine", "Chest"), ...}.
    Returns:
        (..., J_target, C), same type (integers become floating point), unit and frame; a joint is NaN if any of its
        source joints is.
    Raises:
        SkeletonError: for an unknown conversion, a wrong number of joints, or a mapping that is not complete.
    Source: own; see `provenance` for how each joint is computed.

    >>> convert(np.zeros((100, 26, 2)), "halpe26").shape
    (100, 17, 2)
    """
    source, target = get_skeleton(source), get_skeleton(target)
    points = joints_of(points, source, axis=-2)
    if source.joints == target.joints:
        return points
    index, weight, _ = _planned(source, target, mapping)
    if isinstance(points, torch.Tensor):
        index, weight = torch.as_tensor(index, device=points.device), torch.as_tensor(weight).to(points)
    else:
        weight = weight.astype(points.dtype)
    return (points[..., index, :] * weight[..., None]).sum(-2)  # (..., J, K, C) -> (..., J, C)


def convert_confidence(
    confidence, source: str | Skeleton, target: str | Skeleton = "h36m17", mapping: JointNames | None = None
):
    """Confidence of converted joints: the mean over the source joints of each, by the size of their weights.

    So a joint made of several is doubted as much as the missing ones matter, and is at 1 only if all are.

    Args:
        confidence: (..., J_source) array or tensor.
        mapping: same as in `convert`.
    Returns:
        (..., J_target), same type.

    >>> convert_confidence(np.ones((100, 26)), "halpe26").shape
    (100, 17)
    """
    source, target = get_skeleton(source), get_skeleton(target)
    confidence = joints_of(confidence, source, axis=-1)
    if source.joints == target.joints:
        return confidence
    index, weight, _ = _planned(source, target, mapping)
    weight = np.abs(weight) / np.abs(weight).sum(-1, keepdims=True)
    if isinstance(confidence, torch.Tensor):
        index, weight = torch.as_tensor(index, device=confidence.device), torch.as_tensor(weight).to(confidence)
    else:
        weight = weight.astype(confidence.dtype)
    return (confidence[..., index] * weight).sum(-1)


def provenance(
    source: str | Skeleton, target: str | Skeleton = "h36m17", mapping: JointNames | None = None
) -> dict[str, str]:
    """Where each target joint comes from, in words: {"spine": "midpoint of hip and neck, approximated", ...}.

    >>> provenance("coco17")["pelvis"]
    'midpoint of left_hip and right_hip'
    """
    check_arguments(provenance, locals())
    source, target = get_skeleton(source), get_skeleton(target)
    if source.joints == target.joints:
        return {joint: joint for joint in target.joints}
    return dict(_planned(source, target, mapping)[2])


def flip(points: Points, skeleton: str | Skeleton = H36M17):
    """Mirror poses: negate x AND swap left with right joints, so that a right-handed wave becomes a left-handed one.

    Args:
        points: (..., J, C) array or tensor whose first channel is x about the mirror line x = 0 (screen
            coordinates, or the camera frame); other channels are unchanged.
    Returns:
        (..., J, C), a new array of the same type (integers become floating point). Flipping twice is the identity.
    Source: the flip augmentation of Pavllo et al. 2019, section 6.1 ("test-time augmentation").

    >>> points = np.zeros((17, 2))
    >>> points[H36M17.index("left_wrist")] = [0.3, -0.2]
    >>> flip(points)[H36M17.index("right_wrist")].tolist()
    [-0.3, -0.2]
    """
    check_arguments(flip, locals())
    skeleton = get_skeleton(skeleton)
    points, order = joints_of(points, skeleton, axis=-2), list(skeleton.mirror)
    if isinstance(points, torch.Tensor):
        mirrored = points[..., order, :].clone()
    else:
        mirrored = np.array(points[..., order, :])
    mirrored[..., 0] *= -1
    return mirrored


def root_relative(points):
    """Translate poses so that the root (the pelvis) is at the origin.

    Args:
        points: (..., 17, C) array or tensor, h36m17.
    Returns:
        same shape and type.

    >>> root_relative(np.ones((17, 3))).sum()
    np.float64(0.0)
    """
    return points - points[..., ROOT : ROOT + 1, :]
