"""The 2D view beside the bodies: keypoints in their image, over the frames of a video where they are given."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mocap3d.arguments import check_arguments
from mocap3d.figures import style
from mocap3d.figures.body import head_joints, joint_label
from mocap3d.figures.player.shapes import encoded, parts_of, reach
from mocap3d.figures.skeleton3d import Arranged
from mocap3d.poses import Pose2D

PIXELS, MOST = 480, 150  # width of a stored image; how many are stored


@dataclass(frozen=True)
class Flat:
    """Keypoints in motion, ready to draw.

    Args:
        points: (T, P, 2) pixels, the joints, then the middle of the head; NaN where missing.
        parts: capsules as in Drawing, radii in pixels.
        size: width and height of the image.
        crop: what is shown of the image: left, top, right, bottom.
        images: JPEG; image i belongs to the frames from i * every.
        every: frames that share an image.
        labels: of the joints.
    """

    points: np.ndarray
    parts: list[tuple[int, int, float, float, str]]
    size: tuple[int, int]
    crop: tuple[float, float, float, float]
    images: list[bytes]
    every: int
    labels: list[str]

    @property
    def share(self) -> float:
        """Of the width of the picture; viewer.js uses the same."""
        left, top, right, bottom = self.crop
        return min(0.12 + 0.24 * (right - left) / (bottom - top), 0.45)

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"2D  ·  {self.size[0]} × {self.size[1]} px"

    def header(self) -> dict:
        """What the viewer needs, as JSON."""
        return encoded(self.points[:, None], 0.25) | {
            "parts": [[a, b, round(ra, 2), round(rb, 2), side] for a, b, ra, rb, side in self.parts],
            "size": self.size,
            "crop": [round(edge, 1) for edge in self.crop],
            "images": [base64.b64encode(image).decode("ascii") for image in self.images],
            "every": self.every,
            "labels": self.labels,
            "title": self.title,
        }


def flat(pose2d: Pose2D, images: Sequence | np.ndarray | None, shown: Arranged) -> Flat:
    """Prepare the 2D view beside the bodies of `arrange`; `images` as in `show`."""
    check_arguments(flat, locals())
    style.check_pose(pose2d, "show(pose2d=...)")
    if len(pose2d) != len(shown.pose) or abs(pose2d.fps - shown.pose.fps) > 1e-6 * pose2d.fps:
        raise style.FigureError(
            f"show(): pose2d has {style.frames_text(pose2d)}, the 3D pose {style.frames_text(shown.pose)}; "
            "bring both to the same with .slice(start, stop) or .resample(fps)"
        )
    skeleton, frames = pose2d.skeleton, shown.frames
    joints = pose2d.points[:: frames.step].astype(np.float64)  # (T, J, 2)
    style.check_drawn(joints, "show(pose2d=...)")
    head = head_joints(skeleton)
    middle = joints[:, head].mean(1) if head else np.full_like(joints[:, 0], np.nan)
    unit = reach(joints)
    parts = [(a, b, ra * unit, rb * unit, side) for a, b, ra, rb, side in parts_of(skeleton, joints, unit, bool(head))]
    size = pose2d.image_size
    kept, every = ([], 1) if images is None else _stored(images, size, len(pose2d), frames)
    crop = (0.0, 0.0, *map(float, size))
    if not kept:  # the part of the image in which the body moves
        low, high = np.nanmin(joints, axis=(0, 1)) - 0.3 * unit, np.nanmax(joints, axis=(0, 1)) + 0.3 * unit
        low, high = np.maximum(low, -0.05 * np.array(size)), np.minimum(high, 1.05 * np.array(size))
        if (high - low > unit).all():
            crop = (*low.tolist(), *high.tolist())
    labels = [joint_label(skeleton, j) for j in range(len(skeleton))]
    return Flat(np.concatenate([joints, middle[:, None]], axis=1), parts, size, crop, kept, every, labels)


def _stored(images, size: tuple[int, int], count: int, frames: range) -> tuple[list[bytes], int]:
    """JPEG of some of the images of `count` frames, and how many drawn frames share one."""
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images, every = [images], len(frames)
    elif len(images) == count:
        every = -(-len(frames) // MOST)
        images = [images[t] for t in frames[::every]]
    else:
        raise style.FigureError(f"show(): {len(images)} images for {count} frames; give one array, or one per frame")
    stored = []
    for image in map(np.asarray, images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise style.FigureError(
                f"show(): an image has shape {image.shape} and type {image.dtype}; give (height, width, 3), uint8, RGB"
            )
        height, width = image.shape[:2]
        if abs(width * size[1] / (height * size[0]) - 1) > 0.01:
            raise style.FigureError(
                f"show(): an image has {width} x {height} px, pose2d lies in {size[0]} x {size[1]}; give images of the "
                "same aspect ratio"
            )
        small, buffer = Image.fromarray(image), io.BytesIO()
        small.thumbnail((PIXELS, PIXELS * height // width + 1))
        small.save(buffer, "jpeg", quality=60)
        stored.append(buffer.getvalue())
    return stored, every
