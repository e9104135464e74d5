"""Training motion filmed anew: random cameras, bodies and detections for whole data sets, on their device.

Networks that train on a few cameras learn these cameras. Here, each recording is filmed once by a new camera of
`cameras.PHONES`, by request with another body and other limbs (`bodies`), and detected anew: everything is determined
by (seed, number), so a run can be resumed and any of its batches made again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mocap3d.data.bodies import vary_bodies
from mocap3d.data.cameras import CameraBatch, clip_starts, draw_cameras, film_tensor, world_motion
from mocap3d.data.detector import detect_tensor
from mocap3d.data.failures import detect_with_failures
from mocap3d.data.phone import coco_from_h36m
from mocap3d.data.windows import DeviceDataset, described
from mocap3d.missing import fill_missing
from mocap3d.normalise import assumed_intrinsics
from mocap3d.poses import Clip
from mocap3d.skeleton import COCO17, convert, convert_confidence

COCO = 0.5  # share of the clips whose joints are converted from coco17, with failures; the others are h36m17
CALIBRATED = 0.5  # share of the clips whose intrinsics are known; the others get `assumed_intrinsics`
NO_SCORES = 0.3  # share of the clips from detectors without scores: 1 for every joint that is reported
SCORES = (0.3, 2.0)  # the others' confidence is raised to a power: scores of detectors are no probabilities


@dataclass(frozen=True, eq=False)
class Motion:
    """Recordings in the world frame, for `film_anew`.

    Args:
        points: (N, 17, 3) metres, all recordings concatenated.
        clip: (N,) int64, which recording a frame belongs to.
        clips: the clip each recording was taken from, for its labels.
        name: of the data set.
    """

    points: Tensor
    clip: Tensor
    clips: tuple[Clip, ...]
    name: str


def motion_on_device(clips: Iterable[Clip], device: torch.device | str = "cpu") -> Motion:
    """The motion of a data set's clips, every recording once; raises ValueError as `world_motion` does."""
    name, clips, _ = described(clips)
    return Motion(*world_motion(clips, device), name)


@torch.no_grad()
def film_anew(
    motion: Motion, detector: str | None = None, bodies: bool = False, seed: int = 0, number: int = 1
) -> DeviceDataset:
    """Film every recording with a new camera.

    Args:
        motion: from `motion_on_device`.
        detector: None: true 2D, also beyond the edges of the image. "cpn" or "sh": simulated detections. "coco": as
            "cpn", but in half of the clips they are detected on coco17 by a detector that fails as real ones do
            (`failures`), filled (`fill_missing`) and converted to h36m17, as `lift` does.
        bodies: vary bodies and limbs.
        seed, number: decide everything that is drawn.
    Returns:
        DeviceDataset with `intrinsics`: with a detector, those of half of the cameras are assumed, not known. A frame
        without any joint has 2D of 0 and a pose of NaN, so that losses ignore it.
    Source: own.
    """
    generator = torch.Generator(motion.points.device).manual_seed(1_000_003 * seed + number)
    points, clip = motion.points, motion.clip
    if bodies:
        points = vary_bodies(points, clip, generator=generator)
    cameras = draw_cameras(points, clip, generator=generator)
    filmed = film_tensor(points, clip, cameras)
    points2d, confidence, pose3d = filmed.points2d, torch.ones_like(filmed.points2d[..., 0]), filmed.pose3d
    uniform = torch.rand(4, len(cameras), generator=generator, device=points.device)
    intrinsics = _intrinsics(cameras, uniform[0] < (CALIBRATED if detector else 1))
    fps = motion.clips[0].pose3d.fps
    if detector == "coco":
        points2d, confidence = _detected(filmed.points2d, points, clip, cameras, uniform[1] < COCO, fps, generator)
    elif detector:
        points2d, confidence = detect_tensor(points2d, clip, fps, detector, generator)
    if detector:
        power = torch.where(uniform[2] < NO_SCORES, 0, SCORES[0] + (SCORES[1] - SCORES[0]) * uniform[3])
        confidence = torch.where(confidence > 0, confidence ** power[clip, None], 0)
    known = points2d.isfinite().all(-1).all(-1)
    start = clip_starts(points, clip)
    return DeviceDataset(
        points2d=torch.where(known[:, None, None], points2d, 0),
        confidence=torch.where(known[:, None], confidence, 0),
        pose3d=torch.where(known[:, None, None], pose3d, torch.nan),
        clip=clip,
        start=start,
        stop=torch.cat([start[1:], start.new_tensor([len(clip)])]),
        clips=motion.clips,
        name=motion.name,
        intrinsics=intrinsics,
    )


def _intrinsics(cameras: CameraBatch, known: Tensor) -> Tensor:
    """(K, 4) screen units: of the cameras, or assumed where not known (K,)."""
    width = cameras.size[:, :1]
    focal, centre = 2 * cameras.focal[:, None] / width, (2 * cameras.centre - cameras.size) / width
    true = torch.cat([focal, focal, centre], 1)
    assumed = [assumed_intrinsics(*size) for size in cameras.size.tolist()]
    return torch.where(known[:, None], true, true.new_tensor(assumed))


def _detected(
    h36m: Tensor, world: Tensor, clip: Tensor, cameras: CameraBatch, coco: Tensor, fps: float, generator
) -> tuple[Tensor, Tensor]:
    """Detections on h36m17, and on coco17 in the clips `coco` (K,), converted: (N, 17, 2), (N, 17)."""
    points, confidence = torch.empty_like(h36m), torch.empty_like(h36m[..., 0])
    rows = (~coco[clip]).nonzero()[:, 0]
    if len(rows):
        points[rows], confidence[rows] = detect_tensor(h36m[rows], clip[rows], fps, "cpn", generator)
    rows = coco[clip].nonzero()[:, 0]
    if len(rows):
        some = clip[rows]
        seen = film_tensor(coco_from_h36m(world[rows]), some, cameras)
        label = coco.cumsum(0)[some] - 1  # clips counted from 0 without gaps
        found = detect_with_failures(
            h36m[rows], seen.points2d, label, cameras.size[coco], seen.seen, fps, generator=generator
        )
        filled = fill_missing(found.points, COCO17, fps, clip=label)
        points[rows] = convert(filled, COCO17)
        confidence[rows] = convert_confidence(found.confidence, COCO17)
    return points, confidence
