"""Create models by name. A model is a plain nn.Module that fulfils the contract in `lifter`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from mocap3d.arguments import check_arguments
from mocap3d.models.flow import FlowLifter
from mocap3d.models.motionbert import SIZES, MotionBERT
from mocap3d.models.poseformerv2 import PoseFormerV2
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.models.videopose3d import VideoPose3D

MODELS: dict[str, Callable[..., nn.Module]] = {
    "simple_baseline": partial(SimpleBaseline3D, "weigq"),  # 16 joints in, biases everywhere
    "simple_baseline_mmpose": partial(SimpleBaseline3D, "mmpose"),  # 17 joints in, a bias only in the head
    "videopose3d": VideoPose3D,  # any filter widths
    "videopose3d_1": partial(VideoPose3D, (1, 1, 1, 1, 1)),  # one frame, as MMPose builds it
    "videopose3d_27": partial(VideoPose3D, (3, 3, 3)),
    "videopose3d_81": partial(VideoPose3D, (3, 3, 3, 3)),
    "videopose3d_243": partial(VideoPose3D, (3, 3, 3, 3, 3)),
    "poseformerv2_27": PoseFormerV2,  # of 27 frames 1 in full, and 3 frequencies
    "flow": FlowLifter,  # a set of poses; its training objective is FlowMatching()
    **{name: partial(MotionBERT, **size) for name, size in SIZES.items()},  # motionbert, _lite, _tiny
}


def list_models() -> list[str]:
    """The names that create_model accepts."""
    return list(MODELS)


def create_model(name: str, **overrides: object) -> nn.Module:
    """Create a model with random weights, drawn from torch's generator (`torch.manual_seed` makes them repeatable).

    Args:
        name: one of list_models().
        overrides: options of that model, e.g. channels=256.
    Returns:
        a plain nn.Module, in training mode, on the CPU.
    Raises:
        ValueError: for an unknown name, or a value outside its range.
        TypeError: for an unknown option.
    """
    check_arguments(create_model, locals())
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; choose one of: {', '.join(MODELS)}")
    options = inspect.signature(MODELS[name]).parameters
    unknown = [option for option in overrides if option not in options]
    if unknown:
        raise TypeError(f"{name} has no option {unknown[0]!r}; its options are: {', '.join(options)}")
    return MODELS[name](**overrides)
