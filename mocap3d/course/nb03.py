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


def virtual_camera(answer: object) -> str | None:
    """MPJPE in mm of the network of section 7 with normalise="ray", on built-in motion at the laptop's size."""
    return near(answer, 45.6, 4.0, "mm MPJPE from true 2D, built-in motion, laptop profile")


def better_of_two(answer: object) -> str | None:
    """best_of_two(output, target), (N, 96) and (N, 48) -> mean over frames of the smaller mean square, a tensor ()."""
    target, first, second = torch.randn(3, 5, 48, generator=torch.Generator().manual_seed(0))
    loss = answer(torch.cat([first, second], 1).requires_grad_(), target)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return "the loss has no gradient: stay with torch from output to loss"
    expected = torch.minimum((first - target).square().mean(1), (second - target).square().mean(1)).mean()
    return near(loss.item(), expected.item(), 1e-5, "the loss of five frames with two random poses each")


CHECKS = {"1": parameters, "2": virtual_camera, "5": better_of_two}
