"""Human3.6M's names and numbers in one place: subjects, actions and their aliases, joints, published exclusions.

A recording is named "S9/Greeting 1": subject, and the data set's file stem with VideoPose3D's action names, for every
layout. Stems are irregular ("Eating" and "Eating 2", "Phoning 2" and "Phoning 3"): they are read from files, never
constructed.

Source: Ionescu et al. 2014; the published code of 3d-pose-baseline, VideoPose3D, MotionBERT and MMPose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mocap3d.camera import h36m_subjects
from mocap3d.data.dataset import DatasetError
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17, H36M32

FPS = 50.0
SUBJECTS = h36m_subjects()  # those with published 3D positions; S2, S3 and S4 have video only
TEST_SUBJECTS = ("S9", "S11")
CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # in the order of every layout
LICENCE = "Human3.6M licence: academic research only, not to be passed on; http://vision.imar.ro/human3.6m"
KEPT_JOINTS = tuple(H36M32.indices(H36M17.joints))  # the 17 of the 32 recorded joints that every lifter uses

# by the number in metadata.xml (1 is "_ALL") and in MotionBERT's "act_05"
ACTIONS = {
    2: "Directions", 3: "Discussion", 4: "Eating", 5: "Greeting", 6: "Phoning", 7: "Posing", 8: "Purchases",
    9: "Sitting", 10: "SittingDown", 11: "Smoking", 12: "Photo", 13: "Waiting", 14: "Walking", 15: "WalkDog",
    16: "WalkTogether",
}  # fmt: skip
# S1's files and metadata.xml use one name, the other subjects' files and most tables the other
ALIASES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog", "WalkingTogether": "WalkTogether"}


class H36MError(DatasetError):
    """Human3.6M files that are absent, incomplete, damaged, or do not match their layout."""


def canonical_stem(stem: str) -> str:
    """ "TakingPhoto 1" or "TakingPhoto_1" -> "Photo 1"; in other stems, only the spaces are restored."""
    action, space, rest = stem.replace("_", " ").partition(" ")
    return ALIASES.get(action, action) + space + rest


def action_of(stem: str) -> str:
    """The action of a stem: the part before the first space, under its usual name."""
    return canonical_stem(stem).partition(" ")[0]


def split_of(subject: str) -> str:
    """ "test" for S9 and S11, else "train"."""
    return "test" if subject in TEST_SUBJECTS else "train"


@dataclass(frozen=True)
class Exclusion:
    """Recordings that one system leaves out: (subject, stem) pairs, and the reason."""

    takes: frozenset[tuple[str, str]]
    reason: str

    def hits(self, clip: Clip) -> bool:
        subject, _, stem = clip.take.partition("/")
        return (subject, stem) in self.takes


EXCLUSIONS = {
    "videopose3d": Exclusion(
        frozenset({("S11", "Directions")}),
        "every converter of VideoPose3D drops S11 Directions, so its data files lack it; MMPose keeps it",
    ),
    "motionbert": Exclusion(
        frozenset({("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1")}),
        "MotionBERT's evaluator skips s_09_act_05_subact_02, s_09_act_10_subact_02 and s_09_act_13_subact_01",
    ),
    "mmpose-motionbert": Exclusion(
        frozenset(("S9", stem) for stem in ("Greet", "SittingDown", "Wait 1", "Greeting", "Waiting 1")),
        "MMPose's MotionBERT evaluator skips five names; two exist nowhere, and its SittingDown is the other take "
        "than MotionBERT's",
    ),
}


def exclude(clips: Iterable[Clip], names: Sequence[str]) -> tuple[list[Clip], list[str]]:
    """Leave out the recordings of the named exclusions.

    Args:
        clips: of any layout.
        names: keys of `EXCLUSIONS`.
    Returns:
        the remaining clips, and a sentence for each exclusion: what it left out, and why it exists.
    Raises:
        H36MError: for an unknown name.
    """
    clips, notes = list(clips), []
    for name in [names] if isinstance(names, str) else names:
        if name not in EXCLUSIONS:
            raise H36MError(f"no exclusion {name!r}; there are: {', '.join(EXCLUSIONS)}")
        rule = EXCLUSIONS[name]
        hit = list(dict.fromkeys(clip.take for clip in clips if rule.hits(clip)))
        clips = [clip for clip in clips if not rule.hits(clip)]
        notes.append(f"exclusion {name!r} left out {', '.join(hit) or 'nothing'}: {rule.reason}")
    return clips, notes
