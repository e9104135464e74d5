"""Open motion capture (CMU, Bandai-Namco) as a data set shaped like Human3.6M.

Every recording is converted to h36m17 at 50 fps in metres, placed on the floor of the Human3.6M capture area, rotated
by a random angle, and filmed by the four calibrated cameras of one Human3.6M subject: training recordings by those of
S1, S5, S6, S7 and S8, all others by those of S9 and S11.

The split is fixed, and has no leaks that we know of:

    test   cmu-asfamc-02   walk, run, jump, swordplay, washing: the main test set
    test   cmu-cc-007      walks, another skeleton
    test   bandai-held-out whole contents in every style: dance, kick, punch, slash, guide, call, respond
    train  bandai          the remaining contents
    train  cmu-asfamc-01   playground: climbing, jumping, swinging
    train  cmu-cc-005      modern dance
    check  cmu-cc-001, cmu-cc-002: the SAME captures as ASF/AMC 01 and 02 in another format. Never train on them.

The test sources hold new kinds of motion, new people and new skeletons. `hold_out` takes further clips out of `.train`,
to choose models on or to measure on; without it, nothing changes. They are filmed by the cameras of the training
subjects.

    hold_out="recordings"  new recordings of known motion, as in Human3.6M: about an eighth of each training source
                           becomes the split "known" (`PoseDataset.known`): the CMU recordings numbered 5, 10 and 15,
                           and the Bandai styles "childish" and "youthful".
    hold_out="bandai"      a skeleton that is not in training: the training clips of sources named bandai*, cmu-cc* or
    hold_out="cc"          cmu-asfamc* become the split "left-out" (`PoseDataset.left_out`). `.test` keeps its clips
    hold_out="cmu"         of that skeleton, so choose on "left-out", and measure on `.test`.

Recordings with the same Bandai content and style differ by 10 to 15 mm, so they are never split by number. The frames
of "known" are on average 32 mm ("youthful"), 42 mm ("childish") and 46 to 80 mm (CMU) from the nearest pose of the same
content in training, with pelvis and facing direction aligned.

The CMU tests are minutes of motion of one or two people: differences between models are measured pairwise on the same
clips, and do not generalise to other people. Printed tables state the number of persons of every source.

Recordings are cut to fit, never deformed: frames around marker pops are dropped, and where a walk leaves the area that
all four cameras see, it is cut there and the next chunk gets a new place. Nothing is scaled or looped.
`PoseDataset.notes` reports the cuts.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mocap3d.arguments import check_arguments
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.cache import cached
from mocap3d.data.dataset import DatasetError, PoseDataset, film
from mocap3d.data.h36m.facts import FPS, SUBJECTS, TEST_SUBJECTS
from mocap3d.formats.asf_amc import find_skeleton, read_amc
from mocap3d.formats.bvh import read_bvh
from mocap3d.formats.motion_file import MotionFileError
from mocap3d.poses import Pose3D

VERSION = 1  # part of the cache key: raise it when anything below changes the result
TRAIN_SUBJECTS = tuple(subject for subject in SUBJECTS if subject not in TEST_SUBJECTS)
HELD_OUT_CONTENTS = ("dance", "kick", "punch", "slash", "guide", "call", "respond")
KNOWN_RECORDINGS = (
    *("cmu-asfamc-01/01_05", "cmu-asfamc-01/01_10"),
    *("cmu-cc-005/005_05", "cmu-cc-005/005_10", "cmu-cc-005/005_15"),
)
KNOWN_STYLES = ("childish", "youthful")  # alike, so that neither stands in for the other in training
SKELETONS = {"bandai": "bandai", "cc": "cmu-cc", "cmu": "cmu-asfamc"}  # hold_out -> first letters of its sources
POP_SPEED = 12.0  # m/s; a sprinting foot or a punching wrist stays below, a jumping marker does not
POP_MARGIN, POP_GAP = 0.05, 0.5  # seconds dropped around a pop; pops closer than the gap are merged
SHORTEST = 0.5  # seconds; shorter chunks are dropped
TURNS = 4  # angles tried for each chunk; the one that gives the longest chunk is used
IMAGE_MARGIN = 4.0  # pixels between every joint and the image border

CMU_LICENCE = "CMU Graphics Lab Motion Capture Database: free for all uses, not to be resold"
BANDAI_LICENCE = "Bandai-Namco-Research-Motiondataset: CC BY-NC 4.0"
# The BVH files have no nose and no top of the head; both are fixed in the head joint's frame (x up, y forward), in cm.
BANDAI_MARKERS = {"Nose": ("Head", (5.0, 4.0, 0.0)), "HeadTop": ("Head", (16.0, 3.0, 0.0))}

_CMU_ACTIONS = {
    "02": ("walk", "walk", "run", "jump", "punch", "bend", "swordplay", "swordplay", "swordplay", "wash"),
    "01": ("playground",) * 14, "05": ("dance",) * 20, "07": ("walk",) * 12,
}  # fmt: skip


@dataclass(frozen=True)
class MotionSource:
    """One group of motion files: location, performer, split and licence."""

    name: str
    split: str
    folder: str
    performer: str
    licence: str


SOURCES = (
    MotionSource("cmu-asfamc-01", "train", "cmu/asfamc/01", "cmu-01", CMU_LICENCE),
    MotionSource("cmu-cc-005", "train", "cmu/bvh_cc/005", "cmu-05", CMU_LICENCE),
    MotionSource("bandai", "train", "bandai", "unknown, one of 3", BANDAI_LICENCE),
    MotionSource("cmu-asfamc-02", "test", "cmu/asfamc/02", "cmu-02", CMU_LICENCE),
    MotionSource("cmu-cc-007", "test", "cmu/bvh_cc/007", "cmu-07", CMU_LICENCE),
    MotionSource("bandai-held-out", "test", "bandai", "unknown, one of 3", BANDAI_LICENCE),
    MotionSource("cmu-cc-001", "check", "cmu/bvh_cc/001", "cmu-01", CMU_LICENCE),
    MotionSource("cmu-cc-002", "check", "cmu/bvh_cc/002", "cmu-02", CMU_LICENCE),
)


def load_open_mocap(
    root: str | Path | None = None, seed: int = 0, cache: str | Path | None = None, hold_out: str | None = None
) -> PoseDataset:
    """Load the CMU and Bandai-Namco folders as a data set.

    Args:
        root: folder with `cmu/` and `bandai/` as made by `data_scripts/fetch_open_mocap.py`; by default the
            MOCAP3D_DATA environment variable. Sources that are absent are left out, and noted.
        seed: of each recording's angle and subject.
        cache: folder for the built poses; by default mocap3d's folder in the user's cache.
        hold_out: "recordings" moves recordings of known motion from `.train` to `.known`; "bandai", "cc" or "cmu" moves
            a skeleton from `.train` to `.left_out`. None leaves all in `.train`. See the head of this module.
    Returns:
        PoseDataset with four clips per chunk of a recording.
    Raises:
        DatasetError: if the folder or every source in it is missing, or `hold_out` is unknown or finds no clip.
        MotionFileError: if a file is damaged, or an .amc has no .asf in its folder.
    """
    check_arguments(load_open_mocap, locals())
    if hold_out not in (None, "recordings", *SKELETONS):
        choices = ", ".join(map(repr, ("recordings", *SKELETONS)))
        raise DatasetError(f"hold_out is {hold_out!r}; give one of {choices}, or None to hold nothing out of training")
    root = root or os.environ.get("MOCAP3D_DATA")
    if not root:
        raise DatasetError(
            "open-mocap needs its files: run `python data_scripts/fetch_open_mocap.py` and pass root=..., "
            "or set MOCAP3D_DATA to that folder"
        )
    root = Path(root).expanduser()
    files = {source: _files(root, source) for source in SOURCES}
    missing = [source.name for source, paths in files.items() if not paths]
    if len(missing) == len(SOURCES):
        raise DatasetError(
            f"{root} holds neither cmu/ nor bandai/ motion files; "
            f"run `python data_scripts/fetch_open_mocap.py --root {root}`"
        )
    motions = [path for paths in files.values() for path in paths]
    skeletons = {find_skeleton(path) for path in motions if path.suffix == ".amc"}
    stats = [(path, path.stat()) for path in (*motions, *sorted(skeletons))]
    stamps = [(str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    key = [VERSION, seed, FPS, *stamps]
    points, pieces, notes = cached("open-mocap", key, lambda: _build(files, seed), cache)
    if missing:
        notes = [*notes, f"absent, so left out: {', '.join(missing)}"]
    cameras = {subject: h36m_cameras(subject) for subject in SUBJECTS}
    clips, start, held_out = [], 0, set()
    for piece in pieces:
        if hold_out and piece["split"] == "train" and _is_held_out(piece, hold_out):
            piece["split"] = "known" if hold_out == "recordings" else "left-out"
            held_out.add(piece["take"].partition(":")[0])
        frames = piece.pop("frames")
        pose = Pose3D(points[start : start + frames], fps=FPS)
        clips += film(pose, cameras[piece["subject"]], **piece)
        start += frames
    if hold_out and not held_out:
        raise DatasetError(f"hold_out={hold_out!r} finds no training clip in {root}; absent: {', '.join(missing)}")
    if hold_out:
        notes = [*notes, f"hold_out={hold_out!r}: {len(held_out)} recordings held out of training"]
    return PoseDataset("open-mocap", tuple(clips), tuple(notes))


def _is_held_out(piece: dict, hold_out: str) -> bool:
    """Whether `hold_out` takes a chunk of a training recording out of training."""
    if hold_out != "recordings":
        return piece["source"].startswith(SKELETONS[hold_out])
    recording = piece["take"].partition(":")[0]  # e.g. bandai/dataset-1_walk_childish_001
    return recording in KNOWN_RECORDINGS or not set(KNOWN_STYLES).isdisjoint(recording.split("_")[2:3])


def _files(root: Path, source: MotionSource) -> list[Path]:
    """The motion files of a source, in name order."""
    folder = root / source.folder
    if source.folder != "bandai":
        return sorted([*folder.glob("*.amc"), *folder.glob("*.bvh")])
    paths, held_out = sorted(folder.glob("dataset-*/*.bvh")), source.split == "test"
    return [path for path in paths if (_content(path) in HELD_OUT_CONTENTS) == held_out]


def _content(path: Path) -> str:
    """ "dance" of dataset-1_dance-short_normal_001.bvh, but "walk-left" stays "walk-left"."""
    content = path.stem.split("_")[1] if path.stem.count("_") >= 2 else ""
    if not content:
        raise DatasetError(f"{path} is not named dataset-N_content_style_number.bvh; move it elsewhere")
    return content.split("-")[0] if content.startswith("dance") else content


def _action(path: Path) -> str:
    if path.name.startswith("dataset-"):
        return _content(path)
    match = re.fullmatch(r"0?(\d\d)_(\d\d)", path.stem)
    actions, trial = (_CMU_ACTIONS.get(match[1], ()), int(match[2])) if match else ((), 0)
    return actions[trial - 1] if 1 <= trial <= len(actions) else "unlisted"


def read_take(path: Path) -> Pose3D:
    """Read one motion file as h36m17 at its own frame rate, in the world frame, with its lowest point on the floor.

    Raises:
        MotionFileError: if the file is damaged.
    """
    if path.suffix == ".amc":
        pose = read_amc(find_skeleton(path), path)
    else:
        bandai = path.name.startswith("dataset-")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # such as of a file that is cut off
            try:
                pose = read_bvh(path, markers=BANDAI_MARKERS if bandai else None)
            except UserWarning as warning:
                raise MotionFileError(path, None, f"fetch it again: {warning}") from None
    floor = np.percentile(np.nanmin(pose.points[..., 2], axis=1), 1)
    pose = pose.convert("h36m17")
    return replace(pose, points=pose.points - np.float32([0, 0, floor]))


def quiet_stretches(pose: Pose3D) -> list[tuple[int, int]]:
    """Frame ranges free of marker pops: no joint faster than POP_SPEED, nor just before or after."""
    speed = np.linalg.norm(np.diff(pose.points, axis=0), axis=-1).max(-1, initial=0) * pose.fps  # (T-1,)
    pops = np.flatnonzero(speed > POP_SPEED)
    margin, gap = max(1, round(POP_MARGIN * pose.fps)), round(POP_GAP * pose.fps)
    bad = np.zeros(len(pose), bool)
    for i, pop in enumerate(pops):
        last = pops[i + 1] if i + 1 < len(pops) and pops[i + 1] - pop <= gap else pop
        bad[max(0, pop + 1 - margin) : last + 1 + margin] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


@dataclass(frozen=True)
class CaptureArea:
    """Where a body is completely visible to all cameras of a subject.

    A point p is inside every image if `normals @ p <= limits` (one plane per image side, conservative for the lens).
    """

    normals: np.ndarray  # (planes, 3)
    limits: np.ndarray  # (planes,)
    places: np.ndarray  # (places, 2) candidate positions on the floor, metres

    @cached_property
    def _room(self) -> np.ndarray:
        return self.limits[:, None] - self.normals[:, :2] @ self.places.T  # (planes, places)

    def place(self, highest: np.ndarray) -> tuple[np.ndarray, float]:
        """Best floor position for a body.

        Args:
            highest: (planes,) largest `normals @ p` over its joints and frames.
        Returns:
            (2,) position, and the slack in metres there: negative if the body does not fit.
        """
        slack = (self._room - highest[:, None]).min(0)  # (places,)
        best = int(slack.argmax())
        return self.places[best], float(slack[best])


def capture_area(cameras: tuple[Camera, ...]) -> CaptureArea:
    """The area seen by all these cameras, sampled every 10 cm."""
    normals, limits = [], []
    for camera in cameras:
        w, h, m = camera.width, camera.height, IMAGE_MARGIN
        along = np.linspace(m, 1000 - m, 41)
        left, right = (camera.rays(np.stack([np.full(41, x), along], -1))[:, 0] for x in (m, w - m))
        top, bottom = (camera.rays(np.stack([along, np.full(41, y)], -1))[:, 1] for y in (m, h - m))
        # in camera coordinates: x/z >= left, x/z <= right, y/z >= top, y/z <= bottom, z >= 0.5
        for plane, offset in (
            ([-1, 0, left.max()], 0),
            ([1, 0, -right.min()], 0),
            ([0, -1, top.max()], 0),
            ([0, 1, -bottom.min()], 0),
            ([0, 0, -1], -0.5),
        ):
            normal = camera.camera_to_world_direction(np.asarray(plane, float) / np.linalg.norm(plane))
            normals.append(normal)
            limits.append(offset / np.linalg.norm(plane) + normal @ np.asarray(camera.translation))
    side = np.arange(-3.0, 3.01, 0.1)
    places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    return CaptureArea(np.array(normals), np.array(limits), places)


def fit_into(area: CaptureArea, points: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cut a recording into chunks that fit the area, each rotated by a random angle and placed where it has most room.

    Args:
        area: where bodies may be.
        points: (T, J, 3) metres, world frame, floor at z = 0.
        rng: draws the angles.
    Yields:
        start, stop, (stop - start, J, 3) placed points. Frames that fit nowhere are skipped.
    """
    start = 0
    while start < len(points):
        best = (0, None)
        for angle in rng.uniform(0, 2 * np.pi, TURNS):
            turned = turn(points[start:], angle)
            turned = turned - [*turned[0, 0, :2], 0]
            highest = np.maximum.accumulate((turned @ area.normals.T).max(1), axis=0)  # (T', planes)
            low, high = 0, len(turned)  # the longest first part that fits, by bisection: fitting is monotone
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if area.place(highest[middle - 1])[1] >= 0 else (low, middle - 1)
            if low > best[0]:
                where = area.place(highest[low - 1])[0]
                best = (low, turned[:low] + [*where, 0])
        length, placed = best
        if placed is not None:
            yield start, start + length, placed
        start += max(length, 1)


