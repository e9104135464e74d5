"""Lift a live detector's keypoints, frame by frame: pixels, any known skeleton, missing joints."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from mocap3d.arguments import Positive, check_arguments
from mocap3d.camera import Camera, pixels_to_screen
from mocap3d.lifting.lift import MODEL_FPS
from mocap3d.missing import fill_next
from mocap3d.models.videopose3d import VideoPose3D
from mocap3d.normalise import known_intrinsics
from mocap3d.skeleton import Skeleton, convert, convert_confidence, get_skeleton
from mocap3d.weights import load_shipped


class KeypointStream:
    """Detections in, poses out, one by one; the same steps as `lift`, from past frames only.

    Missing joints are filled on the detector's own skeleton (`fill_next`), then converted to h36m17 and lifted by
    `model.stream()`.

    Args:
        image_size: width and height in pixels.
        skeleton: of the detections, any that `convert` knows.
        model: a causal VideoPose3D; by default the causal network in the package.
        fps: of the frames. A stream cannot be resampled: at a rate other than 50 a model of several frames sees motion
            faster or slower than it is.
        camera, fov: see `lift`.
    Raises:
        ValueError: for a model that needs future frames, or a camera of another image size.
    Source: own.

    >>> stream = KeypointStream((1280, 720), "coco17")
    >>> stream(np.random.default_rng(0).uniform(200, 500, (17, 2))).shape
    (17, 3)
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        skeleton: str | Skeleton = "coco17",
        model: VideoPose3D | None = None,
        *,
        fps: Positive = MODEL_FPS,
        camera: Camera | None = None,
        fov: float | None = None,
    ) -> None:
        check_arguments(KeypointStream.__init__, locals())
        known = known_intrinsics(image_size, camera, fov)
        model = load_shipped("causal") if model is None else model
        if model.receptive_field > 1 and abs(fps / MODEL_FPS - 1) > 0.1:
            warnings.warn(
                f"frames come at {fps:g} fps, and {model.name} was trained at {MODEL_FPS:g}: to it, motion is "
                f"{MODEL_FPS / fps:.2g} times as fast",
                stacklevel=2,
            )
        self.image_size, self.skeleton = tuple(image_size), get_skeleton(skeleton)
        self._stream, self._last = model.stream(known), None

    def reset(self) -> None:
        """Forget all frames: the next one is the first of another sequence."""
        self._stream.reset()
        self._last = None

    def __call__(self, points: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
        """Lift the next frame.

        Args:
            points: (J, 2) pixels on the stream's skeleton, or (B, J, 2) for B persons; NaN where missing.
            confidence: (J,) or (B, J) in [0, 1], 0 where missing; by default 1 for every joint that is not NaN.
        Returns:
            (17, 3) or (B, 17, 3) h36m17, metres, camera frame, relative to the root. A frame without anybody is
            answered with the one before.
        Raises:
            ValueError: for another shape, or another number of persons than in the frame before.
        """
        points = torch.as_tensor(np.asarray(points, dtype=np.float32))
        joints = len(self.skeleton)
        if points.ndim not in (2, 3) or tuple(points.shape[-2:]) != (joints, 2):
            raise ValueError(
                f"got shape {tuple(points.shape)}; needs one frame on {self.skeleton.name}, ({joints}, 2) or "
                f"(B, {joints}, 2) pixels"
            )
        frame = points.reshape(-1, joints, 2)
        if self._last is not None and len(frame) != len(self._last):
            raise ValueError(
                f"got {len(frame)} persons after {len(self._last)}; call reset() to begin another sequence"
            )
        seen = frame.isfinite().all(-1).float()
        if confidence is not None:
            seen = seen * torch.as_tensor(np.asarray(confidence, dtype=np.float32)).view_as(seen)
        frame = torch.where((seen > 0)[..., None], frame, torch.nan)
        self._last = fill_next(self._last, frame, self.skeleton)
        screen = pixels_to_screen(convert(self._last, self.skeleton), *self.image_size)
        pose = self._stream(screen, convert_confidence(seen, self.skeleton))
        return pose.view(*points.shape[:-2], *pose.shape[1:]).numpy()
