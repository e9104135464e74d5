"""From a lifted pose to a body in a room: steps that are used one by one, for a camera that stands still.

    constant_bones   each bone gets its median length
    place            where the person is, from the 2D pose and the focal length
    level            from the camera frame to the world frame, with gravity downwards
    smooth           less jitter
    plant_feet       a foot that rests stays where it is
    with_toes        feet point to the toes, where the detector found some (feet.py)

Each takes a Pose3D on h36m17 and returns a new one; `clean` applies all of them (what each is worth: docs/RESULTS.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap3d.arguments import Height, check_arguments
from mocap3d.camera import Camera
from mocap3d.formats.animation import unit
from mocap3d.lifting.feet import toe_directions, with_toes
from mocap3d.lifting.lift import BONES_PER_HEIGHT, prepared
from mocap3d.metrics import bone_lengths
from mocap3d.normalise import FOV
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17, root_relative

ANKLES = H36M17.indices(["left_foot", "right_foot"])
STRAIGHT = 25.0  # degrees of flexion up to which hips and one knee are those of somebody who stands or walks
STANDING = 0.5  # seconds of standing from which the vertical is estimated
STEADY = 0.025  # seconds, with which people move as jerkily as in training recordings
TOES_STEADY = 0.05  # seconds
RESTS, GAP = 0.5, 0.12  # m/s, below which an ankle rests; seconds


class CleanupError(ValueError):
    """A pose that a step cannot be applied to."""


def clean(
    pose: Pose3D, pose2d: Pose2D, camera: Camera | None = None, height: Height | None = None
) -> tuple[Pose3D, list[str]]:
    """A lifted pose as a body that stands on the ground of a room.

    Args:
        pose: from `lift`, camera frame.
        pose2d: the keypoints it was lifted from.
        camera: that filmed it, standing still; by default one of 65 degrees whose tilt is estimated.
        height: metres, of the person; None keeps the size that was lifted.
    Returns:
        Pose3D in the world frame, root "floor-glued", on h36m19 if the keypoints have toes; and what was done, one
        sentence per step.
    Raises:
        CleanupError: for another frame or skeleton, or keypoints of another length.
    Source: own.
    """
    check_arguments(clean, locals())
    remarks = [] if height is None else [f"size: scaled to a height of {height:g} m"]
    pose2d = prepared(pose2d)[0]
    known = camera or assumed_camera(pose2d.image_size)
    placed = place(constant_bones(pose, height), pose2d, known)
    rests = touching(placed, pose2d, known)
    levelled, note = level(placed, camera)
    planted = plant_feet(constant_bones(smooth(levelled)), rests)  # smoothing shortens bones that turn fast
    remarks += [note, f"jitter: smoothed over {STEADY:g} s"]
    remarks.append(f"feet: held in place in {rests.any(1).mean():.0%} of the frames")
    tall = float(np.nanmedian(bone_lengths(planted.points).sum(-1))) / BONES_PER_HEIGHT
    directions, seen = toe_directions(placed, pose2d, known, tall)
    if not seen.any():
        return planted, remarks
    before, after = (root_relative(each.points.astype(np.float64)).reshape(-1, 3) for each in (placed, levelled))
    there = np.isfinite(before).all(1)
    turn = np.linalg.lstsq(before[there], after[there], rcond=None)[0]  # from the camera to the world
    directions = gaussian(
        _between((directions @ turn).reshape(-1, 6), np.isfinite(directions).all((1, 2))), TOES_STEADY * pose.fps
    )
    remarks.append(f"toes: seen in {seen.mean():.0%} of the frames")
    return with_toes(planted, directions.reshape(-1, 2, 3), tall), remarks


def _checked(pose: Pose3D, step: str, frame: str | None = None) -> np.ndarray:
    """(T, 17, 3) float64."""
    if pose.skeleton != H36M17:
        raise CleanupError(f"{step}() takes poses on h36m17, not {pose.skeleton.name}: pose.convert() gives them")
    if frame is not None and pose.frame != frame:
        raise CleanupError(f"{step}() takes a pose in the {frame} frame, not the {pose.frame} frame")
    return pose.points.astype(np.float64)


def constant_bones(pose: Pose3D, height: Height | None = None) -> Pose3D:
    """Bones of constant length, the same left and right; directions stay. The hips lie on a line through the pelvis.

    Args:
        pose: either frame.
        height: metres, of the person; scales the body. None keeps its size.
    Returns:
        the pose with every bone at its median length, from the pelvis outwards.
    Raises:
        CleanupError: for another skeleton; ValueError: for an impossible height.
    Source: own.
    """
    check_arguments(constant_bones, locals())
    points = _checked(pose, "constant_bones")
    bones = {child: points[:, child] - points[:, parent] for parent, child in H36M17.bones}
    left, right = H36M17.indices(["left_hip", "right_hip"])
    bones[left] = (bones[left] - bones[right]) / 2
    bones[right] = -bones[left]
    length = {child: np.nanmedian(np.linalg.norm(bone, axis=-1)) for child, bone in bones.items()}
    length = {child: (value + length[H36M17.mirror[child]]) / 2 for child, value in length.items()}
    scale = 1.0 if height is None else BONES_PER_HEIGHT * height / sum(length.values())
    moved = points.copy()
    for parent, child in H36M17.bones:  # parents come first in h36m17
        moved[:, child] = moved[:, parent] + scale * length[child] * unit(bones[child])
    return replace(pose, points=moved)


def level(
    pose: Pose3D, camera: Camera | None = None, *, pitch: float | None = None, roll: float | None = None
) -> tuple[Pose3D, str]:
    """From the camera frame to the world frame, z up.

    Args:
        pose: camera frame.
        camera: calibrated in the room; its rotation says where up is.
        pitch, roll: degrees by hand: how far the camera looks down, and is turned clockwise. With neither, the vertical
            is that of the person in frames of standing upright; if there is too little standing, the camera is taken to
            be level.
    Returns:
        the pose with the camera's direction along y (with a camera: in its world), and a sentence on the vertical.
    Raises:
        CleanupError: for another frame or skeleton, or a camera and angles together.
    Source: own.
    """
    check_arguments(level, locals())
    points = _checked(pose, "level", "camera")
    if camera is not None and (pitch is not None or roll is not None):
        raise CleanupError("level() takes a camera, or pitch and roll, not both")
    if camera is not None:
        turned = camera.camera_to_world(points) if pose.root != "relative" else camera.camera_to_world_direction(points)
        return replace(pose, points=turned, frame="world"), "vertical: from the camera"
    if pitch is not None or roll is not None:
        pitch, roll = pitch or 0.0, roll or 0.0
        a, b = np.radians([pitch, roll])
        up = np.array([-np.sin(b) * np.cos(a), -np.cos(b) * np.cos(a), -np.sin(a)])
        note = f"vertical: given, the camera looks down by {pitch:.1f} and is turned by {roll:.1f} degrees"
    else:
        up, note = standing_direction(points, pose.fps)
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    ahead /= np.linalg.norm(ahead)
    turn = np.stack([np.cross(ahead, up), ahead, up])  # rows: world x, y, z in the camera frame
    return replace(pose, points=points @ turn.T, frame="world"), note


def standing_direction(points: np.ndarray, fps: float) -> tuple[np.ndarray, str]:
    """Unit vector from feet to thorax in frames of standing upright, (3,), in the camera frame, and how it was found.

    Args:
        points: (T, 17, 3) metres, camera frame.
        fps: frames per second.
    """
    at = {joint: points[:, i] for i, joint in enumerate(H36M17.joints)}
    feet = (at["left_foot"] + at["right_foot"]) / 2
    hip = _angle(at["thorax"] - at["pelvis"], at["pelvis"] - feet)
    knees = [_angle(at[f"{s}_hip"] - at[f"{s}_knee"], at[f"{s}_knee"] - at[f"{s}_foot"]) for s in ("left", "right")]
    upright = (hip < STRAIGHT) & (np.minimum(*knees) < STRAIGHT)  # on one leg at least; False where NaN
    if upright.sum() < STANDING * fps:
        return np.array([0.0, -1.0, 0.0]), "vertical: unknown, nobody stands upright; the camera is taken to be level"
    up = np.median(unit(at["thorax"] - feet)[upright], axis=0)
    up /= np.linalg.norm(up)
    pitch, roll = np.degrees([np.arcsin(-up[2]), np.arctan2(-up[0], -up[1])])
    return up, (
        f"vertical: from {upright.sum() / fps:.1f} s of standing; the camera looks down by {pitch:.1f} degrees and is "
        f"turned by {roll:.1f}"
    )


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between vectors (T, 3)."""
    return np.degrees(np.arccos(np.clip((unit(a) * unit(b)).sum(-1), -1, 1)))


