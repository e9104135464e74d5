"""What is wrong with the arguments of a call, in one sentence: what is wanted, what was given, and the fix.

    def thin(dataset: PoseDataset, step: PositiveInt) -> PoseDataset:
        check_arguments(thin, locals())

The type hints are the rule; a Protocol of ours is fulfilled by whatever has its attributes. `Annotated[X, Rule(...)]`
adds a rule for the value. A function that calls this can be understood without reading this file.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from os import PathLike
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor, backends, cuda, device, int64


@dataclass(frozen=True)
class Rule:
    """A rule for values of the right type, in words (or what returns them) and as a function."""

    words: str | Callable[[], str]
    holds: Callable[[Any], bool]


PositiveInt = Annotated[int, Rule("a whole number, 1 or more", lambda value: value >= 1)]
Seed = Annotated[int, Rule("a whole number, 0 or more", lambda value: value >= 0)]
Positive = Annotated[float, Rule("a number above 0", lambda value: value > 0)]
Pixels = Annotated[int, Rule("10 pixels or more", lambda value: value >= 10)]  # of a figure; plotly draws no less
Height = Annotated[float, Rule("a number of metres, such as 1.75,", lambda value: 0.3 <= value <= 3)]
Array = Annotated[object, Rule("an array of numbers", lambda value: _numeric(value))]  # what numpy makes one of
Points = Array | Tensor
Rows = Annotated[Tensor, Rule("a tensor of whole numbers", lambda value: value.dtype == int64)]
HERE = Rule(lambda: f"a device of this machine ({', '.join(_devices())})", lambda value: _is_here(value))
Device = Annotated[device | str, HERE]
FilePath = Annotated[str | PathLike, Rule("a path", lambda path: str(path) not in ("", ".") and "\0" not in str(path))]

LISTS, DICTS, NUMBERS = (Iterable, Sequence, list), (Mapping, dict), {float: Real, int: Integral}
CONTAINERS = (*LISTS, *DICTS, tuple)
WORDS = {float: "a number", int: "a whole number", bool: "True or False", str: "a string", NoneType: "None",
         "Lifter": "a model", "PathLike": "a path", "Path": "a path", "ndarray": "an array of numbers",
         "Tensor": "a tensor", "Callable": "a function", "Mapping": "a dict", "device": "a torch.device",
         "Trained": "a Run", "Iterable": "a list", "Sequence": "a list"}  # fmt: skip
COUNTS = ("no ", "one ", "two ", "three ", "four ", "five ")
# The fix: of what was given, and where that has none, of what is wanted. "[Clip]" stands for several clips.
FIXES = {
    ("Clip", "Pose2D"): "give clip.pose2d", ("Clip", "Pose3D"): "give clip.pose3d",
    ("Clip", "Camera"): "give clip.camera", ("Clip", "DeviceDataset"): "give to_device([clip])",
    ("DeviceDataset", "[Clip]"): "give data.clips",
    ("Module", "Lifter"): "as_lifter(module) makes a model of a network",
    ("Pose2D", "Pose3D"): "lift(pose2d) makes one", ("Pose2D", "ndarray"): "give its .points",
    ("Pose3D", "Pose2D"): "pose3d.project(camera) makes one", ("Pose3D", "ndarray"): "give its .points",
    ("PoseDataset", "Clip"): "give one of its clips, dataset[0], or all of them, [*dataset]",
    ("PoseDataset", "DeviceDataset"): "give to_device(dataset)", ("PoseDataset", "Pose2D"): "give dataset[0].pose2d",
    ("PoseDataset", "Pose3D"): "give dataset[0].pose3d", ("Run", "Lifter"): "give run.model",
    ("Run", "Module"): "give run.model", ("Run", "[dict]"): "give run.history",
    ("Tensor", "ndarray"): "give tensor.cpu().numpy()",
    ("ndarray", "Pose2D"): "wrap it: Pose2D(points, fps=..., image_size=...)",
    ("ndarray", "Pose3D"): "wrap it: Pose3D(points, fps=...)", ("ndarray", "Tensor"): "give torch.from_numpy(array)",
}  # fmt: skip
SOURCES = {
    "[Clip]": "load_dataset() holds some (.train, .test), and film(pose3d, cameras) makes them",
    "Camera": "h36m_cameras(subject) and Camera.phone() give some", "Clip": "load_dataset()[0] is one",
    "DeviceDataset": "to_device(clips) makes one", "EvalProtocol": "PROTOCOLS holds some",
    "Lifter": "create_model(name) makes a new one, load_shipped(name) and load_weights(file) load trained ones",
    "Pose2D": "read_keypoints(file) and clip.pose2d give one",
    "Pose3D": "lift(pose2d), clip.pose3d and read_bvh(file) give one", "PoseDataset": "load_dataset(name) gives one",
    "Recipe": "RECIPES holds some, by name", "Report": "evaluate(model, clips) gives one",
}  # fmt: skip


def check_arguments(function: Callable, given: Mapping[str, object], error: type[Exception] | None = None) -> None:
    """Raise unless the arguments of a call are what its type hints say.

    Args:
        function: the function; or a class, for the fields of a dataclass.
        given: its arguments by name, as `locals()` holds them in its first line.
        error: class of the error; by default TypeError for a wrong type and ValueError for a wrong value.
    """
    for name, hint in _hints(function).items():
        options = name.startswith("**")
        for key, value in given[name[2:]].items() if options else ((name, given[name]),):
            if not _fits(value, hint):
                kind = error or (ValueError if _fits(value, hint, ruled=False) else TypeError)
                raise kind(_sentence(function, key, value, hint))


def rereadable(values: Iterable) -> Iterable:
    """The same values; those of a generator, which a check would use up, as a tuple."""
    return tuple(values) if isinstance(values, Iterator) else values


@cache
def _hints(function: Callable) -> dict[str, object]:
    """The type hint of each argument that has one; of those in `**options` under "**options"."""
    hints = get_type_hints(function, include_extras=True)
    kinds = inspect.signature(function).parameters
    stars = {name: "**" * (name in kinds and kinds[name].kind is inspect.Parameter.VAR_KEYWORD) for name in hints}
    return {stars[name] + name: hint for name, hint in hints.items() if name != "return" and hint not in (object, Any)}


@cache
def _members(protocol: type) -> dict[str, object]:
    """What a Protocol asks for, with the hints of its attributes; methods only have to be there."""
    methods = (name for name, value in vars(protocol).items() if inspect.isfunction(value))
    methods = [name for name in methods if name == "__call__" or not name.startswith("_")]
    return dict.fromkeys(methods, object) | get_type_hints(protocol, include_extras=True)


@cache
def _split(hint: object) -> tuple[object, tuple]:
    """list[int] -> list, (int,)."""
    if get_origin(hint) is Annotated:
        return Annotated, (hint.__origin__, *hint.__metadata__)
    kind = get_origin(hint) or hint
    return Union if kind is UnionType else kind, get_args(hint)


def _fits(value: object, hint: object, ruled: bool = True) -> bool:
    """Whether a value is what a hint says; if not `ruled`, whether its type is."""
    if type(value) is hint and hint not in (float, np.ndarray):
        return True
    kind, parts = _split(hint)
    if kind in (object, Any):
        return True
    if kind is Union:
        return any(_fits(value, part, ruled) for part in parts)
    if kind is Annotated:
        return _fits(value, parts[0], ruled) and (not ruled or all(rule.holds(value) for rule in parts[1:]))
    if kind is Literal:
        return any(type(value) is type(part) and (not ruled or value == part) for part in parts)
    if kind in CONTAINERS:
        if not isinstance(value, (tuple, list, np.ndarray) if kind is tuple else kind) or _is_single(value, kind):
            return False
        inside = () if isinstance(value, Iterator) else _inside(value, kind, parts)
        return inside is not None and all(_fits(item, part, ruled) for _, item, part in inside)
    if _is_protocol(kind):
        return not isinstance(value, type) and not _lacking(value, kind)
    if kind in NUMBERS:  # NaN and infinity are of the right type only
        fine = isinstance(value, NUMBERS[kind]) and not isinstance(value, (bool, np.bool_))
        return fine and (not ruled or math.isfinite(value))
    if kind is np.ndarray:
        return isinstance(value, kind) and value.dtype.kind in "biuf" and value.ndim > 0
    return isinstance(value, (bool, np.bool_) if kind is bool else kind)


def _is_single(value: object, kind: object) -> bool:
    """Whether it is one thing where several are wanted, though Python can iterate over it."""
    several = kind not in DICTS
    return several and (isinstance(value, (str, bytes, Mapping)) or hasattr(value, "ndim") and value.ndim == 0)


def _inside(value: Iterable, kind: object, parts: tuple) -> list[tuple[object, object, object]] | None:
    """(key, element, its hint) of a list or dict that has hints for them; None for a tuple of the wrong length."""
    if kind in DICTS and parts:
        return [(key, item, parts[1]) for key, item in value.items()] + [(key, key, parts[0]) for key in value]
    value = value.ravel() if isinstance(value, np.ndarray) and kind is tuple else value
    items = list(value) if parts else []
    hints = parts if kind is tuple and parts[-1:] != (...,) else parts[:1] * len(items)
    return list(zip(range(len(items)), items, hints, strict=True)) if len(items) == len(hints) else None


@cache
def _is_protocol(kind: object) -> bool:
    return getattr(kind, "_is_protocol", False) and kind.__module__.startswith("mocap3d.")


def _lacking(value: object, protocol: type) -> list[str]:
    """The attributes of a Protocol that a value does not have, or of another type."""
    wanted = _members(protocol).items()
    return [name for name, hint in wanted if not (hasattr(value, name) and _fits(getattr(value, name), hint))]


def _numeric(value: object) -> bool:
    try:
        array = np.asarray(value)
        return array.dtype.kind in "biuf" and array.ndim > 0 and (array is value or array.size > 0)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths, a tensor on a GPU
        return False


def _devices() -> list[str]:
    several = [f"cuda:{i}" for i in range(cuda.device_count())] if cuda.is_available() else []
    return ["cpu", *several, *(["mps"] if backends.mps.is_available() else [])]


def _is_here(name: device | str) -> bool:
    try:
        wanted, *here = map(device, (name, *_devices()))
        return any((wanted.type, wanted.index or 0) == (one.type, one.index or 0) for one in here)
    except RuntimeError:  # no name of a device
        return False


def _sentence(function: Callable, name: str, value: object, hint: object) -> str:
    name, value, hint = _innermost(name, value, hint)
    call = function.__qualname__.removesuffix(".__init__")
    text = f"{call}() takes {_wanted(hint)} as {name}, not {_given(value)}"
    for wanted in _leaves(hint):
        for kind in type(value).__mro__:
            if isinstance(wanted, type) and kind is not wanted and f"{kind!r}" == f"{wanted!r}":
                return f"{text} from before {kind.__module__} was reloaded: make it anew, or restart the kernel"
    fix = _fix(function, name, value, hint)
    return f"{text}; {fix}" if fix else text


def _innermost(name: str, value: object, hint: object) -> tuple[str, object, object]:
    """The element of a list or dict that does not fit, with its hint; else what was given."""
    kind, parts = _split(hint)
    if kind is Union:
        for part in parts:
            if (found := _innermost(name, value, part))[0] != name:
                return found
    elif kind in CONTAINERS and isinstance(value, (list, tuple, dict)) and isinstance(value, kind):
        for key, item, part in _inside(value, kind, parts) or ():
            if not _fits(item, part):
                return _innermost(f"{name}[{short(key)}]", item, part)
    return name, value, hint


def _leaves(hint: object) -> list:
    """The alternatives of a hint, without their rules."""
    kind, parts = _split(hint)
    if kind is Union:
        return [leaf for part in parts for leaf in _leaves(part)]
    return _leaves(parts[0]) if kind is Annotated else [hint]


def _wanted(hint: object) -> str:
    """A hint in words."""
    kind, parts = _split(hint)
    if kind is Union:
        words = list(dict.fromkeys(map(_wanted, parts)))
        return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    if kind is Annotated:
        return parts[1].words if isinstance(parts[1].words, str) else parts[1].words()
    if kind is Literal:
        return " or ".join(map(repr, parts))
    if kind in (*LISTS, tuple) and parts:
        count = COUNTS[len(parts)] if kind is tuple and parts[-1] is not ... else ""
        return count + re.sub(r"\b(?:an? )(.+?)(?= or |$)", r"\1s", _wanted(parts[0]))
    name = getattr(kind, "__name__", str(kind))
    return WORDS.get(kind) or WORDS.get(name) or _with_article(name)


def _given(value: object) -> str:
    """A value in words."""
    if value is None or isinstance(value, (str, bytes, Real)):
        return short(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (np.ndarray, Tensor)):
        kind = "an array" if isinstance(value, np.ndarray) else "a tensor"
        return f"{kind} of shape {tuple(value.shape)} and dtype {value.dtype}"
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def _fix(function: Callable, name: str, value: object, hint: object) -> str:
    leaves = _leaves(hint)
    if isinstance(value, type) and any(_is_protocol(leaf) or leaf in value.__mro__ for leaf in leaves):
        return f"call it: {value.__name__}(...)"
    if isinstance(value, str) and NUMBERS.keys() & {leaf for leaf in leaves if isinstance(leaf, type)}:
        if re.fullmatch(r"[+-]?\d+(\.\d*)?", value.strip()):
            return f"give {value.strip()} without quotes"
    keys = []
    for leaf in leaves:
        kind, parts = _split(leaf)
        inside = _leaves(parts[0]) if kind in (*LISTS, tuple) and parts else []
        keys += [f"[{part.__name__}]" for part in inside if isinstance(part, type)] or [getattr(kind, "__name__", "")]
    named = [kind.__name__ for kind in type(value).__mro__]
    if f"[{named[0]}]" in keys:
        return f"give [{short(value) if isinstance(value, str) else named[0].lower()}]"
    for protocol in filter(_is_protocol, leaves):
        if 0 < len(lacking := _lacking(value, protocol)) < len(_members(protocol)) / 2:
            return f"it has no {', '.join(lacking)}, or another kind of it; see mocap3d.{protocol.__name__}"
    texts = [FIXES[pair] for pair in ((given, key) for given in named for key in keys) if pair in FIXES]
    return (texts + [SOURCES[key] for key in keys if key in SOURCES] + [_documented(function, name)])[0]


def _documented(function: Callable, name: str) -> str:
    """The first words of an argument's documentation."""
    end = r"(?:[.;]\s+(?=[A-Z])|;|\.?\n +[\w, ]+:|\n\n|\Z)"
    found = re.search(rf"^ +(?:\w+, )*{re.escape(name)}(?:, \w+)*: (.+?){end}", function.__doc__ or "", re.M | re.S)
    return f"{name}: {' '.join(found[1].split())}" if found else ""
