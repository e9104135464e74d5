"""Runs that are killed at random moments and resumed: they must end with the bits of one that was never stopped.

    python benchmarks/kills.py --kills 100

Each run trains in a process of its own, which is killed after a random time, also while it writes, and started again in
the same folder until it ends. POSIX only: the process is a fork.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import records
import torch

import mocap3d
from mocap3d.data.dataset import PoseDataset

LONGEST = 0.5  # seconds until a kill, at most; a run takes several times as long


def train(out: Path | None, clips: PoseDataset) -> mocap3d.Run:
    torch.manual_seed(0)
    model = mocap3d.create_model("videopose3d_27", channels=64)
    recipe = mocap3d.Recipe("short", batch_size=64, epochs=40, loss="mpjpe")
    return mocap3d.fit(model, clips, recipe, device="cpu", out=out, progress=False, checkpoint_minutes=0)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def killed_run(clips: PoseDataset, rng: np.random.Generator) -> tuple[int, torch.Tensor]:
    """One run, killed again and again: how often, and its weights at the end."""
    kills = 0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            child = os.fork()
            if child == 0:
                train(Path(folder), clips)
                os._exit(0)
            time.sleep(rng.uniform(0, LONGEST))
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0, f"the run ended with status {status}"
                return kills, weights(train(Path(folder), clips).model)  # resumed once more: nothing is left to do
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1


def main() -> None:
    """Kill as often as asked for, and print how many runs ended with the right bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    wanted = parser.parse_args().kills
    torch.set_num_threads(1)
    clips = mocap3d.load_dataset("synthetic", seconds=2, subjects="S1", actions=["Walking"])
    expected, rng = weights(train(None, clips).model), np.random.default_rng(0)
    kills, runs, right, start = 0, 0, 0, time.perf_counter()
    while kills < wanted:
        more, found = killed_run(clips, rng)
        kills, runs, right = kills + more, runs + 1, right + torch.equal(found, expected)
        print(f"{kills} kills, {runs} runs, {right} with the same bits", flush=True)
    records.write(
        "kills", data="built in", protocol="weights equal to those of a run that was not stopped",
        size="VideoPose3D-27", seed=0,
        seconds=time.perf_counter() - start, numbers={"kills": kills, "runs": runs, "same bits": right},
    )  # fmt: skip


if __name__ == "__main__":
    main()
