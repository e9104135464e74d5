"""Human3.6M in all common layouts, recognised from the files.

own          ours: flat arrays and a JSON index (data_scripts/convert_h36m.py converts any other to it)
videopose3d  data_3d_h36m.npz + data_2d_h36m_*.npz
mmpose       annotation_body3d/fps50 or fps10 + cameras.pkl
motionbert   h36m_sh_conf_cam_source_final.pkl, or folders of clips
official     D3_Positions/*.cdf, or the .h5 files of the 3D-pose-baseline
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mocap3d.arguments import check_arguments
from mocap3d.data.dataset import PoseDataset, names_of
from mocap3d.data.h36m.facts import LICENCE, H36MError, exclude


@dataclass(frozen=True)
class Layout:
    """One way Human3.6M is stored.

    Args:
        title: description.
        wants: (pattern below the root, purpose) of the files of a complete copy.
        origin: where the files come from.
        licence: of the files.
    """

    title: str
    wants: tuple[tuple[str, str], ...]
    origin: str
    licence: str


LAYOUTS = {
    "own": Layout(
        "mocap3d's own layout",
        (
            ("mocap3d.json", "the index"),
            ("points3d.npy", "3D positions"),
            ("points2d.npy", "2D positions"),
            ("confidence.npy", "2D confidence"),
        ),
        "made from any other layout by data_scripts/convert_h36m.py",
        "that of the data inside",
    ),
    "videopose3d": Layout(
        "VideoPose3D's npz files",
        (
            ("data_3d_h36m.npz", "3D positions"),
            ("data_2d_h36m_gt.npz", "ground-truth 2D (else projected here)"),
            ("data_2d_h36m_cpn_ft_h36m_dbb.npz", "CPN detections, for the published CPN rows"),
        ),
        "prepared from the official download as DATASETS.md of github.com/facebookresearch/VideoPose3D says; "
        "detections are linked there",
        f"{LICENCE}; detections as VideoPose3D, CC BY-NC 4.0",
    ),
    "mmpose": Layout(
        "MMPose's annotation_body3d",
        (
            ("annotation_body3d/fps50/h36m_train.npz", "training annotations at 50 fps"),
            ("annotation_body3d/fps50/h36m_test.npz", "test annotations at 50 fps"),
            ("annotation_body3d/cameras.pkl", "cameras"),
            ("joint_2d_det_files/cpn_ft_h36m_dbb_test.npy", "CPN detections, for the published CPN rows"),
        ),
        "made from the official download by MMPose's tools/dataset_converters/preprocess_h36m.py; detections and "
        "MotionBERT's annotation and factor files are linked in MMPose's data set page",
        f"{LICENCE}; the converter is Apache-2.0",
    ),
    "motionbert": Layout(
        "MotionBERT's pickle or clips",
        (
            ("h36m_sh_conf_cam_source_final.pkl", "2D detections and image-space 3D"),
            ("MB3D_f243s81/H36M-SH", "the same in clips of 243 frames (made from the pickle)"),
        ),
        "linked in docs/pose3d.md of github.com/Walter0807/MotionBERT",
        f"{LICENCE}; MotionBERT's code is Apache-2.0",
    ),
    "official": Layout(
        "the official download, or the 3D-pose-baseline's h5 files",
        (
            ("S*/MyPoseFeatures/D3_Positions/*.cdf", "3D positions, one file a take"),
            ("S*/MyPoses/3D_positions/*.h5", "the same as h5 (the 3D-pose-baseline's old copy)"),
        ),
        "http://vision.imar.ro/human3.6m, after registration: Poses_D3_Positions_S1.tgz and so on, unpacked",
        LICENCE,
    ),
}
_ALTERNATIVES = ("motionbert", "official")  # layouts for which any one of the wanted files is enough


@dataclass(frozen=True)
class Found:
    """The Human3.6M files in a folder.

    Args:
        root: the folder.
        files: layout -> what its module found.
        missing: layout -> (pattern, purpose) of files that are missing; also for incomplete layouts.
    """

    root: Path
    files: dict[str, object]
    missing: dict[str, tuple[tuple[str, str], ...]]

    def __str__(self) -> str:
        lines = [f"Human3.6M in {self.root}:"]
        for name in {**self.files, **self.missing}:
            layout = LAYOUTS[name]
            lines.append(f"  {'found' if name in self.files else 'in part'}: {layout.title} ({name!r})")
            lines += [f"    missing: {pattern}, {what}" for pattern, what in self.missing.get(name, ())]
            lines += [f"    from: {layout.origin}", f"    licence: {layout.licence}"]
        if not self.files:
            lines.append("  no layout that can be loaded. Any one of these would do:")
            lines += [
                f"    {layout.title} ({layout.wants[0][0]}): {layout.origin}. Licence: {layout.licence}"
                for name, layout in LAYOUTS.items()
                if name not in self.missing
            ]
        return "\n".join(lines)

    __repr__ = __str__


def _module(name: str):
    return import_module(f"mocap3d.data.h36m.{name}")


def recognise(root: str | Path) -> Found:
    """Find the layouts in a folder, without opening the large files.

    Args:
        root: the folder.
    Returns:
        Found; print it.
    Raises:
        H36MError: if there is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise H36MError(f"{root} is not a folder; give the folder of the Human3.6M files")
    files, missing = {}, {}
    for name, layout in LAYOUTS.items():
        absent = tuple(want for want in layout.wants if not _present(root, want[0]))
        if (here := _module(name).find(root)) is not None:
            files[name] = here
        in_part = name not in _ALTERNATIVES if name in files else len(absent) < len(layout.wants)
        if absent and in_part:
            missing[name] = absent
    return Found(root, files, missing)


