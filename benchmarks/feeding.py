"""How fast batches of windows are made: beside a plain generator, beside copying memory, and beside the training step.

    OMP_NUM_THREADS=2 python benchmarks/feeding.py
    python benchmarks/feeding.py --busy       # when other programs run: one thread, by its processor time

"Plain" makes each window by itself with numpy, pads it where it must, and mirrors those of the first half of the
batch, in the same process. "Copy" moves as many bytes as the windows of a batch hold, from one place to another.
The training step is a full one, forward, backward and Adam, of VideoPose3D with 1024 channels; with fewer
--step-channels it is shorter, and the share of feeding larger than in truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from machine import describe_machine, time_interleaved

from mocap3d.data.windows import DeviceDataset, batches
from mocap3d.models.create import create_model
from mocap3d.skeleton import H36M17
from mocap3d.training.fit import train_step
from mocap3d.training.recipe import RECIPES, make_optimizer

IN_A_ROW = 10  # batches per turn: in an epoch too they follow one another


def made_up(frames: int, clip_frames: int) -> DeviceDataset:
    """Random numbers in the form of clips: what is in the frames does not matter here."""
    count = frames // clip_frames
    frames = count * clip_frames
    start = torch.arange(count) * clip_frames
    return DeviceDataset(
        torch.randn(frames, 17, 2),
        torch.ones(frames, 17),
        torch.randn(frames, 17, 3),
        torch.arange(count).repeat_interleave(clip_frames),
        start,
        start + clip_frames,
        (),
    )


def plain_batches(data: DeviceDataset, batch_size: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The reference: a loop over samples. The first half of a batch is mirrored."""
    clips2d, clips3d = (
        [tensor[a:b].numpy() for a, b in zip(data.start.tolist(), data.stop.tolist(), strict=True)]
        for tensor in (data.points2d, data.pose3d)
    )
    places = [(clip, frame) for clip, points in enumerate(clips2d) for frame in range(len(points))]
    places = np.array(places)[np.random.default_rng(0).permutation(len(places))]
    swap = list(H36M17.mirror)
    for first in range(0, len(places) - batch_size + 1, batch_size):
        points2d = np.empty((batch_size, width, 17, 2), np.float32)
        pose3d = np.empty((batch_size, 1, 17, 3), np.float32)
        for i, (clip, frame) in enumerate(places[first : first + batch_size]):
            low, high, last = frame - width // 2, frame + width // 2 + 1, len(clips2d[clip])
            points = clips2d[clip][max(low, 0) : high]
            if low < 0 or high > last:
                points = np.pad(points, ((max(-low, 0), max(high - last, 0)), (0, 0), (0, 0)), "edge")
            points2d[i], pose3d[i] = points, clips3d[clip][frame : frame + 1]
            if i < batch_size // 2:
                for array in (points2d[i], pose3d[i]):
                    array[..., 0] *= -1
                    array[:] = array[:, swap]
        yield points2d, pose3d


def endless(make: Callable[[], Iterator], count: int = 1) -> Callable[[], object]:
    """A function that draws `count` batches, epoch after epoch, and returns the last."""
    state = {"epoch": make()}

    def draw() -> object:
        for _ in range(count):
            batch = next(state["epoch"], None)
            if batch is None:
                state["epoch"] = make()
                batch = next(state["epoch"])
            state["batch"] = batch  # the one before goes when this one is there, as in a loop
        return batch

    return draw


def copies(batch_size: int, width: int, count: int) -> Callable[[], object]:
    source, target = torch.randn(batch_size, width * 34), torch.empty(batch_size, width * 34)

    def copy() -> None:
        for _ in range(count):
            target.copy_(source)

    return copy


def step_of(width: int, channels: int, draw: Callable[[], object]) -> Callable[[], object]:
    model = create_model(f"videopose3d_{width}", channels=channels)
    recipe = RECIPES["videopose3d"]
    optimizer, batch = make_optimizer(model, recipe), draw()
    return lambda: train_step(model, optimizer, batch, recipe, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[27, 81, 243], help="frames per window")
    parser.add_argument("--batch", type=int, default=1024, help="windows per batch")
    parser.add_argument("--frames", type=int, default=500_000, help="of the data set")
    parser.add_argument("--clip-frames", type=int, default=2000, help="of each clip")
    parser.add_argument("--turns", type=int, default=30, help="times each is timed, at least")
    parser.add_argument("--step-widths", type=int, nargs="*", default=[27], help="time the training step of these")
    parser.add_argument("--step-channels", type=int, default=1024, help="of the network that is trained")
    parser.add_argument("--busy", action="store_true", help="measure one thread by processor time, not by the clock")
    options = parser.parse_args()
    clock = time.process_time if options.busy else time.perf_counter
    if options.busy:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    print(describe_machine())
    data = made_up(options.frames, options.clip_frames)
    print(f"{options.frames:,} frames in clips of {options.clip_frames:,}, batches of {options.batch}, half mirrored")
    print(f"{'frames':>6}{'batches/s':>11}{'plain':>8}{'ratio':>7}{'of copying':>12}   share of the training step")
    for width in options.widths:
        ours = lambda width=width: batches(data, options.batch, width=width, mirror=True)  # noqa: E731
        functions = {
            "ours": endless(ours, IN_A_ROW),
            "plain": endless(lambda width=width: plain_batches(data, options.batch, width)),
            "copy": copies(options.batch, width, IN_A_ROW),
        }
        times = time_interleaved(functions, options.turns, clock=clock)
        seconds = {name: timing.seconds / (1 if name == "plain" else IN_A_ROW) for name, timing in times.items()}
        line = f"{width:6d}{1 / seconds['ours']:11.0f}{1 / seconds['plain']:8.1f}"
        line += f"{seconds['plain'] / seconds['ours']:7.0f}{100 * seconds['copy'] / seconds['ours']:11.0f}%"
        if width in options.step_widths:
            draw = endless(ours)
            step = step_of(width, options.step_channels, draw)
            took = time_interleaved({"step": step, "feed": draw}, 5, clock=clock)
            share = 100 * took["feed"].seconds / took["step"].seconds
            line += f"   {share:.2f} % of {1000 * took['step'].seconds:.0f} ms ({options.step_channels} channels)"
        print(f"{line}   ({min(timing.kept for timing in times.values())}/{times['ours'].turns})", flush=True)


if __name__ == "__main__":
    main()
