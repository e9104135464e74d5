"""Image space (2.5D): poses as they appear in an image.

A pose in image space has pixels on all three axes: u and v of an ideal pinhole camera, and as z the depth behind the
root, in pixels at the root's depth. `mm_factor` is the size of such a pixel in mm. MotionBERT is trained on these poses
divided by half the image width, and evaluated on pose times factor: the pose after perspective, not the pose itself.
"""

from __future__ import annotations

import numpy as np

from mocap3d.camera import Camera, pixels_to_screen, screen_to_pixels
from mocap3d.skeleton import ROOT, root_relative


class ImageSpaceError(ValueError):
    """Poses or lengths that cannot be converted to image space."""


def mm_factor(root: np.ndarray, camera: Camera) -> np.ndarray:
    """The size of a pixel in mm at the root's depth: 2000 mm over the pixels that 2 m span there, plus one.

    Args:
        root: (..., 3) metres, camera frame.
        camera: distortion is ignored.
    Returns:
        (...) mm per pixel.
    Raises:
        ImageSpaceError: for a root behind the camera.
    Source: Ci et al. 2019 (LCN), and MMPose's codec. The additional pixel is theirs, to avoid dividing by 0.
    """
    root = np.asarray(root)
    if not np.nanmin(root[..., 2], initial=np.inf) > 0:
        raise ImageSpaceError("a root is behind the camera; give camera-frame metres, z forward")
    return 2000 / (2 * camera.focal[0] / root[..., 2] + 1)


def depth_of_scale(metres_per_pixel: np.ndarray, camera: Camera) -> np.ndarray:
    """Depth of the root from the size of a pixel there, both in metres: (...) -> (...); the inverse of `mm_factor`."""
    return 2 * camera.focal[0] / (2 / np.asarray(metres_per_pixel) - 1)


def to_image_space(pose: np.ndarray, camera: Camera, root: np.ndarray | None = None) -> np.ndarray:
    """Camera frame -> image space.

    Args:
        pose: (..., J, 3) metres, camera frame, absolute.
        camera: distortion is ignored.
        root: (..., 3) metres; its depth becomes z = 0 and determines the factor; by default the pose's own root.
    Returns:
        (..., J, 3) pixels: u, v, depth behind the root.
    Source: MMPose's camera_to_image_coord, times 1000.
    """
    pose = np.asarray(pose)
    root = pose[..., ROOT, :] if root is None else np.asarray(root)
    uv = pose[..., :2] / pose[..., 2:] * camera.focal + camera.centre
    depth = (pose[..., 2] - root[..., None, 2]) * (1000 / mm_factor(root, camera))[..., None]
    return np.concatenate([uv, depth[..., None]], -1).astype(pose.dtype)


def from_image_space(image: np.ndarray, camera: Camera, root: np.ndarray) -> np.ndarray:
    """Image space -> camera frame, for a known root position: the inverse of `to_image_space`.

    Args:
        image: (..., J, 3) pixels.
        camera: same as in `to_image_space`.
        root: (..., 3) metres, camera frame; only its depth is used.
    Returns:
        (..., J, 3) metres, camera frame, absolute.
    """
    image, root = np.asarray(image), np.asarray(root)
    depth = root[..., None, 2] + image[..., 2] * (mm_factor(root, camera) / 1000)[..., None]
    xy = (image[..., :2] - camera.centre) / camera.focal * depth[..., None]
    return np.concatenate([xy, depth[..., None]], -1).astype(image.dtype)


def normalise(image: np.ndarray, width: float, height: float) -> np.ndarray:
    """(..., 3) pixels -> screen units on all axes: u, v as in `pixels_to_screen`, z by the same factor."""
    screen = pixels_to_screen(np.asarray(image), width, height)
    return np.concatenate([screen[..., :2], screen[..., 2:] * (2 / width)], -1).astype(screen.dtype)


def denormalise(screen: np.ndarray, width: float, height: float) -> np.ndarray:
    """The inverse of `normalise`."""
    image = screen_to_pixels(np.asarray(screen), width, height)
    return np.concatenate([image[..., :2], image[..., 2:] * (width / 2)], -1).astype(image.dtype)


def screen_targets(pose: np.ndarray, camera: Camera) -> np.ndarray:
    """MotionBERT's training targets: image space in screen units, with the root moved to the origin.

    Args:
        pose: (..., J, 3) metres, camera frame, absolute.
        camera: distortion is ignored.
    Returns:
        (..., J, 3) screen units.
    """
    image = to_image_space(pose, camera)
    return root_relative(image) * (2 / camera.width)


def screen_to_metres(prediction: np.ndarray, camera: Camera, root: np.ndarray) -> np.ndarray:
    """MotionBERT's predictions -> metres, for a known root position: the inverse of `screen_targets`.

    Args:
        prediction: (..., J, 3) screen units, relative to the root.
        camera: distortion is ignored.
        root: (..., 3) metres, camera frame.
    Returns:
        (..., J, 3) metres, camera frame, root-relative.
    """
    root = np.asarray(root)[..., None, :]
    at = root[..., :2] / root[..., 2:] * camera.focal + camera.centre  # (..., 1, 2) pixels
    pixels = np.asarray(prediction) * (camera.width / 2)
    pixels = np.concatenate([pixels[..., :2] + at, pixels[..., 2:]], -1)
    return from_image_space(pixels, camera, root[..., 0, :]) - root


def scale_by_factor(image: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """MotionBERT's evaluated values: (..., J, 3) pixels, (...) mm per pixel -> (..., J, 3) metres, root-relative."""
    return root_relative(np.asarray(image)) * (np.asarray(factor) / 1000)[..., None, None]
