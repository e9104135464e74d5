"""One table of speed on CPUs: ours against the published implementations, in one process, on one thread and on all.

    PEERS=folder python benchmarks/speed.py            # the folder holds clones of VideoPose3D, MotionBERT and
                                                       # 3d_pose_baseline_pytorch, as they come from GitHub
    PEERS=folder python benchmarks/speed.py --record   # and keep it in docs/results
    python benchmarks/speed.py                         # without them: ours alone, in milliseconds

A ratio of 2 is twice as fast as the published code. A training step is forward, backward and the optimizer that the
code trains with (Adam with amsgrad, AdamW), ours with fused=True. Nothing of the clones is copied or changed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import records
import torch
from machine import describe_machine, time_interleaved
from temporal_conv import MIRROR, lifting_of, video
from torch import nn, optim

from mocap3d.models.create import create_model

PEERS = os.environ.get("PEERS")
FILES = {
    "VideoPose3D": "VideoPose3D/common/model.py",
    "MotionBERT": "MotionBERT/lib/model/DSTformer.py",
    "SimpleBaseline": "3d_pose_baseline_pytorch/src/model.py",
}
Pair = dict[str, Callable[[], object]]


def published(name: str) -> ModuleType:
    """The file of a clone that defines its network."""
    path = Path(PEERS) / FILES[name]
    sys.path.insert(0, str(path.parents[2]))  # MotionBERT imports from `lib`
    spec = importlib.util.spec_from_file_location(f"published_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forward(model: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    model.eval()

    def run() -> torch.Tensor:
        with torch.no_grad():
            return model(x)

    return run


def step(model: nn.Module, x: torch.Tensor, optimizer: optim.Optimizer) -> Callable[[], object]:
    def run() -> None:
        model.train()
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return run


def adam(model: nn.Module, **options: bool) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=1e-3, **options)


def simple_baseline() -> Iterator[tuple[str, Pair]]:
    x = torch.randn(1024, 32)
    ours, theirs = create_model("simple_baseline"), published("SimpleBaseline").LinearModel() if PEERS else None
    yield "SimpleBaseline3D forward, 1024 poses", pair(forward, ours, theirs, x, x)
    optimizers = adam(ours, fused=True), adam(theirs) if PEERS else None
    yield "SimpleBaseline3D training step, 1024 poses", pair(step, ours, theirs, x, x, optimizers)


def videopose3d() -> Iterator[tuple[str, Pair]]:
    module = published("VideoPose3D") if PEERS else None
    for frames, batch in ((27, 128), (243, 64)):
        widths = [3] * (3 if frames == 27 else 5)
        x = torch.randn(batch, frames, 34)
        ours = create_model(f"videopose3d_{frames}")
        theirs = module.TemporalModelOptimized1f(17, 2, 17, widths) if PEERS else None
        optimizers = adam(ours, fused=True, amsgrad=True), adam(theirs, amsgrad=True) if PEERS else None
        label = f"VideoPose3D-{frames} training step, {batch} windows"
        yield label, pair(step, ours, theirs, x, x.unflatten(2, (17, 2)), optimizers)
        whole = module.TemporalModel(17, 2, 17, widths).eval() if PEERS else None
        for flip in (False, True):
            data, functions = video(2000), {}
            functions["ours"] = lifting_of(ours.eval(), data, flip)
            if PEERS:
                functions["published"] = published_lifting(whole, data.points2d, flip)
            label = f"2,000 frames lifted by VideoPose3D-{frames}" + ", flip test" * flip
            yield label, functions


def published_lifting(model: nn.Module, points: torch.Tensor, flip_test: bool) -> Callable[[], object]:
    """A whole video, as the published evaluation lifts it: repeated ends, both views as a batch of two."""
    pad = (model.receptive_field() - 1) // 2

    @torch.no_grad()
    def lift() -> torch.Tensor:
        padded = torch.cat([points[:1].expand(pad, -1, -1), points, points[-1:].expand(pad, -1, -1)])
        if not flip_test:
            return model(padded[None])[0]
        poses = model(torch.stack([padded, padded[:, MIRROR] * torch.tensor([-1.0, 1.0])]))
        return (poses[0] + poses[1][:, MIRROR] * torch.tensor([-1.0, 1.0, 1.0])) / 2

    return lift


def motionbert() -> Iterator[tuple[str, Pair]]:
    module = published("MotionBERT") if PEERS else None
    x = torch.randn(1, 243, 17, 3)
    for name, size in (("motionbert_lite", (256, 4)), ("motionbert", (512, 2))):
        ours = create_model(name)
        options = {"dim_feat": size[0], "mlp_ratio": size[1], "dim_rep": 512}
        theirs = module.DSTformer(**options) if PEERS else None
        yield f"{name} forward, 243 frames", pair(forward, ours, theirs, x, x)
        if name == "motionbert_lite":
            optimizers = [optim.AdamW(ours.parameters(), fused=True)]
            optimizers += [optim.AdamW(theirs.parameters()) if PEERS else None]
            yield f"{name} training step, 243 frames", pair(step, ours, theirs, x, x, optimizers)


def pair(make: Callable, ours: nn.Module, theirs: nn.Module | None, x: object, y: object, more: tuple = ()) -> Pair:
    """The same work by both networks; ours alone without clones."""
    functions = {"ours": make(ours, x, *more[:1])}
    return functions | ({"published": make(theirs, y, *more[1:])} if theirs else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="times each function is timed, at least")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for undisturbed turns, per row")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    parser.add_argument("--record", action="store_true", help="keep the ratios in docs/results/speed.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    start, numbers = time.perf_counter(), {}
    print(describe_machine())
    for rows in (simple_baseline, videopose3d, motionbert):
        for label, functions in rows():
            for threads in dict.fromkeys(options.threads):
                torch.set_num_threads(threads)
                times = time_interleaved(functions, options.turns, limit_seconds=options.wait)
                text = f"{1000 * times['ours'].seconds:8.0f} ms"
                if PEERS:
                    ratio = times["published"].seconds / times["ours"].seconds
                    text += f"{ratio:8.2f}x the published code"
                    numbers.setdefault(label, {})[f"{threads} threads"] = round(ratio, 2)
                kept = min(timing.kept for timing in times.values())
                print(f"{label:52}{threads} threads{text}  ({kept}/{times['ours'].turns} turns quiet)", flush=True)
    if options.record and numbers:
        records.write(
            "speed", data="noise", protocol="how many times as fast as the published code", size=describe_machine(),
            seed=0, seconds=time.perf_counter() - start, numbers=numbers, threads=options.threads,
        )  # fmt: skip


if __name__ == "__main__":
    main()
