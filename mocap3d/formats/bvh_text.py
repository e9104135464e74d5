"""The text of a BVH file: its hierarchy and its rows of numbers, checked and not yet interpreted."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

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
    line_of,
    read_text,
    to_number,
)

_CHANNELS = tuple(axis + kind for kind in ("position", "rotation") for axis in "XYZ")


@dataclass(frozen=True, eq=False)
class Bvh:
    """A BVH file as written: file units, degrees, the file's own axes.

    Args:
        joints: J names; End Sites are "<joint>_end" and have no channels.
        parents: J indices, -1 for a root; parents come before children.
        offsets: (J, 3) rest positions in the parent's frame.
        channels: J tuples of "Xposition" ... "Zrotation" in file order.
        frame_time: seconds.
        values: (T, C) one row per frame, one column per channel, joints in order.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    channels: tuple[tuple[str, ...], ...]
    frame_time: float
    values: np.ndarray

    @property
    def fps(self) -> float:
        """Frames per second; a Frame Time within 1e-4 of a whole rate (0.0333333, 0.016667) is that rate."""
        rate = 1.0 / self.frame_time
        return float(round(rate)) if abs(rate - round(rate)) < 1e-4 * rate and rate > 0.5 else rate


def parse_bvh(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Bvh:
    """Parse a BVH file without interpreting it.

    Args:
        path: the file.
        max_bytes: larger files are refused.
    Raises:
        MotionFileError: for any error in the file, with its line.
    Source: own.
    """
    fault = partial(MotionFileError, path)
    data = read_text(path, max_bytes)
    split = re.search(rb"^[ \t]*MOTION[ \t]*$", data, re.MULTILINE | re.IGNORECASE)
    if not data.lstrip()[:9].upper() == b"HIERARCHY":
        raise fault(1, f"not a BVH file: it starts with {excerpt(data[:40])}, not HIERARCHY")
    if split is None:
        raise fault(line_of(data, len(data)), "no MOTION line: the file is truncated")
    if split.start() > MAX_HEADER:
        raise fault(1, f"the hierarchy takes {split.start()} bytes; at most {MAX_HEADER} are read")
    joints, parents, offsets, channels = _parse_hierarchy(fault, data[: split.start()])
    width = sum(map(len, channels))
    if width == 0:
        raise fault(line_of(data, split.start()), "no joint has channels, so there is no motion")
    frames, frame_time, start = _parse_motion_header(fault, data, split.end())
    check_size(fault, frames if frames * width <= len(data) else 0, len(joints))
    values = _parse_rows(fault, data, start, frames, width)
    return Bvh(joints, parents, offsets, channels, frame_time, values)


def _words(fault: Fault, header: bytes) -> Iterator[tuple[str, int]]:
    """Words of the hierarchy with their line numbers; braces are words even when they touch another."""
    number = 1
    for number, line in enumerate(decode(fault, header).split("\n"), start=1):
        for match in re.finditer(r"[{}]|[^\s{}]+", line):
            yield match[0], number
    while True:  # so that a parser never reads past the end
        yield "", number


def _parse_hierarchy(fault: Fault, header: bytes) -> tuple:
    """Joints, parents, offsets (J, 3) and channels; a stack instead of recursion."""
    words = _words(fault, header)
    names, parents, offsets, channels = [], [], [], []
    taken, stack = set(), []  # stack of open joints
    next(words)  # HIERARCHY
    word, line = next(words)
    while word:
        key = word.upper()
        if key == "ROOT" and not stack or key in ("JOINT", "END") and stack:
            if len(names) == MAX_JOINTS:
                raise fault(line, f"more than {MAX_JOINTS} joints")
            if stack and names[stack[-1]] is None:
                raise fault(line, f"{key} inside an End Site")
            name = _read_name(fault, words, line, key)
            if name in taken:
                raise fault(line, f"two joints are named {excerpt(name)}; names must be unique")
            if name:
                taken.add(name)
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names))
            names.append(name), offsets.append(None), channels.append(())
        elif key == "OFFSET" and stack:
            if offsets[stack[-1]] is not None:
                raise fault(line, "a second OFFSET for the same joint")
            offsets[stack[-1]] = [to_number(fault, line, next(words)[0], "OFFSET") for _ in range(3)]
        elif key == "CHANNELS" and stack:
            if names[stack[-1]] is None or channels[stack[-1]]:
                raise fault(line, "CHANNELS of an End Site, or given twice")
            channels[stack[-1]] = _read_channels(fault, words, line)
        elif key == "}" and stack:
            if offsets[stack[-1]] is None:
                raise fault(line, "a joint without OFFSET")
            stack.pop()
        else:
            raise fault(line, f"unexpected {excerpt(word)} in the hierarchy")
        word, line = next(words)
    if stack:
        raise fault(line, f"{len(stack)} unclosed '{{' before MOTION")
    if not names:
        raise fault(line, "the hierarchy has no ROOT")
    return _name_ends(names, parents), tuple(parents), np.array(offsets, np.float64), tuple(channels)


