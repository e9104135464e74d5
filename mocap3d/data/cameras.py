"""Random cameras: a person filmed by a phone from any direction, for many clips at once.

`PHONES` defines the distribution; training and the fixed test set (phone.py) both draw from it:

    motion, clip, _ = world_motion(dataset.train)  # every recording once, (N, 17, 3) in the world
    cameras = draw_cameras(motion, clip, generator=generator)  # one per clip, aimed at its motion
    filmed = film_tensor(motion, clip, cameras)  # 3D in camera frames, 2D in screen units, visibility

`random_camera` draws one for a single pose. Each figure has its source, or is marked as an assumption.

Lenses are those of the 99 iPhones and iPads calibrated by OpenCap (Uhlrich et al. 2023; stanfordnmbl/opencap-core,
folder CameraIntrinsics, "Deployed"; OpenCV's model). Their k1, k2 and k3 largely cancel: neighbours correlate by -0.90
and -0.97, so they are drawn together. Together they move the corners of the image outwards, quartiles 1.4, 2.1 and
3.9 %; without k3 they would move them inwards by 4 to 9 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mocap3d.camera import Camera, quaternion_from_matrix
from mocap3d.poses import Clip, Pose3D

PART = 2**14  # frames processed at a time: fits the cache
STRIDE = 10  # frames between those used to aim a camera
ROUNDS = 4  # of aiming; with perspective, each correction is slightly off
REACH = 1.1  # relative to the corner's radius: lenses are monotonic up to there, and their factor is constant beyond
LEAST_SLOPE = 0.2  # of the distorted over the ideal radius, up to there
NEAREST = 0.1  # metres: depth below which a joint is not in the image
MOST_TRUNCATED = 0.4  # share of a motion's extent in the image that may lie beyond an edge
CLEARANCE = 1.0  # metres between the camera and the floor area of the motion


@dataclass(frozen=True)
class Lens:
    """One kind of lens. Values are drawn uniformly from ranges.

    Args:
        name: for tables.
        share: of the cameras.
        fov: degrees, along the longer side of the image: 2 atan(side / 2 focal), without distortion.
        distance: metres from the camera to the middle of the motion. The lower bound is raised where the motion would
            not fit into the image.
        distortion: mean (k1, k2, k3) of OpenCV's model, with radii in units of the corner's.
        spread: three such vectors, each added with a normal factor truncated at 2 standard deviations.
    """

    name: str
    share: float
    fov: tuple[float, float]
    distance: tuple[float, float]
    distortion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),) * 3


@dataclass(frozen=True)
class CameraMixture:
    """A distribution of cameras. Values are drawn uniformly from ranges; any azimuth is possible.

    Args:
        lenses: their shares add up to 1.
        images: (width, height, share), pixels; the shares add up to 1.
        height: metres above the floor (world z = 0).
        roll: degrees, usual and largest, to either side; the other cameras have a roll between the two.
        level: share of the cameras within the usual roll.
        centre: standard deviation of the principal point from the middle of the image, in longer sides.
        margin: share of the image kept free along each edge, except in truncated clips.
        truncated: share of the clips in which part of the motion lies beyond an edge of the image.
        edges: right, left, bottom, top: share of the truncated clips, and range of metres beyond it.
    """

    lenses: tuple[Lens, ...]
    images: tuple[tuple[int, int, float], ...]
    height: tuple[float, float] = (0.5, 2.6)  # assumption: from a bag on the ground up to a raised arm
    roll: tuple[float, float] = (5.0, 30.0)  # assumption
    level: float = 0.9  # assumption
    centre: float = 0.005  # OpenCap: 0.004 across and 0.006 along
    margin: float = 0.03  # assumption
    truncated: float = 0.3  # assumption
    edges: tuple[tuple[float, float, float], ...] = (  # assumption
        (0.2, 0.05, 0.3),
        (0.2, 0.05, 0.3),
        (0.5, 0.2, 1.0),
        (0.1, 0.1, 0.4),
    )


PHONES = CameraMixture(
    lenses=(
        # OpenCap: 57.8 to 73.8 degrees, quartiles 65.0, 65.3, 69.0; mean and Cholesky factor of its (k1, k2, k3).
        # Shares and distances of all three: assumptions
        Lens("main", 0.75, (58.0, 74.0), (2.0, 8.0), (0.086, -0.155, 0.094),
             ((0.030, -0.092, 0.080), (0.0, 0.036, -0.052), (0.0, 0.0, 0.011))),
        # assumption: phones correct most of the barrel distortion; the rest moves the corners by -12 to +4 %
        Lens("ultra-wide", 0.10, (95.0, 120.0), (2.0, 8.0), (-0.04, 0.0, 0.0),
             ((0.04, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))),
        # assumption: corners moved by up to 1.6 %
        Lens("tele", 0.15, (15.0, 40.0), (2.0, 20.0), (0.0, 0.0, 0.0),
             ((0.008, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))),
    ),
    # assumption
    images=((1920, 1080, 0.4), (1080, 1920, 0.4), (1080, 1080, 0.1), (1440, 1080, 0.05), (1080, 1440, 0.05)),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class CameraBatch:
    """K cameras, one per clip, as tensors on one device.

    Args:
        size: (K, 2) width and height, pixels.
        focal: (K,) pixels.
        centre: (K, 2) principal point, pixels.
        distortion: (K, 3) k1, k2, k3 of OpenCV's model.
        reach: (K,) ideal radius at depth 1 up to which the lens model is valid; the image lies within.
        axes: (K, 3, 3) rows: the camera's right, down and forward, in world axes; determinant +1.
        position: (K, 3) world metres.
        lens: (K,) int64, index into the mixture's lenses.
        names: of the lenses.
    """

    size: Tensor
    focal: Tensor
    centre: Tensor
    distortion: Tensor
    reach: Tensor
    axes: Tensor
    position: Tensor
    lens: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.focal)

    def __getitem__(self, index: int) -> Camera:
        """One camera as a Camera. Outside its image, `project` differs: there it uses the plain polynomial."""
        width, height = (int(side) for side in self.size[index].tolist())
        focal = float(self.focal[index])
        return Camera(
            (focal, focal),
            tuple(self.centre[index].tolist()),
            width,
            height,
            distortion=(*self.distortion[index].tolist(), 0.0, 0.0),
            distortion_model="opencv",
            rotation=tuple(quaternion_from_matrix(self.axes[index].double().cpu().numpy().T)),
            translation=tuple(self.position[index].tolist()),
            name=self.names[int(self.lens[index])],
        )


@dataclass(frozen=True, eq=False)
class Filmed:
    """N frames as filmed by cameras.

    Args:
        pose3d: (N, J, 3) metres, each frame in the camera frame of its clip.
        points2d: (N, J, 2) screen units, with distortion. Joints outside the image have finite positions outside it.
        seen: (N, J) bool: in front of the camera and inside the image. False where the pose is missing (NaN).
    """

    pose3d: Tensor
    points2d: Tensor
    seen: Tensor


@torch.no_grad()
def film_tensor(points: Tensor, clip: Tensor, cameras: CameraBatch) -> Filmed:
    """Film the frames of many clips at once, on their device.

    Args:
        points: (N, J, 3) metres, world frame; NaN where missing.
        clip: (N,) int64, index of the camera that films a frame.
        cameras: one per clip.
    Returns:
        Filmed. Where a joint is seen, its 2D is `Camera.project` of the same camera in screen units.
    """
    pose, points2d = torch.empty_like(points), torch.empty_like(points[..., :2])
    seen = torch.empty_like(points[..., 0], dtype=torch.bool)
    to_camera = cameras.axes.mT.contiguous()  # (K, 3, 3)
    offset = -(cameras.position[:, None] @ to_camera)  # (K, 1, 3)
    edge = _edge(cameras)
    scale, shift = 2 * cameras.focal / cameras.size[:, 0], 2 * cameras.centre / cameras.size[:, :1] - edge
    lens = torch.column_stack([cameras.distortion, cameras.reach**2, scale, shift, edge[:, 1]])  # (K, 8)
    for first in range(0, len(points), PART):
        rows = slice(first, first + PART)
        at = clip[rows]
        torch.baddbmm(offset[at], points[rows], to_camera[at], out=pose[rows])  # (n, J, 3)
        k1, k2, k3, reach2, focal, right, down, bottom = lens[at].T[:, :, None]  # each (n, 1)
        x, y, depth = pose[rows].unbind(-1)  # (n, J)
        near = depth.clamp_min(NEAREST)
        x, y = x / near, y / near
        r2 = torch.minimum(x * x + y * y, reach2)  # beyond that, polynomials fold back into the image
        factor = focal * (1 + r2 * (k1 + r2 * (k2 + r2 * k3)))
        x, y = x * factor + right, y * factor + down
        torch.stack([x, y], -1, out=points2d[rows])
        seen[rows] = (x.abs() <= 1) & (y.abs() <= bottom) & (depth > NEAREST)
    return Filmed(pose, points2d, seen)


def _edge(cameras: CameraBatch) -> Tensor:
    """(K, 2) corner of the image in screen units: 1, height / width."""
    return cameras.size / cameras.size[:, :1]


@torch.no_grad()
def draw_cameras(
    points: Tensor, clip: Tensor, mixture: CameraMixture = PHONES, generator: torch.Generator | None = None
) -> CameraBatch:
    """One random camera per clip, aimed so that the motion is in the image, or truncated as the mixture defines.

    Where the motion would not fit, the camera is moved away, as far as the lens's range allows; then the field of
    view is widened, again within the lens's range. Motion that still does not fit leaves the image.

    Args:
        points: (N, J, 3) metres, world frame, floor at z = 0, all clips concatenated; NaN where missing.
        clip: (N,) int64, ascending from 0 without gaps: which clip a frame belongs to.
        mixture: the distribution to draw from.
        generator: on any device; the same state gives the same cameras. None draws from torch's own.
    Returns:
        CameraBatch on the device and in the precision of points.
    Raises:
        ValueError: for wrong shapes or labels, or a clip without a single joint.
    Source: own.
    """
    start = clip_starts(points, clip)
    few = (torch.arange(len(clip), device=clip.device) - start[clip]) % STRIDE == 0
    points, clip = points[few], clip[few]
    low, high = _boxes(points, clip, len(start))  # (K, 3) metres
    if not torch.isfinite(low).all():
        empty = int((~torch.isfinite(low)).any(1).nonzero()[0, 0])
        raise ValueError(f"clip {empty} holds no joint to aim a camera at; leave it out")
    drawn = _draw(len(start), mixture, generator, points)
    return _aim(drawn, points, clip, low, high, mixture)


def clip_starts(points: Tensor, clip: Tensor, dimensions: int = 3) -> Tensor:
    """(K,) int64: the first frame of each clip; checks the arguments, which are the same as in `draw_cameras`."""
    if points.ndim != 3 or points.shape[-1] != dimensions or len(points) == 0 or not points.is_floating_point():
        raise ValueError(
            f"points have shape {tuple(points.shape)} and dtype {points.dtype}; give floating-point "
            f"(frames, joints, {dimensions}), frames > 0"
        )
    if clip.shape != points.shape[:1] or clip.dtype != torch.int64:
        raise ValueError(f"clip has shape {tuple(clip.shape)} and dtype {clip.dtype}; give one int64 label per frame")
    step = clip.diff(prepend=clip.new_tensor([-1]))
    if not ((step == 0) | (step == 1)).all() or clip[0] != 0:
        raise ValueError("clip must ascend from 0 without gaps, each clip's frames together")
    return step.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """K random draws, before the cameras are aimed: pixels, metres, radians."""

    lens: Tensor
    names: tuple[str, ...]
    size: Tensor  # (K, 2)
    focal: Tensor
    shortest_focal: Tensor
    distance: Tensor
    farthest: Tensor
    bend: Tensor  # (K, 3) distortion, radii in units of the corner's
    centre: Tensor  # (K, 2)
    height: Tensor
    azimuth: Tensor  # from the motion to the camera, counterclockwise from world x
    roll: Tensor
    beyond: Tensor  # (K, 2) metres of the motion beyond the right and bottom edge (negative: left, top)
    place: Tensor  # (K, 2) in [-1, 1]: position within the free space

    def cameras(self, middle: Tensor, away: Tensor, focal: Tensor, yaw: Tensor, pitch: Tensor) -> CameraBatch:
        """Cameras at level distance `away` from the middle of the motions, facing yaw and pitch (downwards)."""
        level = middle[:, :2] + away[:, None] * torch.stack([self.azimuth.cos(), self.azimuth.sin()], 1)
        position, axes = torch.column_stack([level, self.height]), _axes(yaw, pitch, self.roll)
        corner = torch.hypot(*(self.size / 2 + (self.centre - self.size / 2).abs()).T) / focal  # the farthest
        lens = _monotonic(self.bend, corner)
        return CameraBatch(self.size, focal, self.centre, *lens, axes, position, self.lens, self.names)


def _draw(count: int, mixture: CameraMixture, generator: torch.Generator | None, like: Tensor) -> _Drawn:
    device = like.device if generator is None else generator.device
    uniform = iter(torch.rand(13, count, generator=generator, device=device).to(like))
    normal = torch.randn(count, 5, generator=generator, device=device).to(like).clamp(-2, 2)
    table = like.new_tensor

    def between(bounds: Tensor) -> Tensor:
        return bounds[..., 0] + next(uniform) * (bounds[..., 1] - bounds[..., 0])

    def pick(shares: list[float]) -> Tensor:
        return torch.bucketize(next(uniform), table(shares).cumsum(0)[:-1], right=True)

    lens = pick([lens.share for lens in mixture.lenses])  # (K,)
    fov, distances, mean, spread = (
        table([getattr(lens, field) for lens in mixture.lenses])[lens]
        for field in ("fov", "distance", "distortion", "spread")
    )
    size = table([image[:2] for image in mixture.images])[pick([share for *_, share in mixture.images])]
    longer = size.amax(1)
    usual, largest = mixture.roll
    tilt = between(table([-1.0, 1.0]))
    steep = tilt.sign() * usual + tilt * (largest - usual)
    edge = pick([share for share, *_ in mixture.edges])
    metres = between(table([bounds for _, *bounds in mixture.edges])[edge])
    beyond = metres * (next(uniform) < mixture.truncated)
    return _Drawn(
        lens=lens,
        names=tuple(lens.name for lens in mixture.lenses),
        size=size,
        focal=_focal(longer, between(fov)),
        shortest_focal=_focal(longer, fov[:, 1]),
        distance=between(distances),
        farthest=distances[:, 1],
        bend=mean + (normal[:, :3, None] * spread).sum(1),
        centre=size / 2 + mixture.centre * longer[:, None] * normal[:, 3:],
        height=between(table(mixture.height)),
        azimuth=between(table([0.0, 2 * math.pi])),
        roll=torch.where(next(uniform) < mixture.level, tilt * usual, steep).deg2rad(),
        beyond=beyond[:, None] * table([[1, 0], [-1, 0], [0, 1], [0, -1]])[edge],
        place=torch.stack([between(table([-1.0, 1.0])), between(table([-1.0, 1.0]))], 1),
    )


def _aim(drawn: _Drawn, points: Tensor, clip: Tensor, low: Tensor, high: Tensor, mixture: CameraMixture) -> CameraBatch:
    """Aim iteratively: project, then move back and rotate until the motion is at its drawn position."""
    middle, radius = (low + high) / 2, (high - low)[:, :2].norm(dim=1) / 2
    rise = drawn.height - middle[:, 2]
    nearest = radius + CLEARANCE
    farthest = _level(drawn.farthest, rise).maximum(nearest)
    away, focal = _level(drawn.distance, rise).maximum(nearest), drawn.focal
    yaw, pitch = drawn.azimuth + math.pi, torch.atan2(rise, away)
    for _ in range(ROUNDS):
        cameras = drawn.cameras(middle, away, focal, yaw, pitch)
        edge = _edge(cameras)  # (K, 2)
        left_top, right_bottom = _boxes(film_tensor(points, clip, cameras).points2d, clip, len(low))
        # (K, 2) middle and half the extent of the motion, in half images
        now, half = (left_top + right_bottom) / 2 / edge, (right_bottom - left_top) / 2 / edge
        beyond = drawn.beyond * (2 * focal / torch.hypot(away, rise))[:, None] / drawn.size
        most = 2 * MOST_TRUNCATED * half
        beyond = beyond.minimum(most).maximum(-most)
        room = 1 - 2 * mixture.margin
        back = (half / (room + beyond.abs() / 2)).amax(1).clamp_min(1)
        farther = (away * back).minimum(farthest).maximum(away)  # beyond this distance, widen the lens instead
        focal = (focal * farther / (away * back)).maximum(drawn.shortest_focal).minimum(focal)
        away = farther
        wanted = torch.where(beyond != 0, beyond.sign() * (1 - half) + beyond, drawn.place * (room - half).clamp_min(0))
        pixels = drawn.size / 2 / focal[:, None]  # from half images to directions at depth 1
        yaw, pitch = _turn(yaw, pitch, *(_level_image(at * pixels, drawn.roll) for at in (now, wanted)))
    return drawn.cameras(middle, away, focal, yaw, pitch)


def _focal(side: Tensor, fov: Tensor) -> Tensor:
    return side / 2 / torch.tan(fov.deg2rad() / 2)


def _level(distance: Tensor, rise: Tensor) -> Tensor:
    """Horizontal distance."""
    return (distance**2 - rise**2).clamp_min(0).sqrt()


def _boxes(points: Tensor, clip: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest coordinates of each clip, both (K, C); infinite where all joints are missing."""
    index = clip[:, None].expand(-1, points.shape[-1])
    low, high = points.nan_to_num(nan=math.inf).amin(1), points.nan_to_num(nan=-math.inf).amax(1)  # (N, C)
    empty = points.new_full((count, points.shape[-1]), math.inf)
    return empty.scatter_reduce(0, index, low, "amin"), (-empty).scatter_reduce(0, index, high, "amax")


