"""Convert between published names and units and ours, so that published weights can be loaded and compared.

Each code base names the same modules differently. Tensors differ only in that other code bases write a linear layer as
a convolution, with an extra axis of length 1, and put the frames of a kernel last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

# What the keys of a network's repeated parts begin with, by architecture and writer.
PREFIXES = {
    "SimpleBaseline3D": {"mocap3d": "stages.", "weigq": "linear_stages.", "mmpose": "backbone.tcn_blocks."},
    "VideoPose3D": {"mocap3d": "blocks.", "videopose3d": "layers_conv.", "mmpose": "backbone.tcn_blocks."},
    "MotionBERT": {"mocap3d": "st.", "motionbert": "blocks_st.", "mmpose": "backbone.blocks_st."},
    "PoseFormerV2": {"mocap3d": "spatial.", "poseformerv2": "Spatial_blocks."},
    "FlowLifter": {"mocap3d": "blocks."},
}


def read_options(
    shapes: Mapping[str, tuple[int, ...]], architecture: str, writer: str, dense: bool | None = None
) -> tuple[str, dict[str, object]]:
    """The name for create_model, and the options inferred from shapes; arguments as in each architecture's function."""
    if architecture == "VideoPose3D":
        return "videopose3d", videopose3d_options(shapes, writer, dense)
    if architecture == "MotionBERT":
        return "motionbert", motionbert_options(shapes, writer)
    if architecture == "PoseFormerV2":
        return "poseformerv2_27", poseformerv2_options(shapes, writer)
    if architecture == "FlowLifter":
        wide = shapes["condition_in.weight"]
        flow_channels, channels = wide if len(wide) == 2 else (1, 1)
        depth = max(_depth(shapes, architecture, writer), 1)
        return "flow", {"channels": channels, "flow_channels": flow_channels, "depth": depth}
    stem = "stem.linear" if writer == "mocap3d" else simple_baseline_names(writer, 0)["stem.linear"]
    mmpose = writer == "mmpose" or (writer == "mocap3d" and "stem.linear.bias" not in shapes)
    shape = shapes[f"{stem}.weight"]
    options = {"channels": shape[0] if shape else 0, "stages": _depth(shapes, architecture, writer)}
    return "simple_baseline_mmpose" if mmpose else "simple_baseline", options


def to_published(state: Mapping[str, torch.Tensor], architecture: str, style: str) -> Mapping[str, torch.Tensor]:
    """Convert our state_dict to the keys and shapes of another code base.

    Args:
        state: of a model.
        architecture: "SimpleBaseline3D", "VideoPose3D", "MotionBERT" or "PoseFormerV2".
        style: "weigq", the same as the model's form; "videopose3d"; "motionbert"; "poseformerv2"; or "mmpose" (1.x),
            for each but the last.
            "mocap3d" leaves the state_dict unchanged.
    """
    if style == "mocap3d":
        return state
    names = NAMES[architecture](style, _depth(state, architecture, "mocap3d"))
    convolutions = architecture == "VideoPose3D" or (architecture, style) == ("SimpleBaseline3D", "mmpose")
    published = {}
    for key, tensor in state.items():
        if convolutions and tensor.ndim == 2:
            tensor = tensor[:, :, None]  # (C_out, C_in) -> (C_out, C_in, 1), a convolution over one frame
        elif convolutions and tensor.ndim == 3:
            tensor = tensor.transpose(1, 2).contiguous()  # (C_out, w, C_in) -> (C_out, C_in, w)
        published[_renamed(key, names, architecture)] = tensor
    return published


def from_published(state: Mapping[str, torch.Tensor], architecture: str, style: str) -> Mapping[str, torch.Tensor]:
    """The inverse of `to_published`, for keys as returned by `Origin.plain`.

    Raises:
        ValueError: if a key does not belong to the architecture.
    """
    if style == "mocap3d":
        return state
    names = NAMES[architecture](style, _depth(state, architecture, style))
    names = {published: name for name, published in names.items()}
    ours = {}
    for key, tensor in state.items():
        name = _renamed(key, names, architecture)
        if tensor.ndim == 3 and architecture in ("SimpleBaseline3D", "VideoPose3D"):  # a convolution
            linear = architecture == "SimpleBaseline3D" or name == "head.weight"
            tensor = tensor.squeeze(-1) if linear else tensor.transpose(1, 2).contiguous()
        ours[name] = tensor
    return ours


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


