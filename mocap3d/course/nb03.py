"""Checks of the exercises of notebook 03; each returns what is wrong, or None."""

from __future__ import annotations

import torch

from mocap3d.course.check import near
from mocap3d.figures.notebook import count_parameters
from mocap3d.models.create import create_model


def parameters(answer: object) -> str | None:
    """count(channels, stages) -> parameters of SimpleBaseline3D."""
    for channels, stages in ((1024, 2), (1024, 0), (64, 3), (1, 1)):
        expected = count_parameters(create_model("simple_baseline", channels=channels, stages=stages))
        if wrong := near(answer(channels, stages), expected, 0, f"count({channels}, {stages})"):
            return wrong
    return None


def position(answer: object) -> str | None:
    """MPJPE in mm of the network of section 7 with normalise="ray", on built-in motion at the laptop's size."""
    return near(answer, 45.6, 4.0, "mm MPJPE from true 2D, built-in motion, laptop profile")


def better_of_two(answer: object) -> str | None:
    """loss(output, target), (N, 2 C) and (N, C) -> mean over frames of the smaller mean square, a tensor ()."""
    target, first, second = torch.randn(3, 5, 48, generator=torch.Generator().manual_seed(0))
    mixed = torch.cat([target[:3], second[3:]])  # right in the first frames, where the other is wrong
    outputs = {
        "if one of the two poses is right in every frame": torch.cat([first, target], 1),
        "if both are wrong": torch.cat([first, second], 1),
        "if in each frame another of the two is right": torch.cat([mixed, torch.cat([first[:3], target[3:]])], 1),
    }
    for what, output in outputs.items():
        expected = (output.unflatten(1, (2, 48)) - target[:, None]).square().mean(-1).amin(1).mean()
        if wrong := near(float(answer(output, target)), float(expected), 1e-5, what):
            return wrong
    leaf = output.clone().requires_grad_()
    if not isinstance(loss := answer(leaf, target), torch.Tensor) or not loss.requires_grad:
        return "the loss has no gradient: stay with torch from output to loss"
    return None


CHECKS = {"1": parameters, "2": position, "5": better_of_two}
