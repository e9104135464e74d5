"""What is in a motion file, or in a folder of them: BVH, or AMC with its ASF beside it.

Says for each file the joints, frames and rate, guesses its unit from the person's height, and checks what spoils
training: bones that stretch, joints that jump, a floor that is not at zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np

from mocap3d.formats.asf_amc import find_skeleton, parse_asf, read_amc
from mocap3d.formats.bvh import body_joints, guess_unit, read_bvh
from mocap3d.formats.motion_file import MotionFileError
from mocap3d.poses import Pose3D
from mocap3d.skeleton import BANDAI, CC, CMU

FASTEST = 12.0  # m/s; hands and feet of athletes stay below, marker pops do not
_PROBE = 0.001  # metres per unit while the unit is unknown: small enough for any
_COLUMNS = (
    "file",
    "joints",
    "frames",
    "fps",
    "seconds",
    "unit",
    "height m",
    "floor m",
    "bones mm",
    "jumps",
    "skeleton",
)


def inspect(path: Path, scale: float | None = None, up: str = "y", fps: float = 120.0) -> dict:
    """Describe one motion file.

    Args:
        path: .bvh or .amc.
        scale: metres per unit; None guesses (BVH only: an ASF says its unit).
        up: vertical axis of a BVH file.
        fps: rate of an AMC file.
    Returns:
        a JSON-ready dict; lengths in metres, "bones" the largest change of a bone's length in mm.
    Raises:
        MotionFileError: if the file cannot be read.
    """
    if path.suffix.lower() == ".amc":
        skeleton = find_skeleton(path)
        pose, kind, unit = read_amc(skeleton, path, fps), "amc", f"{parse_asf(skeleton).scale:.4f} m"
    elif path.suffix.lower() == ".bvh":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the unit is guessed below
            pose, kind = read_bvh(path, scale=_PROBE if scale is None else scale, up=up), "bvh"
        unit = f"{scale} m"
    else:
        raise MotionFileError(path, None, "not a motion: give a .bvh, or an .amc with its .asf beside it")
    points = pose.points.astype(np.float64)
    body = body_joints(points, pose.skeleton.parents)
    if kind == "bvh" and scale is None:
        unit, metres = guess_unit(_height(points[:, body]) / _PROBE)
        points *= metres / _PROBE
    floor = float(np.percentile(points[:, body, 2].min(axis=1), 1))
    return {
        "file": str(path),
        "format": kind,
        "joints": len(pose.skeleton),
        "frames": len(pose),
        "fps": round(pose.fps, 4),
        "seconds": round(pose.seconds, 3),
        "unit": unit,
        "height": round(_height(points[:, body]), 3),
        "floor": round(floor, 3),
        "bones": round(_bone_change(points, pose, body) * 1000, 4),
        "jumps": _jumps(points[:, body], [pose.skeleton.joints[i] for i in body], pose.fps),
        "skeleton": closest_skeleton(pose.skeleton.joints),
    }


def _height(points: np.ndarray) -> float:
    """Median over frames of highest minus lowest joint."""
    return float(np.median(np.ptp(points[..., 2], axis=1)))


def _bone_change(points: np.ndarray, pose: Pose3D, body: list[int]) -> float:
    bones = np.array([bone for bone in pose.skeleton.bones if bone[0] in body], int).reshape(-1, 2)
    lengths = np.linalg.norm(points[:, bones[:, 0]] - points[:, bones[:, 1]], axis=-1)  # (T, bones)
    return float(np.ptp(lengths, axis=0).max(initial=0.0))


def _jumps(points: np.ndarray, joints: list[str], fps: float) -> list[dict]:
    """Frames (from 0) reached by a joint faster than FASTEST, with the fastest joint of each."""
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1) * fps  # (T - 1, J)
    frames = np.flatnonzero((speed > FASTEST).any(axis=1))
    worst = speed.argmax(axis=1) if len(speed) else []
    return [
        {"frame": int(t) + 1, "joint": joints[worst[t]], "speed": round(float(speed[t, worst[t]]), 1)} for t in frames
    ]


def closest_skeleton(joints: tuple[str, ...]) -> str:
    """The known skeleton most of whose joints are present, as "cc 25/25", or "none"."""
    shares = [(len(set(joints) & set(known.joints)) / len(known), known) for known in (CMU, BANDAI, CC)]
    share, known = max(shares, key=lambda pair: pair[0])
    return f"{known.name} {round(share * len(known))}/{len(known)}" if share >= 0.5 else "none"


def table(rows: list[dict], root: Path) -> str:
    """The reports as aligned columns."""
    cells = [_COLUMNS]
    for row in rows:
        name = Path(row["file"])
        cells.append(
            (
                str(name.relative_to(root)) if root in name.parents else name.name,
                str(row["joints"]),
                str(row["frames"]),
                f"{row['fps']:g}",
                f"{row['seconds']:.1f}",
                row["unit"],
                f"{row['height']:.2f}",
                f"{row['floor']:+.2f}",
                f"{row['bones']:.3f}",
                str(len(row["jumps"])),
                row["skeleton"],
            )
        )
    widths = [max(len(row[k]) for row in cells) for k in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def details(row: dict) -> str:
    """One report, one fact a line."""
    lines = [f"{key:9} {value}" for key, value in row.items() if key != "jumps"]
    lines.append(f"jumps     {len(row['jumps'])} frames reached faster than {FASTEST:g} m/s")
    lines += [f"          frame {j['frame']}: {j['joint']} {j['speed']} m/s" for j in row["jumps"][:20]]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a .bvh or .amc file, or a folder searched to any depth")
    parser.add_argument("--scale", type=float, help="metres per unit of BVH files (default: guessed from the height)")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="vertical axis of BVH files (default y)")
    parser.add_argument("--fps", type=float, default=120.0, help="rate of AMC files, which do not say (default 120)")
    parser.add_argument("--json", action="store_true", help="print JSON, with every jump listed")
    args = parser.parse_args(argv)
    files = [args.path]
    if args.path.is_dir():
        files = sorted(path for path in args.path.rglob("*") if path.suffix.lower() in (".bvh", ".amc"))
    rows, errors = [], []
    for path in files:
        try:
            rows.append(inspect(path, args.scale, args.up, args.fps))
        except MotionFileError as error:
            errors.append(error)
    if not files:
        errors.append(MotionFileError(args.path, None, "no .bvh or .amc files in this folder"))
    if args.json:
        failed = [{"file": error.file, "line": error.line, "reason": error.reason} for error in errors]
        print(json.dumps({"files": rows, "errors": failed}, indent=1))
    else:
        if rows:
            print(details(rows[0]) if len(files) == 1 else table(rows, args.path))
        for error in errors:
            print(f"FAILED {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
