"""Weights in files: other people's and our own, read without running anything in them.

Published files are recognised by their keys, the architecture is read off the shapes, and what does not fit is
listed in the publisher's own names. Our own format is safetensors: numbers and a card in JSON, no code. The card
says what a model is and what its numbers are worth; it is inside the file, and beside it as .json for reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from mocap3d.files import write_whole
from mocap3d.models import create_model, list_models
from mocap3d.models.published import (
    Origin,
    recognise,
    simple_baseline_from_published,
    simple_baseline_size,
    simple_baseline_to_published,
)
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.safe_files import load_torch

FORMAT = 1
# What a card must say beside what is read off the model; "unknown" is an answer, silence is not.
CARD = ("fps", "training_data", "recipe", "protocol", "results", "licence")
FILLED = ("format", "model", "kwargs", "normalisation", "skeleton", "receptive_field", "causal", "parameters")
MODEL_OF = {"weigq": "simple_baseline", "mmpose": "simple_baseline_mmpose"}  # by whose names they have
LISTED = 12  # keys of each kind in a message


class WeightsError(ValueError):
    """Weights that fit no model built here; the message lists what does not fit."""


def load_weights(path_or_state: str | Path | Mapping[str, object], **overrides: object) -> nn.Module:
    """Make the model that a file of weights belongs to, with these weights.

    Args:
        path_or_state: a file (ours; or what torch.save wrote: a state_dict, or a checkpoint with one inside, also
            of our training), or a state_dict.
        overrides: options of the model that shapes cannot tell, e.g. dropout=0.25.
    Returns:
        the model in evaluation mode, on the CPU. `model.card` says where it comes from; published files hold no
        normalisation, so theirs has to be set: see mocap3d.models.published.simple_baseline_normalisation.
    Raises:
        WeightsError: if the weights are of no model built here, or keys are missing, unexpected or of wrong shape.
        UnsafeFileError: if the file is damaged or asks to run code.
        OSError: if it cannot be opened.
        TypeError: for an override the model does not have.
    Source: own.
    """
    if isinstance(path_or_state, Mapping):
        return _from_published(path_or_state, "this state_dict", overrides)
    path = Path(path_or_state)
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # safetensors: the length of the header, then the header
        return _from_own(path, overrides)
    return _from_published(load_torch(path), str(path), overrides)


def save_weights(model: nn.Module, path: str | Path, card: Mapping[str, object]) -> Path:
    """Write a model's weights and what is to be known about them, in one step.

    Args:
        model: one that create_model makes.
        path: where; usually ends in .safetensors. The card is also written beside it, as .json.
        card: "fps", "training_data", "recipe", "protocol", "results", "licence", each plain data or a dataclass, and
            whatever else is worth knowing. The rest is read off the model: name and options, normalisation, skeleton,
            receptive field, causal.
    Returns:
        the path.
    Raises:
        ValueError: if the card lacks something, or sets what is read off the model.
    Source: own.
    """
    if missing := [key for key in CARD if key not in card]:
        raise ValueError(f'the card lacks {", ".join(missing)}; where nobody knows, write "unknown"')
    if doubled := [key for key in FILLED if key in card]:
        raise ValueError(f"the card sets {', '.join(doubled)}, which is read off the model: leave it out")
    text = _to_json({**_describe(model), **card})
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    path = write_whole(path, lambda part: save_file(tensors, part, metadata={"card": text}))
    write_whole(path.with_suffix(".json"), lambda part: part.write_text(text + "\n", encoding="utf-8"))
    return path


def read_card(path: str | Path) -> dict:
    """The card inside a file that save_weights wrote.

    Raises:
        WeightsError: if the file is damaged or has no card.
    """
    return _read_own(Path(path))[0]


def export_weights(model: nn.Module, style: str) -> dict[str, torch.Tensor]:
    """A state_dict with the names and shapes of another code base, the inverse of load_weights.

    Args:
        model: SimpleBaseline3D.
        style: "weigq" or "mmpose" (1.x), and of the same form as the model: they are different networks.
    Returns:
        copies on the CPU; for a file, `torch.save({"meta": {}, "state_dict": ...}, path)`.
    Raises:
        ValueError: for another style, or a model of another form.
    Source: own.
    """
    if style not in MODEL_OF:
        raise ValueError(f"style={style!r}: SimpleBaseline3D can be exported as {' or '.join(MODEL_OF)}")
    if _describe(model)["model"] != MODEL_OF[style]:
        raise ValueError(f"{model.name} has other layers than {style} builds; export it as {model.form}")
    state = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    return simple_baseline_to_published(state, style)


def _from_published(checkpoint: object, source: str, overrides: Mapping[str, object]) -> nn.Module:
    state = _find_state(checkpoint, source)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    origin = recognise(shapes)
    if origin is None:
        raise WeightsError(f"{source} holds the weights of no model known here; its keys: {_list(shapes)}")
    if origin.architecture != "SimpleBaseline3D":
        raise WeightsError(
            f"{source} holds {origin.architecture} as {origin.writer} writes it, which this version of mocap3d "
            f"recognises but does not build; it builds {', '.join(list_models())}"
        )
    state = {origin.plain(key): tensor for key, tensor in state.items()}
    if len(state) < len(shapes):
        raise WeightsError(
            f"{source} has keys of mmpose 0.x and of 1.x for the same tensors: {_list(shapes)}"
        )
    state = {key: tensor for key, tensor in state.items() if not key.startswith("data_preprocessor.")}
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}  # by today's names
    ours = origin.writer == "mocap3d"  # of the two forms only weigq's has a bias there
    form = ("weigq" if "stem.linear.bias" in shapes else "mmpose") if ours else origin.writer
    name = MODEL_OF[form]
    kwargs = {**simple_baseline_size(shapes, origin.writer), **overrides}
    model = _make(name, kwargs, state, source)
    expected = model.state_dict() if ours else simple_baseline_to_published(model.state_dict(), form)
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked") and key not in state:  # torch before 0.4.1 had none
            state[key] = torch.zeros((), dtype=tensor.dtype)
    _compare(expected, state, source, origin)
    model.load_state_dict(state if ours else simple_baseline_from_published(state)[1], strict=True)
    if ours and isinstance(checkpoint.get("normalisation"), Mapping):  # a checkpoint of our training
        try:
            model.normalisation = checkpoint["normalisation"]
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{source} has a wrong normalisation: {error}") from None
    model.eval()
    model.card = _describe(model) | {"source": origin.writer, "file": source, "overrides": dict(overrides)}
    return model


def _find_state(checkpoint: object, source: str) -> dict[str, torch.Tensor]:
    """The weights in what people save: a state_dict, or a checkpoint that has one under a usual name."""
    state = checkpoint
    if isinstance(checkpoint, Mapping):
        inside = [
            key for key in ("state_dict", "model_pos", "model") if isinstance(checkpoint.get(key), Mapping)
        ]
        state = checkpoint[inside[0]] if inside else checkpoint
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{source} holds a {type(state).__name__}, not the weights of a model by name")
    if wrong := [key for key, value in state.items() if type(key) is not str or not torch.is_tensor(value)]:
        raise WeightsError(
            f"{source} holds no state_dict; these of its entries are no tensors: {_list(wrong)}"
        )
    return dict(state)


def _make(
    name: str, kwargs: Mapping[str, object], state: Mapping[str, torch.Tensor], source: str
) -> nn.Module:
    """A model to put the weights in; not one that a wild claim makes far larger than its weights."""
    channels, stages = kwargs["channels"], kwargs["stages"]
    needs, has = channels * (80 + 2 * stages * channels), sum(tensor.numel() for tensor in state.values())
    if needs > 2**20 + 4 * has:
        raise WeightsError(
            f"{source} is for {stages} stages of {channels:,} channels, but has only {has:,} numbers"
        )
    try:
        with torch.random.fork_rng(devices=[]):  # its random start shall not cost anyone their seed
            return create_model(name, **kwargs)
    except ValueError as error:
        raise WeightsError(f"{source} asks for a model that cannot be: {error}") from None


def _compare(
    expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str, origin: Origin
) -> None:
    """Refuse weights that do not fit, in the names their file has."""
    wrong = [
        f"{origin.spelled(key)} has {tuple(state[key].shape)}, needs {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    missing = [origin.spelled(key) for key in expected if key not in state]
    unexpected = [origin.spelled(key) for key in state if key not in expected]
    found = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    if any(found.values()):
        lists = "; ".join(f"{kind}: {_list(keys)}" for kind, keys in found.items() if keys)
        raise WeightsError(f"{source} is almost {origin.architecture} as {origin.writer} writes it. {lists}")


def _from_own(path: Path, overrides: Mapping[str, object]) -> nn.Module:
    card, state = _read_own(path)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    if card["model"] not in list_models() or "stem.linear.weight" not in shapes:
        raise WeightsError(f"{path} holds {card['model']!r}; this version builds {', '.join(list_models())}")
    size = simple_baseline_size(shapes, "mocap3d")
    if any(card["kwargs"].get(key) != value for key, value in size.items()):
        raise WeightsError(f"{path} has a card for {card['kwargs']}, but its weights have {size}")
    if card["kwargs"].keys() != {*size, "dropout"} or not isinstance(card["kwargs"]["dropout"], float):
        raise WeightsError(f"{path} has a wrong card: its kwargs are {card['kwargs']}")
    model = _make(card["model"], {**card["kwargs"], **overrides}, state, str(path))
    _compare(model.state_dict(), state, str(path), Origin("mocap3d", "SimpleBaseline3D"))
    if (dtype := state["stem.linear.weight"].dtype).is_floating_point:
        model.to(dtype)
    model.load_state_dict(state, strict=True)
    try:
        if (values := card["normalisation"]) is not None:
            model.normalisation = {
                key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()
            }
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} has a wrong card: {error}") from None
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
        raise WeightsError(f"{path} is damaged, or no safetensors file ({error})") from None
    if not isinstance(card, dict) or not isinstance(card.get("kwargs"), dict) or not {*FILLED} <= {*card}:
        raise WeightsError(f"{path} has no card by save_weights inside, so that nobody knows what it is")
    if card.get("format") != FORMAT:
        raise WeightsError(
            f"{path} has format {card.get('format')!r}; this version of mocap3d reads {FORMAT}"
        )
    return card, state


def _describe(model: nn.Module) -> dict:
    """What a card says that can be read off the model."""
    if not isinstance(model, SimpleBaseline3D):
        raise ValueError(f"got a {type(model).__name__}; files are written for {', '.join(list_models())}")
    statistics = model.normalisation
    return {
        "format": FORMAT,
        "model": model.name,
        "kwargs": {
            "channels": model.head.in_features,
            "stages": len(model.stages),
            "dropout": float(model.stem.dropout),
        },
        "normalisation": None
        if statistics is None
        else {key: value.double().tolist() for key, value in statistics.items()},
        "skeleton": model.input_skeleton,
        "receptive_field": model.receptive_field,
        "causal": bool(getattr(model, "causal", False)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _to_json(card: Mapping[str, object]) -> str:
    plain = {key: asdict(value) if is_dataclass(value) else value for key, value in card.items()}
    for key, value in plain.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the card's {key!r} cannot be written as JSON ({error}); give plain data"
            ) from None
    return json.dumps(plain, indent=1, ensure_ascii=False)


def _list(names: object) -> str:
    names = [str(name)[:120] for name in names]
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
