"""Unpickle plain data without running any code: the standard unpickler, with our own lookup of every name.

A pickle is a program. It names functions and calls them, so `pickle.load`, `torch.load` and
`np.load(allow_pickle=True)` run whatever the author of a file wrote. Here a name in a file is only looked up in
`STAND_INS`, a fixed dictionary; nothing is imported. Its entries build plain containers, numpy arrays, tensors on the
CPU, and an inert `Placeholder` for each class of logs and random states in published checkpoints. Any other name is
refused.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import torch

CUT_OFF = "it is cut off: it ends before its data does. Download it again"


class UnsafeFileError(ValueError):
    """A file that would run code, is damaged, or does not match its extension; the message states which."""


class ExactReader:
    """A file that returns exactly the requested bytes, or raises an error if it was cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        if len(content) < size:
            raise UnsafeFileError(CUT_OFF)
        return content

    def readline(self) -> bytes:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise UnsafeFileError(CUT_OFF)
        return line


class Placeholder:
    """An object of a class that is not loaded: its name, and the plain data stored with it."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple = (), state: object = None) -> None:
        self.name, self.args, self.state = name, args, state

    def __repr__(self) -> str:
        return f"Placeholder({self.name!r})"

    def __setitem__(self, key: object, value: object) -> None:
        """Items of a dict-like class are left out, as are those of a list-like one."""

    def append(self, item: object) -> None:
        """See __setitem__."""

    extend = append


class StandIn:
    """The replacement for a name in a pickle; calling it builds harmless data with one of our functions.

    A pickle may set attributes of any object it holds (opcode BUILD), which would change a function's defaults for
    the rest of the process. A stand-in cannot be changed.
    """

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[..., object] | None = None) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "make", make)

    def __call__(self, *args: object) -> object:
        if self.make is None:
            raise UnsafeFileError(f"it calls {self.name}, which plain data never needs")
        return self.make(*args)

    def __setattr__(self, key: str, value: object) -> None:
        raise UnsafeFileError(f"it changes {self.name} from inside, which plain data never needs")

    def __setstate__(self, state: object) -> None:
        self.__setattr__("state", state)


class InertClass(StandIn):
    """Stands for a class that is not loaded; its objects become placeholders."""

    __slots__ = ()

    def __call__(self, *args: object) -> Placeholder:
        return Placeholder(self.name, args)


class Unpickler(pickle._Unpickler):
    """Reads one pickle of any protocol.

    Based on pickle's implementation in Python: with the one in C, a file can get objects from the process's extension
    registry, and BUILD and NEWOBJ cannot be overridden.

    Args:
        file: open at the start of the pickle; afterwards at the byte after it.
        storage: turns a persistent id into a Storage; None refuses persistent ids.
    """

    def __init__(self, file: BinaryIO, storage: Callable[[object], Storage] | None = None) -> None:
        super().__init__(ExactReader(file), encoding="latin1")  # for Python 2's str, as numpy needs it
        self.storage = storage

    def find_class(self, module: str, name: str) -> StandIn:
        if (module, name) not in STAND_INS:
            raise UnsafeFileError(
                f"it asks for {module}.{name}, which is not among the plain data that is loaded here: whoever made "
                "the file should save plain data (of a network its state_dict)"
            )
        return STAND_INS[module, name]

    def persistent_load(self, pid: object) -> Storage:
        if self.storage is None:
            raise UnsafeFileError("it refers to an object outside the file")
        return self.storage(pid)

    def load_build(self) -> None:
        """BUILD sets the contents of an existing object; allowed only for these types."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is np.ndarray and not target.size:
            _fill(target, state)
        elif isinstance(target, np.dtype):
            _set_order(target, state)
        elif type(target) is Placeholder:
            target.state = state
        elif type(target) is not OrderedDict:  # the module versions in a state_dict are left out
            raise UnsafeFileError(f"it changes {describe(target)} from inside, which plain data never needs")

    def load_newobj(self) -> None:
        args, kind = self.stack.pop(), self.stack[-1]
        if not isinstance(kind, InertClass):
            raise UnsafeFileError(f"it makes an object of {describe(kind)}")
        self.stack[-1] = kind(*args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keyword arguments
        self.load_newobj()

    def load_bytearray8(self) -> None:
        """Read before allocating, unlike the inherited method."""
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_outside(self) -> None:
        raise UnsafeFileError("it refers to an object outside the file")

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BUILD[0]: load_build,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        **dict.fromkeys((pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0]), load_outside),
        **dict.fromkeys((pickle.NEXT_BUFFER[0], pickle.READONLY_BUFFER[0]), load_outside),
    }


def describe(value: object) -> str:
    """The type of a value, for a message; never its contents, which are not trusted.

    >>> describe([1, 2])
    'a list'
    """
    return value.name if isinstance(value, (StandIn, Placeholder)) else f"a {type(value).__name__}"


# Python's own names -----------------------------------------------------------------------------------------------


