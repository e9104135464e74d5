"""Layout 1: the official download, one `.cdf` per recording, and the old `.h5` files of the 3D-pose-baseline.

    S9/MyPoseFeatures/D3_Positions/Greeting 1.cdf                 Pose (1, T, 96): 32 joints, mm, world frame
    S9/MyPoseFeatures/D3_Positions_mono/Greeting 1.54138969.cdf   the same in a camera's frame
    S9/MyPoseFeatures/D2_Positions/Greeting 1.54138969.cdf        Pose (1, T, 64): pixels with lens distortion
    S9/MyPoses/3D_positions/Greeting 1.h5                         3D_positions (96, T): mm, world frame

The `cdflib` package reads the former, `h5py` the latter; neither is installed with mocap3d. The cameras are those of
`camera.h36m_cameras`, lens model "videopose3d", which reproduces D2_Positions. `cdflib` trusts the counts in a
file's headers: a file with damaged counts is refused, but possibly only after minutes.
Source: the readers of VideoPose3D, MMPose and the 3D-pose-baseline (facts only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from mocap3d.camera import h36m_cameras
from mocap3d.data.h36m import reading
from mocap3d.data.h36m.facts import CAMERAS, KEPT_JOINTS, SUBJECTS, H36MError, canonical_stem
from mocap3d.data.h36m.reading import numbers
from mocap3d.poses import Clip

# possible places of 3D positions below a subject's folder, best first
_PLACES = {
    "D3_Positions": ("D3_Positions", "*.cdf"), "D3_Positions_mono": ("D3_Positions_mono", "*.*.cdf"),
    "h5": ("3D_positions", "*.h5"),
}  # fmt: skip
LONGEST = 200_000  # frames, over an hour; the longest recording has about 6,000


@dataclass(frozen=True)
class OfficialFiles:
    """Files found: for each subject the kind and paths of its 3D files, and its folder of 2D, if any."""

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
                for parent in parents:
                    if paths := sorted((parent / folder).glob(pattern)):
                        positions.setdefault(subject, (kind, tuple(paths)))
            for parent in parents:
                if (parent / "D2_Positions").is_dir():
                    pixels.setdefault(subject, parent / "D2_Positions")
        if positions:
            return OfficialFiles(base, positions, pixels)
    return None


def read(
    root: str | Path | OfficialFiles,
    pose2d: str = "gt",
    subjects: Sequence[str] | None = None,
    notes: list[str] | None = None,
) -> list[Clip]:
    """Read the positions of each recording for the four cameras.

    Args:
        root: a folder, or what `find` returned for it.
        pose2d: only "gt": D2_Positions if present, else the projection.
        subjects: only these; None for all.
        notes: remarks on the files are appended here.
    Returns:
        one Clip per recording and camera; for files in camera frames, only the cameras present.
    Raises:
        H36MError: for missing or damaged files, or a missing package, with the command that installs it.
    """
    files = root if isinstance(root, OfficialFiles) else find(root)
    if files is None:
        raise H36MError(f"{root} has no S1/MyPoseFeatures/D3_Positions/*.cdf, S1/MyPoses/3D_positions/*.h5")
    if pose2d != "gt":
        raise H36MError(f"pose2d is {pose2d!r}; the official files have 'gt' only")
    notes = [] if notes is None else notes
    reading.check_subjects(files.root, subjects, files.positions)
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
                views = {name: _cdf(path, 3)}
            else:
                world = _cdf(path, 3) if kind == "D3_Positions" else _h5(path)
                views = {name: camera.world_to_camera(world) for name, camera in cameras.items()}
            labels = reading.clip_labels(subject, canonical_stem(stem), {})
            for name, points in views.items():
                flat = files.pixels.get(subject, path) / f"{stem}.{name}.cdf"
                pixels = _cdf(flat, 2) if flat.is_file() else cameras[name].project(points)
                if len(pixels) != len(points):
                    frames = f"{len(pixels)} frames, but {path} has {len(points)}"
                    raise H36MError(f"{flat}: {frames}; they do not belong together")
                clips.append(reading.make_clip(path, cameras[name], pixels, points, labels))
        if subject not in files.pixels:
            notes.append(f"{subject} has no D2_Positions: 2D projected from the 3D, lens included")
    return clips


def _values(path: Path, package: str, read: Callable[[object], object]) -> object:
    """The result of `read`, which reads a file with a package."""
    try:
        module = import_module(package)
    except ImportError as error:
        raise H36MError(f"reading {path.name} needs the package {package}: pip install {package}") from error
    try:
        return read(module)
    except Exception as error:  # for a damaged file, these packages may raise anything
        why = reading.reason(error)
        raise H36MError(f"{path} cannot be read ({why}); unpack or download it again") from error


def _cdf(path: Path, channels: int) -> np.ndarray:
    """(T, 17, channels) of a `.cdf` file: metres or pixels."""

    def read(cdflib):
        file = cdflib.CDF(path)
        size = file.varinq("Pose")
        frames = (size.Last_Rec + 1) * int(np.prod(size.Dim_Sizes, dtype=np.float64)) // (32 * channels)
        if not 0 < frames <= LONGEST:
            raise ValueError(f"Pose has {frames} frames; it must have 1 to {LONGEST}")
        return np.asarray(file.varget("Pose"))

    values = _values(path, "cdflib", read)
    axes = (1, "T", 32 * channels)[3 - max(2, np.ndim(values)) :]
    values = numbers(values, f"{path}: Pose", *axes)
    return _kept(path, values.reshape(-1, 32, channels)) / (1000 if channels == 3 else 1)


def _h5(path: Path) -> np.ndarray:
    """(T, 17, 3) metres, world frame, of an `.h5` file."""

    def read(h5py):
        with h5py.File(path, "r") as file:
            data = file["3D_positions"]
            if data.dtype.kind not in "fiu" or data.ndim != 2 or not 0 < data.shape[1] <= LONGEST:
                raise ValueError(f"3D_positions is {data.dtype} {data.shape}; it must be numbers (96, T)")
            return data[()]

    values = numbers(_values(path, "h5py", read), f"{path}: 3D_positions", 96, "T", kinds="fiu")
    return _kept(path, values.T.reshape(-1, 32, 3)) / 1000


def _kept(path: Path, points: np.ndarray) -> np.ndarray:
    """The 17 joints of 32, float64."""
    points = points[:, KEPT_JOINTS].astype(np.float64)
    if not np.isfinite(points).all():
        raise H36MError(f"{path} holds values that are not numbers; unpack or download it again")
    return points
