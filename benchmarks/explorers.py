"""Updates a second of `what_if`: damage, network, metrics and what is sent to the browser, without the browser.

    python benchmarks/explorers.py

The networks have their published sizes and first weights, which cost as much as trained ones. A turn moves one slider;
the median of the turns counts. Bars, on two cores: 20 for VideoPose3D-27, 8 for MotionBERT-Lite on 27 frames. On a machine
with neighbours, OMP_NUM_THREADS=1 keeps threads from waiting for each other.
"""

from __future__ import annotations

import statistics
import time

import torch

import mocap3d

TURNS = 30


def updates_a_second(kind: str, frames: int) -> float:
    clip = mocap3d.first_frames(mocap3d.load_dataset("synthetic", subjects=("S9",), seconds=4).test[0], frames)
    torch.manual_seed(0)
    model = mocap3d.create_model(kind)
    data = mocap3d.to_device([clip])
    model.fit_normalisation(data.points2d, data.pose3d)
    explorer, seconds = mocap3d.what_if(model, clip), []
    for turn in range(TURNS):
        started = time.perf_counter()
        explorer.controls["noise"].value = 1 + turn
        seconds.append(time.perf_counter() - started)
    explorer.close()
    return 1 / statistics.median(seconds)


def main() -> None:
    print(f"{torch.get_num_threads()} threads")
    for kind, frames in (("videopose3d_27", 27), ("videopose3d_27", 100), ("motionbert_lite", 27)):
        print(f"{kind:16s} {frames:4d} frames {updates_a_second(kind, frames):6.1f} updates a second")


if __name__ == "__main__":
    main()