def _monotonic(bend: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """Distortion (K, 3), radii in corners -> k1, k2, k3, weakened where not monotonic; and the reach (K,)."""
    r2 = torch.linspace(0, REACH, 23, dtype=bend.dtype, device=bend.device)[1:, None] ** 2  # (22, 1)
    powers = torch.cat([r2, r2**2, r2**3], 1)  # (22, 3)
    slope = bend @ (powers * bend.new_tensor([3.0, 5.0, 7.0])).T  # (K, 22) of the distorted radius, less 1
    least = (1 - LEAST_SLOPE) / (-slope).amax(1).clamp_min(1e-9)
    within = (1 - 1 / REACH) / (-bend @ powers[-1]).clamp_min(1e-9)  # the corner stays within reach
    least = least.minimum(within)
    weakened = bend * least.clamp_max(1)[:, None]
    return weakened / corner[:, None] ** bend.new_tensor([2.0, 4.0, 6.0]), REACH * corner


def _axes(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(K, 3, 3) right, down and forward of cameras that face yaw and pitch (downwards), then rotated by roll."""
    (sy, sp, sr), (cy, cp, cr) = ((f(yaw), f(pitch), f(roll)) for f in (torch.sin, torch.cos))
    forward = torch.stack([cy * cp, sy * cp, -sp], 1)
    right = torch.stack([sy, -cy, torch.zeros_like(sy)], 1)
    down = torch.linalg.cross(forward, right)
    return torch.stack([cr[:, None] * right + sr[:, None] * down, cr[:, None] * down - sr[:, None] * right, forward], 1)


def _level_image(xy: Tensor, roll: Tensor) -> Tensor:
    """(K, 2) directions at depth 1 in a rolled camera -> the same in a level camera."""
    x, y = xy.T
    return torch.stack([x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos()], 1)


def _turn(yaw: Tensor, pitch: Tensor, now: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw and pitch with which a level camera sees in direction `wanted` (K, 2) what it now sees in direction `now`."""
    (x, y), (to_x, to_y) = now.T, wanted.T
    azimuth = yaw - torch.atan2(x, pitch.cos() - y * pitch.sin())
    fall = (y * pitch.cos() + pitch.sin()) / (1 + x**2 + y**2).sqrt()  # sine of the angle below the horizon
    fall = (fall * (1 + to_x**2 + to_y**2).sqrt() / (1 + to_y**2).sqrt()).clamp(-1, 1)
    pitch = fall.asin() - to_y.atan()
    return azimuth + torch.atan2(to_x, pitch.cos() - to_y * pitch.sin()), pitch


def random_camera(pose3d: Pose3D, generator: torch.Generator | None = None, mixture: CameraMixture = PHONES) -> Camera:
    """A random camera for one pose, drawn as in `draw_cameras`.

    Args:
        pose3d: world frame, absolute, floor at z = 0.
        generator, mixture: same as in `draw_cameras`.
    Raises:
        ValueError: for a pose in a camera's frame or without an absolute root.
    """
    if pose3d.frame != "world" or pose3d.root == "relative":
        raise ValueError(
            f"random_camera needs to know where the body is in the world; this pose is in the {pose3d.frame} "
            f"frame, its root {pose3d.root}: use pose3d.in_world(camera)"
        )
    points = torch.from_numpy(pose3d.points).double()
    return draw_cameras(points, torch.zeros(len(points), dtype=torch.int64), mixture, generator)[0]


def world_motion(clips: Iterable[Clip], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, tuple[Clip, ...]]:
    """The motion in a data set's clips, for filming with new cameras: every recording once, whatever its camera count.

    Args:
        clips: absolute 3D, all on the same skeleton.
        device: of the tensors.
    Returns:
        (N, J, 3) float32 metres, world frame; (N,) int64 clip labels; and the clip each recording was taken from.
    Raises:
        ValueError: for no clips, or root-relative 3D.
    """
    once: dict[str, Clip] = {}
    for clip in clips:
        once.setdefault(clip.take, clip)
        if clip.pose3d.root == "relative":
            raise ValueError(f"clip {clip.take!r} has root-relative 3D; filming it again needs its position")
    if not once:
        raise ValueError("there are no clips to film; check the split or selection that made them")
    kept = tuple(once.values())
    points = np.concatenate([clip.pose3d.in_world(clip.camera).points for clip in kept])
    labels = np.repeat(np.arange(len(kept)), [len(clip) for clip in kept])
    return torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device), kept
