"""How much of this machine's float32 multiplication speed MotionBERT reaches, and how a plain copy does.

    OMP_NUM_THREADS=2 python benchmarks/motionbert.py
    python benchmarks/motionbert.py --busy            # when other programs run: one thread, by its processor time

"Limit" is the fastest matrix product found on this machine (benchmarks/machine.py), measured again beside every
figure. Counted are the multiplications and additions of the published network for one clip of 243 frames: linear layers
and both products of each attention. Softmax, GELU, norms and AdamW take time but count nothing. "Plain" is the same
network as one writes it down from the paper: nn.Linear, nn.LayerNorm, nn.GELU, attention as product, softmax, product
on heads brought to the front, torch.optim.AdamW as it comes. A training step is forward, mean squared error, backward
and AdamW; ours has AdamW(fused=True).

bfloat16 is measured where the processor multiplies it natively, beside float32; the head stays float32. What it does to
a pose is measured everywhere, on a trained network (the small one in the package, or --weights) and built-in motion.
torch.compile is measured with the time that compiling took (skip it with --no-compile). Then: how long a minute of
video takes, 3,000 frames in clips of 243 that share 27, and what a training step keeps in memory for its way back,
counted on one clip, with and without activation checkpointing. --cuda measures a GPU instead, against its bfloat16
rate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from machine import best_product, describe_machine, time_interleaved
from torch import nn

from mocap3d.data.chunks import overlapping_chunks
from mocap3d.data.loading import load_dataset
from mocap3d.data.windows import to_device
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict, predict_clips, to_metric
from mocap3d.models.create import create_model
from mocap3d.skeleton import H36M17
from mocap3d.weights import load_shipped, load_weights

JOINTS, FRAMES, DEPTH, HEADS = len(H36M17), 243, 5, 8
SIZES = {"motionbert": (512, 2), "motionbert_lite": (256, 4)}  # D, width of the perceptron in D
REPRESENTATION = 512


class PlainAttention(nn.Module):
    def __init__(self, channels: int, over_frames: bool) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.over_frames = over_frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, J, D)
        width = x.shape[-1] // HEADS
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, width)).permute(3, 0, 4, 1, 2, 5)  # each (B, H, T, J, c)
        if self.over_frames:
            q, k, v = q.transpose(2, 3), k.transpose(2, 3), v.transpose(2, 3)  # (B, H, J, T, c)
        weights = ((q @ k.transpose(-1, -2)) * width**-0.5).softmax(-1)
        out = weights @ v
        if self.over_frames:
            out = out.transpose(2, 3)
        return self.proj(out.permute(0, 2, 3, 1, 4).flatten(-2))  # (B, T, J, D)


class PlainLayer(nn.Module):
    def __init__(self, channels: int, ratio: int, over_frames: bool) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(channels, eps=1e-6), PlainAttention(channels, over_frames))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, ratio * channels),
            nn.GELU(),
            nn.Linear(ratio * channels, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x)
        return x + self.perceptron(x)


class PlainModel(nn.Module):
    """The reference: the published network from torch's own modules, (B, T, J, 3) in and out."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.embed = nn.Linear(3, channels)
        self.joint = nn.Parameter(0.02 * torch.randn(JOINTS, channels))
        self.frame = nn.Parameter(0.02 * torch.randn(FRAMES, 1, channels))
        self.streams = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*(PlainLayer(channels, ratio, over_frames) for over_frames in order))
                for order in ((False, True), (True, False))
            )
            for _ in range(DEPTH)
        )
        self.gates = nn.ModuleList(nn.Linear(2 * channels, 2) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.representation, self.head = nn.Linear(channels, REPRESENTATION), nn.Linear(REPRESENTATION, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x) + self.joint + self.frame[: x.shape[1]]
        for streams, gate in zip(self.streams, self.gates, strict=True):
            a, b = (stream(x) for stream in streams)
            share = gate(torch.cat([a, b], -1)).softmax(-1)
            x = share[..., :1] * a + share[..., 1:] * b
        return self.head(torch.tanh(self.representation(self.norm(x))))


def forward_operations(channels: int, ratio: int, frames: int = FRAMES) -> float:
    """Multiplications and additions for one clip."""
    layer = channels * channels * (4 + 2 * ratio)
    attention = 2 * channels * (JOINTS + frames)  # of a layer over joints and one over frames
    token = 3 * channels + DEPTH * (2 * (2 * layer + attention) + 4 * channels)
    return 2.0 * frames * JOINTS * (token + REPRESENTATION * (channels + 3))


def forward_of(model: nn.Module, clip: torch.Tensor, autocast: bool = False) -> Callable[[], torch.Tensor]:
    model.eval()

    @torch.no_grad()
    def forward() -> torch.Tensor:
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=autocast):
            return model(clip)

    return forward


