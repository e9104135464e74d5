"""Damaged files by the ten thousand, for every reader: a valid result or the documented error, never anything else.

    python -m benchmarks.fuzz                     50,000 files; skips those that are recorded
    python -m benchmarks.fuzz --cases 2000 bvh    fewer, of some readers
    python -m benchmarks.fuzz --table             only print the record

Files of every layout are damaged at random: in their bytes or, where there is a structure (JSON, arrays, pickles), in
their values. A file counts as read if the reader returns what it promises within `LONGEST` seconds of processor time.
The count is kept in docs/results/fuzz.json, after every hundred files of a reader.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import mocap3d
from benchmarks import records
from data_scripts.h36m_writers import mmpose, motionbert, videopose3d
from mocap3d.data.cache import LABELS, cached
from mocap3d.data.h36m import own
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.load import load_h36m
from mocap3d.evaluation.protocol import ReportError
from mocap3d.evaluation.report import Report
from mocap3d.formats import safe_files
from mocap3d.formats.export import ExportError, read_pose
from mocap3d.formats.keypoint_files import KeypointError
from mocap3d.formats.motion_file import MotionFileError
from mocap3d.models.state_dicts import WeightsError
from mocap3d.skeleton import COCO17
from tests.formats import keypoint_texts as texts
from tests.formats.test_motion_fuzz import AMC, ASF, BVH

LONGEST = 5.0
BATCH = 100
PLAIN = (None, True, 0, -1, 1e300, 10**400, float("nan"), "", "1", "nose", [], {}, [[]], [1, 2], {"x": 1, "y": 2})
ARRAYS = (
    np.zeros(0),
    np.zeros(3),
    np.zeros((2, 17, 3)),
    np.full((1, 17, 2), np.nan),
    np.array(["a", "b"]),
    np.array(7),
)
CARD = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")


@dataclass(frozen=True)
class Reader:
    """One reader and what it reads.

    Args:
        files: undamaged files, by name in a folder; one of them is damaged at a time.
        read: called with the folder.
        errors: documented ones.
        valid: whether a result is what the reader promises.
    """

    files: dict[str, bytes]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]
    valid: Callable[[object], bool]


def readers() -> dict[str, Reader]:
    """Every reader, with small files."""
    return _keypoints() | _motion() | _safe() | _own_files() | _layouts()


def _keypoints() -> dict[str, Reader]:
    clip, names = texts.motion(17, 3), list(COCO17.joints)
    files = {
        "AlphaPose": texts.alphapose(clip, ids=True),
        "AlphaPose by picture": texts.alphapose_by_picture(texts.motion(18, 3)),
        "OpenPose": texts.openpose(texts.motion(25, 1)[0]),
        "MMPose": texts.mmpose(clip, {"keypoint_id2name": {str(i): name for i, name in enumerate(names)}}),
        "rtmlib": texts.rtmlib(clip),
        "rtmlib whole clip": texts.rtmlib_whole(clip),
        "rtmlib with timestamps": texts.rtmlib_whole(clip)[:-1] + b', "timestamps": [0, 0.04, 0.08]}',
        "COCO": texts.coco(clip),
        "Ultralytics": texts.ultralytics(clip),
        "Ultralytics lines": texts.ultralytics_lines(clip),
        "MediaPipe": texts.mediapipe(texts.motion(33, 3)),
        "VideoPose3D": texts.videopose3d(clip),
        "DeepLabCut": texts.deeplabcut(clip, names),
        "Sports2D": texts.sports2d(clip, names),
        "table": texts.table(clip, names),
        "arrays": texts.arrays(clip, fps=30.0, image_size=texts.SIZE),
    }

    def read(folder: Path) -> mocap3d.Pose2D:
        fps = None if b"time" in (folder / "file").read_bytes() else 30
        try:
            return mocap3d.read_keypoints(folder / "file", image_size=texts.SIZE, fps=fps)
        except KeypointError as error:
            assert str(error).startswith(str(folder / "file")), f"a message without the file: {error}"
            raise

    def valid(pose: mocap3d.Pose2D) -> bool:
        missing = np.isnan(pose.points).any(-1)
        gone = (missing == np.isnan(pose.points).all(-1)).all() and ((pose.confidence == 0) == missing).all()
        return bool(gone and pose.confidence.max() <= 1)

    return {f"keypoints, {name}": Reader({"file": data}, read, (KeypointError,), valid) for name, data in files.items()}


def _motion() -> dict[str, Reader]:
    def valid(pose: mocap3d.Pose3D) -> bool:
        return isinstance(pose, mocap3d.Pose3D) and not np.isinf(pose.points).any()

    errors = (MotionFileError,)
    return {
        "bvh": Reader({"file": BVH}, lambda folder: mocap3d.read_bvh(folder / "file"), errors, valid),
        "asf and amc": Reader(
            {"asf": ASF, "amc": AMC}, lambda folder: mocap3d.read_amc(folder / "asf", folder / "amc"), errors, valid
        ),
    }


def _safe() -> dict[str, Reader]:
    plain = {
        "points": np.zeros((2, 17, 3), np.float32),
        "names": ["a", "b"],
        "more": {"fps": 50.0, "size": (1000, 1002)},
    }
    files = {
        "pickle": pickle.dumps(plain),
        "npy": _saved(np.save, plain["points"]),
        "npz": _saved(np.savez, points=plain["points"], names=np.array(plain["names"])),
        "torch": _torch({"state_dict": {"weight": torch.zeros(3, 4), "bias": torch.ones(3)}, "epoch": 3}),
    }
    found = {}
    for kind, data in files.items():
        load = getattr(safe_files, f"load_{kind}")
        read = lambda folder, load=load: load(folder / "file")  # noqa: E731
        found[f"{kind} of others"] = Reader({"file": data}, read, (safe_files.UnsafeFileError,), lambda result: True)
    return found


def _own_files() -> dict[str, Reader]:
    model = mocap3d.create_model("videopose3d", filter_widths=(3, 3), channels=8)
    walk = mocap3d.load_dataset("synthetic", seconds=1, subjects="S9", actions=["Walking"])
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        weights = mocap3d.save_weights(model, folder / "w.safetensors", CARD).read_bytes()
        report = mocap3d.evaluate(model, walk.select(camera="55011271")).to_json(folder / "report.json").read_bytes()
        poses = {}
        for kind in ("npz", "json", "csv"):
            mocap3d.write(walk[0].pose3d.slice(0, 3), folder / f"pose.{kind}")
            poses[kind] = (folder / f"pose.{kind}").read_bytes()
        points = np.zeros((1, 17, 3), np.float32)
        built = points, [dict.fromkeys(sorted(LABELS), "a") | {"frames": 1}], []
        cached("x", 0, lambda: built, folder / "cache")
        (cache,) = (folder / "cache").iterdir()
        cache = {cache.name: cache.read_bytes()}
    published = _torch({"model_pos": mocap3d.export_weights(model, "videopose3d")})
    refused = (WeightsError, safe_files.UnsafeFileError)
    finite = lambda found: all(torch.isfinite(tensor).all() for tensor in found.state_dict().values())  # noqa: E731
    return {
        "weights": Reader({"file": weights}, lambda f: mocap3d.load_weights(f / "file"), refused, finite),
        "published weights": Reader({"file": published}, lambda f: mocap3d.load_weights(f / "file"), refused, finite),
        "report": Reader(
            {"file": report}, lambda f: Report.from_json(f / "file"), (ReportError,), lambda r: bool(str(r))
        ),
        "cache": Reader(cache, lambda f: cached("x", 0, lambda: built, f), (), lambda got: got[1:] == built[1:]),
    } | {
        f"pose, {kind}": Reader(
            {"file": data}, lambda f: read_pose(f / "file"), (ExportError,), lambda p: isinstance(p, mocap3d.Pose3D)
        )
        for kind, data in poses.items()
    }


def _layouts() -> dict[str, Reader]:
    dataset = mocap3d.load_dataset("synthetic", seconds=1, subjects=("S1", "S9"), actions=["Walking"])
    found = {}
    for name, module in {"own": own, "videopose3d": videopose3d, "mmpose": mmpose, "motionbert": motionbert}.items():
        with tempfile.TemporaryDirectory() as folder:
            module.write(dataset, Path(folder))
            paths = [path for path in Path(folder).rglob("*") if path.is_file()]
            files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        found[f"h36m, {name}"] = Reader(
            files,
            lambda folder, name=name: load_h36m(folder, name),
            (H36MError, safe_files.UnsafeFileError),
            lambda loaded: all(np.isfinite(clip.pose3d.points).all() for clip in loaded),
        )
    return found


def _saved(save: Callable, *values: object, **named: object) -> bytes:
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()


def _torch(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three kinds of damage to bytes, at random places."""
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 64))
        kind = rng.integers(6)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + data[at + size :]
        elif kind == 3:
            data = data[:at] + data[at : at + size] * int(rng.integers(2, 5)) + data[at + size :]
        elif kind == 4:
            data = data[:at] + bytes(rng.integers(0, 256, size, np.uint8)) + data[at:]
        else:
            data = data[:at] + rng.choice([b"[", b"}", b",", b"\n", b"1e999", b"null", b'"', b"-"]) + data[at:]
    return data


