"""Acclaim motion capture: a skeleton (.asf) and the motions made with it (.amc).

A bone rotates in its own `axis` frame C: with the rotation M of a motion frame, its rotation relative to its parent is
C M C^-1, and its far end is `direction` times `length` from its near end. Angle lists such as "rx ry rz" are
rotations about fixed axes in that order, so M = Rz Ry Rx. Joints here are the far ends of the bones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mocap3d.arguments import FilePath, check_arguments
from mocap3d.files import excerpt
from mocap3d.formats.motion_file import (
    MAX_BYTES,
    MAX_HEADER,
    MAX_JOINTS,
    MAX_VALUE,
    Fault,
    MotionFileError,
    check_size,
    decode,
    euler_matrices,
    forward_kinematics,
    line_of,
    make_pose,
    named_skeleton,
    read_text,
    to_number,
)
from mocap3d.poses import Pose3D
from mocap3d.skeleton import CMU

_INCH = 0.0254  # metres
_DOFS = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
_CHUNK = 8 * 2**20  # bytes of motion split into words at a time

Table = dict[str, tuple[list[str], int]]  # first word of a line -> its words, its number


@dataclass(frozen=True, eq=False)
class Asf:
    """An Acclaim skeleton: file units, radians, y up.

    Args:
        bones: B names, the first "root"; parents come before children.
        parents: B indices, -1 for the root.
        offsets: (B, 3) direction times length, from near to far end; for the root its preset position.
        axes: (B, 3, 3) the bone's own frame C; for the root its preset orientation.
        dofs: B tuples of tx ty tz rx ry rz l in the order of the numbers in the motion file.
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


def read_amc(asf: FilePath, amc: FilePath, fps: float = 120.0, max_bytes: int = MAX_BYTES) -> Pose3D:
    """Read an Acclaim motion on its skeleton as joint positions.

    Args:
        asf: the skeleton file.
        amc: the motion file.
        fps: not in the file; CMU recorded at 120.
        max_bytes: larger files are refused.
    Returns:
        Pose3D, world frame (z up), metres, absolute root; joints are "root" and the far ends of the bones.
        Bones that are not in the motion file stay at rest.
    Raises:
        MotionFileError: for any error in either file, with its line.
        ValueError: for a bad argument.

    >>> read_amc("01.asf", "01_01.amc").convert("h36m17")  # doctest: +SKIP
    Pose3D(2751 frames x 17 joints h36m17, metres, 120 fps, world frame, root absolute)
    """
    check_arguments(read_amc, locals())
    if not (np.isfinite(fps) and 0 < fps < 10_000):
        raise ValueError(f"fps={fps!r}: frames per second, above 0 and below 10000")
    skeleton = parse_asf(asf, max_bytes)
    values, degrees = parse_amc(amc, skeleton, max_bytes)
    known = skeleton.bones == CMU.joints and skeleton.parents == CMU.parents
    body = CMU if known else named_skeleton(asf, skeleton.bones, skeleton.parents)

    def positions(frames: slice) -> np.ndarray:
        block = {bone: rows[frames] for bone, rows in values.items()}
        places, _ = forward_kinematics(skeleton.parents, *local_transforms(skeleton, block, degrees))
        return places * skeleton.scale

    return make_pose(amc, body, fps, len(values["root"]), positions, "y")


def find_skeleton(amc: Path) -> Path:
    """The .asf of an .amc: same name, the part before "_", or the only one in the folder."""
    beside = sorted(path for path in amc.parent.iterdir() if path.suffix.lower() == ".asf")
    for name in (amc.stem, amc.stem.split("_")[0]):
        if named := [path for path in beside if path.stem.lower() == name.lower()]:
            return named[0]
    if len(beside) == 1:
        return beside[0]
    raise MotionFileError(amc, None, f"{len(beside)} .asf files beside it, none of its name; one is needed")


