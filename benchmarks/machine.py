"""How fast this machine can multiply float32 matrices, and fair timing of several functions beside each other.

An absolute time says little: the same laptop is a third slower when warm, and a rented machine has neighbours.
So every speed here is a ratio. The functions to compare take turns within one process, and each is reported as the
median of its undisturbed turns. A turn is disturbed when our threads stood in the queue for a processor (Linux counts
that in /proc/self/task/*/schedstat) or the host took processors away ("steal" in /proc/stat). Elsewhere every turn
counts.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from mocap3d.models.cpu import linear_by_onednn, onednn_is_faster

DISTURBED = 0.02  # a turn counts when less than this share of its processor time was taken by others


@dataclass(frozen=True)
class Timing:
    """Seconds of one function: the median of `kept` undisturbed turns of `turns`, or of all when too few were kept."""

    seconds: float
    kept: int
    turns: int


def time_interleaved(
    functions: dict[str, Callable[[], object]],
    turns: int = 15,
    enough: int = 5,
    limit_seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time functions in turn, each once a round, in an order that changes from round to round.

    Args:
        functions: name -> function without arguments.
        turns: rounds to run at least; when other programs disturb them, rounds go on until every function has
            `enough` undisturbed ones or `limit_seconds` have passed.
        enough: undisturbed turns wanted of each function.
        limit_seconds: give up waiting for quiet after this long, s.
        clock: what to read the time from. With `time.process_time` and a single thread, other programs on the machine
            hardly matter: every turn counts.
    Returns:
        name -> Timing.
    """
    for function in functions.values():  # the first call pays for allocation and for choosing kernels
        function()
        function()
    quiet: dict[str, list[float]] = {name: [] for name in functions}
    every: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    order = random.Random(0)  # who comes after whom matters: caches are warm or not
    rounds = 0
    while rounds < turns or (min(map(len, quiet.values())) < enough and time.perf_counter() - start < limit_seconds):
        rounds += 1
        for name, function in order.sample(list(functions.items()), len(functions)):
            taken_before = _seconds_taken_by_others()
            begin = clock()
            function()
            seconds = clock() - begin
            every[name].append(seconds)
            if clock is time.process_time or _seconds_taken_by_others() - taken_before <= DISTURBED * seconds:
                quiet[name].append(seconds)
    return {
        name: Timing(
            statistics.median(quiet[name] if len(quiet[name]) >= enough else every[name]), len(quiet[name]), rounds
        )
        for name in functions
    }


def product_candidates(size: int = 1024) -> dict[str, Callable[[], object]]:
    """The ways torch can multiply two (size, size) float32 matrices on a CPU: through its BLAS, and through oneDNN."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    image = a.view(1, size, 1, size).permute(0, 3, 1, 2)  # (1, C, 1, N): N pixels with C channels, channels last
    kernel = b.view(size, size, 1, 1)
    candidates = {
        f"matmul a @ b, {size}": lambda: a @ b,
        f"matmul a @ b.T, {size}": lambda: a @ b.T,
        f"1x1 convolution, {size}": lambda: F.conv2d(image, kernel),
    }
    if onednn_is_faster():
        candidates[f"linear by oneDNN, {size}"] = lambda: linear_by_onednn(a, b)
    return candidates


def best_product(
    sizes: tuple[int, ...] = (1024, 2048), clock: Callable[[], float] = time.perf_counter
) -> tuple[str, Callable[[], object], float]:
    """The fastest float32 product found on this machine.

    Returns:
        its name, the function that computes it once, and its floating-point operations.
    """
    best, best_rate = None, 0.0
    for size in sizes:
        candidates = product_candidates(size)
        operations = 2.0 * size**3
        for name, timing in time_interleaved(candidates, turns=7, limit_seconds=20, clock=clock).items():
            if operations / timing.seconds > best_rate:
                best_rate = operations / timing.seconds
                best = (name, candidates[name], operations)
    return best


def describe_machine() -> str:
    """One line: processor, threads, torch, and the instruction set torch chose."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} processors, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}, load {_load():.1f}"
    )


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _seconds_taken_by_others() -> float:
    """Seconds our threads have waited for a processor so far, plus what the host stole; 0 where this is not counted."""
    try:
        waited = sum(int(path.read_text().split()[1]) for path in Path("/proc/self/task").glob("*/schedstat"))
        stolen = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):  # not Linux, or a thread ended while we looked
        return 0.0
    return waited * 1e-9 + stolen
