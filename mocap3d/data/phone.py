"""phone-v1: a fixed test set of people filmed by phones, with simulated COCO detections.

It uses the three test sources of open-mocap; each recording of two seconds or more is filmed by eight random cameras
(`cameras.PHONES`). No pose is stored: generator, seed and motion files determine every number, and `digest` shows if
two builds are the same. The detector's errors are simulated. Their rates are assumptions:

    noise     with misses and inverted arms or legs: the "cpn" model of detector.py, transferred to coco17
    edge      a joint outside the image, or detected outside it, is missing
    inverted  for 0.5 to 2 s all left and right joints are exchanged: 5 % of the frames
    ear       one ear is missing for the whole clip: 30 % of the clips
    limb      one knee, ankle, elbow or wrist is missing for 1 to 3 s: 20 % of the clips

All views of a recording show the same performance: differences between models are compared per recording, and with so
few performers they do not generalise to other people.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mocap3d.arguments import check_arguments
from mocap3d.camera import Camera, screen_to_pixels
from mocap3d.data.cameras import draw_cameras, film_tensor
from mocap3d.data.dataset import SIMULATED, DatasetError, PoseDataset
from mocap3d.data.detector import DetectorModel, detect_tensor, get_detector
from mocap3d.data.open_mocap import load_open_mocap
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError
from mocap3d.skeleton import COCO17, H36M17

VERSION, SEED = "phone-v1", 1  # raise the version when anything that affects a number changes
SOURCES = {
    "cmu-asfamc-02": "1 person",
    "cmu-cc-007": "1 person",
    "bandai-held-out": "up to 3 persons, unnamed, who perform other things in the training recordings",
}
VIEWS = 8
SHORTEST = 2.0  # seconds
INVERTED, EPISODE = 0.05, (0.5, 2.0)  # share of the frames; seconds
ONE_EAR = 0.3  # share of the clips
LIMB, GAP = 0.2, (1.0, 3.0)  # share of the clips; seconds
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")  # the first joints of coco17; the others are:
LIMBS = [name.replace("ankle", "foot") for name in COCO17.joints if name not in FACE]
# joints of h36m17 outside the limbs, as many as coco17 has in the face
TRUNK = ("pelvis", "spine", "thorax", "nose", "head")
HIDDEN = ("knee", "ankle", "elbow", "wrist")  # one of these, left or right, is missing temporarily


@dataclass(frozen=True, eq=False)
class PhoneClip:
    """One performer filmed by one phone: detections on coco17, truth on h36m17.

    Args:
        camera: calibrated; its name is the kind of lens and the number of the view, such as "tele-3".
        pose2d: (T, 17, 2) coco17, pixels; NaN where the detector finds nothing.
        pose3d: (T, 17, 3) h36m17, metres, in this camera's frame: the truth.
        true2d: (T, 17, 2) h36m17, pixels: the projected truth; NaN outside the image.
        inverted: (T,) bool: all left and right joints of `pose2d` are exchanged.
        take, action, source, performer, licence, subject, split: labels as in `Clip`.
    Raises:
        PoseError: if the parts differ in length.
    """

    camera: Camera
    pose2d: Pose2D
    pose3d: Pose3D
    true2d: Pose2D
    inverted: np.ndarray
    take: str
    action: str
    source: str
    performer: str = "unknown"
    licence: str = ""
    subject: str = "phone"
    split: str = "test"

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.pose2d, self.pose3d, self.true2d, self.inverted)]
        if len(set(lengths)) > 1:
            raise PoseError(
                f"clip {self.take!r}: pose2d, pose3d, true2d and inverted hold {lengths} frames; give as many of each"
            )

    def __len__(self) -> int:
        return len(self.pose2d)

    @property
    def lens(self) -> str:
        """The kind of lens: main, ultra-wide or tele."""
        return self.camera.name.rpartition("-")[0]

    @property
    def truncated(self) -> bool:
        """Whether a joint is outside the image in some frame."""
        return bool(np.isnan(self.true2d.points).any())


def load_phone_test(root: str | Path | None = None, cache: str | Path | None = None) -> PoseDataset:
    """Build phone-v1; `load_dataset("open-mocap", cameras="phone-v1")` does this.

    Args:
        root, cache: same as in `load_open_mocap`.
    Returns:
        PoseDataset of PhoneClips at 50 fps.
    Raises:
        DatasetError: if one of the three test sources is absent.
    """
    check_arguments(load_phone_test, locals())
    motion = load_open_mocap(root, cache=cache).test
    if absent := [source for source in SOURCES if source not in motion.sources]:
        raise DatasetError(
            f"{VERSION} is made from {', '.join(SOURCES)}, and {', '.join(absent)} is absent: "
            "run `python data_scripts/fetch_open_mocap.py`"
        )
    takes = {clip.take: clip for clip in reversed(motion.clips) if clip.pose3d.seconds >= SHORTEST}
    clips = [_film(clip, view) for clip in reversed(takes.values()) for view in range(VIEWS)]
    notes = [
        f"{source}: {persons}, {sum(clip.source == source for clip in clips)} clips of "
        f"{len({clip.take for clip in clips if clip.source == source})} recordings"
        for source, persons in SOURCES.items()
    ]
    return PoseDataset(VERSION, tuple(clips), (*notes, f"{SIMULATED} cpn detections on coco17, seed {SEED}"))


def _film(clip: Clip, view: int) -> PhoneClip:
    """Film one recording with one camera, which depends only on the recording's name and the number of the view."""
    seed = zlib.crc32(f"{VERSION}/{SEED}/{clip.take}/{view}".encode())
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    world = torch.from_numpy(clip.camera.camera_to_world(clip.pose3d.points.astype(np.float64)))
    same = torch.zeros(len(world), dtype=torch.int64)
    cameras = draw_cameras(world, same, generator=generator)
    camera = replace(cameras[0], name=f"{cameras[0].name}-{view}")
    size, fps = (camera.width, camera.height), clip.pose3d.fps

    truth, coco = film_tensor(world, same, cameras), film_tensor(coco_from_h36m(world), same, cameras)
    true2d, coco2d = (screen_to_pixels(filmed.points2d, *size).float() for filmed in (truth, coco))
    points, confidence = detect_coco(true2d, coco2d, fps=fps, generator=generator)
    points, confidence = points.numpy(), confidence.numpy()
    missing = ~coco.seen.numpy() | ((points < 0) | (points > size)).any(-1)  # (T, 17)
    inverted = _inverted(len(clip), fps, rng)
    for values in (points, confidence, missing):
        values[inverted] = values[inverted][:, COCO17.mirror]
    if rng.random() < ONE_EAR:
        missing[:, COCO17.index(f"{rng.choice(['left', 'right'])}_ear")] = True
    if rng.random() < LIMB:
        joint = COCO17.index(f"{rng.choice(['left', 'right'])}_{rng.choice(HIDDEN)}")
        missing[_frames(rng, GAP, fps, len(clip)), joint] = True
    points[missing] = np.nan
    true2d[~truth.seen] = torch.nan
    return PhoneClip(
        camera=camera,
        pose2d=Pose2D(points, confidence, COCO17, fps, size),
        pose3d=Pose3D(truth.pose3d.numpy(), fps=fps, frame="camera"),
        true2d=Pose2D(true2d.numpy(), fps=fps, image_size=size),
        inverted=inverted,
        take=clip.take,
        action=clip.action,
        source=clip.source,
        performer=clip.performer,
        licence=clip.licence,
    )


