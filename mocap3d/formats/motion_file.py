"""Shared by all motion-file readers: the error class, bounded reading, Euler angles, forward kinematics.

Files are not trusted: sizes are bounded before anything is allocated, nothing is recursive, and every error in a
file is raised as a MotionFileError that names the file, the line and the reason.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mocap3d.files import excerpt
from mocap3d.poses import Pose3D, PoseError
from mocap3d.skeleton import Skeleton

MAX_BYTES = 512 * 2**20  # enough for 20,000 frames of 2,000 numbers; real files are under 10 MB
MAX_HEADER = 16 * 2**20  # bytes of hierarchy or skeleton; real ones are 10 kB
MAX_JOINTS = 4096
MAX_POINTS = 100_000_000  # frames x joints, 1.2 GB of float32 positions
MAX_VALUE = 1e7  # file units or degrees: larger float32 metres and angles are meaningless
_BLOCK = 2048  # frames per round of forward kinematics: keeps the rotations of a long file out of memory


class MotionFileError(ValueError):
    """A motion file that cannot be read.

    Args:
        file: the path as given.
        line: line number from 1, or None if the error has no line (missing file, size).
        reason: what is wrong and, where it helps, what to do.
    """

    def __init__(self, file: str | os.PathLike, line: int | None, reason: str) -> None:
        super().__init__(str(file), line, reason)  # args rebuild the error in another process
        self.file, self.line, self.reason = str(file), line, reason

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


Fault = Callable[[int | None, str], MotionFileError]  # the error of one file, given line and reason


def line_of(data: bytes, position: int) -> int:
    """Line number, from 1, of a byte position.

    >>> line_of(b"one\\ntwo", 5)
    2
    """
    return data.count(b"\n", 0, position) + 1


def read_text(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> bytes:
    r"""Contents of a text file, with \n line ends and without a byte order mark.

    Args:
        path: a regular file (a folder, pipe or device is refused, so reading never blocks).
        max_bytes: larger files are refused unread.
    Raises:
        MotionFileError: missing, unreadable, empty, too large, or binary.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes.txt"
    >>> _ = path.write_bytes(b"one\r\ntwo")
    >>> read_text(path)
    b'one\ntwo'
    """
    fault = partial(MotionFileError, path)
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                data = file.read(min(status.st_size, max_bytes) + 1)  # the buffer is allocated before it is filled
    except FileNotFoundError:
        raise fault(None, "no such file") from None
    except (OSError, ValueError) as error:
        raise fault(None, f"cannot be opened: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise fault(None, "not a file" + (" but a folder" if stat.S_ISDIR(status.st_mode) else ""))
    if len(data) > max_bytes:
        raise fault(None, f"larger than {max_bytes / 2**20:g} MiB; pass max_bytes= if it is meant to be")
    if not data.strip():
        raise fault(None, "the file is empty")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise fault(1, "the text is UTF-16; save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in data:
        raise fault(line_of(data, data.index(b"\0")), "binary data, not text")
    return data


def decode(fault: Fault, data: bytes) -> str:
    """UTF-8 text; the error names the first line that is not.

    >>> decode(partial(MotionFileError, "walk.bvh"), b"ROOT Hips")
    'ROOT Hips'
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault(line_of(data, error.start), "not UTF-8 text; save the file as UTF-8") from None


def to_number(fault: Fault, line: int, word: str | bytes, what: str) -> float:
    """A finite number of plausible size; MotionFileError otherwise.

    >>> to_number(partial(MotionFileError, "walk.bvh"), 7, "-1.5e2", "an OFFSET")
    -150.0
    """
    try:
        value = float(word)
        if "_" in str(word):  # which float() accepts as a digit separator
            raise ValueError
    except ValueError:
        raise fault(line, f"{what} is {excerpt(word)}, not a number") from None
    if not abs(value) <= MAX_VALUE:  # also catches NaN
        raise fault(line, f"{what} is {excerpt(word)}; numbers must be finite and within {MAX_VALUE:g}")
    return value


def check_size(fault: Fault, frames: int, joints: int) -> None:
    """Raise MotionFileError for a motion whose positions would not fit in memory.

    >>> check_size(partial(MotionFileError, "walk.bvh"), frames=1000, joints=31)
    """
    if frames * joints > MAX_POINTS:
        size = f"{frames} frames of {joints} joints exceed {MAX_POINTS} joint positions"
        raise fault(None, f"{size}; cut the file into parts")