def local_transforms(asf: Asf, values: dict[str, np.ndarray], degrees: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every bone relative to its parent, ready for `forward_kinematics`.

    Args:
        asf: the skeleton.
        values: (T, K) numbers of each bone in the motion file, in the order of its dofs.
        degrees: the unit of the motion's angles.
    Returns:
        rotations (T, B, 3, 3), translations (T, B, 3) of the far ends in file units.
    Source: Acclaim Skeleton File Definition 1.10 (Schafer 1994). `l` is added to the bone's length, and
        tx ty tz translate it along its own axes; CMU's files use neither. The root's preset position and orientation
        offset the whole motion.
    """
    frames = len(next(iter(values.values())))
    rotations = np.empty((frames, len(asf.bones), 3, 3))
    translations = np.empty((frames, len(asf.bones), 3))
    for i, bone in enumerate(asf.bones):
        dofs, own, offset = asf.dofs[i], asf.axes[i], asf.offsets[i]
        if bone not in values:
            rotations[:, i], translations[:, i] = np.eye(3), offset
            continue
        numbers = dict(zip(dofs, values[bone].T, strict=True))  # each (T,)
        turning = [dof for dof in reversed(dofs) if dof[0] == "r"]  # fixed axes: the last rotation comes first
        angles = values[bone][:, [dofs.index(dof) for dof in turning]]
        turn = euler_matrices(np.radians(angles) if degrees else angles, "".join(dof[1] for dof in turning))
        shift = np.stack([numbers.get(dof, np.zeros(frames)) for dof in ("tx", "ty", "tz")], axis=-1)
        if i == 0:
            rotations[:, i], translations[:, i] = turn @ own, offset + shift
            continue
        rotations[:, i] = own @ turn @ own.T
        reach = np.broadcast_to(offset, (frames, 3))
        if "l" in numbers:
            size = np.linalg.norm(offset)
            reach = offset + numbers["l"][:, None] * (offset / size if size else offset)
        translations[:, i] = shift @ own.T + (rotations[:, i] @ reach[..., None])[..., 0]
    return rotations, translations


def parse_asf(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Asf:
    """Parse an Acclaim skeleton.

    Raises:
        MotionFileError: for any error in the file, with its line.
    """
    fault = partial(MotionFileError, path)
    sections: dict[str, list] = {}
    section, line = None, 1
    for words, line in _lines(fault, read_text(path, min(max_bytes, MAX_HEADER))):
        if words[0].startswith(":"):
            section = words[0].lower()
            if section in (":units", ":root", ":bonedata", ":hierarchy") and section in sections:
                raise fault(line, f"a second {section} section")
            sections.setdefault(section, [])
        elif section is None:
            raise fault(line, f"not an ASF file: {excerpt(words[0])} before any ':' section")
        elif section != ":documentation":
            sections[section].append((words, line))
    for needed in (":root", ":bonedata", ":hierarchy"):
        if not sections.get(needed):
            raise fault(line, f"no {needed} section: not an ASF file, or truncated")
    length, degrees = _parse_units(fault, _table(sections.get(":units", []), "length 1", "angle deg"))
    bones = {"root": _parse_root(fault, sections[":root"], degrees)}
    for table in _blocks(fault, sections[":bonedata"]):
        name, bone = _parse_bone(fault, table, degrees)
        if name in bones:
            raise fault(table["begin"][1], f"two bones are named {excerpt(name)}")
        if len(bones) == MAX_JOINTS:
            raise fault(table["begin"][1], f"more than {MAX_JOINTS} bones")
        bones[name] = bone
    names, parents = _parse_tree(fault, sections[":hierarchy"], bones)
    offsets, axes, dofs = zip(*(bones[name] for name in names), strict=True)
    return Asf(names, parents, np.array(offsets), np.array(axes), dofs, length, degrees)


def _lines(fault: Fault, data: bytes) -> Iterator[tuple[list[str], int]]:
    """Lines as words, without comments; commas and parentheses count as spaces."""
    for number, line in enumerate(decode(fault, data).split("\n"), start=1):
        words = line.split("#")[0].replace(",", " ").replace("(", " ").replace(")", " ").split()
        if words:
            yield words, number


def _table(lines: list, *defaults: str) -> Table:
    """Lines, and default lines, by their first word in lower case."""
    granted = [(text.split(), 0) for text in defaults]
    return {words[0].lower(): (words, line) for words, line in granted + lines}


def _blocks(fault: Fault, lines: list) -> Iterator[Table]:
    """The lines of each "begin" ... "end"."""
    start = None
    for number, (words, line) in enumerate(lines):
        key = words[0].lower()
        if key == "begin":
            if start is not None:
                raise fault(line, "'begin' inside a bone: the last one lacks its 'end'")
            start = number
        elif start is None:
            raise fault(line, f"{excerpt(words[0])} outside 'begin' ... 'end'")
        elif key == "end":
            yield _table(lines[start : number + 1], "dof")
            start = None
    if start is not None:
        raise fault(line, "the last bone lacks its 'end': truncated")


def _numbers(fault: Fault, words: list[str], line: int, count: int = 3) -> list[float]:
    if len(words) < count + 1:
        raise fault(line, f"{words[0]}: {count} numbers are needed, found {len(words) - 1}")
    return [to_number(fault, line, word, words[0]) for word in words[1 : count + 1]]


def _dofs(fault: Fault, words: list[str], line: int) -> tuple[str, ...]:
    dofs = tuple(word.lower() for word in words[1:])
    if not set(dofs) <= set(_DOFS) or len(set(dofs)) != len(dofs):
        raise fault(line, f"{words[0]} {excerpt(' '.join(dofs))}: some of {' '.join(_DOFS)}, once each")
    return dofs


def _frame(fault: Fault, line: int, angles: list[float], order: str, degrees: bool) -> np.ndarray:
    """(3, 3) rotation by three angles about fixed axes in that order."""
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise fault(line, f"axis order {excerpt(order)}: x, y and z once each are needed")
    values = np.radians(angles) if degrees else np.array(angles)
    return euler_matrices(values[::-1], order.lower()[::-1])


def _parse_units(fault: Fault, table: Table) -> tuple[float, bool]:
    words, line = table["length"]
    (length,) = _numbers(fault, words, line, 1)
    if length <= 0:
        raise fault(line, f"length {excerpt(words[1])}: the unit must be above 0")
    words, line = table["angle"]
    angle = "".join(words[1:2])
    if angle.lower() not in ("deg", "rad"):
        raise fault(line, f"angle {excerpt(angle)}: 'deg' or 'rad' is needed")
    return length, angle.lower() == "deg"


def _parse_root(fault: Fault, lines: list, degrees: bool) -> tuple:
    """Offset (3,), frame (3, 3) and dofs."""
    table = _table(lines, "order", "axis xyz", "position 0 0 0", "orientation 0 0 0")
    dofs, (axis, line) = _dofs(fault, *table["order"]), table["axis"]
    if not dofs:
        raise fault(lines[-1][1], "the root has no 'order' line")
    frame = _frame(fault, line, _numbers(fault, *table["orientation"]), "".join(axis[1:2]), degrees)
    return _numbers(fault, *table["position"]), frame, dofs


def _parse_bone(fault: Fault, table: Table, degrees: bool) -> tuple[str, tuple]:
    """Name; offset (3,), frame (3, 3) and dofs. Ids, limits, masses and colours do not affect the motion."""
    name, line = table.get("name", (["name", ""], 0))
    if len(name) != 2:
        raise fault(line, "name: one word is needed")
    if missing := [key for key in ("name", "direction", "length", "axis") if key not in table]:
        raise fault(table["end"][1], f"bone {name[1]} lacks {', '.join(missing)}")
    (length,), (axis, line) = _numbers(fault, *table["length"], 1), table["axis"]
    offset = [length * part for part in _numbers(fault, *table["direction"])]
    frame = _frame(fault, line, _numbers(fault, axis, line), "".join(axis[4:5]) or "xyz", degrees)
    return name[1], (offset, frame, _dofs(fault, *table["dof"]))


def _parse_tree(fault: Fault, lines: list, bones: dict) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Bones depth first, children in file order, with parent indices."""
    children: dict[str, list[str]] = {}
    claimed: set[str] = {"root"}
    for words, line in lines:
        if words[0].lower() in ("begin", "end") and len(words) == 1:
            continue
        for word in words:
            if word not in bones:
                raise fault(line, f"the hierarchy names {excerpt(word)}, which is no bone of the file")
        for word in words[1:]:
            if word in claimed:
                raise fault(line, f"{excerpt(word)} has two parents, or is its own ancestor")
            claimed.add(word)
        children.setdefault(words[0], []).extend(words[1:])
    tree, stack = [], [("root", -1)]
    while stack:
        tree.append(stack.pop())
        stack.extend((child, len(tree) - 1) for child in reversed(children.get(tree[-1][0], [])))
    names, parents = zip(*tree, strict=True)
    if lost := sorted(set(bones) - set(names)):
        raise fault(line, f"{len(lost)} bones have no parent, first {excerpt(lost[0])}: truncated?")
    return names, parents


def parse_amc(path: str | os.PathLike, asf: Asf, max_bytes: int = MAX_BYTES) -> tuple[dict[str, np.ndarray], bool]:
    """Parse an Acclaim motion: frames 1, 2, 3, ..., each with the same bones in the same order.

    Args:
        path: the .amc file.
        asf: its skeleton.
        max_bytes: larger files are refused.
    Returns:
        values: (T, K) numbers of each bone named, in the order of its dofs; and whether angles are in degrees.
    Raises:
        MotionFileError: for any error in the file, with its line.
    Source: own; every frame is compared with the first one word by word, columns at a time.
    """
    fault = partial(MotionFileError, path)
    data = read_text(path, max_bytes)
    data = b"\n".join(line.split(b"#")[0] for line in data.split(b"\n")) if b"#" in data else data
    lines = _amc_lines(data)
    degrees, first = _amc_header(fault, data, lines, asf.degrees)
    bones = _first_frame(fault, data, lines, asf)
    width = 1 + sum(1 + count for count in bones.values())
    check_size(fault, len(data) // (2 * width) + 1, len(asf.bones))
    blocks, words, start, frames = [], [], first, 0
    while start < len(data):
        stop = data.find(b"\n", start + _CHUNK) + 1 or len(data)
        words += data[start:stop].split()
        whole = len(words) // width * width
        block = _columns(words[:whole], bones, width, frames + 1)
        words, start, frames = words[whole:], stop, frames + whole // width
        if block is None or (start == len(data) and words):
            _explain_frames(fault, data, first, bones)
        blocks.append(block)
    ends = np.cumsum(list(bones.values()))[:-1]
    return dict(zip(bones, np.split(np.concatenate(blocks), ends, axis=1), strict=True)), degrees


def _amc_lines(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Non-blank lines, one at a time since there may be millions: text, line number, position."""
    line = line_of(data, start)
    while start < len(data):
        stop = data.find(b"\n", start) + 1 or len(data)
        if text := data[start:stop].strip():
            yield text, line, start
        start, line = stop, line + 1


def _amc_header(fault: Fault, data: bytes, lines: Iterator, degrees: bool) -> tuple[bool, int]:
    """The unit of angles, and the position of frame 1; consumes its number."""
    for text, line, start in lines:
        if text.lower() in (b":degrees", b":radians"):
            degrees = text.lower() == b":degrees"
        elif text == b"1":
            return degrees, start
        elif not text.startswith(b":"):
            raise fault(line, f"frame number 1 expected, found {excerpt(text)}")
    raise fault(line_of(data, len(data)), "no frames: the file is truncated")


def _first_frame(fault: Fault, data: bytes, lines: Iterator, asf: Asf) -> dict[str, int]:
    """Bones of frame 1, whose number has been read, with the count of numbers of each."""
    known, bones = dict(zip(asf.bones, asf.dofs, strict=True)), {}
    for text, line, _ in lines:
        if len(text) > 4096:
            raise fault(line, f"a line of {len(text)} bytes; a bone has at most {len(_DOFS)} numbers")
        name, *numbers = text.split()
        if name.isdigit() and not numbers:
            break
        name = name.decode("utf-8", "backslashreplace")
        if name not in known:
            raise fault(line, f"bone {excerpt(name)} is not in the skeleton")
        if name in bones:
            raise fault(line, f"bone {excerpt(name)} twice in frame 1")
        if len(numbers) != len(known[name]):
            raise fault(line, f"{name} has {len(numbers)} numbers; the skeleton has {len(known[name])} dof")
        bones[name] = len(numbers)
    else:
        line = line_of(data, len(data))
        if "root" in bones and len(bones) < sum(map(bool, asf.dofs)):
            raise fault(line, "the only frame lacks some bones of the skeleton: truncated")
    if "root" not in bones:
        raise fault(line, "frame 1 does not place the root")
    return bones


def _columns(words: list[bytes], bones: dict[str, int], width: int, first: int) -> np.ndarray | None:
    """(T, K) numbers of whole frames, or None if any word is not where frame 1 has it."""
    frames, columns = len(words) // width, []
    names = [name for bone, count in bones.items() for name in (bone.encode(), *[None] * count)]
    try:
        if list(map(int, words[::width])) != list(range(first, first + frames)):
            return None
        for at, name in enumerate(names, start=1):
            column = words[at::width]
            if name is None and b"_" not in b"".join(column):  # which float() accepts as a digit separator
                columns.append(np.fromiter(map(float, column), np.float64, frames))
            elif column.count(name) != frames:
                return None
    except ValueError:
        return None
    values = np.stack(columns, axis=1)
    return values if (np.abs(values) <= MAX_VALUE).all() else None


def _explain_frames(fault: Fault, data: bytes, start: int, bones: dict[str, int]) -> None:
    """Raise for the first line that differs from frame 1."""
    order = [None, *bones]  # of the lines of a frame; the first holds its number
    for number, (text, line, _) in enumerate(_amc_lines(data, start), start=len(order)):
        words, (frame, at) = text[:65536].split(), divmod(number, len(order))
        bone = order[at]
        if bone is None:
            if words != [b"%d" % frame]:
                raise fault(line, f"frame number {frame} expected, found {excerpt(words[0])}")
        elif words[0] != bone.encode():
            raise fault(line, f"frame {frame}: {bone} expected as in frame 1, found {excerpt(words[0])}")
        elif len(words) - 1 != bones[bone]:
            raise fault(line, f"frame {frame}: {bone} has {len(words) - 1} numbers, needs {bones[bone]}")
        else:
            for word in words[1:]:
                to_number(fault, line, word, f"frame {frame}: {bone}")
    if bone != order[-1]:
        raise fault(line, f"frame {frame} ends before {order[at + 1]}: truncated")
    raise fault(line_of(data, len(data)), "the frames differ in structure")