def assumed_camera(image_size: tuple[int, int], fov: float = FOV) -> Camera:
    """A level camera of which only the image size is known.

    Args:
        image_size: (width, height) pixels.
        fov: degrees along the longer side; phones have about 65.

    >>> assumed_camera((1080, 1920)).focal == assumed_camera((1920, 1080)).focal
    True
    """
    width, height = image_size
    half = np.tan(np.radians(fov) / 2) * width / max(width, height)
    return Camera.phone(2 * np.degrees(np.arctan(half)), width, height)


def place(pose: Pose3D, pose2d: Pose2D, camera: Camera, steady: float = 0.3) -> Pose3D:
    """Where the person is in front of the camera: the translation with which the body projects onto the 2D pose.

    Args:
        pose: camera frame; of the right size (`constant_bones(height=...)`), since a smaller body would be nearer.
        pose2d: the keypoints it was lifted from, frame by frame, without inversions (`undo_inversions`).
        camera: intrinsics of the camera that filmed it (`assumed_camera` where they are not known).
        steady: seconds over which the depth is averaged (standard deviation); 0 for none.
    Returns:
        the pose with root "estimated".
    Raises:
        CleanupError: for another frame or skeleton, or keypoints of another length.
    Source: own. Least squares of x z' = f x', linear in the translation; weighted by confidence.
    """
    check_arguments(place, locals())
    points = root_relative(_checked(pose, "place", "camera"))
    seen = pose2d.convert("h36m17")
    if len(seen) != len(pose):
        raise CleanupError(f"place() takes the keypoints of the same frames: {len(seen)} for {len(pose)} poses")
    rays = camera.rays(np.nan_to_num(seen.points.astype(np.float64)))  # (T, 17, 3), z = 1
    weight = np.where(np.isfinite(seen.points).all(-1) & np.isfinite(points).all(-1), seen.confidence, 0.0)
    points = np.nan_to_num(points)
    # x + tx = u (z + tz), and the same in y: rows (1, 0, -u) t = u z - x
    u, v = rays[..., 0], rays[..., 1]
    one, zero = np.ones_like(u), np.zeros_like(u)
    rows = np.stack([np.stack([one, zero, -u], -1), np.stack([zero, one, -v], -1)], axis=2)  # (T, 17, 2, 3)
    right = np.stack([u * points[..., 2] - points[..., 0], v * points[..., 2] - points[..., 1]], axis=2)  # (T, 17, 2)
    weighted = rows * weight[..., None, None]
    normal = np.einsum("tjai,tjak->tik", weighted, rows)
    known = np.linalg.matrix_rank(normal) == 3
    if not known.any():
        raise CleanupError("place() needs a frame with at least two joints seen")
    root = np.full((len(points), 3), np.nan)
    root[known] = np.linalg.solve(normal[known], np.einsum("tjai,tja->ti", weighted, right)[known][..., None])[..., 0]
    root = _between(root, known)
    depth = gaussian(root[:, 2], steady * pose.fps)
    root *= (depth / root[:, 2])[:, None]  # along the ray, so that the image stays
    return replace(pose, points=root_relative(pose.points.astype(np.float64)) + root[:, None], root="estimated")


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """(T, ...) averaged along the first axis with a Gaussian of `sigma` frames; ends are repeated.

    >>> gaussian(np.array([0.0, 0.0, 3.0, 0.0, 0.0]), 0.8).round(2).tolist()
    [0.21, 0.69, 1.5, 0.69, 0.21]
    """
    reach = int(np.ceil(4 * sigma))
    if sigma <= 0 or reach == 0:
        return values
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, ((reach, reach), *((0, 0),) * (values.ndim - 1)), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel / kernel.sum(), mode="valid")


