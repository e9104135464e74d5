"""A skeleton as ONE polyline with gaps, coloured by side, and its viewpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mocap3d.figures import style
from mocap3d.figures.style import SIDE_NAMES, compact
from mocap3d.poses import Pose3D
from mocap3d.skeleton import Skeleton

# Camera frame (x right, y down, z forward) to an upright view (x right, y forward, z up). Determinant +1: a rotation
# about x by 90 degrees, never a mirror, so a right hand stays a right hand.
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class Polyline:
    """The order in which one pen stroke, lifted at the gaps, draws all bones of a skeleton.

    vertices: joint index per point of the line, -1 where the pen is lifted.
    sides: side of the bone at each point ("left", "right", "centre"); one side between two gaps.
    first: True where a joint is visited first (there its marker is drawn).
    """

    vertices: tuple[int, ...]
    sides: tuple[str, ...]
    first: tuple[bool, ...]

    def trace(self, points: np.ndarray) -> np.ndarray:
        """Points (..., J, C) -> line points (..., V, C), NaN in the gaps and at missing joints."""
        line = points[..., list(self.vertices), :]
        line[..., np.array(self.vertices) < 0, :] = np.nan
        return compact(line)


@lru_cache(maxsize=64)
def polyline(skeleton: Skeleton) -> Polyline:
    """The longest runs of bones of one side, one stroke each; H36M's 16 bones become 5 strokes of 25 points in all."""
    children: dict[int, list[int]] = {j: [] for j in range(len(skeleton))}
    for parent, child in skeleton.bones:
        children[parent].append(child)
    side = [skeleton.side(joint) for joint in skeleton.joints]
    strokes: list[tuple[str, list[int]]] = [("centre", list(pair)) for pair in _open_hips(skeleton)]
    todo = [(j, None) for j, parent in enumerate(skeleton.parents) if parent < 0]
    while todo:
        joint, stroke = todo.pop()
        for child in children[joint]:
            if stroke is not None and stroke[0] == side[child] and stroke[1][-1] == joint:
                stroke[1].append(child)
                todo.append((child, stroke))
            else:
                strokes.append((side[child], [joint, child]))
                todo.append((child, strokes[-1]))
    strokes.sort(key=lambda stroke: stroke[0] != "centre")  # joints shared by trunk and limbs belong to the trunk
    alone = set(range(len(skeleton))) - {j for _, stroke in strokes for j in stroke}
    strokes += [(side[j], [j]) for j in sorted(alone)]

    vertices, sides, first, seen = [], [], [], set()
    for colour, stroke in strokes:
        for joint in [*stroke, -1]:
            vertices.append(joint)
            sides.append(colour)
            first.append(joint >= 0 and joint not in seen)
            seen.add(joint)
    return Polyline(tuple(vertices[:-1]), tuple(sides[:-1]), tuple(first[:-1]))


