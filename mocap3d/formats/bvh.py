"""Biovision BVH motion files: any hierarchy, any channel order, position channels on any joint."""

from __future__ import annotations

import os
import warnings

import numpy as np

from mocap3d.arguments import FilePath, check_arguments
from mocap3d.formats.bvh_text import Bvh, parse_bvh
from mocap3d.formats.motion_file import (
    MAX_BYTES,
    MotionFileError,
    euler_matrices,
    forward_kinematics,
    make_pose,
    named_skeleton,
    to_z_up,
)
from mocap3d.poses import Pose3D

UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "CMU inches / 0.45": 0.0254 / 0.45}
HEIGHT, PLAUSIBLE = (1.0, 2.2), (0.8, 2.3)  # metres: of people units are guessed for, and of those read without warning
WHOLE_BODY = 12  # joints, from which a skeleton is taken for a whole person's


def read_bvh(
    path: FilePath,
    scale: float | str = 0.01,
    up: str = "y",
    markers: dict[str, tuple[str, tuple[float, float, float]]] | None = None,
    root_offset: str = "auto",
    max_bytes: int = MAX_BYTES,
) -> Pose3D:
    """Read a BVH file as joint positions.

    Args:
        path: the file.
        scale: metres per file unit (0.01 for centimetres); "auto" guesses the unit from the size of the body. A body
            of an unlikely size is read, with a warning.
        up: the file's vertical axis, "y" or "z". A body that lies along the other one is read, with a warning.
        markers: {"Nose": ("Head", (x, y, z))} adds joints fixed to a joint's rotating frame, in file units.
        root_offset: how a root's OFFSET and its position channels combine; see `local_transforms`.
        max_bytes: larger files are refused.
    Returns:
        Pose3D, world frame (z up), metres, absolute root; every joint and End Site by name, markers last.
    Raises:
        MotionFileError: for any error in the file, with its line.
        ValueError: for a bad argument.

    >>> lines = ["HIERARCHY", "ROOT hip", "{", "OFFSET 0 0 0", "CHANNELS 3 Xposition Yposition Zposition", "End Site"]
    >>> lines += ["{", "OFFSET 0 10 0", "}", "}", "MOTION", "Frames: 2", "Frame Time: 0.02", "0 90 0", "1 90 0"]
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "stick.bvh"
    >>> _ = path.write_text("\\n".join(lines))
    >>> read_bvh(path)  # centimetres, y up
    Pose3D(2 frames x 2 joints stick, metres, 50 fps, world frame, root absolute)
    """
    check_arguments(read_bvh, locals())
    if scale != "auto" and not (isinstance(scale, (int, float)) and np.isfinite(scale) and 0 < scale <= 1e3):
        raise ValueError(f'scale={scale!r}: metres per file unit, a positive number, or "auto"')
    to_z_up(np.zeros(3), up)  # refuse a bad axis before reading
    bvh = parse_bvh(path, max_bytes)
    names, holders, places = _resolve_markers(bvh, markers or {})
    skeleton = named_skeleton(path, bvh.joints + names, bvh.parents + tuple(holders))
    mode = _root_mode(bvh, up) if root_offset == "auto" else root_offset
    scale = _checked_scale(path, bvh, scale, up)

    def positions(block: slice) -> np.ndarray:
        points, turns = forward_kinematics(bvh.parents, *local_transforms(bvh, block, mode))
        fixed = points[:, holders] + (turns[:, holders] @ places[..., None])[..., 0]  # (T, markers, 3)
        return np.concatenate([points, fixed], axis=1) * scale

    return make_pose(path, skeleton, bvh.fps, len(bvh.values), positions, up)


def guess_unit(size: float) -> tuple[str, float]:
    """Name and metres of the unit in which a person is that long; ("unknown", 0.01) if none fits.

    >>> guess_unit(169.0)
    ('centimetres', 0.01)
    """
    fitting = (unit for unit in UNITS.items() if HEIGHT[0] <= size * unit[1] <= HEIGHT[1])
    return next(fitting, ("unknown", 0.01))