def damage_values(node: object, rng: np.random.Generator, values: tuple = PLAIN) -> object:
    """Containers in which one to three random nodes are replaced, removed or repeated."""
    for _ in range(rng.integers(1, 4)):
        parent = node
        while True:
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            if not len(keys):
                break
            key = keys[int(rng.integers(len(keys)))]
            if isinstance(parent[key], (dict, list)) and rng.random() < 0.75:
                parent = parent[key]
                continue
            kind = rng.integers(4)
            if kind == 0:
                del parent[key]
            elif kind == 1 and isinstance(parent, list):
                parent.insert(key, deepcopy(parent[key]))
            else:
                parent[key] = deepcopy(values[int(rng.integers(len(values)))])
            break
    return node


def case(name: str, data: bytes, rng: np.random.Generator) -> bytes:
    """A damaged copy of one file."""
    if rng.random() < 0.4:
        return damage(data, rng)
    if data[:1] in (b"[", b"{"):
        try:
            return json.dumps(damage_values(json.loads(data), rng)).encode()
        except json.JSONDecodeError:  # several in one file
            return damage(data, rng)
    if data[:2] == b"PK" and b".npy" in data[:200]:
        with np.load(io.BytesIO(data), allow_pickle=True) as file:  # it was written here
            content = {key: file[key].item() if file[key].dtype == object else file[key] for key in file.files}
        content = damage_values(content, rng, PLAIN + ARRAYS)
        packed = {key: value if isinstance(value, np.ndarray) else _object(value) for key, value in content.items()}
        return _saved(np.savez, **packed)
    if data[:1] == b"\x80" and name.endswith((".pkl", "file")):
        return pickle.dumps(damage_values(pickle.loads(data), rng, PLAIN + ARRAYS))
    return damage(data, rng)