def _present(root: Path, pattern: str) -> bool:
    """Whether a file exists, also if the given folder is the layout's inner or outer one."""
    parts = Path(pattern).parts
    inner = ("/".join(parts[i:]) for i in range(len(parts)))
    return any(next(iter(root.glob(p)), None) or next(iter(root.glob(f"*/{p}")), None) for p in inner)


def load_h36m(
    root: str | Path,
    layout: str = "auto",
    pose2d: str | None = None,
    subjects: str | Sequence[str] | None = None,
    exclusions: str | Sequence[str] = (),
    **options,
) -> PoseDataset:
    """Load Human3.6M from any layout.

    Args:
        root: folder of the files.
        layout: one of `LAYOUTS`, or "auto": the first of them found in the folder.
        pose2d: "gt", or detections that the layout has: "cpn", "sh", "detectron", ... By default those that the
            layout's own code uses: "sh" in MotionBERT's, what ours was written with, else "gt". The notes state it.
        subjects: subjects to load; by default all.
        exclusions: names of `EXCLUSIONS`: published evaluations that leave recordings out.
        options: of the layout's own `read`.
    Returns:
        PoseDataset "h36m" on h36m17 in metres, four clips per recording, named "S9/Greeting 1".
    Raises:
        H36MError: for absent, incomplete or damaged files; the message states what to get and where.
        DatasetError: for no subjects at all.
        UnsafeFileError: for a file that contains more than data.
    """
    check_arguments(load_h36m, locals())
    found = recognise(root)
    if layout != "auto" and layout not in LAYOUTS:
        raise H36MError(f"no layout {layout!r}; there are: auto, {', '.join(LAYOUTS)}")
    if not found.files or layout not in ("auto", *found.files):
        wanted = "no layout" if layout == "auto" else f"not the layout {layout!r}"
        raise H36MError(f"{found.root} holds {wanted} that can be loaded.\n{found}")
    chosen = next(iter(found.files)) if layout == "auto" else layout
    subjects, notes = names_of(subjects, "subjects"), []
    if pose2d is None and chosen != "own":
        pose2d = "sh" if chosen == "motionbert" else "gt"
    clips = _module(chosen).read(found.files[chosen], pose2d, subjects, notes=notes, **options)
    if pose2d is not None and "annotation" not in options:
        notes.append("2D: projected truth" if pose2d == "gt" else f"2D: the {pose2d} detections of the files")
    clips, excluded = exclude(clips, exclusions)
    others = [name for name in found.files if name != chosen]
    head = f"read from {LAYOUTS[chosen].title} in {found.root}"
    head += f"; also there: {', '.join(others)}" if others else ""
    return PoseDataset("h36m", tuple(clips), (head, *notes, *excluded))
