"""Acclaim motion capture: a skeleton (.asf) and the motions made with it (.amc).

A bone turns about its own `axis` frame C: with the frame's angles as M, its rotation relative to its parent is
C M C^-1, and its far end lies `direction` times `length` from its near end. Angle lists such as "rx ry rz" are
turns about fixed axes in that order, so M = Rz Ry Rx. Joints here are the far ends of the bones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mocap3d.formats.motion_file import (
    MAX_BYTES,
    MAX_HEADER,
    MAX_JOINTS,
    MAX_VALUE,
    MotionFileError,
    as_pose,
    check_size,
    decode,
    euler_matrices,
    excerpt,
    forward_kinematics,
    line_of,
    read_text,
    side_pairs,
    stem,
    to_number,
    to_z_up,
)
from mocap3d.poses import Pose3D
from mocap3d.skeleton import CMU, Skeleton

_INCH = 0.0254  # metres
_DOFS = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
_BLOCK = 2048  # frames per round of forward kinematics
_CHUNK = 8 * 2**20  # bytes of motion split into words at a time


@dataclass(frozen=True, eq=False)
class Asf:
    """An Acclaim skeleton: file units, radians, y up.

    Args:
        bones: B names, the first "root"; parents stand before children.
        parents: B indices, -1 for the root.
        offsets: (B, 3) direction times length, from near to far end; for the root its preset position.
        axes: (B, 3, 3) the bone's own frame C; for the root its preset orientation.
        dofs: B tuples of tx ty tz rx ry rz l in the order of the motion's numbers.
        length: the file's length unit; a coordinate is value / length inches.
        degrees: whether its angles are in degrees.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    axes: np.ndarray
    dofs: tuple[tuple[str, ...], ...]
    length: float
    degrees: bool

    @property
    def scale(self) -> float:
        """Metres per unit of the file."""
        return _INCH / self.length


def read_amc(asf: str | os.PathLike, amc: str | os.PathLike, fps: float = 120.0, max_bytes: int = MAX_BYTES) -> Pose3D:
    """Read an Acclaim motion on its skeleton as joint positions.

    Args:
        asf: the skeleton file.
        amc: the motion file.
        fps: the format does not say; CMU recorded at 120.
        max_bytes: larger files are refused.
    Returns:
        Pose3D, world frame (z up), metres, absolute root; joints are "root" and the far ends of the bones.
        Bones of the skeleton that the motion never names stay at rest.
    Raises:
        MotionFileError: for any fault of either file, with its line.
        ValueError: for a bad argument.
    """
    if not (np.isfinite(fps) and 0 < fps < 10_000):
        raise ValueError(f"fps={fps!r}: frames per second, above 0 and below 10000")
    skeleton = parse_asf(asf, max_bytes)
    values, degrees = parse_amc(amc, skeleton, max_bytes)
    frames = len(next(iter(values.values())))
    points = np.empty((frames, len(skeleton.bones), 3), np.float32)
    for start in range(0, frames, _BLOCK):
        block = {bone: rows[start : start + _BLOCK] for bone, rows in values.items()}
        positions, _ = forward_kinematics(skeleton.parents, *local_transforms(skeleton, block, degrees))
        points[start : start + _BLOCK] = to_z_up(positions * skeleton.scale, "y")
    known = skeleton.bones == CMU.joints and skeleton.parents == CMU.parents
    body = CMU if known else Skeleton(stem(asf), skeleton.bones, skeleton.parents, *side_pairs(skeleton.bones))
    return as_pose(amc, points, body, fps)


def find_skeleton(amc: Path) -> Path:
    """The .asf of an .amc: same name, the part before "_", or the only one in the folder."""
    beside = sorted(path for path in amc.parent.iterdir() if path.suffix.lower() == ".asf")
    for name in (amc.stem, amc.stem.split("_")[0]):
        for path in beside:
            if path.stem.lower() == name.lower():
                return path
    if len(beside) == 1:
        return beside[0]
    raise MotionFileError(amc, None, f"{len(beside)} .asf files beside it and none named after it; one is needed")


