"""How much of this machine's float32 multiplication speed VideoPose3D reaches, and how a plain copy does.

    OMP_NUM_THREADS=2 python benchmarks/temporal_conv.py
    python benchmarks/temporal_conv.py --busy         # when other programs run: one thread, by its processor time

"Limit" is the fastest matrix product found on this machine (benchmarks/machine.py), measured again beside every
figure. Counted are the multiplications and additions of the convolutions that the published network needs for the same
result: strided in training, dilated over a whole video. Elementwise work, dropout, Adam and padding take time but
count nothing. "Plain" is the same network written with nn.Conv1d, nn.BatchNorm1d, nn.ReLU, nn.Dropout and
torch.optim.Adam as they come; ours trains with Adam(fused=True). A training step is forward, backward and Adam with
amsgrad. A stream is compared with the plain network run on the last 243 frames for every new one.

bfloat16 is measured where the processor multiplies it natively; there also what it does to the poses of a model that
was trained for a moment, or that --weights names.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from machine import best_product, describe_machine, time_interleaved
from torch import nn

from mocap3d import metrics
from mocap3d.data.loading import load_dataset
from mocap3d.data.windows import DeviceDataset, to_device
from mocap3d.evaluation.predict import predict
from mocap3d.models.create import create_model
from mocap3d.skeleton import H36M17
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from mocap3d.weights import load_weights

CHANNELS, JOINTS = 1024, len(H36M17)
MIRROR = list(H36M17.mirror)


class PlainBlock(nn.Module):
    def __init__(self, width: int, dilation: int, strided: bool) -> None:
        super().__init__()
        steps = {"stride": width} if strided else {"dilation": dilation}
        layers = []
        for kernel, options in ((width, steps), (1, {})):
            layers += [
                nn.Conv1d(CHANNELS, CHANNELS, kernel, bias=False, **options),
                nn.BatchNorm1d(CHANNELS),
                nn.ReLU(inplace=True),
                nn.Dropout(0.25),
            ]
        self.layers = nn.Sequential(*layers)
        self.kept = slice(width // 2, None, width) if strided else slice(dilation, -dilation)  # of three frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, C, T) -> (B, C, T')
        return x[:, :, self.kept] + self.layers(x)


def plain_model(blocks: int, strided: bool) -> nn.Module:
    """The reference: the published network with kernels of 3 frames from torch's own modules, (B, 34, T) in."""
    stem = [nn.Conv1d(2 * JOINTS, CHANNELS, 3, stride=3 if strided else 1, bias=False)]
    stem += [nn.BatchNorm1d(CHANNELS), nn.ReLU(inplace=True), nn.Dropout(0.25)]
    return nn.Sequential(
        *stem, *(PlainBlock(3, 3 ** (n + 1), strided) for n in range(blocks)), nn.Conv1d(CHANNELS, 3 * JOINTS, 1)
    )


def window_operations(frames: int) -> tuple[float, float]:
    """Of the strided form on one window, kernels of 3 frames: in all, and of the first layer alone."""
    left = frames // 3
    first = total = 2.0 * left * 3 * 2 * JOINTS * CHANNELS
    while left > 1:
        left //= 3
        total += 2.0 * left * (3 + 1) * CHANNELS**2
    return total + 2.0 * CHANNELS * 3 * JOINTS, first


def training_operations(frames: int, batch: int) -> float:
    """Backward multiplies twice per weight, except that nobody asks for the gradient of the input."""
    total, first = window_operations(frames)
    return batch * (3 * total - first)


def video_operations(frames: int, receptive_field: int) -> float:
    """Of the dilated form on a video padded to frames + receptive_field - 1."""
    left = frames + receptive_field - 3
    total = 2.0 * left * 3 * 2 * JOINTS * CHANNELS
    for n in range(1, round(math.log(receptive_field, 3))):
        left -= 2 * 3**n
        total += 2.0 * left * (3 + 1) * CHANNELS**2
    return total + 2.0 * left * CHANNELS * 3 * JOINTS