def turn(points: np.ndarray, angle: float) -> np.ndarray:
    """(..., 3) world points, rotated about the vertical by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def _build(files: dict[MotionSource, list[Path]], seed: int) -> tuple[np.ndarray, list[dict], list[str]]:
    """All chunks of all recordings: world points (N, 17, 3), labels and frames of each, and notes on the cuts."""
    areas = {subject: capture_area(h36m_cameras(subject)) for subject in SUBJECTS}
    points, pieces, notes = [], [], []
    for number, (source, paths) in enumerate(files.items()):
        subjects = TRAIN_SUBJECTS if source.split == "train" else TEST_SUBJECTS
        total = quiet = unseen = short = cut = 0
        for index, path in enumerate(paths):
            rng = np.random.default_rng([seed, number, index])
            subject = subjects[rng.integers(len(subjects))]
            pose, before = read_take(path), len(pieces)
            total += len(pose)
            for first, last in quiet_stretches(pose):
                quiet += last - first
                if last - first < SHORTEST * pose.fps:
                    short += last - first
                    continue
                kept = 0
                resampled = pose.slice(first, last).resample(FPS).points
                for start, stop, placed in fit_into(areas[subject], resampled, rng):
                    frames = round((stop - start) * pose.fps / FPS)
                    kept += frames
                    if stop - start < SHORTEST * FPS:
                        short += frames
                        continue
                    at = first + round(start * pose.fps / FPS)
                    take = f"{source.name}/{path.stem}:{at}-{at + frames}"
                    points.append(placed.astype(np.float32))
                    pieces.append(
                        {
                            "subject": subject,
                            "action": _action(path),
                            "take": take,
                            "frames": len(placed),
                            "split": source.split,
                            "source": source.name,
                            "performer": source.performer,
                            "licence": source.licence,
                        }
                    )
                unseen += max(0, last - first - kept)
            cut += max(0, len(pieces) - before - 1)
        if total:
            notes.append(
                f"{source.name}: {len(paths)} files, {total:,} frames; dropped {total - quiet:,} around marker pops, "
                f"{unseen:,} outside all cameras' view, {short:,} in pieces under {SHORTEST:g} s; {cut} cuts"
            )
    if not points:
        raise DatasetError(f"no motion is left to use: {'; '.join(notes)}")
    return np.concatenate(points), pieces, notes
