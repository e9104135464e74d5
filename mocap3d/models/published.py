"""Published names and units <-> ours, so that published weights load and ours compare with them.

The same module has another name in each code base; tensors differ only in that mmpose writes a linear layer as a
convolution, with one more axis of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

# What only one kind of file has: a key, whose code base writes it, and which architecture it belongs to.
SIGNS = (
    ("w1.weight", "weigq", "SimpleBaseline3D"),
    ("stem.linear.weight", "mocap3d", "SimpleBaseline3D"),
    ("backbone.expand_conv.conv.weight", "mmpose", "SimpleBaseline3D"),  # or VideoPose3D, see below
    ("expand_conv.weight", "videopose3d", "VideoPose3D"),
    ("backbone.joints_embed.weight", "mmpose", "MotionBERT"),
    ("joints_embed.weight", "motionbert", "MotionBERT"),
)


@dataclass(frozen=True)
class Origin:
    """Where a state_dict comes from, by its keys.

    Args:
        writer: the code base whose names it has: "weigq", "mmpose", "videopose3d", "motionbert" or "mocap3d".
        architecture: "SimpleBaseline3D", "VideoPose3D" or "MotionBERT".
        prefix: what stands before every key, "module." if saved from DataParallel.
        head: how mmpose called the head then: "keypoint_head." before 1.0, "head." since.
    """

    writer: str
    architecture: str
    prefix: str = ""
    head: str = "head."

    def plain(self, key: str) -> str:
        """A key of that file, as today's code would spell it."""
        key = key.removeprefix(self.prefix)
        return "head." + key.removeprefix(self.head) if key.startswith(self.head) else key

    def spelled(self, key: str) -> str:
        """The inverse of `plain`."""
        key = self.head + key.removeprefix("head.") if key.startswith("head.") else key
        return self.prefix + key


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> Origin | None:
    """Tell from keys and shapes what wrote a state_dict, and of which architecture; None for any other."""
    prefix = "module." if all(key.startswith("module.") for key in shapes) else ""
    head = "keypoint_head." if any(key.startswith(f"{prefix}keypoint_head.") for key in shapes) else "head."
    for key, writer, architecture in SIGNS:
        if prefix + key in shapes:
            origin = Origin(writer, architecture, prefix, head if writer == "mmpose" else "head.")
            plain = {origin.plain(name): shape for name, shape in shapes.items()}
            # mmpose builds both of the same parts: this one has one frame in all its filters, and no root joint.
            windows = any(len(shape) == 3 and shape[-1] > 1 for shape in plain.values())
            if (
                writer == "mmpose"
                and "expand_conv" in key
                and (
                    windows
                    or plain.get("head.conv.weight", (48,))[:1] == (51,)
                    or any("traj_" in name for name in plain)
                )
            ):
                origin = Origin(writer, "VideoPose3D", prefix, head)
            return origin
    return None


def simple_baseline_size(shapes: Mapping[str, tuple[int, ...]], writer: str) -> dict[str, int]:
    """The options of SimpleBaseline3D that shapes tell: "channels" and "stages"; keys as `Origin.plain` gives them."""
    stem = next(key for key, sign, _ in SIGNS if sign == writer)
    prefix = {"weigq": "linear_stages.", "mmpose": "backbone.tcn_blocks.", "mocap3d": "stages."}[writer]
    return {"channels": shapes[stem][0] if shapes[stem] else 0, "stages": _count_stages(shapes, prefix)}


def simple_baseline_names(form: str, stages: int) -> dict[str, str]:
    """Our module name -> the published one, for SimpleBaseline3D.

    Args:
        form: "weigq" (3d_pose_baseline_pytorch) or "mmpose".
        stages: number of residual stages.
    Returns:
        one entry per linear and batch-norm module.
    """
    if form == "weigq":
        names = {"stem.linear": "w1", "stem.norm": "batch_norm1", "head": "w2"}
        stage = "linear_stages.{n}.w{i}", "linear_stages.{n}.batch_norm{i}"
    else:
        names = {
            "stem.linear": "backbone.expand_conv.conv",
            "stem.norm": "backbone.expand_conv.bn",
            "head": "head.conv",
        }
        stage = "backbone.tcn_blocks.{n}.conv{i}.0.conv", "backbone.tcn_blocks.{n}.conv{i}.0.bn"
    for n in range(stages):
        for i, layer in enumerate(("first", "second"), start=1):
            names[f"stages.{n}.{layer}.linear"] = stage[0].format(n=n, i=i)
            names[f"stages.{n}.{layer}.norm"] = stage[1].format(n=n, i=i)
    return names


