"""2.5D: poses as a picture shows them, and the pieces of video in which they are learnt and judged.

A pose in image space has pixels on all three axes: u and v of an ideal pinhole, and as z the depth behind the root,
in pixels of the root's depth. `mm_factor` says how many mm such a pixel is. MotionBERT learns these poses divided by
half the image width, and is judged on pose times factor, which is what perspective made of the pose, not the pose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mocap3d.camera import Camera, pixels_to_screen, screen_to_pixels
from mocap3d.skeleton import ROOT


class ImageSpaceError(ValueError):
    """Poses or lengths that have no image-space form."""


def mm_factor(root: np.ndarray, camera: Camera) -> np.ndarray:
    """How many mm a pixel is at the root's depth: 2000 mm over the pixels that 2 m span there, plus one.

    Args:
        root: (..., 3) metres, camera frame.
        camera: distortion is ignored.
    Returns:
        (...) mm per pixel.
    Raises:
        ImageSpaceError: for a root behind the camera.
    Source: Ci et al. 2019 (LCN), and MMPose's codec. The one pixel more is theirs, against dividing by 0.
    """
    root = np.asarray(root)
    if not np.nanmin(root[..., 2], initial=np.inf) > 0:
        raise ImageSpaceError("a root is behind the camera; give camera-frame metres, z forward")
    return 2000 / (2 * camera.focal[0] / root[..., 2] + 1)


def depth_of_scale(metres_per_pixel: np.ndarray, camera: Camera) -> np.ndarray:
    """How far away the root is, if a pixel is so many metres there: (...) -> (...) metres; inverse of `mm_factor`."""
    return 2 * camera.focal[0] / (2 / np.asarray(metres_per_pixel) - 1)


def to_image_space(pose: np.ndarray, camera: Camera, root: np.ndarray | None = None) -> np.ndarray:
    """Camera frame -> image space.

    Args:
        pose: (..., J, 3) metres, camera frame, absolute.
        camera: distortion is ignored.
        root: (..., 3) metres, whose depth is z = 0 and gives the factor; by default the pose's own root.
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
    """Image space -> camera frame, if one knows where the root is: the inverse of `to_image_space`.

    Args:
        image: (..., J, 3) pixels.
        camera: as there.
        root: (..., 3) metres, camera frame; only its depth is used.
    Returns:
        (..., J, 3) metres, camera frame, absolute.
    """
    image, root = np.asarray(image), np.asarray(root)
    depth = root[..., None, 2] + image[..., 2] * (mm_factor(root, camera) / 1000)[..., None]
    xy = (image[..., :2] - camera.centre) / camera.focal * depth[..., None]
    return np.concatenate([xy, depth[..., None]], -1).astype(image.dtype)


def normalise(image: np.ndarray, width: float, height: float) -> np.ndarray:
    """(..., 3) pixels -> screen units on all axes: u, v as `pixels_to_screen`, z by the same factor."""
    screen = pixels_to_screen(np.asarray(image), width, height)
    return np.concatenate([screen[..., :2], screen[..., 2:] * (2 / width)], -1).astype(screen.dtype)


def denormalise(screen: np.ndarray, width: float, height: float) -> np.ndarray:
    """The inverse of `normalise`."""
    image = screen_to_pixels(np.asarray(screen), width, height)
    return np.concatenate([image[..., :2], image[..., 2:] * (width / 2)], -1).astype(image.dtype)


def screen_targets(pose: np.ndarray, camera: Camera) -> np.ndarray:
    """What MotionBERT learns: image space in screen units, its root moved to the origin.

    Args:
        pose: (..., J, 3) metres, camera frame, absolute.
        camera: distortion is ignored.
    Returns:
        (..., J, 3) screen units.
    """
    image = to_image_space(pose, camera)
    return (image - image[..., ROOT : ROOT + 1, :]) * (2 / camera.width)


def screen_to_metres(said: np.ndarray, camera: Camera, root: np.ndarray) -> np.ndarray:
    """What MotionBERT says -> metres, if one knows where the root is: the inverse of `screen_targets`.

    Args:
        said: (..., J, 3) screen units, about the root.
        camera: distortion is ignored.
        root: (..., 3) metres, camera frame.
    Returns:
        (..., J, 3) metres, camera frame, root-relative.
    """
    root = np.asarray(root)[..., None, :]
    at = root[..., :2] / root[..., 2:] * camera.focal + camera.centre  # (..., 1, 2) pixels
    pixels = np.asarray(said) * (camera.width / 2)
    pixels = np.concatenate([pixels[..., :2] + at, pixels[..., 2:]], -1)
    return from_image_space(pixels, camera, root[..., 0, :]) - root


def scale_by_factor(image: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """What MotionBERT is judged on: (..., J, 3) pixels, (...) mm per pixel -> (..., J, 3) metres, root-relative."""
    image = np.asarray(image)
    return (image - image[..., ROOT : ROOT + 1, :]) * (np.asarray(factor) / 1000)[..., None, None]


def resample_frames(
    length: int, frames: int, how: str = "jitter", rng: np.random.RandomState | None = None
) -> np.ndarray:
    """Stretch a short video: which of its frames to show, (frames,) int64 in 0 .. length - 1.

    Args:
        length: of the video, at most `frames` for "jitter".
        frames: wanted.
        how: "jitter" (evenly, each up or down by chance, as in MotionBERT's data), "even", or "repeat" (from the
            start again).
        rng: for "jitter".
    Source: MotionBERT's resample.
    """
    if length < 1 or (how == "jitter" and length > frames):
        raise ImageSpaceError(f"cannot stretch {length} frames to {frames}")
    if how == "repeat":
        return np.arange(frames) % length
    even = np.linspace(0, length, num=frames, endpoint=False)
    if how == "even":
        return even.astype(np.int64)
    if how != "jitter":
        raise ImageSpaceError(f"how is {how!r}; give 'jitter', 'even' or 'repeat'")
    rng = np.random.RandomState(0) if rng is None else rng
    down = rng.randint(2, size=frames)
    picked = np.sort(np.where(down == 1, np.floor(even), np.ceil(even)))
    return np.minimum(picked, length - 1).astype(np.int64)


def split_clips(
    lengths: Sequence[int], frames: int = 243, stride: int = 81, short: str = "resample", seed: int = 0
) -> list[np.ndarray]:
    """Cut videos, lying one behind the other, into pieces of a fixed length; what is left at an end is not used.

    Args:
        lengths: of the videos, in frames.
        frames: of a piece.
        stride: from the start of a piece to the start of the next; MotionBERT's is 81 in training, 243 in testing.
        short: what becomes of a video shorter than a piece: "resample" (MotionBERT: stretched by chance, except the
            last video, which is lost) or "drop" (MMPose).
        seed: of the chance; the generator is numpy's old one, as published.
    Returns:
        one (frames,) int64 array a piece: rows of the frames of all videos.
    Source: MotionBERT's split_clips, MMPose's Human36mDataset.
    """
    if short not in ("resample", "drop"):
        raise ImageSpaceError(f"short is {short!r}; give 'resample' or 'drop'")
    if frames < 1 or stride < 1 or min(lengths, default=1) < 1:
        raise ImageSpaceError(f"frames {frames}, stride {stride} and all lengths must be 1 or above")
    rng, pieces, start = np.random.RandomState(seed), [], 0
    for video, length in enumerate(lengths):
        for first in range(0, length - frames + 1, stride):
            pieces.append(start + np.arange(first, first + frames))
        if length < frames and short == "resample" and video < len(lengths) - 1:
            pieces.append(start + resample_frames(length, frames, rng=rng))
        start += length
    return pieces
