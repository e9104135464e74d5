"""What torch.save writes: the zip format of torch 1.6 and later, and the older stream of pickles and storages."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import torch

from mocap3d.formats.safe_files.archives import open_member, read_bytes
from mocap3d.formats.safe_files.pickles import Unpickler
from mocap3d.formats.safe_files.plain import Budget, Global, UnsafeFileError, count_items, names

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of the older format
STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip


class Storage:
    """Bytes that tensors look at, and the type they are stored as; None for bytes of any type."""

    def __init__(self, content: bytearray | torch.Tensor, dtype: torch.dtype | None) -> None:
        if not isinstance(content, torch.Tensor):
            content = (
                torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            )
        self.content, self.dtype = content, dtype


def _tensor(
    budget: Budget, storage: object, offset: object, size: object, stride: object, *_: object
) -> torch.Tensor:
    return _view(budget, storage, offset, size, stride, storage.dtype)


def _tensor_v3(
    budget: Budget, storage: object, offset: object, size: object, stride: object, grad: object, hooks: object,
    dtype: object, *_: object,
) -> torch.Tensor:  # fmt: skip
    return _view(budget, storage, offset, size, stride, DTYPES.get(getattr(dtype, "name", None)))


def _view(
    budget: Budget,
    storage: object,
    offset: object,
    size: object,
    stride: object,
    dtype: torch.dtype | None,
) -> torch.Tensor:
    """A tensor that looks at a storage, after checking that it looks at nothing else."""
    if type(storage) is not Storage or dtype is None:
        raise UnsafeFileError("a tensor has no storage of a known type")
    numbers = storage.content.view(dtype)
    count = count_items(size)
    count_items(stride)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
    if type(offset) is not int or offset < 0 or last >= len(numbers) + (not count):
        raise UnsafeFileError(
            f"a tensor claims shape {tuple(size)}, but its storage has {len(numbers):,} numbers"
        )
    if count > len(numbers):  # a repeating view costs memory as soon as anyone copies it
        budget.spend(count * numbers.element_size())
    return torch.as_strided(numbers, tuple(size), tuple(stride), offset)


def _first(budget: Budget, data: object, *_: object) -> object:
    """A parameter is the tensor it holds; gradients and hooks are left out."""
    return data


def _from_type(budget: Budget, function: object, kind: object, args: object, state: object) -> object:
    if not isinstance(function, Global) or not function.name.startswith("torch._utils._rebuild"):
        raise UnsafeFileError("a tensor is made by something other than torch's own functions")
    return function.make(budget, *args)


KNOWN = names(
    {"torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor}
    | {"torch._utils._rebuild_tensor_v3": _tensor_v3, "torch._tensor._rebuild_from_type_v2": _from_type}
    | {"torch._utils._rebuild_parameter": _first, "torch._utils._rebuild_parameter_with_state": _first}
    | {"torch.Size": lambda budget, shape=(): tuple(shape), "torch.device": lambda budget, *args: args}
    | {"torch.Tensor": None, "torch.nn.parameter.Parameter": None, "torch.storage.UntypedStorage": None}
    | {f"{module}.{kind}Storage": None for module in ("torch", "torch.cuda") for kind in STORAGES}
    | {str(dtype): None for dtype in STORAGES.values()}
)
DTYPES = {str(dtype): dtype for dtype in STORAGES.values()} | {"torch.storage.UntypedStorage": None}
DTYPES |= {
    f"{module}.{kind}Storage": dtype for module in ("torch", "torch.cuda") for kind, dtype in STORAGES.items()
}


def _storage_id(key: object) -> tuple[torch.dtype | None, str, int, tuple | None]:
    """The type, the name and the size in bytes that a pickle gives for a storage, and what part of it, if not all."""
    kind = getattr(key[1], "name", None) if type(key) is tuple and len(key) >= 5 else None
    if key[0] not in ("storage", b"storage") or kind not in DTYPES or type(key[4]) is not int or key[4] < 0:
        raise UnsafeFileError("it refers to something other than a storage of numbers")
    dtype = DTYPES[kind]
    return dtype, str(key[2]), key[4] * (dtype.itemsize if dtype else 1), key[5] if len(key) > 5 else None


def read_zip(archive: zipfile.ZipFile, budget: Budget) -> object:
    """What torch.save wrote, from its zip format."""
    members = {member.filename: member for member in archive.infolist()}
    roots = [
        name.removesuffix("data.pkl") for name in members if name == "data.pkl" or name.endswith("/data.pkl")
    ]
    if len(roots) != 1:
        raise UnsafeFileError("it is a zip archive, but not one that torch.save writes")
    storages: dict[str, Storage] = {}

    def content(name: str) -> bytearray:
        with open_member(archive, members[name]) as file:
            return read_bytes(file, members[name].file_size, budget)

    def persistent(key: object) -> Storage:
        dtype, name, size, _ = _storage_id(key)
        if name not in storages:
            storages[name] = Storage(content(f"{roots[0]}data/{name}"), dtype)
        if size != len(storages[name].content):
            raise UnsafeFileError(
                f"storage {name} claims {size:,} bytes, has {len(storages[name].content):,}"
            )
        return Storage(storages[name].content, dtype)

    if f"{roots[0]}byteorder" in members and content(f"{roots[0]}byteorder") != b"little":
        raise UnsafeFileError("it was written on a big-endian machine; those files are not read")
    return Unpickler(bytes(content(f"{roots[0]}data.pkl")), budget, KNOWN, persistent).load()


def read_stream(data: bytes, budget: Budget) -> object:
    """What torch.save wrote before torch 1.6, or with _use_new_zipfile_serialization=False.

    Args:
        data: the whole file, as bytes or a memory map.
        budget: what may be allocated.
    """
    if data[257:262] == b"ustar":
        raise UnsafeFileError(
            "it is a tar archive, as torch wrote before 0.2; save it again with a later torch"
        )
    storages: dict[str, Storage] = {}
    reader = Unpickler(data, budget, KNOWN)

    def persistent(key: object) -> Storage:
        dtype, name, size, part = _storage_id(key)
        if name not in storages:
            if size > len(data):
                raise UnsafeFileError(
                    f"storage {name} claims {size:,} bytes, the whole file has {len(data):,}"
                )
            budget.spend(size)
            storages[name] = Storage(bytearray(size), dtype)
        whole = storages[name]
        if dtype != whole.dtype or size != len(whole.content):
            raise UnsafeFileError(f"storage {name} is claimed with two types or sizes")
        if part is None:
            return whole
        _, start, count = part
        unit = dtype.itemsize
        if count_items((start, count)) and (start + count) * unit > size:
            raise UnsafeFileError(f"a part of storage {name} lies outside it")
        return Storage(whole.content[start * unit : (start + count) * unit], dtype)

    if reader.load() != MAGIC or reader.load() != VERSION:
        raise UnsafeFileError("it is not a file that torch.save writes")
    system = reader.load()
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise UnsafeFileError("it was written on a big-endian machine; those files are not read")
    reader.persistent = persistent
    result = reader.load()
    reader.persistent = None
    names_in_order = reader.load()
    if type(names_in_order) is not list or {str(name) for name in names_in_order} != storages.keys():
        raise UnsafeFileError("its list of storages is not that of its tensors")
    for name in map(str, names_in_order):  # each is its count of numbers, then the numbers
        storage = storages[name]
        unit = storage.dtype.itemsize if storage.dtype else 1
        if reader.number(8) * unit != len(storage.content):
            raise UnsafeFileError(f"storage {name} has another size than its tensors say")
        if len(storage.content):
            storage.content.numpy()[:] = memoryview(reader.take(len(storage.content)))
    return result
