"""Pinhole cameras with lens distortion: world <-> camera <-> pixels <-> screen.

Frames (all right-handed): the world has z up; a camera looks along its z, with x to the right and y down.
`rotation` turns camera axes into world axes and `translation` is the camera's centre in the world, so

    x_camera = R(q)^-1 (x_world - t)          x_world = R(q) x_camera + t

Two lens models are in use in this field, and differ by up to 1.5 px in the corners of a Human3.6M image:

    "opencv"      the usual one: u = x g + 2 p1 x y + p2 (r2 + 2 x^2), distortion = (k1, k2, k3, p1, p2)
    "videopose3d" the pair stored as (p2, p1) and half of OpenCV's cross term: u = x (g + p2 x + p1 y) + p2 r2,
                  x and y clamped to [-1, 1]; it reproduces Human3.6M's own 2D to 3e-5 px

with g = 1 + k1 r2 + k2 r2^2 + k3 r2^3. Source: Human3.6M calibration (Ionescu et al. 2014); Pavllo et al. 2019.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mocap3d.arguments import Points, Positive, PositiveInt, check_arguments

DISTORTION_MODELS = ("none", "videopose3d", "opencv")
_CALIBRATION = Path(__file__).with_name("h36m_cameras.json")


class CameraError(ValueError):
    """An impossible camera or projection."""


def _library(array):
    return torch if isinstance(array, torch.Tensor) else np


def rotate(q, vectors):
    """Rotate vectors by unit quaternions.

    Args:
        q: (4,) or (..., 4), (w, x, y, z), broadcast against the vectors' leading dimensions.
        vectors: (..., 3).
    Returns:
        (..., 3), same type and unit.
    Source: v + 2 w (u x v) + 2 u x (u x v), from q v q*.

    >>> half_turn_about_z = (0, 0, 0, 1)
    >>> rotate(half_turn_about_z, [1.0, 2.0, 3.0]).tolist()
    [-1.0, -2.0, 3.0]
    """
    if isinstance(vectors, torch.Tensor):
        q = torch.as_tensor(q, dtype=vectors.dtype, device=vectors.device)
        u = q[..., 1:].expand(vectors.shape)
        uv = torch.linalg.cross(u, vectors)
        return vectors + 2 * (q[..., :1] * uv + torch.linalg.cross(u, uv))
    vectors = np.asarray(vectors)
    q = np.asarray(q, dtype=np.result_type(vectors, np.float32))
    uv = np.cross(q[..., 1:], vectors)
    return vectors + 2 * (q[..., :1] * uv + np.cross(q[..., 1:], uv))


def rotation_matrix(q) -> np.ndarray:
    """(4,) unit quaternion (w, x, y, z) -> (3, 3) matrix whose columns are the rotated axes.

    >>> rotation_matrix((1, 0, 0, 0)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return rotate(np.asarray(q, dtype=np.float64), np.eye(3)).T


def quaternion_from_matrix(matrix) -> np.ndarray:
    """(3, 3) rotation -> (4,) unit quaternion (w, x, y, z) with w >= 0.

    Raises:
        CameraError: if the matrix is not a rotation (a mirror has determinant -1).
    Source: the eigenvector form of Bar-Itzhack 2000, which is stable for every angle.

    >>> abs(quaternion_from_matrix(np.eye(3))).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.shape != (3, 3) or not np.allclose(m @ m.T, np.eye(3), atol=1e-5) or np.linalg.det(m) < 0:
        raise CameraError("matrix is not a rotation: it must be (3, 3), orthogonal, with determinant +1")
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [0, m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [0, 0, m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [0, 0, 0, m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    q = np.linalg.eigh(k, UPLO="U")[1][:, -1]
    return q if q[0] >= 0 else -q


def project(points, focal, centre, distortion=None, model: str = "videopose3d"):
    """Project camera-frame points, in the unit of `focal` and `centre` (pixels or screen).

    Args:
        points: (..., 3) camera frame, metres; array or tensor.
        focal, centre: (2,), or broadcastable to (..., 2).
        distortion: (5,) = (k1, k2, k3, pair), or broadcastable to (..., 5); None for a pinhole.
        model: "none", "videopose3d" (pair = p2, p1) or "opencv" (pair = p1, p2).
    Returns:
        (..., 2). A point behind the camera is NaN, except under "videopose3d", whose clamp is kept.
    Raises:
        CameraError: for an unknown model.
    Source: module docstring. Golden: VideoPose3D's project_to_2d and project_to_2d_linear.

    >>> project([0.5, 0.0, 2.0], focal=(1000, 1000), centre=(500, 500), model="none").tolist()
    [750.0, 500.0]
    """
    if model not in DISTORTION_MODELS:
        raise CameraError(f"distortion model {model!r} is unknown; give one of {', '.join(DISTORTION_MODELS)}")
    points = floating(points)
    if points.shape[-1:] != (3,):
        raise CameraError(f"points have shape {tuple(points.shape)}; give (..., 3) in the camera frame")
    lib, like = _library(points), lambda values: _like(values, points)
    depth = points[..., 2]
    if model != "videopose3d":
        depth = lib.where(depth > 0, depth, depth * float("nan"))
    x, y = points[..., 0] / depth, points[..., 1] / depth  # by component: numpy is slow on axes of length 2
    if model == "videopose3d":
        x, y = lib.clip(x, -1, 1), lib.clip(y, -1, 1)
    if model != "none" and distortion is not None:
        x, y = _distort(x, y, like(distortion), model)
    focal, centre = like(focal), like(centre)
    return lib.stack((x * focal[..., 0] + centre[..., 0], y * focal[..., 1] + centre[..., 1]), -1)


def floating(points):
    """Convert to floating point; with integers, focal length and distortion would be truncated too.

    >>> floating([1, 2]).dtype
    dtype('float64')
    """
    if isinstance(points, torch.Tensor):
        return points if points.is_floating_point() else points.to(torch.get_default_dtype())
    points = np.asarray(points)
    return points if points.dtype.kind == "f" else points.astype(np.float64)


def _like(values, points):
    """Numbers in the library, precision and device of floating-point `points`."""
    if isinstance(points, torch.Tensor):
        return torch.as_tensor(values, dtype=points.dtype, device=points.device)
    return np.asarray(values, dtype=points.dtype)


def _distort(x, y, distortion, model: str):
    """Ideal normalised coordinates x and y -> distorted ones."""
    k1, k2, k3, a, b = (distortion[..., i] for i in range(5))
    if model == "opencv":
        a, b = b, a  # p1 belongs to y, p2 to x
    r2 = x * x + y * y
    cross = a * x + b * y
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + (cross if model == "videopose3d" else 2 * cross)
    return x * factor + a * r2, y * factor + b * r2


def pixels_to_screen(pixels: Points, width: Positive, height: Positive):
    """Pixels -> screen: x in [-1, 1], y scaled by the same factor to keep the aspect ratio.

    Args:
        pixels: (..., 2) or more channels, the first two x and y; the others pass through.
    Returns:
        same shape and type: pixel / width * 2 - [1, height / width].
    Source: Pavllo et al. 2019; equal to MMPose's (pixel - centre) / (width / 2).

    >>> pixels_to_screen(np.array([[0.0, 0.0], [1920.0, 1080.0]]), 1920, 1080).tolist()
    [[-1.0, -0.5625], [1.0, 0.5625]]
    """
    check_arguments(pixels_to_screen, locals())
    return _rescale(pixels, 2 / width, (-1.0, -height / width))


def screen_to_pixels(screen, width: Positive, height: Positive):
    """The inverse of `pixels_to_screen`.

    >>> screen_to_pixels(np.array([0.0, 0.0]), 1920, 1080).tolist()
    [960.0, 540.0]
    """
    return _rescale(screen, width / 2, (width / 2, height / 2))


def _rescale(points, factor: float, offset: tuple[float, float]):
    if isinstance(points, torch.Tensor):
        xy = points[..., :2] * factor + torch.as_tensor(offset, dtype=points.dtype, device=points.device)
        return xy if points.shape[-1] == 2 else torch.cat([xy, points[..., 2:]], -1)
    points = np.asarray(points)
    xy = points[..., :2] * factor
    xy = xy + np.asarray(offset, dtype=xy.dtype)
    return xy if points.shape[-1] == 2 else np.concatenate([xy, points[..., 2:]], -1)


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Args:
        focal, centre: (2,) pixels.
        width, height: of the image, pixels.
        distortion: (k1, k2, k3, pair); the pair is (p1, p2) under "opencv" and (p2, p1) under "videopose3d".
        distortion_model: "none", "videopose3d" or "opencv".
        rotation: unit quaternion (w, x, y, z), camera axes to world axes.
        translation: camera centre in the world, metres.
        name: for messages and tables.
    Raises:
        CameraError: for an invalid field; the message states the rule.
    """

    focal: tuple[Positive, Positive]
    centre: tuple[float, float]
    width: PositiveInt
    height: PositiveInt
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    distortion_model: Literal["none", "videopose3d", "opencv"] = "none"
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    name: str = ""

    def __post_init__(self) -> None:
        check_arguments(Camera, vars(self), CameraError)
        for field in ("focal", "centre", "distortion", "rotation", "translation"):
            object.__setattr__(self, field, tuple(float(x) for x in np.ravel(getattr(self, field))))
        length = float(np.linalg.norm(self.rotation))
        if abs(length - 1) > 1e-3:
            raise CameraError(
                f"Camera.rotation {self.rotation} has length {length:.4g}; give a unit quaternion (w, x, y, z)"
            )
        object.__setattr__(self, "rotation", tuple(x / length for x in self.rotation))
        if self.distortion_model == "none" and any(self.distortion):
            raise CameraError("Camera.distortion is set, but distortion_model is 'none'; give the model it belongs to")
        if max(abs(x) for x in self.translation) > 1000:
            raise CameraError(f"Camera.translation {self.translation} is over a kilometre; metres, not millimetres")

    def world_to_camera(self, points):
        """(..., 3) world metres -> (..., 3) camera-frame metres. Array or tensor.

        >>> round(float(Camera.phone(camera_height=1.5).world_to_camera(np.array([0.0, 4.0, 1.5]))[2]), 6)
        4.0
        """
        points = floating(points)
        return self._turn(points - _like(self.translation, points), inverse=True)

    def camera_to_world(self, points):
        """(..., 3) camera-frame metres -> (..., 3) world metres.

        >>> Camera.phone(camera_height=1.5).camera_to_world(np.array([0.0, 0.0, 4.0])).round(6).tolist()
        [0.0, 4.0, 1.5]
        """
        points = floating(points)
        return self._turn(points) + _like(self.translation, points)

    def camera_to_world_direction(self, vectors):
        """(..., 3) directions or root-relative poses: rotated into world axes, not translated.

        >>> down_in_the_image = np.array([0.0, 1.0, 0.0])
        >>> round(float(Camera.phone().camera_to_world_direction(down_in_the_image)[2]), 6)
        -1.0
        """
        return self._turn(floating(vectors))

    def _turn(self, vectors, inverse: bool = False):
        """Camera axes -> world axes, or back: one matrix product for all points."""
        matrix = _like(self._axes if inverse else self._axes.T, vectors)
        return (vectors.reshape(-1, 3) @ matrix).reshape(vectors.shape)

    @cached_property
    def _axes(self) -> np.ndarray:
        return rotation_matrix(self.rotation)

    def project(self, points: Points):
        """(..., 3) camera-frame metres -> (..., 2) pixels, with lens distortion (see `project`).

        >>> Camera.phone(fov_degrees=90).project(np.array([0.0, 0.0, 3.0])).tolist()
        [960.0, 540.0]
        """
        check_arguments(Camera.project, locals())
        return project(points, self.focal, self.centre, self.distortion, self.distortion_model)

    def undistort(self, pixels, iterations: int = 50):
        """Distorted pixels -> pixels of the ideal pinhole camera with the same focal and centre.

        Args:
            pixels: (..., 2) array, pixels.
        Returns:
            (..., 2) float64 array; `project` of the corresponding ray returns `pixels` within 1e-6 px.
        Raises:
            CameraError: if the lens model cannot be inverted at some pixel (far outside the image).
        Source: Newton's iteration on the lens model, the 2x2 Jacobian by central differences.

        >>> camera = h36m_cameras("S1")[0]
        >>> pixel = camera.project(np.array([0.4, 0.3, 2.0]))
        >>> ideal = camera.undistort(pixel)
        >>> (np.abs(ideal - pixel) > 0.5).tolist()
        [True, True]
        """
        focal, centre = np.asarray(self.focal), np.asarray(self.centre)
        target = (np.asarray(pixels, dtype=np.float64) - centre) / focal
        if self.distortion_model == "none":
            return target * focal + centre
        distortion = np.asarray(self.distortion)
        lens = lambda xy: np.stack(_distort(xy[..., 0], xy[..., 1], distortion, self.distortion_model), -1)  # noqa: E731
        xy, step = target.copy(), 1e-6
        for _ in range(iterations):
            residual = lens(xy) - target
            if np.nanmax(np.abs(residual), initial=0.0) < 1e-12:
                break
            columns = [(lens(xy + d) - lens(xy - d)) / (2 * step) for d in np.eye(2) * step]
            jacobian = np.stack(columns, -1)  # (..., 2, 2)
            xy = xy - _solve2(jacobian, residual)
        error = np.abs(lens(xy) - target) * focal
        if np.nanmax(error, initial=0.0) > 1e-6:
            worst = np.asarray(pixels).reshape(-1, 2)[int(np.nanargmax(error.max(-1)))]
            raise CameraError(f"pixel {worst} cannot be undistorted: it lies outside the range of this lens model")
        return xy * focal + centre

    def rays(self, pixels):
        """(..., 2) pixels -> (..., 3) directions in the camera frame with z = 1.

        >>> Camera.phone(fov_degrees=90).rays(np.array([1920.0, 540.0])).round(6).tolist()
        [1.0, 0.0, 1.0]
        """
        ideal = (self.undistort(pixels) - np.asarray(self.centre)) / np.asarray(self.focal)
        return np.concatenate([ideal, np.ones_like(ideal[..., :1])], -1)

    def screen_intrinsics(self) -> np.ndarray:
        """(9,) focal(2), centre(2), distortion(5) in screen units, as the lifting losses expect them.

        >>> Camera.phone(fov_degrees=90).screen_intrinsics()[:4].round(3).tolist()
        [1.0, 1.0, 0.0, 0.0]
        """
        focal = np.asarray(self.focal) / self.width * 2
        centre = pixels_to_screen(np.asarray(self.centre), self.width, self.height)
        return np.concatenate([focal, centre, self.distortion]).astype(np.float32)

    def sees(self, points, margin: float = 0.0):
        """(..., 3) world points -> (...) bool: in front of the camera and inside the image by `margin` pixels.

        >>> Camera.phone().sees(np.array([[0.0, 4.0, 1.5], [0.0, -4.0, 1.5]])).tolist()
        [True, False]
        """
        local = self.world_to_camera(points)
        xy = self.project(local)
        inside = (xy >= margin) & (xy <= _like((self.width - margin, self.height - margin), xy))
        return inside.all(-1) & (local[..., 2] > 0)

    @classmethod
    def look_at(
        cls,
        position,
        target,
        *,
        fov_degrees: float = 60.0,
        width: int = 1000,
        height: int = 1000,
        name: str = "look-at",
    ) -> Camera:
        """A distortion-free camera at `position` that faces `target`, with an upright image.

        Args:
            position, target: (3,) world metres; neither the same point nor one above the other.
            fov_degrees: horizontal field of view.
        Raises:
            CameraError: if the two points define no upright view.

        >>> camera = Camera.look_at([3.0, 0.0, 1.5], [0.0, 0.0, 1.0])
        >>> camera.project(camera.world_to_camera(np.array([0.0, 0.0, 1.0]))).round(3).tolist()
        [500.0, 500.0]
        """
        position, target = np.asarray(position, dtype=np.float64), np.asarray(target, dtype=np.float64)
        forward = target - position
        right = np.cross(forward, [0.0, 0.0, 1.0])
        if np.linalg.norm(right) < 1e-9:
            raise CameraError(f"look_at: from {position} to {target} is vertical or has no length; move one sideways")
        forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward], -1)  # columns: x right, y down, z forward
        flat = cls.phone(fov_degrees, width, height)
        return cls(
            flat.focal,
            flat.centre,
            width,
            height,
            rotation=tuple(quaternion_from_matrix(axes)),
            translation=tuple(position),
            name=name,
        )

    @classmethod
    def phone(
        cls,
        fov_degrees: float = 60.0,
        width: PositiveInt = 1920,
        height: PositiveInt = 1080,
        *,
        camera_height: float = 1.5,
        pitch_degrees: float = 0.0,
        name: str = "phone",
    ) -> Camera:
        """An uncalibrated camera with a given horizontal field of view, held level by default.

        Args:
            fov_degrees: horizontal, in (1, 179); phones are near 60 to 75.
            camera_height: metres above the floor (world z); the camera faces world +y.
            pitch_degrees: downwards positive. Human3.6M's cameras are pitched down by 10.5 to 16 degrees.
        Raises:
            CameraError: for an impossible field of view.

        >>> round(Camera.phone(fov_degrees=90).focal[0], 3)
        960.0
        """
        check_arguments(Camera.phone, locals())
        if not 1 <= fov_degrees <= 179:
            raise CameraError(f"field of view {fov_degrees} degrees; give the horizontal angle, between 1 and 179")
        focal = width / 2 / np.tan(np.radians(fov_degrees) / 2)
        pitch = np.radians(pitch_degrees)
        # columns: x right, y down, z forward, for a camera that faces world y
        axes = np.array([[1, 0, 0], [0, -np.sin(pitch), np.cos(pitch)], [0, -np.cos(pitch), -np.sin(pitch)]])
        return cls(
            (focal, focal),
            (width / 2, height / 2),
            width,
            height,
            rotation=tuple(quaternion_from_matrix(axes)),
            translation=(0.0, 0.0, camera_height),
            name=name,
        )


