"""Layout 1: the official download, one `.cdf` a take, and the `.h5` files that the 3D-pose-baseline once handed out.

    S9/MyPoseFeatures/D3_Positions/Greeting 1.cdf                 Pose (1, T, 96): 32 joints, mm, world frame
    S9/MyPoseFeatures/D3_Positions_mono/Greeting 1.54138969.cdf   the same in a camera's frame
    S9/MyPoseFeatures/D2_Positions/Greeting 1.54138969.cdf        Pose (1, T, 64): pixels as the lens shows them
    S9/MyPoses/3D_positions/Greeting 1.h5                         3D_positions (96, T): mm, world frame

The `cdflib` package reads the former, `h5py` the latter; neither is installed with mocap3d. The cameras are those of
`camera.h36m_cameras`, lens model "videopose3d", which reproduces D2_Positions. `cdflib` believes the counts in a
file's headers: one in which these are damaged is refused, but perhaps only after minutes.
Source: the readers of VideoPose3D, MMPose and the 3D-pose-baseline (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.h36m.facts import CAMERAS, FPS, KEPT_JOINTS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.takes import clip_labels
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError

# where 3D positions may lie below a subject's folder, best first
_PLACES = {
    "D3_Positions": ("D3_Positions", "*.cdf"), "D3_Positions_mono": ("D3_Positions_mono", "*.*.cdf"),
    "h5": ("3D_positions", "*.h5"),
}  # fmt: skip
LONGEST = 200_000  # frames, over an hour; the longest take has some 6,000


@dataclass(frozen=True)
class OfficialFiles:
    """What was found: for each subject the kind of its 3D files, and they; and its folder of 2D, if any."""

    root: Path
    positions: dict[str, tuple[str, tuple[Path, ...]]]
    pixels: dict[str, Path]


def find(root: str | Path) -> OfficialFiles | None:
    """Look for subject folders with 3D positions in a folder, its `h36m` or its `extracted` folder."""
    for base in (Path(root), Path(root) / "h36m", Path(root) / "extracted"):
        positions, pixels = {}, {}
        for subject in SUBJECTS:
            parents = [base / subject / inner for inner in ("MyPoseFeatures", "MyPoses", "")]
            for kind, (folder, pattern) in _PLACES.items():
                paths = next((p for parent in parents if (p := sorted((parent / folder).glob(pattern)))), ())
                if paths:
                    positions[subject] = kind, tuple(paths)
                    break
            flat = next((parent / "D2_Positions" for parent in parents if (parent / "D2_Positions").is_dir()), None)
            if flat:
                pixels[subject] = flat
        if positions:
            return OfficialFiles(base, positions, pixels)
    return None


def read(
    root: str | Path | OfficialFiles, pose2d: str = "gt", subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:  # fmt: skip
    """Read the positions, each take as seen by the four cameras.

    Args:
        root: a folder, or what `find` returned for it.
        pose2d: only "gt": D2_Positions where they are, else the projection.
        subjects: only these; None for all that are there.
        notes: gets sentences on what was noticed.
    Returns:
        one Clip a take and camera; of files in camera frames, those cameras that are there.
    Raises:
        H36MError: for missing or damaged files, or a missing package, with the command that installs it.
    """
    files = root if isinstance(root, OfficialFiles) else find(root)
    if files is None:
        raise H36MError(f"{root} has no S1/MyPoseFeatures/D3_Positions/*.cdf nor S1/MyPoses/3D_positions/*.h5")
    if pose2d != "gt":
        raise H36MError(f"pose2d is {pose2d!r}; the official files have 'gt' only")
    notes = [] if notes is None else notes
    if absent := sorted(set(subjects or ()) - set(files.positions)):
        raise H36MError(f"{files.root} has no {', '.join(absent)}; it has {', '.join(files.positions)}")
    clips = []
    for subject in files.positions if subjects is None else subjects:
        kind, paths = files.positions[subject]
        cameras = dict(zip(CAMERAS, h36m_cameras(subject), strict=True))
        for path in paths:
            stem = path.stem
            if kind == "D3_Positions_mono":
                stem, _, name = stem.rpartition(".")
                if name not in cameras:
                    raise H36MError(f"{path}: no camera {name!r}; there are {', '.join(CAMERAS)}")
                views = {name: _pose(path, 3)}
            else:
                world = _pose(path, 3) if kind == "D3_Positions" else _h5(path)
                views = {name: camera.world_to_camera(world) for name, camera in cameras.items()}
            labels = clip_labels(subject, canonical_stem(stem), {})
            for name, points in views.items():
                flat = files.pixels.get(subject, path) / f"{stem}.{name}.cdf"
                clips.append(_clip(path, points, cameras[name], flat, labels))
        if subject not in files.pixels:
            notes.append(f"{subject} has no D2_Positions: 2D projected from the 3D, lens included")
    return clips


def _clip(path: Path, points: np.ndarray, camera: Camera, flat: Path, labels: dict[str, str]) -> Clip:
    pixels = _pose(flat, 2) if flat.is_file() else camera.project(points)
    if len(pixels) != len(points):
        raise H36MError(f"{flat}: {len(pixels)} frames, but {path} has {len(points)}; they do not belong together")
    try:
        seen = Pose2D(pixels, fps=FPS, image_size=(camera.width, camera.height))
        return Clip(camera=camera, pose2d=seen, pose3d=Pose3D(points, fps=FPS, frame="camera"), **labels)
    except PoseError as error:
        raise H36MError(f"{path}: {error}") from error


def _package(name: str, path: Path):
    try:
        return import_module(name)
    except ImportError as error:
        raise H36MError(f"reading {path.name} needs the package {name}: pip install {name}") from error


def _pose(path: Path, channels: int) -> np.ndarray:
    """(T, 17, channels) of a `.cdf` file: metres or pixels."""
    cdflib = _package("cdflib", path)
    try:
        file = cdflib.CDF(path)
        size = file.varinq("Pose")
        frames = (size.Last_Rec + 1) * int(np.prod(size.Dim_Sizes, dtype=np.float64)) // (32 * channels)
        if not 0 < frames <= LONGEST:
            raise ValueError(f"variable Pose says it has {frames} frames")
        values = np.asarray(file.varget("Pose"))
    except Exception as error:  # a damaged file makes cdflib fail in any way
        raise H36MError(f"{path} cannot be read ({error}); unpack or download it again") from error
    if values.dtype.kind != "f" or values.ndim not in (2, 3) or values.shape[-1] != 32 * channels:
        raise H36MError(f"{path}: Pose is {values.dtype} {values.shape}; it must be (1, T, {32 * channels})")
    points = values.reshape(-1, 32, channels)[:, KEPT_JOINTS].astype(np.float64)
    return _finite(points, path) / (1000 if channels == 3 else 1)


def _h5(path: Path) -> np.ndarray:
    """(T, 17, 3) metres, world frame, of an `.h5` file."""
    h5py = _package("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            data = file["3D_positions"]
            if len(data.shape) != 2 or data.shape[0] != 96 or not 0 < data.shape[1] <= LONGEST:
                raise ValueError(f"3D_positions is {data.shape}; it must be (96, T)")
            values = np.asarray(data[()], dtype=np.float64)
    except Exception as error:  # a damaged file makes h5py fail in any way
        raise H36MError(f"{path} cannot be read ({error}); download it again") from error
    return _finite(values.T.reshape(-1, 32, 3)[:, KEPT_JOINTS], path) / 1000


def _finite(points: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(points).all():
        raise H36MError(f"{path} holds values that are no numbers; unpack or download it again")
    return points