def smooth(pose: Pose3D, method: str = "gaussian", seconds: float = STEADY) -> Pose3D:
    """Less jitter.

    Args:
        pose: either frame; frames that are NaN stay so, and their neighbours are averaged without them.
        method: "gaussian" (standard deviation of `seconds`), "savgol" (a cubic over 6 times `seconds`; Savitzky and
            Golay 1964), "butterworth" (4th order, forwards and backwards, cutoff 1 / (2 pi `seconds`) Hz) or "one_euro"
            (from past frames only, with a delay; Casiez et al. 2012).
        seconds: how strongly.
    Raises:
        CleanupError: for an unknown method; ImportError: "savgol" and "butterworth" need mocap3d[video] (SciPy).
    """
    check_arguments(smooth, locals())
    points = pose.points.astype(np.float64)
    missing = ~np.isfinite(points).all((1, 2))
    if missing.all():
        return pose
    flat = _between(points.reshape(len(points), -1), ~missing)
    sigma = seconds * pose.fps
    if method == "gaussian":
        flat = gaussian(flat, sigma)
    elif method == "one_euro":
        flat = one_euro(flat, pose.fps, 1 / (2 * np.pi * seconds))
    elif method in ("savgol", "butterworth"):
        try:
            from scipy import signal
        except ImportError:
            raise ImportError(f'smooth(method="{method}") needs SciPy: pip install "mocap3d[video]"') from None
        if method == "savgol":
            window = min(2 * round(3 * sigma) + 1, len(flat) - 1 + len(flat) % 2)
            flat = signal.savgol_filter(flat, window, 3, axis=0) if window > 3 else flat
        else:
            sections = signal.butter(4, min(1 / (2 * np.pi * seconds), 0.49 * pose.fps), fs=pose.fps, output="sos")
            flat = signal.sosfiltfilt(sections, flat, axis=0, padlen=min(27, len(flat) - 1))
    else:
        raise CleanupError(f'method={method!r}: "gaussian", "savgol", "butterworth" or "one_euro"')
    flat = flat.reshape(points.shape)
    flat[missing] = np.nan
    return replace(pose, points=flat)


