"""Time and memory to load a training set of Human3.6M's size, from VideoPose3D's files and from ours.

    python benchmarks/h36m_load.py                 1.56 million views: 390,000 poses x 4 cameras
    python benchmarks/h36m_load.py --poses 30000   a quick look

The set is synthetic: 5 subjects x 15 actions x 2 takes, each take 8 seconds of motion played to and fro until it is as
long as Human3.6M's. It is written in VideoPose3D's layout, converted to ours, and each is loaded in a process of its
own, whose peak resident memory counts everything: Python, torch, and pages of mapped files. The limits, for our layout:
20 seconds, 4 GB.

Measured with OMP_NUM_THREADS=1 on two processors that other programs kept busy (load 9), files just written:

    layout          disk MB      views  seconds  peak GB
    imports alone         0          0      0.0     0.24
    videopose3d         194  1,560,000     14.4     1.06
    own                 637  1,560,000      4.8     0.99
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.h36m import own
from mocap3d.data.h36m.facts import SUBJECTS, TEST_SUBJECTS
from mocap3d.data.h36m.load import load_h36m
from mocap3d.data.synthetic import ACTIONS
from mocap3d.data.synthetic.recordings import synthesize
from mocap3d.poses import Pose3D

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the writers are found from anywhere

from data_scripts.h36m_writers import videopose3d  # noqa: E402

LIMIT_SECONDS, LIMIT_GB = 20.0, 4.0
TRAIN = [subject for subject in SUBJECTS if subject not in TEST_SUBJECTS]


def big_dataset(poses: int) -> PoseDataset:
    """A training set of so many poses, filmed by four cameras."""
    names = [(subject, action, take) for subject in TRAIN for action in ACTIONS for take in (0, 1)]
    clips = []
    for number, (subject, action, take) in enumerate(names):
        frames = (number + 1) * poses // len(names) - number * poses // len(names)
        motion = synthesize(subject, action, take=take).points
        there_and_back = np.concatenate([motion, motion[-2:0:-1]])
        points = there_and_back[np.arange(frames) % len(there_and_back)]
        labels = {"subject": subject, "action": action, "take": f"{subject}/{action} {take + 1}"}
        clips += film(Pose3D(points), h36m_cameras(subject), **labels, source="synthetic")
    return PoseDataset("synthetic of Human3.6M's size", tuple(clips))


def measure(what: str, folder: str) -> dict:
    """Load in this process; seconds, peak memory in GB, views."""
    start, views = time.perf_counter(), 0
    if what == "load":
        dataset = load_h36m(folder)
        views = dataset.frames
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gb": peak_bytes() / 1e9, "views": views}


def peak_bytes() -> int:
    """Most memory this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, from before the program was replaced
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(what: str, folder: Path) -> dict:
    command = [sys.executable, __file__, "--measure", what, str(folder)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=390_000, help="default 390000, as in Human3.6M")
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary folder")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        published, ours = Path(temporary) / "videopose3d", Path(temporary) / "own"
        writing = time.perf_counter()
        dataset = big_dataset(args.poses)
        made = time.perf_counter()
        videopose3d.write(dataset, published)
        print(f"made {dataset.frames:,} views in {made - writing:.0f} s, ", end="", flush=True)
        print(f"wrote VideoPose3D's layout in {time.perf_counter() - made:.0f} s, ", end="", flush=True)
        start = time.perf_counter()
        own.write(load_h36m(published), ours)
        print(f"converted it in {time.perf_counter() - start:.0f} s")
        rows = {"imports alone": in_own_process("nothing", ours)}
        rows |= {folder.name: in_own_process("load", folder) for folder in (published, ours)}
        print(f"{'layout':14} {'disk MB':>8} {'views':>10} {'seconds':>8} {'peak GB':>8}")
        for name, row in rows.items():
            disk = sum(path.stat().st_size for path in (Path(temporary) / name).glob("*")) / 1e6
            print(f"{name:14} {disk:8.0f} {row['views']:10,} {row['seconds']:8.1f} {row['gb']:8.2f}")
    if failed := rows["own"]["seconds"] > LIMIT_SECONDS or rows["own"]["gb"] > LIMIT_GB:
        print(f"our layout is beyond {LIMIT_SECONDS:g} s or {LIMIT_GB:g} GB")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