def simple_baseline_normalisation(
    mean_2d_px: np.ndarray,
    std_2d_px: np.ndarray,
    mean_3d: np.ndarray,
    std_3d: np.ndarray,
    width: float,
    height: float,
    metres_per_unit: float,
) -> dict[str, torch.Tensor]:
    """Convert published statistics, in pixels and mm or m, for SimpleBaseline3D.normalisation, in screen units and m.

    Args:
        mean_2d_px, std_2d_px: (J_in, 2) px, the network's input joints.
        mean_3d, std_3d: (16, 3) mm or m, camera frame, relative to the root.
        width, height: of the images, px. H36M images are 1000 wide and 1000 or 1002 high; one height is used for
            both, which shifts y by at most 0.002 on the screen.
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


def videopose3d_names(style: str, blocks: int) -> dict[str, str]:
    """Our module name -> the published one, for VideoPose3D.

    Args:
        style: "videopose3d" or "mmpose".
        blocks: number of residual blocks.
    Returns:
        one entry per convolution, batch norm and linear module.
    """
    if style == "videopose3d":
        names = {"stem": "expand_conv", "stem.norm": "expand_bn", "head": "shrink"}
    else:
        names = simple_baseline_names("mmpose", 0) | {"stem": "backbone.expand_conv.conv"}
    for n in range(blocks):
        for i, layer in enumerate(("first", "second")):
            old = f"layers_conv.{2 * n + i}", f"layers_bn.{2 * n + i}"
            block = f"backbone.tcn_blocks.{n}.conv{i + 1}.0"
            pair = old if style == "videopose3d" else (f"{block}.conv", f"{block}.bn")
            names[f"blocks.{n}.{layer}"], names[f"blocks.{n}.{layer}.norm"] = pair
    return names


def videopose3d_options(
    shapes: Mapping[str, tuple[int, ...]], writer: str, dense: bool | None = None
) -> dict[str, object]:
    """Infer the options of VideoPose3D from shapes, which do not show whether it is causal.

    Args:
        shapes: by keys as returned by `Origin.plain`.
        writer: "videopose3d", "mmpose" or "mocap3d".
        dense: whether the filters are dense. None infers it from their widths: 3, 7, 19 are read as the dense form of
            3, 3, 3, although a dilated network could have them too.
    Returns:
        "filter_widths", "channels", "dense", "joints_out"; of our own networks with it, "confidence".
    """
    blocks = _depth(shapes, "VideoPose3D", writer)
    if writer == "mocap3d":
        names, axis = {name: name for name in videopose3d_names("mmpose", blocks)}, 1
    else:
        names, axis = videopose3d_names(writer, blocks), 2
    kernels = []
    for layer in ("stem", *(f"blocks.{n}.first" for n in range(blocks))):
        shape = shapes.get(f"{names[layer]}.weight", ())
        kernels.append(shape[axis] if len(shape) == 3 else 1)
    widths = _dense_widths(kernels)
    if dense is None:  # published dilated networks have the same width throughout
        dense = len(kernels) > 1 and kernels[0] > 1 and widths == len(kernels) * kernels[:1]
    with_confidence = {"confidence": True} if writer == "mocap3d" and shapes.get("stem.weight", ())[2:] == (51,) else {}
    return with_confidence | {
        "filter_widths": widths if dense and widths else kernels,
        "channels": (shapes.get(f"{names['stem']}.weight") or (0,))[0],
        "dense": dense,
        "joints_out": 1 if shapes.get(f"{names['head']}.weight", ())[:1] == (3,) else 17,
    }


def motionbert_names(style: str, depth: int) -> dict[str, str]:
    """Our module or parameter name -> the published one, for MotionBERT.

    Args:
        style: "motionbert" or "mmpose".
        depth: of the network.
    Returns:
        one entry per linear and layer-norm module, and per embedding.
    """
    two = style == "motionbert"
    inside, joint, gates, fc1, fc2 = (
        ("", "pos_embed", "ts_attn", "fc1", "fc2") if two else ("backbone.", "spat_embed", "attn_regress", "0", "2")
    )
    names = {"embed": f"{inside}joints_embed", "joint_embedding": inside + joint, "norm": f"{inside}norm"}
    names |= {"frame_embedding": f"{inside}temp_embed", "head": "head" if two else "head.fc"}
    names["representation"] = "pre_logits.fc" if two else "head.pre_logits.fc"
    for i in range(depth):
        names[f"gates.{i}"] = f"{inside}{gates}.{i}"
        for stream in ("st", "ts"):
            for over, s in (("joints", "s"), ("frames", "t")):
                layer, block = f"{stream}.{i}.{over}", f"{inside}blocks_{stream}.{i}"
                names[f"{layer}.norm1"], names[f"{layer}.norm2"] = f"{block}.norm1_{s}", f"{block}.norm2_{s}"
                names[f"{layer}.attention.qkv"] = f"{block}.attn_{s}.qkv"
                names[f"{layer}.attention.proj"] = f"{block}.attn_{s}.proj"
                names[f"{layer}.fc1"] = f"{block}.mlp_{s}.{fc1}"
                names[f"{layer}.fc2"] = f"{block}.mlp_{s}.{fc2}"
    return names


def motionbert_options(shapes: Mapping[str, tuple[int, ...]], writer: str) -> dict[str, object]:
    """Infer the options of MotionBERT from shapes, which do not show the number of heads.

    Args:
        shapes: by keys as returned by `Origin.plain`.
        writer: "motionbert", "mmpose" or "mocap3d".
    Returns:
        "channels", "mlp_ratio", "representation", "depth", "joints", "frames", "fuse".
    """
    depth = _depth(shapes, "MotionBERT", writer)
    names = motionbert_names(writer, depth) if writer != "mocap3d" else {}

    def size(name: str, axis: int, entry: str = "") -> int:
        shape = shapes.get(names.get(name, name) + entry, ())
        return max(shape[axis], 1) if axis < len(shape) else 1  # missing keys are reported later, by name

    channels = size("embed", 0, ".weight")
    return {
        "channels": channels,
        "mlp_ratio": max(size("st.0.joints.fc1", 0, ".weight") // channels, 1),
        "representation": size("representation", 0, ".weight"),
        "depth": max(depth, 1),
        "joints": size("joint_embedding", 1),
        "frames": size("frame_embedding", 1),
        "fuse": f"{names.get('gates.0', 'gates.0')}.weight" in shapes,
    }


def poseformerv2_names(style: str, depth: int) -> dict[str, str]:
    """Our module or parameter name -> the published one, for PoseFormerV2.

    Args:
        style: "poseformerv2".
        depth: of the network.
    Returns:
        one entry per linear, layer-norm and weighted-mean module, and per embedding.
    """
    names = {
        "joint_embed": "Joint_embedding", "frequency_embed": "Freq_embedding",
        "joint_embedding": "Spatial_pos_embed", "frame_embedding": "Temporal_pos_embed",
        "coefficient_embedding": "Temporal_pos_embed_", "spatial_norm": "Spatial_norm", "norm": "Temporal_norm",
        "coefficient_mean": "weighted_mean", "frame_mean": "weighted_mean_", "head_norm": "head.0", "head": "head.1",
    }  # fmt: skip
    inside = {"norm1": "norm1", "norm2": "norm2", "attention.qkv": "attn.qkv", "attention.proj": "attn.proj"}
    spatial = inside | {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    fusion = inside | {"norm3": "norm3", "fc1": "mlp1.fc1", "fc2": "mlp1.fc2", "fc3": "mlp2.fc1", "fc4": "mlp2.fc2"}
    for i in range(depth):
        names |= {f"spatial.{i}.{ours}": f"Spatial_blocks.{i}.{theirs}" for ours, theirs in spatial.items()}
        names |= {f"fusion.{i}.{ours}": f"blocks.{i}.{theirs}" for ours, theirs in fusion.items()}
    return names


def poseformerv2_options(shapes: Mapping[str, tuple[int, ...]], writer: str) -> dict[str, object]:
    """Infer the options of PoseFormerV2 from shapes, which show neither the number of frames nor that of heads.

    Args:
        shapes: by keys as returned by `Origin.plain`.
        writer: "poseformerv2" or "mocap3d".
    Returns:
        "kept", "coefficients", "channels", "depth".
    """
    names = {} if writer == "mocap3d" else poseformerv2_names(writer, 0)
    keys = {"kept": "frame_embedding", "coefficients": "coefficient_embedding", "channels": "joint_embedding"}
    found = {option: shapes.get(names.get(key, key), ()) for option, key in keys.items()}
    sizes = {option: shape[-1 if option == "channels" else 1] for option, shape in found.items() if len(shape) == 3}
    # missing keys are reported later, by name
    return (
        {"kept": 1, "coefficients": 1, "channels": 8}
        | sizes
        | {"depth": max(_depth(shapes, "PoseFormerV2", writer), 1)}
    )


NAMES = {
    "SimpleBaseline3D": simple_baseline_names,
    "VideoPose3D": videopose3d_names,
    "MotionBERT": motionbert_names,
    "PoseFormerV2": poseformerv2_names,
}


def _renamed(key: str, names: Mapping[str, str], architecture: str) -> str:
    module, _, entry = key.rpartition(".")
    if key not in names and module not in names:
        raise ValueError(f"{key!r} is not part of a {architecture}: does this file hold another model?")
    return names.get(key) or f"{names[module]}.{entry}"


def _dense_widths(kernels: Sequence[int]) -> list[int] | None:
    """The filter widths whose dense form has these kernel widths, if any."""
    widths = [kernels[0]]
    for kernel in kernels[1:]:
        dilation = math.prod(widths)
        if dilation < 1 or (kernel - 1) % dilation:
            return None
        widths.append((kernel - 1) // dilation + 1)
    return widths


def _depth(keys: Iterable[str], architecture: str, writer: str) -> int:
    """The number of stages or blocks."""
    prefix = PREFIXES[architecture][writer]
    count = len({key[len(prefix) :].split(".", 1)[0] for key in keys if key.startswith(prefix)})
    return (count + 1) // 2 if writer == "videopose3d" else count  # there a block is two numbers
