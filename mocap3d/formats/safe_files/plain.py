"""What may be built from other people's files: plain containers, numpy arrays, and inert placeholders; no more."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# Classes from these packages are logs, configuration and random states: of no use here, and no reason to refuse a file.
BAGGAGE = ("mmengine", "mmcv", "mmpose", "numpy.random", "numpy.dtypes")
DTYPES = frozenset("biufcSUO")  # plain numbers, text, and objects; no structures, no dates


class UnsafeFileError(ValueError):
    """A file that is damaged, asks to run code, or claims more than it can hold; the message names what and where."""


class Placeholder:
    """An object of a class we do not load: its name, and what was stored with it as plain data."""

    def __init__(self, name: str, args: tuple = (), state: object = None) -> None:
        self.name, self.args, self.state = name, args, state

    def __repr__(self) -> str:
        return f"Placeholder({self.name!r})"


class Global(Placeholder):
    """A name in a pickle; `make(budget, *args)` is our own function for what a call of it builds, if anything."""

    def __init__(self, name: str, make: Callable[..., object] | None = None) -> None:
        super().__init__(name)
        self.make = make


class Budget:
    """How much memory a file may still claim.

    Args:
        path: the file; by default it may fill 64 times its own size and 256 MiB, and never more than 16 GiB.
        limit: bytes, in place of that default.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.limit = min(2**28 + 64 * path.stat().st_size, 2**34) if limit is None else limit
        self.left = self.limit

    def spend(self, size: int) -> None:
        """Take `size` bytes before they are allocated."""
        self.left -= size
        if self.left < 0:
            raise UnsafeFileError(
                f"it would fill more than {self.limit:,} bytes of memory, far more than such a file should; "
                "if you know where it comes from, give a larger limit="
            )


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault, and is said as an UnsafeFileError."""
    try:
        yield
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path}: {error}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UnsafeFileError(f"{path} is damaged, or another kind of file ({reason})") from None


def check_key(key: object, depth: int = 3) -> object:
    """A key of a dict or set, as it is; only small plain ones, as hashing nested ones can take for ever."""
    kind = type(key)
    if kind is str or kind is int or key is None or kind in (bool, float, bytes, Placeholder, Global):
        return key
    if kind is tuple and len(key) <= 16 and depth:
        for item in key:
            check_key(item, depth - 1)
        return key
    if isinstance(key, np.generic):
        return key
    raise UnsafeFileError(f"a dict or set has a key that is {describe(key)}")


def describe(value: object) -> str:
    """What a value is, in words for a message; never its contents, which come from a stranger."""
    return value.name if isinstance(value, Placeholder) else f"a {type(value).__name__}"


def _container(kind: type) -> Callable[..., object]:
    def make(budget: Budget, items: object = ()) -> object:
        if type(items) not in (list, tuple, set, frozenset):
            raise UnsafeFileError(f"it makes a {kind.__name__} of {describe(items)}")
        budget.spend(64 * len(items))
        return kind(map(check_key, items) if kind in (set, frozenset) else items)

    return make


def _mapping(kind: type) -> Callable[..., object]:
    def make(budget: Budget, pairs: object = ()) -> object:
        if type(pairs) not in (list, tuple):
            raise UnsafeFileError(f"it makes a {kind.__name__} of {describe(pairs)}")
        budget.spend(128 * len(pairs))
        return kind((check_key(key), value) for key, value in pairs)

    return make


def _bytes(budget: Budget, text: object = b"", encoding: str = "latin1") -> bytes:
    """Python 2's way to write bytes, as text."""
    if type(text) not in (str, bytes) or encoding not in ("latin1", "latin-1"):
        raise UnsafeFileError(f"it makes bytes of {describe(text)} in {encoding!r}")
    budget.spend(len(text))
    return text if type(text) is bytes else text.encode("latin1")


def _numbers(kind: type) -> Callable[..., object]:
    def make(budget: Budget, *numbers: object) -> object:
        if not all(number is None or type(number) in (int, float) for number in numbers):
            raise UnsafeFileError(f"it makes a {kind.__name__} of something other than numbers")
        return kind(*numbers)

    return make


def _getattr(budget: Budget, owner: object, name: object) -> Placeholder:
    """mmengine's log buffers list their own methods; nothing but such a name of an inert class passes."""
    if not isinstance(owner, Placeholder) or not owner.name.startswith(BAGGAGE) or type(name) is not str:
        raise UnsafeFileError(f"it asks for builtins.getattr of {describe(owner)}")
    return Placeholder(f"{owner.name}.{name}")


def _instance(budget: Budget, kind: object, base: object = None, state: object = None) -> object:
    """Python 2's way to write an object of any class."""
    if type(kind) is not Global or kind.make is None or not kind.name.startswith(BAGGAGE):
        raise UnsafeFileError(f"it makes an object of {describe(kind)}")
    return Placeholder(kind.name)


def read_dtype(code: object) -> np.dtype:
    """A new dtype for a plain code such as "<f4"; all others are refused.

    Raises:
        UnsafeFileError: for structures, dates, and types without a size.
    """
    code = code.decode("ascii") if type(code) is bytes else code
    if type(code) is not str or len(code) > 16 or "," in code:
        raise UnsafeFileError(
            f"an array has the type {code!r}; only plain numbers, text and objects are read"
        )
    dtype = np.dtype(code, False, True)  # a copy, since set_order changes it
    if dtype.kind not in DTYPES or not dtype.itemsize or dtype.subdtype:
        raise UnsafeFileError(
            f"an array has the type {code!r}; only plain numbers, text and objects are read"
        )
    return dtype


