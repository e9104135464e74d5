"""How much of this machine's float32 multiplication speed SimpleBaseline3D reaches, and how a plain copy does.

    OMP_NUM_THREADS=2 python benchmarks/simple_baseline.py
    python benchmarks/simple_baseline.py --busy       # when other programs run: one thread, by its processor time

"Limit" is the fastest matrix product found on this machine (benchmarks/machine.py), measured again beside every
figure. Counted are the network's own multiplications and additions: elementwise work, the dropout mask and Adam take
time but count nothing. "Plain" is the same network written with nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout and
torch.optim.Adam as they come; ours trains with Adam(fused=True). A training step is forward, backward and Adam.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import best_product, describe_machine, time_interleaved
from torch import nn

from mocap3d.models.cpu import OneDNNLinear, onednn_is_faster
from mocap3d.models.create import create_model

CHANNELS, STAGES, INPUT, OUTPUT = 1024, 2, 32, 48


class PlainStage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = []
        for _ in range(2):
            layers += [nn.Linear(CHANNELS, CHANNELS), nn.BatchNorm1d(CHANNELS), nn.ReLU(inplace=True), nn.Dropout()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def plain_model() -> nn.Module:
    """The reference: the published network from torch's own modules."""
    stem = [nn.Linear(INPUT, CHANNELS), nn.BatchNorm1d(CHANNELS), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(*stem, *(PlainStage() for _ in range(STAGES)), nn.Linear(CHANNELS, OUTPUT))


def forward_operations(batch: int) -> float:
    return 2.0 * batch * CHANNELS * (INPUT + 2 * STAGES * CHANNELS + OUTPUT)


def training_operations(batch: int) -> float:
    """Backward multiplies twice per weight, except that nobody asks for the gradient of the input."""
    return 3 * forward_operations(batch) - 2.0 * batch * CHANNELS * INPUT


def forward_of(model: nn.Module, batch: int) -> Callable[[], object]:
    model.eval()
    points = torch.randn(batch, INPUT)

    def forward() -> None:
        with torch.inference_mode():
            model(points)

    return forward


def training_step_of(model: nn.Module, batch: int, fused: bool) -> Callable[[], object]:
    model.train()
    points, target = torch.randn(batch, INPUT), torch.randn(batch, OUTPUT)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(model(points), target).backward()
        optimizer.step()

    return step


def report_linear(turns: int, limit_seconds: float, clock: Callable[[], float]) -> None:
    """Print both ways to compute the 1024 -> 1024 layer, and say so if the rule in cpu chose badly."""
    rows = 1024
    x = torch.randn(rows, CHANNELS, requires_grad=True)
    weight = torch.randn(CHANNELS, CHANNELS, requires_grad=True)
    upstream = torch.randn(rows, CHANNELS)
    ways = {
        "F.linear": lambda: F.linear(x, weight).backward(upstream),
        "oneDNN": lambda: OneDNNLinear.apply(x, weight, None).backward(upstream),
    }
    times = time_interleaved(ways, turns, limit_seconds=limit_seconds, clock=clock)
    chosen = "oneDNN" if onednn_is_faster() else "F.linear"
    for name, timing in times.items():
        rate = 6.0 * rows * CHANNELS**2 / timing.seconds / 1e9
        print(f"1024 -> 1024, forward and backward, {name:12s}{rate:6.0f} GFLOP/s" + " (chosen)" * (name == chosen))
    if times[chosen].seconds > 1.1 * min(timing.seconds for timing in times.values()):
        print("The rule in mocap3d/models/cpu.py chose the slower one here: please report this machine.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 1024, 4096], help="frames at once")
    parser.add_argument("--turns", type=int, default=15, help="times each function is timed, at least")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for undisturbed turns, per row")
    parser.add_argument("--busy", action="store_true", help="measure one thread by processor time, not by the clock")
    options = parser.parse_args()
    clock = time.process_time if options.busy else time.perf_counter
    if options.busy:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    print(describe_machine())
    name, product, operations = best_product(clock=clock)
    print(f"limit: {name}")
    report_linear(options.turns, options.wait, clock)
    print("percent of the limit (turns undisturbed by other programs / turns)")
    print(f"{'batch':>6} {'work':14}{'ours':>6}{'plain':>7}{'ours/plain':>12}{'limit':>14}")
    for batch in options.batches:
        ours, plain = create_model("simple_baseline"), plain_model()
        work = {"forward": (forward_operations(batch), forward_of(ours, batch), forward_of(plain, batch))}
        if batch > 1:  # batch norm cannot train on one frame
            trained, plain_trained = create_model("simple_baseline"), plain_model()
            work["training step"] = (
                training_operations(batch),
                training_step_of(trained, batch, fused=True),
                training_step_of(plain_trained, batch, fused=False),
            )
        for label, (count, our_function, plain_function) in work.items():
            functions = {"limit": product, "ours": our_function, "plain": plain_function}
            times = time_interleaved(functions, options.turns, limit_seconds=options.wait, clock=clock)
            limit = operations / times["limit"].seconds
            share = {key: 100 * count / times[key].seconds / limit for key in ("ours", "plain")}
            print(
                f"{batch:6d} {label:14}{share['ours']:5.0f}%{share['plain']:6.0f}%"
                f"{share['ours'] / share['plain']:11.2f}x{limit / 1e9:7.0f} GFLOP/s"
                f"  ({min(timing.kept for timing in times.values())}/{times['ours'].turns})",
                flush=True,
            )


if __name__ == "__main__":
    main()
