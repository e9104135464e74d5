"""Find a state_dict in a checkpoint, and recognise the code base and the architecture by its keys.

`mocap3d.models.published` renames the keys afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

# Keys under which checkpoints hold their weights; key prefixes of wrappers (DataParallel, torch.compile, Lightning).
CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "model_pos")
WRAPPERS = ("module.", "_orig_mod.", "model.")
LISTED = 12  # keys in a message
# Keys that only one kind of file has, each with its code base and its architecture.
SIGNS = (
    ("condition_in.weight", "mocap3d", "FlowLifter"),
    ("w1.weight", "weigq", "SimpleBaseline3D"),
    ("stem.linear.weight", "mocap3d", "SimpleBaseline3D"),
    ("stem.weight", "mocap3d", "VideoPose3D"),
    ("backbone.expand_conv.conv.weight", "mmpose", "SimpleBaseline3D"),  # or VideoPose3D, see below
    ("expand_conv.weight", "videopose3d", "VideoPose3D"),
    ("backbone.joints_embed.weight", "mmpose", "MotionBERT"),
    ("joints_embed.weight", "motionbert", "MotionBERT"),
    ("embed.weight", "mocap3d", "MotionBERT"),
    ("Freq_embedding.weight", "poseformerv2", "PoseFormerV2"),
    ("frequency_embed.weight", "mocap3d", "PoseFormerV2"),
)


class WeightsError(ValueError):
    """Weights that fit no supported model; the message lists what does not fit."""


@dataclass(frozen=True)
class Origin:
    """Where a state_dict comes from, inferred from its keys.

    Args:
        writer: the code base whose names it uses: "weigq", "mmpose", "videopose3d", "motionbert",
            "poseformerv2" or "mocap3d".
        architecture: "SimpleBaseline3D", "VideoPose3D", "MotionBERT", "PoseFormerV2" or "FlowLifter".
        prefix: common prefix of all keys: those of WRAPPERS, then "traj_" for mmpose's trajectory models.
        head: mmpose's name of the head: "keypoint_head." before 1.0, "head." since.
    """

    writer: str
    architecture: str
    prefix: str = ""
    head: str = "head."

    def plain(self, key: str) -> str:
        """A key of that file, as the current code of its writer spells it."""
        key = key.removeprefix(self.prefix)
        return "head." + key.removeprefix(self.head) if key.startswith(self.head) else key

    def spelled(self, key: str) -> str:
        """The inverse of `plain`."""
        key = self.head + key.removeprefix("head.") if key.startswith("head.") else key
        return self.prefix + key


def find_state(checkpoint: object, source: str, part: str) -> dict[str, torch.Tensor]:
    """Find the weights: a state_dict, or one inside a dict under a usual name, up to two levels deep.

    Args:
        checkpoint: the content of a file.
        source: where it comes from, for messages.
        part: "pose" or "trajectory", if a checkpoint has both.
    Raises:
        WeightsError: if there are no weights.
    """

    def inside(value: object, names: Sequence[str] = CONTAINERS) -> list[Mapping]:
        found = [value.get(name) for name in names] if isinstance(value, Mapping) else []
        return [content for content in found if isinstance(content, Mapping)]

    outer = inside(checkpoint)
    if part == "trajectory" and isinstance(checkpoint, Mapping) and "model_traj" in checkpoint:
        outer = inside(checkpoint, ["model_traj"])
        if not outer:
            raise WeightsError(f"{source} holds no trajectory model, only one of poses")
    choices = [*(content for value in outer for content in inside(value)), *outer, checkpoint]
    filled = [c for c in choices if isinstance(c, Mapping) and any(map(torch.is_tensor, c.values()))]
    state = (filled or outer or [checkpoint])[0]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{source} holds a {type(state).__name__}, not the weights of a model by name")
    if wrong := [key for key, value in state.items() if type(key) is not str or not torch.is_tensor(value)]:
        raise WeightsError(f"{source} holds no state_dict; these of its entries are not tensors: {list_names(wrong)}")
    prefix = find_prefix(state)
    bare = {key: key.removeprefix(prefix) for key in state}
    if all(name.startswith(("pose.", "trajectory.")) for name in bare.values()):  # from our training
        start = f"{part}."
        return {bare[key].removeprefix(start): state[key] for key in state if bare[key].startswith(start)}
    # mmpose keeps both in one state_dict
    second = {key for key, name in bare.items() if name.startswith("traj_")}
    wanted = second if part == "trajectory" else state.keys() - second
    return {key: value for key, value in state.items() if key in wanted or not wanted}


def find_prefix(keys: Collection[str]) -> str:
    """The prefix that wrappers have added to every key, e.g. "module._orig_mod."."""
    prefix = ""
    while keys and (more := [w for w in WRAPPERS if all(key.startswith(prefix + w) for key in keys)]):
        prefix += more[0]
    return prefix


def list_names(names: Iterable[object]) -> str:
    """The first few names, for a message."""
    names = [str(name)[:120] for name in names]
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> Origin | None:
    """Recognise code base and architecture of a state_dict by keys and shapes; None if unknown."""
    prefix = find_prefix(shapes)
    if all(key.startswith(prefix + "traj_") for key in shapes):
        prefix += "traj_"
    head = "keypoint_head." if any(key.startswith(f"{prefix}keypoint_head.") for key in shapes) else "head."
    for key, writer, architecture in SIGNS:
        if prefix + key in shapes:
            origin = Origin(writer, architecture, prefix, head if writer == "mmpose" else "head.")
            plain = {origin.plain(name): shape for name, shape in shapes.items()}
            # mmpose builds both from the same modules: SimpleBaseline3D has only one-frame filters, and 16 joints.
            windows = any(len(shape) == 3 and shape[-1] > 1 for shape in plain.values())
            if (writer, architecture) == ("mmpose", "SimpleBaseline3D") and (
                windows or plain.get("head.conv.weight", (48,))[:1] in ((51,), (3,))
            ):
                origin = Origin(writer, "VideoPose3D", prefix, head)
            return origin
    return None


def compare(
    expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str, origin: Origin
) -> None:
    """Raise WeightsError if weights do not fit, with the key names of their file."""
    wrong = [
        f"{origin.spelled(key)} has {tuple(state[key].shape)}, needs {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    missing = [origin.spelled(key) for key in expected if key not in state]
    unexpected = [origin.spelled(key) for key in state if key not in expected]
    found = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    if any(found.values()):
        lists = "; ".join(f"{kind}: {list_names(keys)}" for kind, keys in found.items() if keys)
        raise WeightsError(f"{source} is almost {origin.architecture} as {origin.writer} writes it. {lists}")