def training_step_of(
    model: nn.Module, points: torch.Tensor, fused: bool, autocast: bool = False
) -> Callable[[], object]:
    model.train()
    target = torch.randn(len(points), JOINTS, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            pose = model(points).view(target.shape)
        (pose.float() - target).norm(dim=-1).mean().backward()
        optimizer.step()

    return step


def video(frames: int) -> DeviceDataset:
    """One clip of noise."""
    return DeviceDataset(
        torch.rand(frames, JOINTS, 2) * 2 - 1,
        torch.ones(frames, JOINTS),
        torch.zeros(frames, JOINTS, 3),
        torch.zeros(frames, dtype=torch.int64),
        torch.tensor([0]),
        torch.tensor([frames]),
        (),
        "noise",
    )


def lifting_of(model: nn.Module, data: DeviceDataset, flip_test: bool, autocast: bool = False) -> Callable[[], object]:
    def lift() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return predict(model, data, flip_test=flip_test)

    return lift


def plain_lifting_of(model: nn.Module, points: torch.Tensor, flip_test: bool) -> Callable[[], object]:
    """The same for a plain model of 243 frames: (T, 17, 2) -> (T, 17, 3)."""
    model.eval()
    pad = 121

    @torch.no_grad()
    def lift() -> torch.Tensor:
        padded = torch.cat([points[:1].expand(pad, -1, -1), points, points[-1:].expand(pad, -1, -1)])
        views = [padded]
        if flip_test:
            views.append(padded[:, MIRROR] * torch.tensor([-1.0, 1.0]))
        poses = model(torch.stack(views).flatten(2).transpose(1, 2)).transpose(1, 2)  # (V, T, 51)
        poses = poses.reshape(len(views), len(points), JOINTS, 3)
        if flip_test:
            return (poses[0] + poses[1][:, MIRROR] * torch.tensor([-1.0, 1.0, 1.0])) / 2
        return poses[0]

    return lift


def bfloat16_is_native() -> bool:
    """Whether this processor has instructions for it; torch emulates it elsewhere."""
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)


def report(
    label: str,
    count: float,
    functions: dict[str, Callable[[], object]],
    limit: tuple[Callable[[], object], float],
    options: argparse.Namespace,
    clock: Callable[[], float],
) -> None:
    """Print each function's share of the limit, the first one's lead over the second, and how quiet it was."""
    product, operations = limit
    times = time_interleaved({"limit": product, **functions}, options.turns, limit_seconds=options.wait, clock=clock)
    rate = operations / times["limit"].seconds
    shares = [count / times[name].seconds / rate for name in functions]
    kept = min(timing.kept for timing in times.values())
    print(
        f"{label:40}{shares[0]:7.0%}{shares[1]:9.0%}{shares[0] / shares[1]:11.2f}x{rate / 1e9:7.0f} GFLOP/s"
        f"  ({kept}/{times['limit'].turns})",
        flush=True,
    )


def report_stream(clock: Callable[[], float]) -> None:
    """Print the time of one new frame at 243 frames, and of the plain network on its window."""
    model, plain = create_model("videopose3d_243", causal=True), plain_model(4, strided=True).eval()
    stream, points = model.stream(), torch.rand(300, JOINTS, 2)
    window = points[:243].flatten(1).T[None].contiguous()  # (1, 34, 243)
    seconds: dict[str, list[float]] = {"stream": [], "window": []}
    for n, frame in enumerate(points):
        begin = clock()
        stream(frame)
        seconds["stream"].append(clock() - begin)
        if n % 10 == 0:
            begin = clock()
            with torch.no_grad():
                plain(window)
            seconds["window"].append(clock() - begin)
    usual, plain_usual = (1e3 * statistics.median(values[5:]) for values in seconds.values())
    late = 1e3 * statistics.quantiles(seconds["stream"][5:], n=20)[-1]
    print(
        f"streaming, 243 frames: {usual:.1f} ms a frame (95 %: {late:.1f} ms); "
        f"plain on the last 243 frames: {plain_usual:.1f} ms, {plain_usual / usual:.1f}x"
    )