def one_euro(
    values: np.ndarray, fps: float, cutoff: float, beta: float = 3.0, cutoff_of_speed: float = 1.0
) -> np.ndarray:
    """(T, C) filtered by the One Euro filter: the faster a value moves, the less it is smoothed.

    Args:
        values: one row per frame.
        fps: frames per second.
        cutoff: Hz, of values at rest.
        beta: by how many Hz the cutoff rises per unit (metre) per second.
        cutoff_of_speed: Hz, of the speed's own filter.
    Source: Casiez, Roussel and Vogel 2012.
    """
    share = lambda hertz: 1 / (1 + fps / (2 * np.pi * hertz))  # noqa: E731
    out, speed = values.copy(), np.zeros_like(values[0])
    for t in range(1, len(values)):  # each frame needs the one before
        speed += share(cutoff_of_speed) * ((values[t] - out[t - 1]) * fps - speed)
        out[t] = out[t - 1] + share(cutoff + beta * np.abs(speed)) * (values[t] - out[t - 1])
    return out


def touching(pose: Pose3D, pose2d: Pose2D, camera: Camera) -> np.ndarray:
    """Which ankles rest: those that rest in the image of a camera that stands still.

    Seen in the image, since a lifted ankle trembles in depth. A foot held still in the air counts as well.

    Args:
        pose: camera frame, placed.
        pose2d: the keypoints it was lifted from, without inversions (`undo_inversions`).
        camera: that filmed it.
    Returns:
        (T, 2) bool, left and right; gaps of up to GAP seconds are closed, shorter rests are left out.
    Source: own.
    """
    check_arguments(touching, locals())
    depth, fps = _checked(pose, "touching", "camera")[:, ANKLES, 2], pose.fps
    pixels = pose2d.convert("h36m17").points[:, ANKLES].astype(np.float64)
    seen = np.isfinite(pixels).all(-1)
    rays = camera.rays(np.nan_to_num(pixels))[..., :2]  # (T, 2 feet, 2)
    rests = np.zeros(seen.shape, bool)
    for foot in np.flatnonzero(seen.sum(0) > 1):
        at = seen[:, foot]
        path = _between(rays[:, foot], at)
        speed = np.linalg.norm(np.gradient(gaussian(path, 0.06 * fps), axis=0), axis=-1) * fps * depth[:, foot]
        rests[:, foot] = _without_short((speed < RESTS) & at, GAP * fps)
    return rests


