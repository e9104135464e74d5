"""Evaluation protocols: everything a number depends on that is not the model.

Each preset is one published evaluator with its quirks, and each quirk is a switch of `EvalProtocol`, explained in
`WHY`. To see what one changes in mm: `dataclasses.replace(PROTOCOLS["motionbert"], frames=EVERY_FRAME)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mocap3d.arguments import Positive, PositiveInt, check_arguments
from mocap3d.data.h36m.facts import EXCLUSIONS

# what may be done with the root (pelvis) before errors are computed
TARGET_ZEROED = "target root zeroed, prediction not re-centred"
TARGET_ADDED = "target root added to the prediction, prediction not re-centred"
ROOT_COPIED = "prediction's root set to the target's: error 0, counted among the joints"
BOTH_CENTRED = "both re-centred on their own root"
ROOTS = (TARGET_ZEROED, TARGET_ADDED, ROOT_COPIED, BOTH_CENTRED)

AVERAGING = {
    "frames": "one mean over all frames",
    "actions": "frame-weighted mean per action, then mean over actions",
    "sources": "frame-weighted mean per source, then mean over sources",
}

# which frames count
EVERY_FRAME = "every frame, clips padded by their edge frames"
CLIPS_RESAMPLED = "frames in whole pieces only, tails never; a video shorter than a piece counts by a random part"
CLIPS_WHOLE = "frames in whole pieces only, tails and videos shorter than a piece never"
FRAMES = (EVERY_FRAME, CLIPS_RESAMPLED, CLIPS_WHOLE)

# the space in which errors are computed
METRIC = "metres in the camera frame"
IMAGE_SPACE = "image space times factor (2.5D)"
SPACES = (METRIC, IMAGE_SPACE)

NO_FACTOR = "none"
CAMERA_FACTOR = "from the camera and the true depth of the root"
FILE_FACTOR = "given with the data"
ROOT_DEPTH = "predictions in image space, carried to metres with the camera and the true place of the root"

WHY = {
    TARGET_ZEROED: "VideoPose3D trains its root output towards 0 and judges it like any joint",
    TARGET_ADDED: "MMPose's metrics get absolute poses: the same MPJPE, but N-MPJPE then scales about the camera",
    ROOT_COPIED: "the network's root output is overwritten, so one of 17 joints is right for nothing",
    BOTH_CENTRED: "an error in the predicted root is forgiven, and moves all other joints",
    "frames": "long recordings weigh more",
    "actions": "each action weighs the same, however long it was filmed",
    "sources": "ours: sources differ in length by far more than in interest",
    EVERY_FRAME: "every frame has its own window, edge frames repeated beyond the ends",
    CLIPS_RESAMPLED: "MotionBERT sees pieces of 243 frames; what does not fill one is not judged, and a short video "
    "is stretched by repeating frames, each counted once (the last video of a set, if short, is lost)",
    CLIPS_WHOLE: "MMPose cuts the same pieces and drops what is shorter",
    "flip test on": "averaging with the mirrored input's answer cancels part of the error, at twice the work",
    "flip test off": "MMPose's and Martinez's evaluators lift each input once",
    IMAGE_SPACE: "MotionBERT answers in pixels; both sides times mm per pixel at the root's depth are mm, but a "
    "perspective picture of the pose, not the pose",
    CAMERA_FACTOR: "one camera cannot know its distance, so size comes from the ground truth",
    ROOT_DEPTH: "image space has no metres; so this model is given how far away and how large the person is, which "
    "models that predict metres have to guess. P-MPJPE and N-MPJPE forgive them that",
    FILE_FACTOR: "MotionBERT's data file brings its own factor and targets",
}


class ReportError(ValueError):
    """Reports or protocols that cannot be read, created or compared."""


@dataclass(frozen=True)
class EvalProtocol:
    """The rules behind a reported number; printed and stored with it.

    Args:
        name: of the protocol.
        root: what happens to the root before errors are computed; one of `ROOTS`.
        averaging: "frames", "actions" or "sources"; see `AVERAGING`.
        flip_test: whether each prediction is averaged with the un-mirrored prediction of the mirrored input.
        fps: frames per second of the clips.
        joints: the joints counted.
        unit: of the position errors.
        alignment: what is aligned before MPJPE; P-MPJPE and N-MPJPE always align each frame in their own way.
        frames: which frames count; one of `FRAMES`.
        pose2d: where the 2D came from; `evaluate` measures it and writes it here.
        subjects: those that count; () for all in the data, in which case `evaluate` writes them here.
        exclusions: recordings left out, e.g. "S9/Waiting 1" (for the reasons see `data.h36m.facts`).
        stride: every stride-th frame of a clip counts.
        piece: length of the chunks of the rules `CLIPS_RESAMPLED` and `CLIPS_WHOLE`, frames.
        space: in which errors are computed; one of `SPACES`.
        factor: mm per pixel of `IMAGE_SPACE`; `evaluate` writes here where it came from and, for a metric protocol,
            whether predictions needed the true root position (`ROOT_DEPTH`).
    """

    name: str
    root: str = TARGET_ZEROED
    averaging: str = "frames"
    flip_test: bool = False
    fps: Positive = 50.0
    joints: str = "all 17 of h36m17"
    unit: str = "mm"
    alignment: str = "none"
    frames: str = EVERY_FRAME
    pose2d: str = "not yet evaluated"
    subjects: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    stride: PositiveInt = 1
    piece: PositiveInt = 243
    space: str = METRIC
    factor: str = NO_FACTOR

    def __post_init__(self) -> None:
        check_arguments(EvalProtocol, vars(self), ReportError)
        for field, allowed in (("root", ROOTS), ("averaging", AVERAGING), ("frames", FRAMES), ("space", SPACES)):
            if getattr(self, field) not in allowed:
                raise ReportError(
                    f"EvalProtocol.{field} is {getattr(self, field)!r}; give one of: {'; '.join(allowed)}"
                )
        for field in ("subjects", "exclusions"):  # lists, when read from JSON
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if (self.space == METRIC) != (self.factor in (NO_FACTOR, ROOT_DEPTH)):
            raise ReportError(
                f"EvalProtocol: space {self.space!r} does not go with factor {self.factor!r}; "
                f"a factor belongs to {IMAGE_SPACE!r} and to nothing else"
            )

    def __str__(self) -> str:
        pieces = f" (pieces of {self.piece} frames)" if self.frames != EVERY_FRAME else ""
        stride = f", of them one in {self.stride}" if self.stride > 1 else ""
        space = f"; errors in {self.space}, factor {self.factor}" if self.space != METRIC else ""
        space = f"; {ROOT_DEPTH}" if self.factor == ROOT_DEPTH else space
        return (
            f"{self.name} protocol: {self.joints} joints in {self.unit} at {self.fps:g} fps; {self.root}; "
            f"{AVERAGING[self.averaging]}; flip test {'on' if self.flip_test else 'off'}; "
            f"alignment before MPJPE: {self.alignment}; {self.frames}{pieces}{stride}{space}; "
            f"subjects: {' '.join(self.subjects) or 'all in the data'}; "
            f"takes left out: {', '.join(self.exclusions) or 'none'}; 2D: {self.pose2d}"
        )

    @property
    def reasons(self) -> dict[str, str]:
        """Switch -> reason for its setting, for the switches that have one."""
        switches = {field: getattr(self, field) for field in ("root", "averaging", "frames", "space", "factor")}
        switches["flip_test"] = f"flip test {'on' if self.flip_test else 'off'}"
        reasons = {field: WHY[value] for field, value in switches.items() if value in WHY}
        for name, rule in EXCLUSIONS.items():
            if self.exclusions == exclusions(name):
                reasons["exclusions"] = rule.reason
        return reasons


def exclusions(name: str) -> tuple[str, ...]:
    """The recordings that one published system leaves out, named as in `Clip.take`."""
    return tuple(sorted(f"{subject}/{stem}" for subject, stem in EXCLUSIONS[name].takes))


PROTOCOLS = {
    # Pavllo et al. 2019
    "videopose3d": EvalProtocol(
        "videopose3d", TARGET_ZEROED, "actions", flip_test=True, exclusions=exclusions("videopose3d"),
    ),
    # MMPose 1.3.2, SimpleBaseline and VideoPose3D configurations; its "average MPJPE" is averaging="actions"
    "mmpose": EvalProtocol("mmpose", TARGET_ADDED, "frames"),
    # Zhu et al. 2023. The root output is zeroed before everything, so the later re-centring changes nothing
    "motionbert": EvalProtocol(
        "motionbert", ROOT_COPIED, "actions", flip_test=True, exclusions=exclusions("motionbert"),
        frames=CLIPS_RESAMPLED, space=IMAGE_SPACE, factor=CAMERA_FACTOR,
    ),
    # MMPose 1.3.2, MotionBERT configurations
    "mmpose-motionbert": EvalProtocol(
        "mmpose-motionbert", ROOT_COPIED, "frames", flip_test=True, exclusions=exclusions("mmpose-motionbert"),
        frames=CLIPS_WHOLE, space=IMAGE_SPACE, factor=CAMERA_FACTOR,
    ),
    # Martinez et al. 2017 as ported to PyTorch
    "simple-baseline": EvalProtocol("simple-baseline", ROOT_COPIED, "actions"),
    # ours
    "open-mocap": EvalProtocol("open-mocap", TARGET_ZEROED, "sources"),
}  # fmt: skip
