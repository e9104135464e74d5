"""What a semi-supervised step costs, over the two forward and backward passes it consists of.

OMP_NUM_THREADS=2 python benchmarks/semi_supervised_step.py
"""

from __future__ import annotations

import time

import torch
from machine import describe_machine, time_interleaved

import mocap3d
from mocap3d.data.endless import endless_batches
from mocap3d.data.windows import to_device
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.training.semi_supervised import label_subset, losses, unlabelled_video


def cost(channels: int, width: int = 27, batch_size: int = 64) -> None:
    """Print the times of both, and their ratio."""
    data = mocap3d.load_dataset("synthetic").train
    labelled, unlabelled = label_subset(data, 0.1, subject="S1")
    model = PoseAndTrajectory(mocap3d.create_model("videopose3d_27", channels=channels)).train()
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True, fused=True)
    known = endless_batches(to_device(labelled), batch_size, width=width, mirror=True)
    video = unlabelled_video(unlabelled).batches(0, batch_size, width, mirror=True)
    points = torch.randn(2 * batch_size, width, 34)

    def step() -> None:
        loss = sum(losses(model, next(known), next(video)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def passes() -> None:
        """Pose and trajectory networks over the joint batch, forward and backward, and the update of their weights."""
        optimizer.zero_grad()
        for network in (model.pose, model.trajectory):
            network(points).square().mean().backward()
        optimizer.step()

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    timing = time_interleaved({"step": step, "passes": passes}, turns=21, clock=clock)
    a, b = timing["step"].seconds, timing["passes"].seconds
    print(
        f"{channels} channels, {batch_size} + {batch_size} windows of {width} frames: a step {1000 * a:.1f} ms, "
        f"its two passes {1000 * b:.1f} ms: {a / b:.2f} times (goal 1.3)"
    )


if __name__ == "__main__":
    print(describe_machine())
    for channels in (128, 1024):
        cost(channels)