def report_bfloat16(weights: str | None) -> None:
    """Print how far bfloat16 moves the joints of a trained model, and its error."""
    dataset = load_dataset("synthetic")
    if weights:
        model = load_weights(weights)
    else:
        model = create_model("videopose3d_27", channels=256)
        recipe = Recipe("moment", "adam", 1e-3, batch_size=128, steps=400, loss="mpjpe", flip=True)
        fit(model, dataset.train, recipe, progress=False)
    model.eval()
    data = to_device(dataset.test)
    single, half = (lifting_of(model, data, flip_test=False, autocast=way)() for way in (False, True))
    truth = data.pose3d - data.pose3d[:, :1]
    errors = [1000 * metrics.mpjpe(pose, truth).item() for pose in (single, half)]
    moved = 1000 * (half - single).norm(dim=-1).mean().item()
    print(
        f"bfloat16, float32 head, {model.name}: {errors[0]:.2f} -> {errors[1]:.2f} mm MPJPE, "
        f"joints move by {moved:.2f} mm"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000, help="of the video")
    parser.add_argument("--turns", type=int, default=15, help="times each function is timed, at least")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for undisturbed turns, per row")
    parser.add_argument("--busy", action="store_true", help="measure one thread by processor time, not by the clock")
    parser.add_argument("--weights", help="a trained model for the accuracy of bfloat16")
    options = parser.parse_args()
    clock = time.process_time if options.busy else time.perf_counter
    if options.busy:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    print(describe_machine())
    name, *limit = best_product(sizes=(1024, 2048, 3072), clock=clock)
    print(f"limit: {name}")
    print("percent of the limit (turns undisturbed by other programs / turns)")
    print(f"{'':40}{'ours':>7}{'plain':>9}{'ours/plain':>12}{'limit':>15}")
    for frames, batch in ((27, 128), (243, 64)):
        points = torch.randn(batch, frames, 2 * JOINTS)
        plain = plain_model(round(math.log(frames, 3)) - 1, strided=True)
        functions = {
            "ours": training_step_of(create_model(f"videopose3d_{frames}"), points, fused=True),
            "plain": training_step_of(plain, points.transpose(1, 2).contiguous(), fused=False),
        }
        label = f"training step, {frames} frames, batch {batch}"
        report(label, training_operations(frames, batch), functions, limit, options, clock)
    ours, plain, data = create_model("videopose3d_243"), plain_model(4, strided=False), video(options.frames)
    for flip_test in (False, True):
        functions = {
            "ours": lifting_of(ours, data, flip_test),
            "plain": plain_lifting_of(plain, data.points2d, flip_test),
        }
        label = f"{options.frames} frames lifted{', flip test' if flip_test else ''}, 243 frames"
        count = (1 + flip_test) * video_operations(options.frames, 243)
        report(label, count, functions, limit, options, clock)
    report_stream(clock)
    if not bfloat16_is_native():
        print("bfloat16: not on this CPU")
        return
    print(f"{'bfloat16 beside float32':40}{'bf16':>7}{'float32':>9}{'bf16/float32':>13}")
    functions = {"bfloat16": lifting_of(ours, data, False, autocast=True), "float32": lifting_of(ours, data, False)}
    count = video_operations(options.frames, 243)
    report(f"{options.frames} frames lifted, 243 frames", count, functions, limit, options, clock)
    points = torch.randn(128, 27, 2 * JOINTS)
    functions = {
        name: training_step_of(create_model("videopose3d_27"), points, True, autocast=name == "bfloat16")
        for name in ("bfloat16", "float32")
    }
    count = training_operations(27, 128)
    report("training step, 27 frames, batch 128", count, functions, limit, options, clock)
    report_bfloat16(options.weights)


if __name__ == "__main__":
    main()