def _bytes(text: str | bytes = b"", encoding: str = "latin1") -> bytes:
    """Bytes as Python 2 writes them, as text. Only latin1: looking up another encoding imports a module."""
    if type(text) not in (str, bytes) or encoding not in ("latin1", "latin-1"):
        raise UnsafeFileError(f"it makes bytes of {describe(text)} in {encoding!r}")
    return text if type(text) is bytes else text.encode("latin1")


def _getattr(owner: object, name: object) -> Placeholder:
    """mmengine's log buffers list their own methods; only such names of an inert class are allowed."""
    if not isinstance(owner, (InertClass, Placeholder)) or type(name) is not str:
        raise UnsafeFileError(f"it asks for builtins.getattr of {describe(owner)}")
    return Placeholder(f"{owner.name}.{name}")


def _instance(kind: object, base: object = None, state: object = None) -> Placeholder:
    """An object of any class, as protocols 0 and 1 write it."""
    if not isinstance(kind, InertClass):
        raise UnsafeFileError(f"it makes an object of {describe(kind)}")
    return kind()


# numpy ------------------------------------------------------------------------------------------------------------


def is_plain(dtype: np.dtype) -> bool:
    """Whether a dtype is one of numbers, text or objects: no structures, dates, or types without a size.

    >>> is_plain(np.dtype("f4")), is_plain(np.dtype("M8[s]"))
    (True, False)
    """
    return dtype.kind in "biufcSUO" and bool(dtype.itemsize) and not dtype.subdtype


def _dtype(code: object, align: object = False, copy: object = True) -> np.dtype:
    code = code.decode("ascii") if type(code) is bytes else code
    if type(code) is str and len(code) <= 16 and "," not in code:
        dtype = np.dtype(code, False, True)  # a copy, since _set_order changes it
        if is_plain(dtype):
            return dtype
    raise UnsafeFileError("an array has a type of its own; only plain numbers, text and objects are loaded")


def _set_order(dtype: np.dtype, state: tuple) -> None:
    """Set the byte order from a pickled state, and nothing else.

    numpy would trust the sizes and flags next to it, and could then treat raw bytes as pointers to objects.
    """
    order = state[1].decode("ascii") if type(state[1]) is bytes else state[1]
    if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
        raise UnsafeFileError("an array has a type of its own; only plain numbers, text and objects are loaded")
    if order in "<>":
        dtype.__setstate__(dtype.newbyteorder(order).__reduce__()[2])


def _count(shape: object) -> int:
    """The number of items in an array of this shape; numpy does not check that it has at most 64 axes."""
    if type(shape) not in (tuple, list) or len(shape) > 64 or any(type(n) is not int or n < 0 for n in shape):
        raise UnsafeFileError(f"{str(shape)[:60]} is not the shape of an array")
    return math.prod(shape)


def _check_content(content: object, dtype: object, shape: object) -> None:
    """Raise UnsafeFileError for an array whose content does not have exactly the length of its shape."""
    if not isinstance(dtype, np.dtype):
        raise UnsafeFileError(f"an array has {describe(dtype)} for a type")
    if type(content) not in ((list,) if dtype.hasobject else (bytes, bytearray)):
        raise UnsafeFileError(f"an array of {dtype} has its content in {describe(content)}")
    if len(content) != _count(shape) * (1 if dtype.hasobject else dtype.itemsize):
        raise UnsafeFileError(f"an array claims shape {shape} of {dtype}, but has {len(content):,} bytes or items")


def _reconstruct(kind: object, shape: object, code: object) -> np.ndarray:
    """An empty array; BUILD sets its shape and content."""
    if kind is not STAND_INS["numpy", "ndarray"]:
        raise UnsafeFileError(f"it makes an array of class {describe(kind)}; only numpy.ndarray is loaded")
    return np.empty(0, np.uint8)


def _fill(array: np.ndarray, state: tuple) -> None:
    _, shape, dtype, fortran, content = state
    content = content.encode("latin1") if type(content) is str else content  # Python 2 had no bytes
    _check_content(content, dtype, shape)
    array.__setstate__((1, tuple(shape), dtype, bool(fortran), content))


def _scalar(dtype: np.dtype, content: str | bytes) -> np.generic:
    content = content.encode("latin1") if type(content) is str else content
    return _from_buffer(content, dtype, (1,), "C")[0]


def _from_buffer(content: object, dtype: object, shape: object, order: str, axes: object = None) -> np.ndarray:
    _check_content(content, dtype, shape)
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")
    return array if axes is None else array.transpose(axes)


# torch ------------------------------------------------------------------------------------------------------------

STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
DTYPES: dict[str, torch.dtype | None] = {  # by the name of a storage class or of the dtype itself
    **{f"{module}.{kind}Storage": dtype for module in ("torch", "torch.cuda") for kind, dtype in STORAGES.items()},
    **{str(dtype): dtype for dtype in STORAGES.values()},
    "torch.storage.UntypedStorage": None,
}


