"""Where the feet point: toes in 3D from those in the image, which lifters leave out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap3d.camera import Camera
from mocap3d.formats.animation import unit
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17, H36M19

LENGTH = 0.12  # of a person's height: from ankle to toes, by Winter's fractions
TOES = ("big_toe", "small_toe", "foot_index")  # of halpe26 and body25, of mediapipe33
SURE = 0.3  # confidence from which a toe counts


def toe_directions(pose: Pose3D, pose2d: Pose2D, camera: Camera, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors from the ankles to the toes.

    The toes lie on a ray of the camera, at a foot's length from the ankle: at one of two places, of which that ahead of
    the body is taken. Where no place is so near, the nearest of the ray is.

    Args:
        pose: camera frame, placed.
        pose2d: the keypoints it was lifted from, frame by frame.
        camera: intrinsics of the camera that filmed it.
        height: metres, of the person.
    Returns:
        (T, 2, 3), left and right, and which of them were seen, (T, 2) bool: none on skeletons without toes. Feet that
        are not seen are at a right angle to the shin.
    Source: own.
    """
    at = {joint: pose.points[:, i].astype(np.float64) for i, joint in enumerate(H36M17.joints)}
    names = pose2d.skeleton.joints
    directions, known = [], []
    for side in ("left", "right"):
        toes = [names.index(f"{side}_{toe}") for toe in TOES if f"{side}_{toe}" in names]
        ankle, shin = at[f"{side}_foot"], unit(at[f"{side}_foot"] - at[f"{side}_knee"])
        ahead = unit(np.cross(at["left_hip"] - at["right_hip"], -shin))
        if not toes:
            directions.append(ahead)
            known.append(np.zeros(len(pose), bool))
            continue
        seen = np.isfinite(pose2d.points[:, toes]).all((1, 2)) & (pose2d.confidence[:, toes].min(1) > SURE)
        ray = unit(camera.rays(np.nan_to_num(pose2d.points[:, toes].astype(np.float64)).mean(1)))  # (T, 3)
        along = (ankle * ray).sum(-1)  # to the place of the ray that is nearest to the ankle
        aside = np.linalg.norm(ankle - along[:, None] * ray, axis=-1)
        reach = np.sqrt(np.maximum((LENGTH * height) ** 2 - aside**2, 0))
        both = [unit((along + sign * reach)[:, None] * ray - ankle) for sign in (1, -1)]
        nearer = [(direction * ahead).sum(-1) for direction in both]
        direction = np.where((nearer[0] > nearer[1])[:, None], *both)
        directions.append(np.where(seen[:, None], direction, ahead))
        known.append(seen)
    return np.stack(directions, 1), np.stack(known, 1)


def with_toes(pose: Pose3D, directions: np.ndarray, height: float) -> Pose3D:
    """A pose on h36m17 with toes, on h36m19.

    Args:
        pose: any frame.
        directions: (T, 2, 3) from the ankles to the toes, left and right, in that frame.
        height: metres, of the person.
    """
    ankles = pose.points[:, H36M17.indices(["left_foot", "right_foot"])]
    toes = np.float32(ankles + LENGTH * height * unit(directions))
    filled = pose.filled if pose.filled is None else np.pad(pose.filled, ((0, 0), (0, 2)))
    return replace(pose, points=np.concatenate([pose.points, toes], 1), skeleton=H36M19, filled=filled)