def _without_short(held: np.ndarray, frames: float) -> np.ndarray:
    """(T,) bool without gaps, and then without intervals, of less than so many frames."""
    for value in (False, True):
        edges = np.flatnonzero(np.diff(np.concatenate([[2], held, [2]])))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            within = value or (start > 0 and stop < len(held))
            if held[start] == value and stop - start < frames and within:
                held = np.concatenate([held[:start], np.full(stop - start, not value), held[stop:]])
    return held


def plant_feet(pose: Pose3D, rests: np.ndarray, steady: float = 0.15) -> Pose3D:
    """Feet that rest stay where they are: the body is moved with them, and what is left bends the legs.

    Args:
        pose: world frame, placed (root "estimated" or "absolute"), with constant bones.
        rests: (T, 2) bool, from `touching`.
        steady: seconds over which corrections fade in and out.
    Returns:
        the pose, standing at height 0, with root "floor-glued".
    Raises:
        CleanupError: for another frame, skeleton or length, or a pose without a place.
    Source: own.
    """
    check_arguments(plant_feet, locals())
    points = _checked(pose, "plant_feet", "world")
    if pose.root == "relative":
        raise CleanupError("plant_feet() takes a pose with a place in the room: use place() before")
    if rests.shape != (len(points), 2):
        raise CleanupError(f"rests has shape {rests.shape}; give one value per frame and foot, ({len(points)}, 2)")
    rests = rests & np.isfinite(points[:, ANKLES]).all(-1)
    if rests.any():
        held = rests.any(1)
        moves = [_to_anchor(points[:, ankle], rests[:, foot]) for foot, ankle in enumerate(ANKLES)]
        move = sum(moves) / np.maximum(rests.sum(1), 1)[:, None]
        points = points + gaussian(_between(move, held), 0.1 * pose.fps)[:, None]
        frames = np.arange(len(points))
        for foot, side in enumerate(("left", "right")):
            held = rests[:, foot]
            if held.any():
                move = _between(_to_anchor(points[:, ANKLES[foot]], held), held)
                after = np.searchsorted(frames[held], frames).clip(max=held.sum() - 1)
                nearest = frames[held][[(after - 1).clip(0), after]]  # the frames of rest before and after, (2, T)
                away = np.abs(nearest - frames).min(0) / (steady * pose.fps)
                points = _bent_leg(points, side, points[:, ANKLES[foot]] + move * np.exp(-0.5 * away**2)[:, None])
    ankles = points[:, ANKLES][..., 2]
    ground = np.median(ankles[rests]) if rests.any() else np.nanmin(ankles)
    return replace(pose, points=points - [0, 0, ground], root="floor-glued")


def _to_anchor(path: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(T, 3) from where a foot is to the middle of each rest; 0 between."""
    edges, move = np.flatnonzero(np.diff(np.concatenate([[0], held, [0]]))), np.zeros_like(path)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        move[start:stop] = np.median(path[start:stop], axis=0) - path[start:stop]
    return move


def _between(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T, C) as given where known, interpolated in time elsewhere."""
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[known], column[known]) for column in values.T], axis=-1)


def _bent_leg(points: np.ndarray, side: str, ankle: np.ndarray) -> np.ndarray:
    """(T, 17, 3) with an ankle at (T, 3), or as near as the leg reaches, and the knee bent in its own plane."""
    hip, knee, foot = H36M17.indices([f"{side}_hip", f"{side}_knee", f"{side}_foot"])
    thigh, shin = (np.linalg.norm(points[:, b] - points[:, a], axis=-1) for a, b in ((hip, knee), (knee, foot)))
    reach = ankle - points[:, hip]
    length = np.linalg.norm(reach, axis=-1)
    line = reach / np.maximum(length, 1e-9)[:, None]
    length = np.clip(length, np.abs(thigh - shin) + 1e-3, thigh + shin - 1e-4)
    along = (thigh**2 - shin**2 + length**2) / (2 * length)
    bend = points[:, knee] - points[:, hip]
    bend = unit(bend - (bend * line).sum(-1, keepdims=True) * line)
    points = points.copy()
    aside = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    points[:, knee] = points[:, hip] + along[:, None] * line + aside[:, None] * bend
    points[:, foot] = points[:, hip] + length[:, None] * line
    return points