def _solve2(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve (..., 2, 2) systems by Cramer's rule; NaN stays NaN."""
    (a, b), (c, d) = np.moveaxis(matrix, (-2, -1), (0, 1))
    x, y = np.moveaxis(vector, -1, 0)
    determinant = a * d - b * c
    return np.stack([(d * x - b * y) / determinant, (a * y - c * x) / determinant], -1)


@lru_cache(maxsize=1)
def _calibration() -> dict:
    return json.loads(_CALIBRATION.read_text())


def h36m_subjects() -> tuple[str, ...]:
    """Subjects of Human3.6M with published camera positions.

    >>> h36m_subjects()[:2]
    ('S1', 'S5')
    """
    return tuple(_calibration()["extrinsics"])


def h36m_cameras(subject: str) -> tuple[Camera, ...]:
    """The four calibrated cameras of one Human3.6M subject, in the data set's order.

    Args:
        subject: "S1", "S5", "S6", "S7", "S8", "S9" or "S11".
    Returns:
        cameras 54138969, 55011271, 58860488, 60457274 with the "videopose3d" lens model.
    Raises:
        CameraError: for any other subject.
    Source: the calibration published with Human3.6M (Ionescu et al. 2014).

    >>> [camera.name for camera in h36m_cameras("S9")][:2]
    ['54138969', '55011271']
    """
    check_arguments(h36m_cameras, locals())
    data = _calibration()
    if subject not in data["extrinsics"]:
        raise CameraError(f"no cameras for subject {subject!r}; known: {', '.join(data['extrinsics'])}")
    return tuple(
        Camera(
            focal=inside["focal_length"],
            centre=inside["center"],
            width=inside["res_w"],
            height=inside["res_h"],
            distortion=(*inside["radial_distortion"], *inside["tangential_distortion"]),
            distortion_model="videopose3d",
            rotation=outside["orientation"],
            translation=tuple(x / 1000 for x in outside["translation"]),
            name=inside["id"],
        )
        for inside, outside in zip(data["intrinsics"], data["extrinsics"][subject], strict=True)
    )