class Storage:
    """Bytes that tensors are views of, (N,) uint8, and their stored type; None for bytes of any type."""

    __slots__ = ("content", "dtype")

    def __init__(self, content: torch.Tensor, dtype: torch.dtype | None) -> None:
        self.content, self.dtype = content, dtype


def read_storage_id(pid: object) -> tuple[torch.dtype | None, str, int, tuple | None]:
    """A persistent id -> type, name and size in bytes of a storage, and (key, offset, numbers) if only a part."""
    kind = pid[1].name if type(pid) is tuple and len(pid) >= 5 and type(pid[1]) is StandIn else None
    if kind not in DTYPES or pid[0] not in ("storage", b"storage") or type(pid[4]) is not int or pid[4] < 0:
        raise UnsafeFileError("it refers to something other than a storage of numbers")
    dtype = DTYPES[kind]
    return dtype, str(pid[2]), pid[4] * (dtype.itemsize if dtype else 1), pid[5] if len(pid) > 5 else None


def _tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_: object) -> torch.Tensor:
    if type(storage) is not Storage or storage.dtype is None:
        raise UnsafeFileError("a tensor has no storage of a known type")
    numbers = storage.content.view(storage.dtype)
    count, _ = _count(size), _count(stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
    if type(offset) is not int or offset < 0 or last >= len(numbers) + (not count):
        raise UnsafeFileError(f"a tensor claims shape {tuple(size)}, but its storage has {len(numbers):,} numbers")
    return torch.as_strided(numbers, tuple(size), tuple(stride), offset)


def _tensor_v3(
    storage: Storage, offset: int, size: tuple, stride: tuple, grad: object, hooks: object, dtype: StandIn, *_: object
) -> torch.Tensor:
    if type(storage) is not Storage or type(dtype) is not StandIn:
        raise UnsafeFileError("a tensor has no storage of a known type")
    return _tensor(Storage(storage.content, DTYPES.get(dtype.name)), offset, size, stride)


def _from_type(function: StandIn, kind: object, args: tuple, state: object) -> object:
    if type(function) is not StandIn or not function.name.startswith("torch._utils._rebuild"):
        raise UnsafeFileError("a tensor is made by something other than torch's own functions")
    return function(*args)


# The dictionary ---------------------------------------------------------------------------------------------------

INERT = {
    "mmengine.logging.history_buffer": (
        "HistoryBuffer",
        *(f"HistoryBuffer.{method}" for method in ("current", "max", "mean", "min")),
    ),
    "mmengine.logging.log_buffer": ("LogBuffer",),
    "mmengine.logging.message_hub": ("MessageHub",),
    "mmengine.config.config": ("Config", "ConfigDict"),
    "mmcv.runner.log_buffer": ("LogBuffer",),
    "mmcv.utils.config": ("Config", "ConfigDict"),
    "numpy.random": ("__RandomState_ctor",),  # numpy before 1.17
    "numpy.random._pickle": ("__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"),
    "numpy.random.mtrand": ("RandomState",),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._pcg64": ("PCG64", "PCG64DXSM"),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    "numpy.random.bit_generator": ("SeedSequence", "__pyx_unpickle_SeedSequence"),
}
# What a call of each name builds; None for a name that files mention without calling it.
MAKERS: dict[str, Callable[..., object] | None] = {
    "_codecs.encode": _bytes,
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": lambda factory=None: {},
    **dict.fromkeys(("copyreg._reconstructor", "copy_reg._reconstructor"), _instance),
    **{
        f"{module}.{name}": make
        for module in ("builtins", "__builtin__")  # Python 3 and 2
        for name, make in {
            **{kind.__name__: kind for kind in (list, tuple, set, frozenset, dict, complex, range, slice)},
            **{"xrange": range, "bytes": _bytes, "getattr": _getattr},
            "bytearray": lambda *args: bytearray(_bytes(*args)),
            **dict.fromkeys(("object", "int", "float", "str", "bool")),
        }.items()
    },
    "numpy.dtype": _dtype,
    **{
        f"numpy.{core}.{name}": make
        for core in ("core", "_core")  # numpy 1 and 2
        for name, make in {
            "multiarray._reconstruct": _reconstruct,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
    **dict.fromkeys(
        f"numpy.{name}" for name in ("ndarray", "float16", "float32", "float64", "int32", "int64", "uint8", "bool_")
    ),
    **dict.fromkeys(("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"), _tensor),
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    **dict.fromkeys(  # a parameter becomes its tensor, without gradient and hooks
        ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"), lambda data, *_: data
    ),
    "torch.Size": lambda shape=(): tuple(shape),
    "torch.device": lambda *args: args,
    **dict.fromkeys(("torch.Tensor", "torch.nn.parameter.Parameter", *DTYPES)),
}
STAND_INS: dict[tuple[str, str], StandIn] = {
    **{tuple(name.rsplit(".", 1)): StandIn(name, make) for name, make in MAKERS.items()},
    **{(module, name): InertClass(f"{module}.{name}") for module, names in INERT.items() for name in names},
}