def local_transforms(asf: Asf, values: dict[str, np.ndarray], degrees: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every bone relative to its parent, ready for `forward_kinematics`.

    Args:
        asf: the skeleton.
        values: (T, K) numbers of each bone the motion names, in the order of its dofs.
        degrees: the unit of the motion's angles.
    Returns:
        rotations (T, B, 3, 3), translations (T, B, 3) of the far ends in file units.
    Source: Acclaim Skeleton File Definition 1.10 (Schafer 1994). Its `l` lengthens the bone by that much and
        tx ty tz shift it within its own axes; CMU's files use neither. The root's preset position and orientation
        offset the whole motion.
    """
    frames = len(next(iter(values.values())))
    rotations = np.empty((frames, len(asf.bones), 3, 3))
    translations = np.empty((frames, len(asf.bones), 3))
    for i, bone in enumerate(asf.bones):
        own, offset = asf.axes[i], asf.offsets[i]
        if bone not in values:
            rotations[:, i], translations[:, i] = np.eye(3), offset
            continue
        numbers, dofs = values[bone], asf.dofs[i]
        turning = [k for k, dof in enumerate(dofs) if dof[0] == "r"][::-1]  # fixed axes: the last turn stands first
        angles = numbers[:, turning]
        turn = euler_matrices(np.radians(angles) if degrees else angles, "".join(dofs[k][1] for k in turning))
        shift = np.zeros((frames, 3))
        for k, dof in enumerate(dofs):
            if dof[0] == "t":
                shift[:, "xyz".index(dof[1])] = numbers[:, k]
        if i == 0:
            rotations[:, i], translations[:, i] = turn @ own, offset + shift
            continue
        rotations[:, i] = own @ turn @ own.T
        reach = np.broadcast_to(offset, (frames, 3))
        if "l" in dofs:
            size = np.linalg.norm(offset)
            reach = offset + numbers[:, [dofs.index("l")]] * (offset / size if size else offset)
        translations[:, i] = shift @ own.T + (rotations[:, i] @ reach[..., None])[..., 0]
    return rotations, translations


def parse_asf(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Asf:
    """Parse an Acclaim skeleton.

    Raises:
        MotionFileError: for any fault of the file, with its line.
    """
    sections: dict[str, list] = {}
    section, line = None, 1
    for words, line in _lines(path, read_text(path, min(max_bytes, MAX_HEADER))):
        if words[0].startswith(":"):
            section = words[0].lower()
            if section in (":units", ":root", ":bonedata", ":hierarchy") and section in sections:
                raise MotionFileError(path, line, f"a second {section} section")
            sections.setdefault(section, [])
        elif section is None:
            raise MotionFileError(path, line, f"not an ASF file: {excerpt(words[0])} before any ':' section")
        elif section != ":documentation":
            sections[section].append((words, line))
    for needed in (":root", ":bonedata", ":hierarchy"):
        if not sections.get(needed):
            raise MotionFileError(path, line, f"no {needed} section: not an ASF file, or truncated")
    length, degrees = _parse_units(path, sections.get(":units", []))
    bones = {"root": _parse_root(path, sections[":root"], degrees)}
    for bone in _parse_bones(path, sections[":bonedata"], degrees):
        if bone["name"] in bones:
            raise MotionFileError(path, bone["line"], f"two bones are named {excerpt(bone['name'])}")
        bones[bone["name"]] = bone
        if len(bones) > MAX_JOINTS:
            raise MotionFileError(path, bone["line"], f"more than {MAX_JOINTS} bones")
    names, parents = _parse_tree(path, sections[":hierarchy"], bones)
    offsets, axes = (np.array([bones[name][key] for name in names]) for key in ("offset", "axes"))
    return Asf(names, parents, offsets, axes, tuple(bones[name]["dofs"] for name in names), length, degrees)


def _lines(path: str | os.PathLike, data: bytes) -> Iterator[tuple[list[str], int]]:
    """Lines as words, without comments; commas and parentheses are space."""
    for number, line in enumerate(decode(path, data).split("\n"), start=1):
        words = line.split("#")[0].replace(",", " ").replace("(", " ").replace(")", " ").split()
        if words:
            yield words, number


def _parse_units(path: str | os.PathLike, lines: list) -> tuple[float, bool]:
    length, degrees = 1.0, True
    for words, line in lines:
        key, value = words[0].lower(), words[1] if len(words) > 1 else ""
        if key == "length":
            length = to_number(path, line, value, "length")
            if length <= 0:
                raise MotionFileError(path, line, f"length {excerpt(value)}: the unit must be above 0")
        elif key == "angle":
            if value.lower() not in ("deg", "rad"):
                raise MotionFileError(path, line, f"angle {excerpt(value)}: 'deg' or 'rad' is needed")
            degrees = value.lower() == "deg"
    return length, degrees


def _numbers(path: str | os.PathLike, words: list[str], line: int, count: int) -> list[float]:
    if len(words) < count + 1:
        raise MotionFileError(path, line, f"{words[0]}: {count} numbers are needed, found {len(words) - 1}")
    return [to_number(path, line, word, words[0]) for word in words[1 : count + 1]]


def _frame(path: str | os.PathLike, angles: list[float], order: str, degrees: bool, line: int) -> np.ndarray:
    """(3, 3) rotation by three angles about fixed axes in that order."""
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise MotionFileError(path, line, f"axis order {excerpt(order)}: x, y and z once each are needed")
    values = np.radians(angles) if degrees else np.array(angles)
    return euler_matrices(values[::-1], order.lower()[::-1])


def _dofs(path: str | os.PathLike, words: list[str], line: int) -> tuple[str, ...]:
    dofs = tuple(word.lower() for word in words[1:])
    if not set(dofs) <= set(_DOFS) or len(set(dofs)) != len(dofs):
        raise MotionFileError(path, line, f"{words[0]} {excerpt(' '.join(dofs))}: some of {' '.join(_DOFS)}, once each")
    return dofs


def _parse_root(path: str | os.PathLike, lines: list, degrees: bool) -> dict:
    dofs, order, position, orientation, last = None, "xyz", [0.0] * 3, [0.0] * 3, lines[0][1]
    for words, last in lines:
        key = words[0].lower()
        if key == "order":
            dofs = _dofs(path, words, last)
        elif key == "axis":
            order = words[1] if len(words) > 1 else ""
        elif key == "position":
            position = _numbers(path, words, last, 3)
        elif key == "orientation":
            orientation = _numbers(path, words, last, 3)
    if not dofs:
        raise MotionFileError(path, last, "the root has no 'order' line")
    return {"offset": position, "axes": _frame(path, orientation, order, degrees, last), "dofs": dofs}


def _parse_bones(path: str | os.PathLike, lines: list, degrees: bool) -> Iterator[dict]:
    fields: dict | None = None
    line = lines[0][1]
    for words, line in lines:
        key = words[0].lower()
        if key == "begin":
            if fields is not None:
                raise MotionFileError(path, line, "'begin' inside a bone: the last one lacks its 'end'")
            fields = {"dofs": (), "line": line}
        elif fields is None:
            raise MotionFileError(path, line, f"{excerpt(words[0])} outside 'begin' ... 'end'")
        elif key == "end":
            missing = [key for key in ("name", "direction", "length", "axes") if key not in fields]
            if missing:
                raise MotionFileError(path, line, f"bone {fields.get('name', '')} lacks {', '.join(missing)}")
            fields["offset"] = [fields["length"] * part for part in fields["direction"]]
            yield fields
            fields = None
        elif key == "name":
            if len(words) != 2:
                raise MotionFileError(path, line, "name: one word is needed")
            fields["name"] = words[1]
        elif key == "direction":
            fields["direction"] = _numbers(path, words, line, 3)
        elif key == "length":
            (fields["length"],) = _numbers(path, words, line, 1)
        elif key == "axis":
            order = words[4] if len(words) > 4 else "XYZ"
            fields["axes"] = _frame(path, _numbers(path, words, line, 3), order, degrees, line)
        elif key == "dof":
            fields["dofs"] = _dofs(path, words, line)
        # id, limits and their continuation lines, masses and colours do not move anything
    if fields is not None:
        raise MotionFileError(path, line, "the last bone lacks its 'end': truncated")


def _parse_tree(path: str | os.PathLike, lines: list, bones: dict) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Bones depth first, children in file order, with parent indices."""
    children: dict[str, list[str]] = {}
    claimed: set[str] = {"root"}
    line = lines[0][1]
    for words, line in lines:
        if words[0].lower() in ("begin", "end") and len(words) == 1:
            continue
        for word in words:
            if word not in bones:
                raise MotionFileError(path, line, f"the hierarchy names {excerpt(word)}, which is no bone of the file")
        for word in words[1:]:
            if word in claimed:
                raise MotionFileError(path, line, f"{excerpt(word)} has two parents, or is its own ancestor")
            claimed.add(word)
        children.setdefault(words[0], []).extend(words[1:])
    names, parents, stack = [], [], [("root", -1)]
    while stack:
        name, parent = stack.pop()
        stack.extend((child, len(names)) for child in reversed(children.get(name, [])))
        names.append(name)
        parents.append(parent)
    if len(names) != len(bones):
        lost = sorted(set(bones) - set(names))
        raise MotionFileError(path, line, f"{len(lost)} bones hang on nothing, first {excerpt(lost[0])}: truncated?")
    return tuple(names), tuple(parents)


def parse_amc(path: str | os.PathLike, asf: Asf, max_bytes: int = MAX_BYTES) -> tuple[dict[str, np.ndarray], bool]:
    """Parse an Acclaim motion: frames 1, 2, 3, ..., each with the same bones in the same order.

    Args:
        path: the .amc file.
        asf: its skeleton.
        max_bytes: larger files are refused.
    Returns:
        values: (T, K) numbers of each bone named, in the order of its dofs; and whether angles are in degrees.
    Raises:
        MotionFileError: for any fault of the file, with its line.
    Source: own; every frame is compared with the first one word by word, columns at a time.
    """
    data = read_text(path, max_bytes)
    data = b"\n".join(line.split(b"#")[0] for line in data.split(b"\n")) if b"#" in data else data
    degrees, start = _amc_header(path, data, asf.degrees)
    bones, stop = _first_frame(path, data, start, asf)
    width = 1 + sum(1 + count for count in bones.values())
    check_size(path, len(data) // (2 * width) + 1, len(asf.bones))
    rows, rest = [], []
    while start < len(data):
        cut = data.find(b"\n", start + _CHUNK)
        cut = len(data) if cut < 0 else cut
        words = rest + data[start:cut].split()
        whole = len(words) // width * width
        block = _columns(words[:whole], bones, width, sum(map(len, rows)) + 1)
        rest, start = words[whole:], cut
        if block is None:
            break
        rows.append(block)
    else:
        if not rest:
            values = np.concatenate(rows)
            edges = np.cumsum([0, *bones.values()])
            return {bone: values[:, a:b] for bone, a, b in zip(bones, edges, edges[1:], strict=False)}, degrees
    _explain_frames(path, data, stop, bones)
    raise MotionFileError(path, line_of(data, len(data)), "the frames differ in structure")


def _amc_header(path: str | os.PathLike, data: bytes, degrees: bool) -> tuple[bool, int]:
    """The unit of angles, and where frame 1 starts."""
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        text = data[position:end].strip()
        if text.lower() in (b":degrees", b":radians"):
            degrees = text.lower() == b":degrees"
        elif text == b"1":
            return degrees, position
        elif text and not text.startswith(b":"):
            raise MotionFileError(path, line_of(data, position), f"frame number 1 expected, found {excerpt(text)}")
        position = end + 1
    raise MotionFileError(path, line_of(data, len(data)), "no frames: the file is truncated")


def _first_frame(path: str | os.PathLike, data: bytes, start: int, asf: Asf) -> tuple[dict[str, int], int]:
    """Bones of frame 1 with how many numbers each has; where they end."""
    index = {name: i for i, name in enumerate(asf.bones)}
    bones: dict[str, int] = {}
    position = data.find(b"\n", start) + 1 or len(data)
    line = line_of(data, position)
    while position < len(data):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        if end - position > 4096:
            raise MotionFileError(
                path, line, f"a line of {end - position} bytes; a bone has at most {len(_DOFS)} numbers"
            )
        words = data[position:end].split()
        if len(words) == 1 and words[0].isdigit():
            break
        if words:
            name = words[0].decode("utf-8", "backslashreplace")
            if name not in index:
                raise MotionFileError(path, line, f"bone {excerpt(name)} is not in the skeleton")
            if name in bones:
                raise MotionFileError(path, line, f"bone {excerpt(name)} twice in frame 1")
            dofs = asf.dofs[index[name]]
            if len(words) - 1 != len(dofs):
                raise MotionFileError(
                    path, line, f"{name} has {len(words) - 1} numbers; the skeleton has {len(dofs)} dof"
                )
            bones[name] = len(dofs)
        position, line = end + 1, line + 1
    if "root" not in bones:
        raise MotionFileError(path, line, "frame 1 does not place the root")
    if position >= len(data) and len(bones) < sum(1 for dofs in asf.dofs if dofs):
        raise MotionFileError(path, line, "the only frame lacks some bones of the skeleton: truncated")
    return bones, start


def _columns(words: list[bytes], bones: dict[str, int], width: int, first: int) -> np.ndarray | None:
    """(T, K) numbers of whole frames, or None if any word is not where frame 1 has it."""
    frames = len(words) // width
    values = np.empty((frames, sum(bones.values())))
    try:
        if list(map(int, words[::width])) != list(range(first, first + frames)):
            return None
        column, k = 1, 0
        for bone, count in bones.items():
            if words[column::width].count(bone.encode()) != frames:
                return None
            for at in range(column + 1, column + 1 + count):
                numbers = words[at::width]
                if b"_" in b"".join(numbers):  # which float() would take for a separator of digits
                    return None
                values[:, k] = np.fromiter(map(float, numbers), np.float64, frames)
                k += 1
            column += 1 + count
    except ValueError:
        return None
    return values if (np.abs(values) <= MAX_VALUE).all() else None


def _explain_frames(path: str | os.PathLike, data: bytes, start: int, bones: dict[str, int]) -> None:
    """Raise for the first line that differs from frame 1."""
    order = [None, *bones]
    frame, at, line = 0, 0, line_of(data, start) - 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        words, start, line = data[start:end][:65536].split(), end + 1, line + 1
        if not words:
            continue
        bone = order[at]
        if bone is None:
            frame += 1
            if words != [b"%d" % frame]:
                raise MotionFileError(path, line, f"frame number {frame} expected, found {excerpt(words[0])}")
        else:
            if words[0] != bone.encode():
                raise MotionFileError(
                    path, line, f"frame {frame}: {bone} expected as in frame 1, found {excerpt(words[0])}"
                )
            if len(words) - 1 != bones[bone]:
                raise MotionFileError(
                    path, line, f"frame {frame}: {bone} has {len(words) - 1} numbers, needs {bones[bone]}"
                )
            for word in words[1:]:
                to_number(path, line, word, f"frame {frame}: {bone}")
        at = (at + 1) % len(order)
    if at:
        raise MotionFileError(path, line, f"frame {frame} ends before {order[at]}: truncated")