def simple_baseline_to_published(state: Mapping[str, torch.Tensor], form: str) -> dict[str, torch.Tensor]:
    """Rename a SimpleBaseline3D state_dict of ours to the published keys and shapes of its form."""
    names = simple_baseline_names(form, _count_stages(state, "stages."))
    published = {}
    for key, tensor in state.items():
        module, entry = key.rsplit(".", 1)
        if form == "mmpose" and tensor.ndim == 2:
            tensor = tensor[:, :, None]  # (C_out, C_in) -> (C_out, C_in, 1), a convolution over one frame
        published[f"{names[module]}.{entry}"] = tensor
    return published


def simple_baseline_from_published(state: Mapping[str, torch.Tensor]) -> tuple[str, dict[str, torch.Tensor]]:
    """Rename a published SimpleBaseline3D state_dict to our keys.

    Args:
        state: tensors by published key, of either form; also as written by mmpose 0.x, or from DataParallel.
    Returns:
        the form it has, and the state_dict for SimpleBaseline3D(form, ...).
    Raises:
        ValueError: naming a key that belongs to neither form.
    """
    state = {
        key.removeprefix("module.").replace("keypoint_head.", "head."): tensor
        for key, tensor in state.items()
    }
    state = {key: tensor for key, tensor in state.items() if not key.startswith("data_preprocessor.")}
    form = "mmpose" if any(key.startswith("backbone.") for key in state) else "weigq"
    stages = _count_stages(state, "backbone.tcn_blocks." if form == "mmpose" else "linear_stages.")
    ours = {published: name for name, published in simple_baseline_names(form, stages).items()}
    renamed = {}
    for key, tensor in state.items():
        module, _, entry = key.rpartition(".")
        if module not in ours:
            raise ValueError(
                f"{key!r} is no part of a SimpleBaseline3D (read as the {form} form with {stages} stages): "
                "is this the file of another model?"
            )
        renamed[f"{ours[module]}.{entry}"] = tensor.squeeze(-1) if tensor.ndim == 3 else tensor
    return form, renamed


def simple_baseline_normalisation(
    mean_2d_px: np.ndarray,
    std_2d_px: np.ndarray,
    mean_3d: np.ndarray,
    std_3d: np.ndarray,
    width: float,
    height: float,
    metres_per_unit: float,
) -> dict[str, torch.Tensor]:
    """Published statistics, in pixels and mm or m -> the ones SimpleBaseline3D.normalisation takes, screen and m.

    Args:
        mean_2d_px, std_2d_px: (J_in, 2) px, the network's input joints.
        mean_3d, std_3d: (16, 3) mm or m, camera frame, relative to the root.
        width, height: of the images, px. Those of H36M are 1000 wide and 1000 or 1002 high; one height has to stand
            for both, which moves y by at most 0.002 on the screen.
        metres_per_unit: 0.001 for statistics in mm (weigq), 1 for m (mmpose).
    Returns:
        "mean_2d", "std_2d", "mean_3d", "std_3d", float64.
    """
    centre = torch.tensor([1.0, height / width], dtype=torch.float64)
    to_double = lambda values: torch.as_tensor(np.asarray(values, dtype=np.float64))  # noqa: E731
    return {
        "mean_2d": to_double(mean_2d_px) * 2 / width - centre,
        "std_2d": to_double(std_2d_px) * 2 / width,
        "mean_3d": to_double(mean_3d) * metres_per_unit,
        "std_3d": to_double(std_3d) * metres_per_unit,
    }


def _count_stages(state: Mapping[str, object], prefix: str) -> int:
    return len({key[len(prefix) :].split(".", 1)[0] for key in state if key.startswith(prefix)})