def _dtype(budget: Budget, code: object, align: object = False, copy: object = True) -> np.dtype:
    return read_dtype(code)


def set_order(dtype: np.dtype, state: object) -> None:
    """Take the byte order from a pickled state, and nothing else: numpy would believe its flags and sizes."""
    order = state[1].decode("ascii") if type(state[1]) is bytes else state[1]
    if (
        type(state) is not tuple
        or order not in ("<", ">", "|", "=")
        or any(part is not None for part in state[2:5])
    ):
        raise UnsafeFileError("an array's type has parts of its own; only plain ones are read")
    if order in "<>":
        dtype.__setstate__(dtype.newbyteorder(order).__reduce__()[2])


def count_items(shape: object) -> int:
    """The number of items in an array of this shape.

    Raises:
        UnsafeFileError: if it is no shape.
    """
    if type(shape) not in (tuple, list) or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise UnsafeFileError(f"{str(shape)[:60]} is no shape of an array")
    return math.prod(shape)


def reconstruct(budget: Budget, kind: object, shape: object, code: object) -> np.ndarray:
    """Stand-in for numpy's `_reconstruct`: an empty array, which `fill_array` gives its shape and content."""
    if kind is not GLOBALS["numpy", "ndarray"]:
        raise UnsafeFileError(f"it makes an array of class {describe(kind)}; only numpy.ndarray is read")
    return np.empty(0, np.uint8)


def fill_array(budget: Budget, array: np.ndarray, state: object, unbuilt: Mapping[int, np.ndarray]) -> None:
    """Give a new array its shape, type and content, after checking that they agree."""
    _, shape, dtype, fortran, content = state
    if not isinstance(dtype, np.dtype):
        raise UnsafeFileError(f"an array's type is {describe(dtype)}")
    count = count_items(shape)
    if type(content) is str:  # Python 2 had no bytes
        content = content.encode("latin1")
    if type(content) is not (list if dtype.hasobject else bytes):
        raise UnsafeFileError(f"an array of {dtype} has its content in {describe(content)}")
    size = count if dtype.hasobject else count * dtype.itemsize
    if len(content) != size:
        raise UnsafeFileError(
            f"an array claims shape {shape} of {dtype}, but has {len(content):,} bytes or items"
        )
    inner = (item for item in content if isinstance(item, np.ndarray)) if dtype.hasobject else ()
    if any(item.dtype.hasobject or id(item) in unbuilt for item in inner):
        raise UnsafeFileError("an array of objects holds another one: numpy crashes on a long chain of these")
    budget.spend(count * dtype.itemsize)
    # Every part has been checked, so that numpy only has to put them together.
    array.__setstate__((1, tuple(shape), dtype, bool(fortran), content))


def _scalar(budget: Budget, dtype: object, content: object = b"") -> np.generic:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise UnsafeFileError(f"it makes a number of type {describe(dtype)}")
    content = content.encode("latin1") if type(content) is str else content
    if type(content) is not bytes or len(content) != dtype.itemsize:
        raise UnsafeFileError(f"a number of type {dtype} has content of another size")
    budget.spend(len(content))
    return np.frombuffer(content, dtype)[0]


def _from_buffer(budget: Budget, content: object, dtype: object, shape: object, order: str) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or type(content) not in (bytes, bytearray):
        raise UnsafeFileError("an array is made from something other than numbers")
    if len(content) != count_items(shape) * dtype.itemsize:
        raise UnsafeFileError(f"an array claims shape {shape} of {dtype}, but has {len(content):,} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def names(table: Mapping[str, Callable[..., object] | None]) -> dict[tuple[str, str], Global]:
    """A table for `known`, from "module.name" -> our function, or None for a name that is never called."""
    return {tuple(name.rsplit(".", 1)): Global(name, make) for name, make in table.items()}


GLOBALS = names(
    {"_codecs.encode": _bytes, "collections.OrderedDict": _mapping(OrderedDict), "numpy.dtype": _dtype}
    | {"numpy.ndarray": None, "collections.defaultdict": lambda budget, factory=None: {}}
    | {f"{module}._reconstructor": _instance for module in ("copyreg", "copy_reg")}
    | {
        f"{module}.{name}": make
        for module in ("builtins", "__builtin__")  # Python 3 and 2
        for name, make in {
            **{kind.__name__: _container(kind) for kind in (list, tuple, set, frozenset)},
            **{kind.__name__: _numbers(kind) for kind in (complex, range, slice)},
            "xrange": _numbers(range),
            **{"dict": _mapping(dict), "bytes": _bytes, "getattr": _getattr},
            "bytearray": lambda *args: bytearray(_bytes(*args)),
            **dict.fromkeys(("object", "int", "float", "str", "bool")),
        }.items()
    }
    | {
        f"numpy.{core}.{name}": make
        for core in ("core", "_core")  # numpy 1 and 2
        for name, make in {
            "multiarray._reconstruct": reconstruct,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    }
    | {
        f"numpy.{name}": None
        for name in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool_")
    }
)
