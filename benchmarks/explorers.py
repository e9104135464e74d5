"""Updates a second of `what_if`: damage, network, metrics and what is sent to the browser, without the browser.

    python benchmarks/explorers.py                        with the threads that torch chooses
    OMP_NUM_THREADS=1 python benchmarks/explorers.py      on one processor; then neighbours hardly matter

The networks have their published sizes and first weights, which cost as much as trained ones. Every turn moves a
slider. Bars, on two processors: 20 updates a second for VideoPose3D-27, 8 for MotionBERT-Lite on 27 frames.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch

import mocap3d
from benchmarks.machine import time_interleaved


def update(kind: str, frames: int) -> Callable[[], None]:
    """A function that moves the slider of noise by one pixel."""
    clip = mocap3d.first_frames(mocap3d.load_dataset("synthetic", subjects=("S9",), seconds=4).test[0], frames)
    torch.manual_seed(0)
    model = mocap3d.create_model(kind)
    data = mocap3d.to_device([clip])
    model.fit_normalisation(data.points2d, data.pose3d)
    slider = mocap3d.what_if(model, clip).controls["noise"]
    values = itertools.cycle(range(1, 30))

    def step() -> None:
        slider.value = next(values)

    return step


def main() -> None:
    threads = torch.get_num_threads()
    sizes = (("videopose3d_27", 27), ("videopose3d_27", 100), ("motionbert_lite", 27))
    steps = {f"{kind}, {frames} frames": update(kind, frames) for kind, frames in sizes}
    clock = time.process_time if threads == 1 else time.perf_counter
    for name, timing in time_interleaved(steps, clock=clock).items():
        print(
            f"{name:28s} {1 / timing.seconds:6.1f} a second, {threads} threads ({timing.kept} of {timing.turns} quiet)"
        )


if __name__ == "__main__":
    main()
