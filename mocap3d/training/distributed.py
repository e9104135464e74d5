"""Train one model in several processes: torchrun starts them, `fit` does the rest.

    torchrun --standalone --nproc_per_node=2 train.py            train.py calls fit as in a single process

Each process holds all data and all weights. A batch is the same as in one process: process r of n takes its windows
r, r + n, ..., and torch's DistributedDataParallel averages the gradients, so that all weights stay equal. Batch norm
uses the windows of its own process; on GPUs, torch's SyncBatchNorm makes it use all of them. Only the first process
writes files and messages, and validates. Code after `fit` runs in every process, unless the script checks RANK.

A run in a single process does not use this module.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mocap3d.data.windows import Batch
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.checkpoint import differences
from mocap3d.training.recipe import batch_norms


@dataclass(frozen=True)
class Workers:
    """The processes of a run, from the point of view of one of them.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        device: of this process.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def fields(self) -> tuple:
        """The fields of a `Job`: workers, processes, writes."""
        return self, self.count, self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """This process's windows of a batch; the whole batch if that leaves fewer than two, as batch norm needs two."""
        return batch if len(batch) < 2 * self.count else batch[self.rank :: self.count]

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model with the first process's weights, and gradients averaged over all processes."""
        return nn.parallel.DistributedDataParallel(model)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        dist.all_reduce(values)
        return values / self.count

    def any(self, flag: bool) -> bool:
        """Whether any process has set the flag."""
        return bool(self.mean(torch.tensor(float(flag), device=self.device)))

    def first(self, measure: Callable[[], float]) -> float:
        """The value measured by the first process; the others wait for it."""
        value = torch.tensor(measure() if self.rank == 0 else 0.0, dtype=torch.float64, device=self.device)
        dist.broadcast(value, 0)
        return value.item()

    def gather(self, value: Any) -> list:
        """The values of all processes, first to last."""
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def check_same(self, identity: Mapping) -> None:
        """Raise TrainingError if a process was given a different run."""
        first, *others = self.gather(identity)
        for rank, other in enumerate(others, 1):
            if wrong := differences(first, other):
                raise TrainingError(f"process {rank} was given a different run than process 0: {'; '.join(wrong[:5])}")

    def equalise(self, model: nn.Module) -> None:
        """Copy the first process's running statistics of batch norm to all processes; the weights are equal anyway."""
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)

    @contextmanager
    def interrupts(self, asked: list) -> Iterator[None]:
        """Record Ctrl-C in a list that all processes check together, because one that stopped alone would leave the
        others waiting; a second Ctrl-C raises KeyboardInterrupt as usual."""

        def note(number: int, frame: object) -> None:
            if asked:
                raise KeyboardInterrupt
            asked.append(number)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def norms(self, model: nn.Module) -> Iterator[None]:
        """Batch norm during training: synchronised between GPUs; the model gets its own modules back afterwards."""
        norms = batch_norms(model)
        if self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # new modules around the same tensors
        try:
            yield
        finally:
            for name, module in norms.items():
                if model.get_submodule(name) is not module:
                    model.set_submodule(name, module.train(model.training))


def join(device: torch.device) -> Workers:
    """Connect to the other processes that torchrun started.

    Args:
        device: a CUDA device without a number stands for the device of LOCAL_RANK.
    """
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)  # not earlier: a script may call fit again
    return Workers(dist.get_rank(), dist.get_world_size(), device)
