"""How big to play: the same notebook on a test runner, a laptop and a GPU."""

from __future__ import annotations

import os

import torch

PROFILES = {
    "ci": "toy sizes, so that a test takes seconds: its numbers are TOY NUMBERS and mean nothing",
    "laptop": "small sizes, minutes on two cores: its numbers are SMALL-RUN NUMBERS, not published ones",
    "gpu": "full size",
}


class Profile(str):
    """The name of a profile ("ci", "laptop" or "gpu"), which also picks the size that goes with it."""

    def pick(self, *, ci, laptop, gpu):
        """The value for this profile: `epochs = profile.pick(ci=1, laptop=10, gpu=200)`."""
        return {"ci": ci, "laptop": laptop, "gpu": gpu}[str(self)]


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The device asked for; by default a CUDA device where there is one, else the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def profile(name: str | None = None, quiet: bool = False) -> Profile:
    """Pick a profile, and say which on one line.

    Args:
        name: "ci", "laptop" or "gpu"; by default the variable MOCAP3D_PROFILE, else "gpu" where there is a CUDA
            device, else "laptop".
        quiet: do not print the banner.
    Raises:
        ValueError: for another name.
    """
    asked = name or os.environ.get("MOCAP3D_PROFILE")
    chosen = asked or ("gpu" if torch.cuda.is_available() else "laptop")
    if chosen not in PROFILES:
        where = "profile(name)" if name else "MOCAP3D_PROFILE"
        raise ValueError(f"{where} is {chosen!r}; give one of {', '.join(PROFILES)}")
    if not quiet:
        why = "as asked" if asked else "by this machine; set MOCAP3D_PROFILE to change it"
        print(f"profile {chosen!r} ({why}): {PROFILES[chosen]}")
    return Profile(chosen)