def _read_name(fault: Fault, words: Iterator, line: int, key: str) -> str | None:
    """The words up to the opening brace, since names may contain spaces; None for an End Site."""
    name = []
    while True:
        word, at = next(words)
        if word == "{":
            break
        if not word or word == "}" or at != line or len(name) > 32:
            raise fault(at, f"{key}: '{{' expected, found {excerpt(word or 'the end of the hierarchy')}")
        name.append(word)
    if not name and key != "END":
        raise fault(line, f"{key} without a name")
    return None if key == "END" else " ".join(name)


def _read_channels(fault: Fault, words: Iterator, line: int) -> tuple[str, ...]:
    count = next(words)[0]
    if count not in set("0123456"):
        raise fault(line, f"CHANNELS {excerpt(count)}: the count must be 0 to 6")
    known = {name.lower(): name for name in _CHANNELS}
    found = []
    for _ in range(int(count)):
        word = next(words)[0]
        if word.lower() not in known:
            raise fault(line, f"unknown channel {excerpt(word)}; channels are {' '.join(_CHANNELS)}")
        found.append(known[word.lower()])
    if len({name for name in found if "pos" in name}) < sum("pos" in name for name in found):
        raise fault(line, f"a position channel appears twice: {' '.join(found)}")
    return tuple(found)


def _name_ends(names: list[str | None], parents: list[int]) -> tuple[str, ...]:
    """Name the End Sites after their joint, with a number if the name is taken."""
    taken = {name for name in names if name}
    for i, name in enumerate(names):
        if name is None:
            base = f"{names[parents[i]]}_end"
            numbered = (f"{base}{k}" for k in range(2, len(names) + 3))
            names[i] = next(name for name in (base, *numbered) if name not in taken)
            taken.add(names[i])
    return tuple(names)


def _parse_motion_header(fault: Fault, data: bytes, start: int) -> tuple[int, float, int]:
    """Frames, seconds per frame, and the position of the numbers."""
    found = []
    for title, pattern in ("Frames:", rb"\s*Frames[ \t]*:"), ("Frame Time:", rb"\s*Frame[ \t]+Time[ \t]*:"):
        match = re.compile(pattern + rb"[ \t]*([^\n]*)", re.IGNORECASE).match(data, start)
        if match is None:
            at = start + len(data[start:]) - len(data[start:].lstrip())
            text = data[at : at + 40].split(b"\n")[0]
            raise fault(line_of(data, at), f"'{title}' expected, found {excerpt(text or b'the end')}")
        found.append((match[1].strip(), line_of(data, match.start(1))))
        start = match.end()
    (count, line), (seconds, at) = found
    if not (count.isdigit() and len(count) < 16 and int(count) > 0):
        raise fault(line, f"Frames: {excerpt(count)}: a positive whole number is needed")
    frame_time = to_number(fault, at, seconds, "Frame Time")
    if not 1e-5 <= frame_time <= 1e3:
        raise fault(at, f"Frame Time: {excerpt(seconds)}: seconds per frame, above 0")
    return int(count), frame_time, min(start + 1, len(data))


def _parse_rows(fault: Fault, data: bytes, start: int, frames: int, width: int) -> np.ndarray:
    """The numbers, (T, C), of the promised frames, or of those that are whole, with a warning if that is not the same.

    In bulk; line by line only where that fails.
    """
    body = data[start:].rstrip()
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n"))
    longest = np.diff(ends, prepend=-1, append=len(body)).max() if body else 0
    values = None
    if body and longest <= 64 * width + 4096 and frames * (2 * width - 1) <= len(body):
        try:
            values = np.loadtxt(io.BytesIO(body), np.float64, comments=None, ndmin=2)
        except ValueError:
            pass
    if values is None or values.shape != (frames, width) or not (np.abs(values) <= MAX_VALUE).all():
        end, problem = _whole_rows(fault, data[start:], line_of(data, start), frames, width)
        values = np.loadtxt(io.BytesIO(body[:end]), np.float64, comments=None, ndmin=2)
        warnings.warn(f"{problem}; {len(values)} frames were read", stacklevel=4)
    return values


def _whole_rows(fault: Fault, body: bytes, line: int, frames: int, width: int) -> tuple[int, MotionFileError]:
    """Where the rows end before what is too much or cut off, and what that is; raises for any other fault."""
    rows, end, cut = 0, 0, not body.endswith(b"\n")  # if cut, the last number may be so as well
    stream = io.BytesIO(body.rstrip())
    for number, text in enumerate(stream, start=line):
        if not text.strip():
            continue
        if rows == frames:
            return end, fault(number, f"more rows than 'Frames: {frames}' promises")
        found = len(text) if len(text) > 64 * width + 4096 else len(text.split())
        if rows and cut and not text.endswith(b"\n") and found <= width:
            return end, fault(number, f"the file is cut off in frame {rows + 1} of {frames}")
        if found != width:
            unit = "bytes" if found == len(text) else "numbers"
            raise fault(number, f"frame {rows + 1} has {found} {unit}; the hierarchy has {width} channels")
        for word in text.split():
            to_number(fault, number, word, f"a value of frame {rows + 1}")
        rows, end, line = rows + 1, stream.tell(), number
    if not rows:
        raise fault(line, f"no row of numbers where 'Frames: {frames}' promises some: truncated")
    return end, fault(line, f"{rows} rows where 'Frames: {frames}' promises more: truncated, or a wrong count")
