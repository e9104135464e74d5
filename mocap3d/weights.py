"""Load and save weights, other people's and our own, without running any code from the files.

Published files are recognised by their keys, the options are inferred from the shapes, and mismatches are listed with
the publisher's own names. Our own format is safetensors: numbers and a JSON card, no code. The card documents the
model and how far its results can be trusted; it is stored inside the file, and beside it as .json for reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from mocap3d.arguments import FilePath, check_arguments
from mocap3d.device import unwrapped
from mocap3d.files import write_whole
from mocap3d.formats.safe_files import load_torch
from mocap3d.models.create import create_model, list_models
from mocap3d.models.flow import FlowLifter
from mocap3d.models.motionbert import MotionBERT
from mocap3d.models.poseformerv2 import PoseFormerV2
from mocap3d.models.published import from_published, read_options, to_published
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.models.state_dicts import WeightsError, compare, find_state, list_names, recognise
from mocap3d.models.videopose3d import VideoPose3D

FORMAT = 1
# Entries a card must have in addition to those read from the model; "unknown" is allowed, leaving one out is not.
CARD = ("fps", "training_data", "recipe", "protocol", "results", "licence")
FILLED = ("format", "model", "kwargs", "normalisation", "skeleton", "receptive_field", "causal", "parameters")
STYLES = {
    SimpleBaseline3D: ("weigq", "mmpose"),
    VideoPose3D: ("videopose3d", "mmpose"),
    MotionBERT: ("motionbert", "mmpose"),
    PoseFormerV2: ("poseformerv2",),
    FlowLifter: (),
}
# Options that checkpoints of our training hold and shapes do not show, by architecture.
SETTINGS = {
    "SimpleBaseline3D": {"normalise": str},
    "VideoPose3D": {"causal": bool, "dense": bool, "normalise": str},
    "MotionBERT": {"heads": int, "image_space": bool, "normalise": str},
    "PoseFormerV2": {"frames": int, "heads": int, "normalise": str},
    "FlowLifter": {"steps": int, "samples": int, "temperature": float, "normalise": str},
}
SHIPPED = {
    name.split("_")[-1]: Path(__file__).parent / "shipped" / f"{name}.safetensors"
    for name in ("videopose3d_27_centred", "videopose3d_27_causal", "motionbert_tiny_motionbert",
                 "motionbert_tiny_pretrained")
}  # fmt: skip


def load_weights(
    path_or_state: FilePath | Mapping[str, object], part: Literal["pose", "trajectory"] = "pose", **overrides: object
) -> nn.Module:
    """Create the model that a file of weights belongs to, and load the weights into it.

    Args:
        path_or_state: a state_dict, or a file: ours, or one written by torch.save (a state_dict, or a checkpoint, also
            of our training, with one under "state_dict", "model_state_dict", "model", "net" or "model_pos"). Keys may
            begin with "module.", "_orig_mod." or "model.", as written by DataParallel, torch.compile or Lightning.
        part: "pose", or "trajectory" for the second network of a semi-supervised run of VideoPose3D, MMPose or ours.
        overrides: options of the model that shapes do not show, e.g. dropout=0.25. Published files do not record
            whether a model is causal (pass causal=True), nor the number of heads of MotionBERT and PoseFormerV2
            (default 8), nor the window of PoseFormerV2 (pass frames=27). Filters 3, 7, 19 frames wide are read as the
            dense form of 3, 3, 3 unless you pass dense=False.
    Returns:
        the model in evaluation mode, on the CPU. `model.card` documents where it comes from; published files hold no
        normalisation, so SimpleBaseline3D's has to be set: see mocap3d.models.published.simple_baseline_normalisation.
    Raises:
        WeightsError: if the weights belong to no supported model; if keys are missing, unexpected or have the wrong
            shape; if a tensor has NaN; if a file of ours was changed since it was saved.
        UnsafeFileError: if the file is damaged or would run code.
        OSError: if it cannot be opened.
        TypeError: for an override that the model does not have.
        ValueError: for an unknown part.
    Source: own.
    """
    check_arguments(load_weights, locals())
    if isinstance(path_or_state, Mapping):
        return _from_published(path_or_state, "this state_dict", part, overrides)
    path = Path(path_or_state)
    if not path.is_file():
        names = ", ".join(SHIPPED)
        raise FileNotFoundError(
            f"{path}: no such file; load_shipped() has {names}, and create_model() makes new networks"
        )
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # safetensors: the length of the header, then the header
        return _from_own(path, part, overrides)
    return _from_published(load_torch(path), str(path), part, overrides)


def load_shipped(kind: str = "centred") -> nn.Module:
    """Load one of the small models that come with the package; no network access or data is needed.

    Args:
        kind: "centred" (uses 13 frames back and ahead), "causal" (26 back; for `model.stream()`) or "motionbert" (clips
            of up to 27 frames), for detections from any camera; or "pretrained": motionbert_tiny, pretrained only on
            corrupted and masked built-in 3D motion, and meant for finetuning.
    Returns:
        VideoPose3D, or MotionBERT, in evaluation mode. `model.card` documents its training data, its errors on every
        test column, and how far to trust it.
    Raises:
        ValueError: for an unknown kind.
    Source: own; made by scripts/train_shipped.py.
    """
    check_arguments(load_shipped, locals())
    if kind not in SHIPPED:
        raise ValueError(f"kind={kind!r}: the package holds {', '.join(SHIPPED)}")
    return load_weights(SHIPPED[kind])


def save_weights(model: nn.Module, path: FilePath, card: Mapping[str, object]) -> Path:
    """Write a model's weights together with a card that documents them.

    Args:
        model: one made by create_model.
        path: of the file; usually ends in .safetensors. The card is also written beside it, as .json.
        card: "fps", "training_data", "recipe", "protocol", "results", "licence", each plain data or a dataclass, and
            anything else worth knowing. The rest is read from the model: name and options, normalisation, skeleton,
            receptive field, causal, and a digest of the tensors, which load_weights checks.
    Returns:
        the path.
    Raises:
        ValueError: if the card lacks an entry, or sets one that is read from the model, or for any other module.
        WeightsError: if a tensor has NaN, or the file cannot be written, as on a full disk; then nothing is left of it.
    Source: own.
    """
    check_arguments(save_weights, locals())
    if missing := [key for key in CARD if key not in card]:
        raise ValueError(f'the card lacks {", ".join(missing)}; where it is not known, write "unknown"')
    if doubled := [key for key in (*FILLED, "digest") if key in card]:
        raise ValueError(f"the card sets {', '.join(doubled)}, which is read from the model: leave it out")
    model = unwrapped(model)
    description = _describe(model)
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    _check_finite(tensors, f"this {model.name}")
    text = _to_json({**description, "digest": _digest(tensors), **card})

    def write(part: Path) -> None:  # the card first, so that weights that are in place have theirs
        save_file(tensors, part, metadata={"card": text})
        write_whole(Path(path).with_suffix(".json"), lambda other: other.write_text(text + "\n", encoding="utf-8"))

    try:
        return write_whole(path, write)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} could not be written ({error}); what was there before still is") from None


def read_card(path: str | Path) -> dict:
    """Read the card of a file written by save_weights.

    Raises:
        WeightsError: if the file is damaged or has no card.
    """
    return _read_own(Path(path))[0]


def export_weights(model: nn.Module, style: str) -> dict[str, torch.Tensor]:
    """Convert weights to a state_dict with the names and shapes of another code base, the inverse of load_weights.

    Args:
        model: SimpleBaseline3D, VideoPose3D, MotionBERT or PoseFormerV2.
        style: for SimpleBaseline3D "weigq" or "mmpose" (1.x), the same as the model's form, since they are different
            networks; for VideoPose3D "videopose3d" or "mmpose" (1.x); for MotionBERT "motionbert" or "mmpose"; for
            PoseFormerV2 "poseformerv2".
    Returns:
        copies on the CPU; to write a file: `torch.save({"meta": {}, "state_dict": ...}, path)`, or for "videopose3d",
        "motionbert" and "poseformerv2" `torch.save({"model_pos": ...}, path)`. The code of the last two expects
        "module." before each key.
    Raises:
        ValueError: for an unknown style, or a model that the other code base does not support.
    Source: own.
    """
    check_arguments(export_weights, locals())
    if not STYLES.get(type(model)):
        kinds = ", ".join(kind.__name__ for kind, styles in STYLES.items() if styles)
        raise ValueError(f"got a {type(model).__name__}; only {kinds} can be exported")
    if style not in STYLES[type(model)]:
        raise ValueError(f"style={style!r}: {model.name} can be exported as {' or '.join(STYLES[type(model)])}")
    if isinstance(model, SimpleBaseline3D) and style != model.form:
        raise ValueError(f"{model.name} has other layers than {style} builds; export it as {model.form}")
    if model.normalise != "published" or isinstance(model, VideoPose3D) and model.confidence:
        raise ValueError(f"this {model.name} reads other input than {style} has; export one with normalise='published'")
    prefix = ""
    if isinstance(model, VideoPose3D) and style == "mmpose":
        if model.dense:
            raise ValueError(f"{model.name} has dense filters, which mmpose does not build; export it as videopose3d")
        prefix = "traj_" if model.joints_out == 1 else ""
    published = to_published(model.state_dict(), type(model).__name__, style)
    return {prefix + key: value.detach().cpu().clone() for key, value in published.items()}


def _from_published(checkpoint: object, source: str, part: str, overrides: Mapping[str, object]) -> nn.Module:
    state = find_state(checkpoint, source, part)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    origin = recognise(shapes)
    if origin is None:
        raise WeightsError(f"{source} holds the weights of no model known here; its keys: {list_names(shapes)}")
    state = {origin.plain(key): tensor for key, tensor in state.items()}
    if len(state) < len(shapes):
        raise WeightsError(f"{source} has keys of mmpose 0.x and of 1.x for the same tensors: {list_names(shapes)}")
    state = {key: tensor for key, tensor in state.items() if not key.startswith("data_preprocessor.")}
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}  # by current names
    ours = origin.writer == "mocap3d"
    known = {**(_settings(checkpoint, origin.architecture) if ours else {}), **overrides}
    if origin.writer == "poseformerv2" and "frames" not in known:
        raise WeightsError(f"{source} does not show how many frames its window has: pass frames=27, 81 or 243")
    name, told = read_options(shapes, origin.architecture, origin.writer, known.get("dense"))
    _check_part(told, source, part)
    model = _make(name, {**told, **known}, state, source)
    expected = to_published(model.state_dict(), origin.architecture, origin.writer)
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked") and key not in state:  # torch before 0.4.1 had none
            state[key] = torch.zeros((), dtype=tensor.dtype)
    compare(expected, state, source, origin)
    _check_finite({origin.spelled(key): tensor for key, tensor in state.items()}, source)
    model.load_state_dict(from_published(state, origin.architecture, origin.writer), strict=True)
    if ours:  # it may be a checkpoint of our training
        _set_normalisation(model, checkpoint.get("normalisation"), source)
    model.eval()
    model.card = _describe(model) | {"source": origin.writer, "file": source, "overrides": dict(overrides)}
    return model


def _check_part(told: Mapping[str, object], source: str, part: str) -> None:
    if part == "trajectory" and told.get("joints_out") != 1:
        raise WeightsError(f"{source} holds no trajectory model, only one of poses")


def _settings(checkpoint: Mapping[str, object], architecture: str) -> dict[str, object]:
    """The options in a checkpoint of our training that shapes do not show."""
    settings: object = checkpoint
    for key in ("fingerprint", "model", "settings"):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    if not isinstance(settings, Mapping):
        return {}
    settings = {str(key).removeprefix("_orig_mod."): value for key, value in settings.items()}
    return {key: settings[key] for key, kind in SETTINGS[architecture].items() if type(settings.get(key)) is kind}


def _set_normalisation(model: nn.Module, values: object, source: str) -> None:
    if values is None:
        return
    if model.scaling is None:
        raise WeightsError(f"{source} has a wrong normalisation: {model.name} uses none")
    if not isinstance(values, Mapping):
        raise WeightsError(f"{source} has a wrong normalisation: a {type(values).__name__}, not values by name")
    try:
        model.normalisation = {key: torch.as_tensor(value, dtype=torch.float64) for key, value in values.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{source} has a wrong normalisation: {error}") from None


def _make(name: str, kwargs: Mapping[str, object], state: Mapping[str, torch.Tensor], source: str) -> nn.Module:
    """Create a model for the weights; raises WeightsError if its options make it far larger than these weights."""
    has = sum(tensor.numel() for tensor in state.values())
    try:
        with torch.random.fork_rng(devices=[]):  # its random weights must not advance the caller's generator
            with torch.device("meta"):  # shapes without memory
                plan = create_model(name, **kwargs).state_dict()
            needs = sum(tensor.numel() for tensor in plan.values())
            if needs > 2**20 + 4 * has:
                raise WeightsError(f"{source} is for {needs:,} numbers ({dict(kwargs)}), but has only {has:,}")
            return create_model(name, **kwargs)
    except WeightsError:
        raise
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{source} asks for an invalid model: {error}") from None


def _check_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise WeightsError for weights that would make every pose NaN."""
    if wrong := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        text = "the training diverged, or the file is damaged; use an earlier checkpoint"
        raise WeightsError(f"{source} has NaN or infinite numbers in {list_names(wrong)}: {text}")


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """A sha256 of all names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _from_own(path: Path, part: str, overrides: Mapping[str, object]) -> nn.Module:
    card, state = _read_own(path)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    origin = recognise(shapes)
    if card["model"] not in list_models() or origin is None or origin.writer != "mocap3d":
        raise WeightsError(f"{path} holds {card['model']!r}; this version builds {', '.join(list_models())}")
    _, told = read_options(shapes, origin.architecture, origin.writer, card["kwargs"].get("dense"))
    if any(card["kwargs"].get(key) != value for key, value in told.items()):
        raise WeightsError(f"{path} has a card for {card['kwargs']}, but its weights have {told}")
    _check_part(told, str(path), part)
    try:
        plain = _make(card["model"], card["kwargs"], state, str(path))
    except TypeError as error:
        raise WeightsError(f"{path} has a wrong card: {error}") from None
    if _describe(plain)["kwargs"] != card["kwargs"]:
        raise WeightsError(f"{path} has a wrong card: its kwargs are {card['kwargs']}")
    model = _make(card["model"], {**card["kwargs"], **overrides}, state, str(path)) if overrides else plain
    compare(model.state_dict(), state, str(path), origin)
    _check_finite(state, str(path))
    if (dtype := state["head.weight"].dtype).is_floating_point:
        model.to(dtype)
    model.load_state_dict(state, strict=True)
    _set_normalisation(model, card["normalisation"], str(path))
    model.eval()
    model.card = card | {"source": "mocap3d", "file": str(path), "overrides": dict(overrides)}
    return model


def _read_own(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get("card")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
        card = json.loads(text) if text is not None else None
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged, or not a safetensors file ({error})") from None
    if not isinstance(card, dict) or not isinstance(card.get("kwargs"), dict) or not {*FILLED} <= {*card}:
        raise WeightsError(f"{path} has no card by save_weights inside, so the model it belongs to is unknown")
    if card.get("format") != FORMAT:
        raise WeightsError(f"{path} has format {card.get('format')!r}; this version of mocap3d reads {FORMAT}")
    if "digest" in card and card["digest"] != _digest(state):  # files of older versions have none
        raise WeightsError(f"{path} does not hold the numbers that were saved (digest): get the file again")
    return card, state


def _describe(model: nn.Module) -> dict:
    """The entries of a card that are read from the model."""
    if type(model) not in STYLES:  # a subclass could compute something else
        raise ValueError(
            f"got a {type(model).__name__}; save_weights writes {', '.join(kind.__name__ for kind in STYLES)}; save "
            "any other network with torch.save(model.state_dict(), path)"
        )
    if isinstance(model, SimpleBaseline3D):
        name = model.name
        kwargs = {"channels": model.head.in_features, "stages": len(model.stages)}
        kwargs["dropout"] = float(model.stem.dropout)
    elif isinstance(model, VideoPose3D):
        name, kwargs = "videopose3d", {"filter_widths": list(model.filter_widths)}
        kwargs |= {key: getattr(model, key) for key in ("channels", "causal", "dense", "joints_out")}
        kwargs["dropout"] = float(model.stem.dropout)
        kwargs |= {"confidence": True} if model.confidence else {}
    elif isinstance(model, FlowLifter):
        keys = ("channels", "flow_channels", "steps", "samples", "dropout", "temperature")
        name, kwargs = "flow", {key: getattr(model, key) for key in keys} | {"depth": len(model.blocks)}
    elif isinstance(model, PoseFormerV2):
        keys = ("frames", "kept", "coefficients", "channels", "heads")
        name, kwargs = "poseformerv2_27", {key: getattr(model, key) for key in keys}
        kwargs |= {"depth": len(model.fusion), "drop_path": float(model.drop_path)}
    else:
        keys = ("channels", "mlp_ratio", "depth", "heads", "joints", "fuse", "image_space")
        name, kwargs = "motionbert", {key: getattr(model, key) for key in keys}
        kwargs |= {"representation": model.head.in_features, "frames": model.receptive_field}
        kwargs["drop_path"] = float(model.drop_path)
    if model.normalise != "published":
        kwargs["normalise"] = model.normalise
    statistics = model.normalisation and {key: value.double().tolist() for key, value in model.normalisation.items()}
    return {
        "format": FORMAT,
        "model": name,
        "kwargs": kwargs,
        "normalisation": statistics,
        "skeleton": model.input_skeleton,
        "receptive_field": model.receptive_field,
        "causal": kwargs.get("causal", False),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _to_json(card: Mapping[str, object]) -> str:
    plain = {key: asdict(value) if is_dataclass(value) else value for key, value in card.items()}
    for key, value in plain.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the card's {key!r} cannot be written as JSON ({error}); give plain data") from None
    return json.dumps(plain, indent=1, ensure_ascii=False)