def _inverted(length: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """(T,) bool: episodes at random positions, with the given share of frames on average."""
    inverted = np.zeros(length, dtype=bool)
    for _ in range(rng.poisson(INVERTED * length / (np.mean(EPISODE) * fps))):
        inverted[_frames(rng, EPISODE, fps, length)] = True
    return inverted


def _frames(rng: np.random.Generator, seconds: tuple[float, float], fps: float, length: int) -> slice:
    """A chunk of a clip, with random length and position."""
    count = min(round(rng.uniform(*seconds) * fps), length)
    first = int(rng.integers(length - count + 1))
    return slice(first, first + count)


def coco_from_h36m(points: Tensor) -> Tensor:
    """Estimate the joints of coco17 from h36m17: limbs unchanged, and a face that points ahead.

    Args:
        points: (..., 17, 3) h36m17, metres, any right-handed frame.
    Returns:
        (..., 17, 3) coco17. The face is placed relative to the top of the head, the thorax and the shoulders, with
        adult proportions; it does not rotate relative to the shoulders.
    Source: own.
    """
    joint = lambda name: points[..., H36M17.index(name), :]  # noqa: E731
    unit = lambda vector: torch.nn.functional.normalize(vector, dim=-1)  # noqa: E731
    left = unit(joint("left_shoulder") - joint("right_shoulder"))
    up = unit(joint("head") - joint("thorax"))
    front = torch.linalg.cross(left, up)
    ears = joint("head") - 0.12 * up
    face = {
        "nose": ears + 0.10 * front - 0.02 * up,
        "left_eye": ears + 0.08 * front + 0.03 * left,
        "right_eye": ears + 0.08 * front - 0.03 * left,
        "left_ear": ears + 0.075 * left,
        "right_ear": ears - 0.075 * left,
    }
    return torch.stack([*(face[name] for name in FACE), *(joint(name) for name in LIMBS)], -2)


def detect_coco(
    h36m: Tensor,
    coco: Tensor,
    clips: Tensor | None = None,
    fps: float = 50.0,
    detector: str | DetectorModel = "cpn",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Simulate detections on coco17 with `detect_tensor`, whose detectors support only h36m17.

    Limb joints get the noise, misses and inversions of the same joints of h36m17. Face joints each get those of
    one of h36m17's five other joints, all of which are made as easy to detect as the nose.

    Args:
        h36m, coco: (N, 17, 2) true 2D on the two skeletons, pixels or screen units.
        clips, fps, generator: same as in `detect_tensor`.
        detector: "cpn", "sh" or a DetectorModel.
    Returns:
        noisy (N, 17, 2) coco17, confidence (N, 17).
    Raises:
        ValueError: for an unknown detector, and same as in `detect_tensor`.
    """
    noisy, confidence = detect_tensor(h36m, clips, fps, _with_face(get_detector(detector)), generator)
    trunk, limbs = H36M17.indices(TRUNK), H36M17.indices(LIMBS)
    face = coco[:, COCO17.indices(FACE)] + noisy[:, trunk] - h36m[:, trunk]
    return torch.cat([face, noisy[:, limbs]], 1), confidence[:, trunk + limbs]


def _with_face(model: DetectorModel) -> DetectorModel:
    """The detector with every joint of the trunk as easy to detect as the nose; errors of limbs are unchanged."""
    easy = {joint: model.difficulty["nose"] for joint in TRUNK}
    rare = {joint: model.outliers["nose"] for joint in TRUNK}
    changed = replace(model, difficulty={**model.difficulty, **easy}, outliers={**model.outliers, **rare})
    limb = H36M17.index("left_knee")
    scale = float(model.joint_errors()[limb] / changed.joint_errors()[limb])
    return replace(
        changed,
        name=f"{model.name}-coco",
        pixel_error=scale * model.pixel_error,
        acceleration_error=scale * model.acceleration_error,
    )


def digest(clips: Iterable[PhoneClip]) -> dict[str, str]:
    """Hashes to check whether two builds of the test set are the same.

    Returns:
        "truth": of 3D (rounded to 1e-5 m), image sizes, and which joints are missing or inverted. Equal on processors
        with AVX2 and AVX-512; older ones round the float32 motion differently, by up to 2e-6 m.
        "detections": of 2D (rounded to 1e-3 px). The detector's noise is float32 and differs by about 1e-3 px between
        kinds of processors, and perhaps versions of torch.
        Among millions of numbers some are then rounded differently: a different hash elsewhere proves nothing.
    """
    truth, detections = hashlib.sha256(), hashlib.sha256()
    for clip in clips:
        points, missing = clip.pose2d.points.astype(np.float64), np.isnan(clip.pose2d.points)
        truth.update(f"{clip.take} {clip.camera.name} {clip.pose2d.image_size}".encode())
        truth.update(np.rint(clip.pose3d.points.astype(np.float64) / 1e-5).astype("<i4").tobytes())
        truth.update(np.packbits(missing).tobytes() + np.packbits(clip.inverted).tobytes())
        detections.update(np.rint(np.where(missing, 0, points) / 1e-3).astype("<i4").tobytes())
    return {"truth": truth.hexdigest(), "detections": detections.hexdigest()}
