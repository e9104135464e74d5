"""Which joints of other skeletons the joints of h36m17 are computed from: tables, names in motion files, mappings.

Only names are known here; `skeleton.convert` computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Origin(NamedTuple):
    """Where one h36m17 joint comes from: a weighted sum of source joints."""

    weights: dict[str, float]
    approximated: bool = False


def _exact(joint: str) -> Origin:
    return Origin({joint: 1.0})


def _middle(a: str, b: str, approximated: bool = False) -> Origin:
    return Origin({a: 0.5, b: 0.5}, approximated)


def _limbs(pattern: str, left: str, right: str, **names: str) -> dict[str, Origin]:
    """Both sides of the limb joints: h36m17 name -> source name, `pattern` holding {side} and {joint}."""
    return {
        f"{side}_{ours}": _exact(pattern.format(side=word, joint=theirs))
        for side, word in (("left", left), ("right", right))
        for ours, theirs in names.items()
    }


_IMAGE_LIMBS = _limbs(
    "{side}_{joint}", "left", "right",
    hip="hip", knee="knee", foot="ankle", shoulder="shoulder", elbow="elbow", wrist="wrist",
)  # fmt: skip
_HIPS = {"left_hip": 0.5, "right_hip": 0.5}
_SHOULDERS = {"left_shoulder": 0.5, "right_shoulder": 0.5}
_FACE = {  # detectors that find a face but no spine, neck or top of the head
    "pelvis": Origin(_HIPS),
    "thorax": Origin(_SHOULDERS, True),
    "spine": Origin({joint: 0.25 for joint in (*_HIPS, *_SHOULDERS)}, True),
    "nose": Origin({"nose": 0.5, **dict.fromkeys(("left_ear", "right_ear", *_SHOULDERS), 0.125)}, True),
    # the crown lies beyond the ears, by another 0.6 of the way from the shoulders to the ears (own estimate)
    "head": Origin({"left_ear": 0.8, "right_ear": 0.8, "left_shoulder": -0.3, "right_shoulder": -0.3}, True),
}

# Motion capture: the pelvis is always the midpoint of the hips, so that the root means the same in every source.
CONVERSIONS: dict[str, dict[str, Origin]] = {
    "coco17": {**_IMAGE_LIMBS, **_FACE},
    "mediapipe33": {**_IMAGE_LIMBS, **_FACE},
    "halpe26": {
        **_IMAGE_LIMBS, **_FACE,
        "pelvis": _exact("hip"), "thorax": _exact("neck"), "spine": _middle("hip", "neck", True),
        "head": _exact("head"), "nose": Origin({"nose": 0.6, "neck": 0.4}, True),
    },
    "body25": {
        **_IMAGE_LIMBS, **_FACE,
        "pelvis": _exact("mid_hip"), "thorax": _exact("neck"), "spine": _middle("mid_hip", "neck", True),
    },
    "cmu": {
        **_limbs("{side}{joint}", "l", "r", hip="hipjoint", knee="femur", foot="tibia",
                 shoulder="clavicle", elbow="humerus"),
        **{f"{side}_wrist": Origin({f"{side[0]}radius": 0.4, f"{side[0]}wrist": 0.6}, True)
           for side in ("left", "right")},
        "pelvis": _middle("lhipjoint", "rhipjoint"), "spine": _exact("lowerback"), "thorax": _exact("lowerneck"),
        "nose": _exact("upperneck"), "head": _exact("head"),
    },
    "bandai": {
        **_limbs("{joint}_{side}", "L", "R", hip="UpperLeg", knee="LowerLeg", foot="Foot",
                 shoulder="UpperArm", elbow="LowerArm", wrist="Hand"),
        "pelvis": _middle("UpperLeg_L", "UpperLeg_R"), "spine": _middle("Spine", "Chest", True),
        "thorax": _exact("Neck"), "nose": _exact("Nose"), "head": _exact("HeadTop"),
    },
    "cc": {
        **_limbs("CC_Base_{side}_{joint}", "L", "R", hip="Thigh", knee="Calf", foot="Foot",
                 shoulder="Upperarm", elbow="Forearm", wrist="Hand"),
        "pelvis": _middle("CC_Base_L_Thigh", "CC_Base_R_Thigh"),
        "spine": _middle("CC_Base_Spine01", "CC_Base_Spine02", True), "thorax": _exact("CC_Base_NeckTwist01"),
        "nose": Origin({"CC_Base_Head": 0.5, "CC_Base_L_Eye": 0.25, "CC_Base_R_Eye": 0.25}, True),
        # eyes are half way up the head: the crown is as far above the eyes as they are above the head joint
        "head": Origin({"CC_Base_L_Eye": 1.0, "CC_Base_R_Eye": 1.0, "CC_Base_Head": -1.0}, True),
    },
}  # fmt: skip


# Names in motion files (Mixamo, Rokoko, LaFAN1, cgspeed, SMPL, MPII), without case, "_", spaces, and what stands before
# a colon ("mixamorig:"); {side} is left or right, {s} l or r. The first that is there counts.
_LIMB_NAMES = {
    "hip": ("{side}upleg", "{side}thigh", "{side}hip", "{s}hip"),
    "knee": ("{side}leg", "{side}shin", "{side}knee", "{s}knee"),
    "foot": ("{side}ankle", "{s}ankle", "{side}foot", "{s}foot"),
    "shoulder": ("{side}arm", "{side}shoulder", "{s}shoulder"),
    "elbow": ("{side}forearm", "{side}elbow", "{s}elbow"),
    "wrist": ("{side}wrist", "{s}wrist", "{side}hand", "{s}hand"),
}
_THORAX_NAMES, _CROWN_NAMES = ("thorax", "neck"), ("headtopend", "headtop", "headend", "headsite")
_HEAD_NAMES = ("neck1", "upperneck", "head")  # where the skull begins
# the joint nearest the middle of the trunk, if all of these are there
_SPINE_NAMES = {"spine2": ("spine1", "spine2", "spine3"), "spine": ("lowerback", "spine"), "spine1": ("spine1",)}


def origins(name: str, joints: tuple[str, ...], target: tuple[str, ...], mapping: Mapping | None) -> dict[str, Origin]:
    """The origin of each target joint.

    Args:
        name, joints: of the source skeleton.
        target: the joints of h36m17.
        mapping: {"left_hip": "LeftUpLeg", "spine": ("Spine", "Chest"), ...} in place of what is known; several names
            mean their middle.
    Returns:
        one Origin per target joint; empty if the skeleton is unknown.
    Raises:
        ValueError: for a mapping that lacks a joint or names one that the skeleton does not have.
    """
    if mapping is not None:
        return _mapped(joints, target, mapping)
    if set(target) <= set(joints):
        return {joint: _exact(joint) for joint in target}
    tables = [CONVERSIONS[name]] if name in CONVERSIONS else [*CONVERSIONS.values()]
    covered = (t for t in tables if {source for origin in t.values() for source in origin.weights} <= set(joints))
    return next(covered, None) or _by_names(joints)


def _mapped(joints: tuple[str, ...], target: tuple[str, ...], mapping: Mapping) -> dict[str, Origin]:
    lists = {joint: (names,) if isinstance(names, str) else tuple(names) for joint, names in mapping.items()}
    lacking = [joint for joint in target if not lists.get(joint)]
    unknown = [*(set(lists) - set(target)), *({name for names in lists.values() for name in names} - set(joints))]
    if lacking or unknown:
        raise ValueError(
            "mapping= gives each joint of h36m17 the name, or several names, of the skeleton; "
            + (f"it lacks {', '.join(lacking)}" if lacking else f"unknown: {', '.join(sorted(unknown))}")
            + f"; the skeleton has {', '.join(joints)}"
        )
    weights = {joint: dict.fromkeys(names, 1 / len(names)) for joint, names in lists.items()}
    return {joint: Origin(weights[joint], len(weights[joint]) > 1) for joint in target}


def _by_names(joints: tuple[str, ...]) -> dict[str, Origin]:
    """The origins by the usual names of motion files; empty if one is not found."""
    plain = {joint.rpartition(":")[2].casefold().replace("_", "").replace(" ", ""): joint for joint in reversed(joints)}
    found = {}
    for joint, names in _LIMB_NAMES.items():
        for side in ("left", "right"):
            at = next((n for n in (name.format(side=side, s=side[0]) for name in names) if n in plain), None)
            found[f"{side}_{joint}"] = at
    thorax, skull, crown = (
        next((name for name in names if name in plain), None) for names in (_THORAX_NAMES, _HEAD_NAMES, _CROWN_NAMES)
    )
    if None in found.values() or thorax is None or skull is None:
        return {}
    limbs = {joint: _exact(plain[at]) for joint, at in found.items()}
    hips, thorax, skull = (plain[found["left_hip"]], plain[found["right_hip"]]), plain[thorax], plain[skull]
    spine = next((s for s, needed in _SPINE_NAMES.items() if set(needed) <= set(plain)), None)
    return limbs | {
        "pelvis": _middle(*hips),
        "spine": Origin({hips[0]: 0.25, hips[1]: 0.25, thorax: 0.5} if spine is None else {plain[spine]: 1.0}, True),
        "thorax": _exact(thorax),
        "nose": Origin({skull: 1.0}, True),
        # without an end of the head, the crown is as far above the base of the skull as that is above the neck
        "head": _exact(plain[crown]) if crown else Origin({skull: 2.0, thorax: -1.0}, True),
    }


def describe(origin: Origin) -> str:
    """Where a joint comes from, in words.

    >>> describe(Origin({"left_hip": 0.5, "right_hip": 0.5}))
    'midpoint of left_hip and right_hip'
    """
    names = list(origin.weights)
    if len(names) == 1:
        text = names[0]
    elif len(set(origin.weights.values())) == 1 and len(names) == 2 and sum(origin.weights.values()) == 1:
        text = f"midpoint of {names[0]} and {names[1]}"
    elif len(set(origin.weights.values())) == 1:
        text = f"mean of {', '.join(names)}"
    else:
        text = " ".join(f"{value:+g} {name}" for name, value in origin.weights.items())
    return text + (", approximated" if origin.approximated else "")