def _checked_scale(path: str | os.PathLike, bvh: Bvh, scale: float | str, up: str) -> float:
    """Metres per unit; warns of a body that is too large, too small, or lies down."""
    few = slice(None, None, max(1, len(bvh.values) // 64))
    points = forward_kinematics(bvh.parents, *local_transforms(bvh, few))[0]
    body = body_joints(points, bvh.parents)
    extent = np.ptp(points[:, body], axis=1)  # (T, 3)
    size = float(np.median(extent.max(-1)))
    unit, guessed = guess_unit(size)
    if scale == "auto" and unit == "unknown":
        raise MotionFileError(
            path, None, f"a body {size:.3g} units long is no person in {', '.join(UNITS)}; give scale="
        )
    scale = guessed if scale == "auto" else float(scale)
    if len(body) < WHOLE_BODY:
        return scale
    if not PLAUSIBLE[0] <= size * scale <= PLAUSIBLE[1]:
        looks = "" if unit == "unknown" else f'; its unit seems to be {unit}: give scale={guessed:.4g} or "auto"'
        warnings.warn(f"{path}: the body is {size * scale:.3g} m long at scale={scale:g}{looks}", stacklevel=3)
    vertical, other = ("y", "z") if up == "y" else ("z", "y")
    high, long = (float(np.median(extent[:, "xyz".index(axis)])) for axis in (vertical, other))
    if high < 0.5 * size and long > 0.8 * size:
        advice = f'unless it is meant to lie, the vertical axis of the file is {other}: give up="{other}"'
        warnings.warn(f"{path}: the body lies along the {other} axis of the file; {advice}", stacklevel=3)
    return scale


def body_joints(points: np.ndarray, parents: tuple[int, ...]) -> list[int]:
    """Joints of the person: all but a root that the body moves away from (a mark of the room, not a bone's end).

    Args:
        points: (T, J, 3), any unit.
        parents: J indices, -1 for a root.

    >>> still, moving = np.zeros((9, 1, 3)), np.arange(27.0).reshape(9, 1, 3)
    >>> body_joints(np.concatenate([still, moving], axis=1), (-1, 0))
    [1]
    """
    ends = [(parent, child) for child, parent in enumerate(parents) if parent >= 0 and parents[parent] < 0]
    length = {end: np.linalg.norm(points[:, end[0]] - points[:, end[1]], axis=-1) for end in ends}
    spread = {end: np.subtract(*np.percentile(length[end], [90, 10])) for end in ends}  # one jump does not count
    marks = {end[0] for end in ends if spread[end] > 0.05 * length[end].max()}
    return [i for i in range(len(parents)) if i not in marks]


def local_transforms(bvh: Bvh, frames: slice = slice(None), root_offset: str = "add") -> tuple[np.ndarray, np.ndarray]:
    """Every joint relative to its parent, ready for `forward_kinematics`.

    Rotations multiply in channel order. Position channels replace the OFFSET of a joint. For a root, programs that
    write BVH differ: with some the channels are relative to the OFFSET ("add"), others repeat the first frame's
    position as OFFSET, which must be ignored ("ignore"); "auto" selects the one that puts the feet nearer to height 0.

    Args:
        bvh: a parsed file.
        frames: which frames.
        root_offset: "add", "ignore" or "auto" (with y as vertical).
    Returns:
        rotations (T, J, 3, 3), translations (T, J, 3) in file units.
    Source: own; "add" follows the Biovision description (Univ. of Wisconsin CS-838, 1999).
    """
    if root_offset not in ("auto", "add", "ignore"):
        raise ValueError(f'root_offset={root_offset!r}: "auto", "add" or "ignore"')
    root_offset = _root_mode(bvh, "y") if root_offset == "auto" else root_offset
    values = bvh.values[frames]
    rotations = np.empty((len(values), len(bvh.joints), 3, 3))
    translations = np.repeat(bvh.offsets[None], len(values), axis=0)
    column = 0
    for joint, channels in enumerate(bvh.channels):
        mine = values[:, column : column + len(channels)]
        column += len(channels)
        turning = [k for k, name in enumerate(channels) if name.endswith("rotation")]
        axes = "".join(channels[k][0].lower() for k in turning)
        rotations[:, joint] = euler_matrices(np.radians(mine[:, turning]), axes)
        for k, name in enumerate(channels):
            if name.endswith("position"):
                axis = "XYZ".index(name[0])
                added = bvh.offsets[joint, axis] if bvh.parents[joint] < 0 and root_offset == "add" else 0.0
                translations[:, joint, axis] = mine[:, k] + added
    return rotations, translations


def _root_mode(bvh: Bvh, up: str) -> str:
    """ "add" or "ignore", whichever puts the lowest joint of the motion nearer to height zero."""
    vertical = "xyz".index(up)
    offset = bvh.offsets[0, vertical]
    if offset == 0 or "XYZ"[vertical] + "position" not in bvh.channels[0]:
        return "add"
    few = slice(None, None, max(1, len(bvh.values) // 64))
    floor = forward_kinematics(bvh.parents, *local_transforms(bvh, few, "ignore"))[0][..., vertical].min()
    return "add" if abs(floor + offset) < abs(floor) else "ignore"


def _resolve_markers(bvh: Bvh, markers: dict) -> tuple[tuple[str, ...], list[int], np.ndarray]:
    for name, (holder, _) in markers.items():
        if name in bvh.joints:
            raise ValueError(f"marker {name!r}: the file already has a joint of that name")
        if holder not in bvh.joints:
            raise ValueError(
                f"marker {name!r} is fixed to {holder!r}, which the file lacks; it has {', '.join(bvh.joints)}"
            )
    places = np.array([place for _, place in markers.values()], dtype=float).reshape(-1, 3)
    if not np.isfinite(places).all():
        raise ValueError(f"markers need finite offsets in file units: {markers}")
    return tuple(markers), [bvh.joints.index(holder) for holder, _ in markers.values()], places