def training_step_of(model: nn.Module, clip: torch.Tensor, fused: bool, autocast: bool = False) -> Callable[[], object]:
    model.train()
    target = torch.randn_like(clip)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.01, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=autocast):
            pose = model(clip)
        nn.functional.mse_loss(pose.float(), target).backward()
        optimizer.step()

    return step


def compiled(model: nn.Module, clip: torch.Tensor) -> tuple[Callable[[], torch.Tensor], float]:
    """The forward pass through torch.compile, and the seconds until its second call was done."""
    forward = forward_of(torch.compile(model), clip)
    started = time.perf_counter()
    forward(), forward()
    return forward, time.perf_counter() - started


def kept_bytes(name: str, checkpointing: bool) -> int:
    """What a training step keeps of one clip for its way back, besides weights; views of one memory count once."""
    model = create_model(name).train()
    model.checkpointing = checkpointing
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in weights:
            kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.rand(1, FRAMES, JOINTS, 3))
    del output
    return sum(kept.values())


def bfloat16_accuracy(weights: str | None) -> None:
    """Print how far bfloat16 moves joints and errors, of a trained network on built-in motion of other people."""
    model = load_weights(weights) if weights else load_shipped("pretrained")
    test = load_dataset("synthetic", seconds=4.0).test
    data = to_device(test)
    rows, reports, poses = torch.arange(len(data)), {}, {}
    for way in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=way):
            poses[way] = to_metric(model, predict(model, data), data, rows)
            reports[way] = evaluate(model, test, "videopose3d")
    moved = 1000 * (poses[True] - poses[False]).norm(dim=-1).mean().item()
    a, b = (reports[way].mpjpe_mm for way in (False, True))
    print(
        f"bfloat16 moves the joints of {model.name} by {moved:.2f} mm on average; MPJPE {a:.2f} to {b:.2f} mm "
        f"({b - a:+.2f}, goal 0.1; videopose3d protocol, synthetic S9 and S11)"
    )


def on_gpu(models: list[str], batch: int = 32) -> None:
    """Print what share of the card's own bfloat16 rate a batch of clips reaches, eager and compiled."""

    def seconds(function: Callable[[], object], turns: int = 10) -> float:
        function(), function(), function()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(turns):
            function()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / turns

    print(torch.cuda.get_device_name())
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    rate = 2 * 8192**3 / seconds(lambda: square @ square)
    print(f"best bfloat16 product: {rate / 1e12:.0f} TFLOP/s")
    clips = torch.rand(batch, FRAMES, JOINTS, 3, device="cuda") * 2 - 1
    for name in models:
        count = batch * forward_operations(*SIZES[name])
        for way in ("eager", "compiled"):
            model = create_model(name).cuda()
            network = torch.compile(model) if way == "compiled" else model
            forward = seconds(forward_of(network, clips, autocast=True))
            step = seconds(training_step_of(network, clips, True, autocast=True))
            print(
                f"{name}, {way}, {batch} clips: forward {count / forward / rate:.0%}, "
                f"training step {3 * count / step / rate:.0%}"
            )


