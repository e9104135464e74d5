"""Devices, model wrappers, and profiles, so that the same notebook runs on a test runner, a laptop and a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn

from mocap3d.arguments import Device, check_arguments

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")  # set by torchrun in each process
PROFILES = {
    "ci": "toy sizes, so that a test takes seconds: its numbers are TOY NUMBERS and mean nothing",
    "laptop": "small sizes, minutes on two cores: its numbers are SMALL-RUN NUMBERS, not published ones",
    "gpu": "full size",
}


class Profile(str):
    """The name of a profile ("ci", "laptop" or "gpu"), which also selects the value for it."""

    def pick(self, *, ci, laptop, gpu):
        """The value for this profile: `epochs = profile.pick(ci=1, laptop=10, gpu=200)`."""
        return {"ci": ci, "laptop": laptop, "gpu": gpu}[str(self)]


def choose_device(device: Device | None = None) -> torch.device:
    """The given device; by default a CUDA device if available, else the CPU."""
    check_arguments(choose_device, locals())
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def profile(name: str | None = None, quiet: bool = False) -> Profile:
    """Select a profile, and print it on one line.

    Args:
        name: "ci", "laptop" or "gpu"; by default the variable MOCAP3D_PROFILE, else "gpu" if there is a CUDA
            device, else "laptop".
        quiet: do not print the line.
    Raises:
        ValueError: for an unknown name.
    """
    check_arguments(profile, locals())
    asked = name or os.environ.get("MOCAP3D_PROFILE")
    chosen = asked or ("gpu" if torch.cuda.is_available() else "laptop")
    if chosen not in PROFILES:
        where = "profile(name)" if name else "MOCAP3D_PROFILE"
        raise ValueError(f"{where} is {chosen!r}; give one of {', '.join(PROFILES)}")
    if not quiet:
        why = "as asked" if asked else "by this machine; set MOCAP3D_PROFILE to change it"
        print(f"profile {chosen!r} ({why}): {PROFILES[chosen]}")
    return Profile(chosen)


def model_device(model: nn.Module) -> torch.device:
    """The device of a model's tensors; the CPU for a model without tensors."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of torch.compile, DataParallel and DistributedDataParallel."""
    while isinstance(model, nn.Module):
        children = dict(model.named_children())  # torch.compile; its class is not imported, because that takes seconds
        parallel = isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel))
        if not parallel and "_orig_mod" not in children:
            break
        model = model.module if parallel else children["_orig_mod"]
    return model


def compiled(model: nn.Module, device: torch.device, say: Callable[[str], object] = print) -> nn.Module:
    """The model wrapped by torch.compile; without a working compiler, the model itself, and the reason is printed."""
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))  # fails here, not in the first step
        return torch.compile(model)
    except Exception as error:  # of many kinds, from no compiler to no Triton
        reason = f"{type(error).__name__}: {str(error).strip()}".split("\n")[0][:200]
        say(f"torch.compile does not work here ({reason}); training goes on without it")
        return model


def in_several_processes() -> bool:
    """Whether torchrun started this process together with others."""
    if not dist.is_available():
        return False
    started = all(key in os.environ for key in TORCHRUN) and int(os.environ["WORLD_SIZE"]) > 1
    return started or (dist.is_initialized() and dist.get_world_size() > 1)
