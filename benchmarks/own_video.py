"""What lifting one's own video costs: `mocap3d lift` on JSON keypoints of one and ten minutes of one person.

    python -m benchmarks.own_video

Each clip is built-in motion in COCO's joints at 30 fps, lifted by the command in a process of its own. Printed are
seconds on the clock, seconds of processor time (which other work on the machine changes less), and the peak of memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import mocap3d
from mocap3d.data.phone import coco_from_h36m

# The command, and then the peak of its memory in KiB; ru_maxrss would count what the process that forks it holds.
LIFT = """
import sys
from mocap3d.cli import main
main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def keypoints(seconds: float) -> mocap3d.Pose2D:
    """A walk, filmed by a phone at 30 fps."""
    camera = mocap3d.h36m_cameras("S9")[0]
    walk = mocap3d.synthesize("S9", "Walking", seconds=seconds).in_camera(camera)
    points = coco_from_h36m(torch.from_numpy(walk.points)).numpy()
    size = camera.width, camera.height
    return mocap3d.Pose2D(camera.project(points), None, "coco17", walk.fps, size).resample(30)


def main() -> None:
    """Print a line for each length."""
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            file = mocap3d.write(keypoints(60 * minutes), Path(folder) / f"clip{minutes}.json")
            command = [sys.executable, "-c", LIFT, "lift", str(file), "--out", str(file.with_suffix(".npz"))]
            start, before = time.perf_counter(), os.times()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            clock, after = time.perf_counter() - start, os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            peak = int(done.stdout.split()[-1]) / 1024
            print(f"{minutes} min: {clock:.1f} s, {cpu:.1f} s of processor time, peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