def side_pairs(joints: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Left joints and their right counterparts, guessed from names: LeftArm, Hand_L, CC_L_Thigh, LThigh, lfemur.

    A joint counts only if its mirrored name exists too; if nothing matches, both tuples are empty.

    >>> side_pairs(("Hips", "LeftArm", "RightArm"))
    (('LeftArm',), ('RightArm',))
    """
    rules = (
        (r"left", lambda m: "right" if m[0].islower() else "RIGHT" if m[0].isupper() else "Right"),
        (r"(?<![A-Za-z])[Ll](?![A-Za-z])", lambda m: "R" if m[0] == "L" else "r"),
        (r"^l(?=[a-z])", lambda m: "r"),
        (r"(?<![A-Za-z])L(?=[A-Z][a-z])", lambda m: "R"),
    )
    present, pairs = set(joints), []
    for joint in joints:
        for pattern, swap in rules:
            other = re.sub(pattern, swap, joint, flags=re.IGNORECASE if pattern == "left" else 0)
            if other != joint and other in present:
                present -= {joint, other}
                pairs.append((joint, other))
                break
    return tuple(left for left, _ in pairs), tuple(right for _, right in pairs)


def euler_matrices(angles: np.ndarray, axes: str) -> np.ndarray:
    """Rotation matrices of intrinsic Euler angles: R = R_axes[0](angles[0]) @ R_axes[1](angles[1]) @ ...

    Args:
        angles: (..., K) radians.
        axes: K letters of x, y, z, any order, any number; none gives the identity.
    Returns:
        (..., 3, 3) float64, determinant +1.
    Source: own (each factor mixes two columns, so no matrix is multiplied).

    >>> euler_matrices(np.array([np.pi / 2]), "z")[:, 0].round(6).tolist()  # where x goes
    [0.0, 1.0, 0.0]
    """
    matrix = np.zeros((*angles.shape[:-1], 3, 3))
    matrix[..., range(3), range(3)] = 1.0
    for k, axis in enumerate(axes):
        a = ("xyz".index(axis) + 1) % 3
        b = (a + 1) % 3
        cos, sin = np.cos(angles[..., k, None]), np.sin(angles[..., k, None])
        column_a, column_b = matrix[..., :, a].copy(), matrix[..., :, b].copy()
        matrix[..., :, a] = cos * column_a + sin * column_b
        matrix[..., :, b] = cos * column_b - sin * column_a
    return matrix


def forward_kinematics(
    parents: tuple[int, ...], rotations: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions and orientations from those relative to each parent.

    Args:
        parents: J parent indices, -1 for a root; every parent comes before its children.
        rotations: (T, J, 3, 3) or (1, J, 3, 3), child to parent frame.
        translations: (T, J, 3) or (1, J, 3), joint in its parent's frame, any unit.
    Returns:
        positions (T, J, 3), orientations (T, J, 3, 3) in the frame of the roots, float64.
    Source: own.

    >>> straight = np.broadcast_to(np.eye(3), (1, 2, 3, 3))
    >>> offsets = np.array([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.5]]])
    >>> forward_kinematics((-1, 0), straight, offsets)[0][0, 1].tolist()
    [0.0, 0.0, 1.5]
    """
    frames = max(len(rotations), len(translations))
    positions = np.empty((frames, len(parents), 3))
    orientations = np.empty((frames, len(parents), 3, 3))
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[:, joint], orientations[:, joint] = translations[:, joint], rotations[:, joint]
            continue
        turn = orientations[:, parent]  # (T, 3, 3)
        orientations[:, joint] = turn @ rotations[:, joint]
        positions[:, joint] = positions[:, parent] + (turn @ translations[:, joint, :, None])[..., 0]
    return positions, orientations


def to_z_up(points: np.ndarray, up: str) -> np.ndarray:
    """Rotate file axes to the world frame, z up: for up="y" (x, y, z) -> (x, -z, y), determinant +1; "z" is unchanged.

    Args:
        points: (..., 3), any unit.
        up: "y" or "z", the file's vertical axis.

    >>> to_z_up(np.array([1.0, 2.0, 3.0]), "y").tolist()
    [1.0, -3.0, 2.0]
    """
    if up not in ("y", "z"):
        raise ValueError(f'up={up!r}: the vertical axis of the file is "y" or "z"')
    return points if up == "z" else np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def named_skeleton(path: str | os.PathLike, joints: tuple[str, ...], parents: tuple[int, ...]) -> Skeleton:
    """The skeleton of a file, named after it, with left and right joints inferred from their names.

    >>> named_skeleton("walk.bvh", ("Hips", "LeftArm", "RightArm"), (-1, 0, 0)).side("LeftArm")
    'left'
    """
    return Skeleton(Path(path).stem, joints, parents, *side_pairs(joints))


def make_pose(
    path: str | os.PathLike, skeleton: Skeleton, fps: float, frames: int, positions: Callable, up: str
) -> Pose3D:
    """World pose of a file, computed in blocks of frames.

    Args:
        path: for the message, since Pose3D rejects values only if the file or its scale is wrong.
        skeleton: J joints.
        fps: frames per second.
        frames: number of frames.
        positions: range of frames -> (T, J, 3) metres in the file's own axes.
        up: "y" or "z", the file's vertical axis.

    >>> skeleton = named_skeleton("point.bvh", ("Hips",), (-1,))
    >>> make_pose("point.bvh", skeleton, 30.0, 5, lambda block: np.zeros((5, 1, 3)), "y")
    Pose3D(5 frames x 1 joints point, metres, 30 fps, world frame, root absolute)
    """
    check_size(partial(MotionFileError, path), frames, len(skeleton))
    points = np.empty((frames, len(skeleton), 3), np.float32)
    for start in range(0, frames, _BLOCK):
        block = slice(start, start + _BLOCK)
        points[block] = to_z_up(positions(block), up)
    try:
        return Pose3D(points, skeleton, fps, "world", "absolute")
    except PoseError as error:
        why = f"{error} (is the file's unit the one that was asked for?)"
        raise MotionFileError(path, None, why) from None