def bfloat16_is_native() -> bool:
    """Whether this processor has instructions for it; torch emulates it elsewhere."""
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="times each function is timed, at least")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for undisturbed turns, per row")
    parser.add_argument("--busy", action="store_true", help="measure one thread by processor time, not by the clock")
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--weights", help="a trained model for the accuracy of bfloat16")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--cuda", action="store_true", help="measure the GPU instead")
    options = parser.parse_args()
    if options.cuda:
        if not torch.cuda.is_available():
            parser.error("there is no CUDA device here")
        on_gpu(options.models)
        return
    clock = time.process_time if options.busy else time.perf_counter
    if options.busy:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    print(describe_machine())
    name, product, operations = best_product(sizes=(1024, 2048), clock=clock)
    print(f"limit: {name}")
    clip = torch.rand(1, FRAMES, JOINTS, 3) * 2 - 1

    def report(label: str, count: float, functions: dict[str, Callable[[], object]]) -> None:
        """Print each function's share of the limit and the first one's lead over the second."""
        timed = {"limit": product, **functions}
        times = time_interleaved(timed, options.turns, limit_seconds=options.wait, clock=clock)
        rate = operations / times["limit"].seconds
        shares = [count / times[name].seconds / rate for name in functions]
        print(
            f"{label:32}{shares[0]:7.0%}{shares[1]:9.0%}{shares[0] / shares[1]:9.2f}x{rate / 1e9:9.0f} GFLOP/s"
            f"  ({min(timing.kept for timing in times.values())}/{times['limit'].turns})",
            flush=True,
        )

    native = bfloat16_is_native()
    print("percent of the limit (turns undisturbed by other programs / turns)")
    print(f"{'clip of 243 frames':32}{'ours':>7}{'plain':>9}{'ratio':>10}{'limit':>17}")
    for name in options.models:
        count = forward_operations(*SIZES[name])
        ours, plain = create_model(name), PlainModel(*SIZES[name])
        functions = {"ours": forward_of(ours, clip), "plain": forward_of(plain, clip)}
        report(f"{name}, forward", count, functions)
        if native:
            functions = {"bfloat16": forward_of(ours, clip, autocast=True), "float32": forward_of(ours, clip)}
            report(f"{name}, forward, bf16/float32", count, functions)
    name = "motionbert_lite"
    count = 3 * forward_operations(*SIZES[name])  # backward multiplies twice as much as forward
    functions = {
        "ours": training_step_of(create_model(name), clip, fused=True),
        "plain": training_step_of(PlainModel(*SIZES[name]), clip, fused=False),
    }
    report(f"{name}, training step", count, functions)
    if native:
        functions = {
            way: training_step_of(create_model(name), clip, True, way == "bfloat16") for way in ("bfloat16", "float32")
        }
        report(f"{name}, training, bf16/float32", count, functions)
    if not options.no_compile:
        ours = create_model(name)
        forward, seconds = compiled(ours, clip)
        functions = {"compiled": forward, "eager": forward_of(ours, clip)}
        report(f"{name}, forward, compiled/not", count / 3, functions)
        print(f"    compiling took {seconds:.0f} s")

    lite, minute = create_model(name), torch.rand(3000, JOINTS, 2) * 2 - 1
    started = clock()
    predict_clips(lite, minute, torch.tensor([3000]))
    pieces = len(overlapping_chunks(3000, FRAMES))
    print(f"{name}: a minute of 50 fps, {pieces} clips: {clock() - started:.1f} s (goal 10 on two cores)")
    for name in options.models:
        plain, recomputed = (kept_bytes(name, way) / 1e9 for way in (False, True))
        print(
            f"{name}, kept for the way back by a step of 32 clips: {32 * plain:.1f} GB; with checkpointing "
            f"{32 * recomputed:.1f} GB, and one layer's {32 * plain / (4 * DEPTH):.1f} GB while it is computed again"
        )
    bfloat16_accuracy(options.weights)


if __name__ == "__main__":
    main()