def _object(value: object) -> np.ndarray:
    """A 0-dimensional array of objects, as numpy saves plain Python values."""
    packed = np.empty((), object)
    packed[()] = value
    return packed


def outcome(reader: Reader, folder: Path) -> str:
    """ "read", "refused", or what went wrong."""
    start = time.process_time()
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = reader.read(folder)
            result = "read" if reader.valid(found) else f"an invalid result: {found!r:.300}"
    except reader.errors:
        result = "refused"
    except Exception:
        result = traceback.format_exc(limit=-3)
    return result if time.process_time() - start < LONGEST else f"more than {LONGEST} s"


def run(name: str, reader: Reader, cases: int, seed: int) -> Counter:
    """Outcomes of damaged files of one reader, counted; anything but "read" and "refused" is printed."""
    rng, found = np.random.default_rng(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for path, data in reader.files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        for number in range(cases):
            path = list(reader.files)[number % len(reader.files)]
            (Path(folder) / path).write_bytes(case(path, reader.files[path], rng))
            result = outcome(reader, Path(folder))
            (Path(folder) / path).write_bytes(reader.files[path])
            found[result if result in ("read", "refused") else "other"] += 1
            if result not in ("read", "refused"):
                print(f"{name}, {path}, seed {seed}, case {number}: {result}", flush=True)
    return found


def main() -> None:
    """Run what is missing, and print the count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="readers whose name begins so (default: all)")
    parser.add_argument("--cases", type=int, default=50_000, help="of all readers together (default 50,000)")
    parser.add_argument("--table", action="store_true", help="only print the record")
    options = parser.parse_args()
    counts = records.read("fuzz") or {"numbers": {}, "seconds": 0}
    numbers, seconds = counts["numbers"], counts["seconds"]
    everything = {} if options.table else readers()
    each = -(-options.cases // max(len(everything), 1))
    chosen = [name for name in everything if not options.names or name.startswith(tuple(options.names))]
    for name in chosen:
        while (done := sum(numbers.get(name, {}).values())) < each:
            start = time.perf_counter()
            found = run(name, everything[name], min(BATCH, each - done), seed=done)
            numbers[name] = dict(Counter(numbers.get(name, {})) + found)
            seconds += time.perf_counter() - start
            records.write(
                "fuzz", data="built here", protocol="a valid result or the documented error", size="damaged files",
                seed=None, seconds=seconds, numbers=numbers,
            )  # fmt: skip
    total = Counter()
    for name, found in numbers.items():
        print(
            f"{name}: {found.get('read', 0):,} read, {found.get('refused', 0):,} refused, {found.get('other', 0)} other"
        )
        total.update(found)
    print(
        f"{total.total():,} damaged files: {total['read']:,} read, {total['refused']:,} refused, {total['other']} other"
    )


if __name__ == "__main__":
    main()