def _open_hips(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Hips without a pelvis between them (COCO, MediaPipe): they are connected, to close the trunk."""
    pairs = zip(skeleton.left, skeleton.right, strict=True)
    hips = [(skeleton.index(a), skeleton.index(b)) for a, b in pairs if a.endswith("hip")]
    return [(a, b) for a, b in hips if skeleton.parents[a] != skeleton.parents[b]]


def joint_label(skeleton: Skeleton, joint: int) -> str:
    """Readable name: "left knee"; the side is added if it is not in the name."""
    name = skeleton.joints[joint]
    side = SIDE_NAMES[skeleton.side(name)]
    words = name.replace("_", " ")
    return words if side == "middle" or side in words.lower() else f"{words} ({side})"


def upright(pose: Pose3D) -> np.ndarray:
    """Points (T, J, 3) with the third axis up: world poses unchanged, camera poses rotated by `UPRIGHT`."""
    points = np.asarray(pose.points, dtype=np.float64)
    return points @ UPRIGHT.T if pose.frame == "camera" else points


def most_open(points: np.ndarray) -> int:
    """The best frame for a still figure: most joints present, then limbs spread widest (T, J, C) -> t."""
    present = np.isfinite(points).all(-1)
    count = present.sum(-1)
    filled = np.where(present[..., None], points, 0.0)
    centre = filled.sum(1, keepdims=True) / np.maximum(count, 1)[:, None, None]
    spread = (np.linalg.norm(filled - centre, axis=-1) * present).sum(-1) / np.maximum(count, 1)
    return int(np.argmax(np.where(count == count.max(), np.round(spread, 4), -1.0)))


def facing(points: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """Horizontal unit vector the body faces in one upright frame (J, 3): up x (left to right); None if unknown."""
    right = np.zeros(2)
    for left_name, right_name in zip(skeleton.left, skeleton.right, strict=True):
        if any(part in left_name.lower() for part in ("hip", "shoulder", "thigh", "upperleg", "upperarm", "clavicle")):
            across = (points[skeleton.index(right_name)] - points[skeleton.index(left_name)])[:2]
            right += np.nan_to_num(across)
    length = np.linalg.norm(right)
    return np.array([-right[1], right[0]]) / length if length > 0.05 else None


def some_frames(points: np.ndarray) -> np.ndarray:
    """The frames of (T, J, C) with at least one joint."""
    return points[np.isfinite(points).all(-1).any(-1)]


def body_trace(
    name: str, skeleton: Skeleton, points: np.ndarray, ghost: bool = False, tag: str = "", far: bool = False
) -> tuple[dict, Polyline]:
    """The trace of one body in one frame, points (J, 3) upright, and the polyline for its other frames."""
    line = polyline(skeleton)
    palette = style.GHOST_COLOURS if ghost else style.SIDE_COLOURS
    labels = [joint_label(skeleton, j) if j >= 0 else "" for j in line.vertices]
    joint_sides = [skeleton.side(skeleton.joints[j]) if j >= 0 else "centre" for j in line.vertices]
    head = _head(skeleton)
    size = (4 if ghost else 6 if len(skeleton) < 25 else 5 if len(skeleton) < 60 else 3) - 2 * far
    sizes = [
        0 if not new else 2 * size + 1 if j == head else size for j, new in zip(line.vertices, line.first, strict=True)
    ]
    trace = {
        "type": "scatter3d",
        "name": name,
        "showlegend": False,
        "mode": "lines+markers",
        **coordinates(line.trace(points)),
        "line": {"width": (5 if ghost else 9) - 3 * far, "color": [palette[side] for side in line.sides]},
        "marker": {"size": sizes, "color": [palette[side] for side in joint_sides], "opacity": 1, "line": {"width": 0}},
        "customdata": labels,
        "hovertemplate": f"<b>%{{customdata}}</b>  {name}<br>%{{x:.3f}}, %{{y:.3f}}, %{{z:.3f}} m<extra></extra>",
    }
    if ghost:
        trace["line"]["dash"] = "dash"
    if tag:
        top = head if head >= 0 else next(j for j in line.vertices if j >= 0)
        trace |= {
            "mode": "lines+markers+text",
            "textposition": "top center",
            "textfont": {"size": 13, "color": style.INK},
        }
        trace["text"] = [
            f"<b>{tag}</b>" if j == top and new else "" for j, new in zip(line.vertices, line.first, strict=True)
        ]
    return trace, line


def _head(skeleton: Skeleton) -> int:
    """Index of the top of the head, or of the head; -2 if there is none."""
    words = {joint.lower().rsplit("_", 1)[-1]: j for j, joint in enumerate(skeleton.joints)}
    return words.get("headtop", words.get("head", -2))


def head_joints(skeleton: Skeleton) -> list[int]:
    """Joints whose mean is the middle of the head: its top and its base, or the ears; none if unknown."""
    head = _head(skeleton)
    if head < 0:
        return [j for j, joint in enumerate(skeleton.joints) if joint.lower().endswith("ear")]
    above = [j for j, parent in enumerate(skeleton.parents) if parent == head]
    return [head, *(above or [max(skeleton.parents[head], 0)])]


def coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """Points (V, 3) -> the x, y, z of a trace."""
    return {axis: np.ascontiguousarray(points[..., i]) for i, axis in enumerate("xyz")}


def legend_keys(with_truth: str = "") -> list[dict]:
    """Traces without points that explain the colours (and the dashes) in the legend."""
    keys = [(SIDE_NAMES[side], {"color": colour, "width": 6}) for side, colour in style.SIDE_COLOURS.items()]
    if with_truth:
        keys.append((with_truth, {"color": style.GHOST_COLOURS["centre"], "width": 4, "dash": "dash"}))
    return [
        {
            "type": "scatter3d",
            "name": name,
            "mode": "lines",
            "x": [None],
            "y": [None],
            "z": [None],
            "line": line,
            "hoverinfo": "skip",
        }
        for name, line in keys
    ]
