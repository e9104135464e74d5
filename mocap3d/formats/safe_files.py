"""Read other people's pkl, npy, npz and torch files: no code in a file is ever run, but a malicious file may waste time
and memory, or crash Python.

Plain data is returned as it was saved: containers, numpy arrays, and tensors on the CPU, from Python 2 and 3, numpy 1
and 2, torch 0.4 to 2.x. `mocap3d.formats.pickles` lists the names that a pickle may use.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from mocap3d.formats.pickles import (
    CUT_OFF,
    ExactReader,
    Placeholder,
    Storage,
    Unpickler,
    UnsafeFileError,
    describe,
    is_plain,
    read_storage_id,
)

__all__ = ["Placeholder", "UnsafeFileError", "load_npy", "load_npz", "load_pickle", "load_torch"]

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of torch's older format


def load_pickle(path: str | Path) -> object:
    """Load a pickle file of any protocol.

    Args:
        path: the file.
    Raises:
        UnsafeFileError: if it needs anything but plain data, is damaged, or is not such a file.
        OSError: if it cannot be opened.

    >>> import pathlib, pickle, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plain.pkl"
    >>> _ = path.write_bytes(pickle.dumps({"fps": 50, "joints": np.arange(3)}))
    >>> load_pickle(path)
    {'fps': 50, 'joints': array([0, 1, 2])}
    >>> _ = path.write_bytes(pickle.dumps(print))
    >>> load_pickle(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    mocap3d.formats.pickles.UnsafeFileError: ...
    """
    with _opened(path) as file:
        return Unpickler(file).load()


def load_npy(path: str | Path) -> object:
    """Load the array of an npy file, or the object in an array without axes; arguments and errors as in load_pickle.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "array.npy"
    >>> np.save(path, np.arange(3))
    >>> load_npy(path)
    array([0, 1, 2])
    """
    with _opened(path) as file:
        return _read_npy(file)


def load_npz(path: str | Path) -> dict[str, object]:
    """Load the arrays of an npz file by name; arguments and errors as in load_pickle, object arrays as in load_npy.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "arrays.npz"
    >>> np.savez(path, frames=np.arange(3))
    >>> load_npz(path)
    {'frames': array([0, 1, 2])}
    """
    with _opened(path) as file, _archive(file) as archive:
        arrays = {}
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise UnsafeFileError(f"it holds {member.filename!r}, which is not an array")
            with archive.open(member) as content:
                arrays[member.filename.removesuffix(".npy")] = _read_npy(content)
        return arrays


def load_torch(path: str | Path) -> object:
    """Load a file of torch.save, in its zip or older format; arguments and errors as in load_pickle.

    Returns:
        tensors are on the CPU, whatever device they were saved from, and do not require gradients.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.pth"
    >>> torch.save({"head.bias": torch.zeros(2)}, path)
    >>> load_torch(path)
    {'head.bias': tensor([0., 0.])}
    """
    with _opened(path) as file:
        start = file.read(262)
        file.seek(0)
        if start[:4] == b"PK\3\4":
            with _archive(file) as archive:
                return _read_torch_zip(archive)
        if start[257:] == b"ustar":
            raise UnsafeFileError(
                "it is a tar archive, as torch wrote before 0.2: unpack it, or save it again with a later torch"
            )
        return _read_torch_stream(file)


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """An open file; any error while reading it is raised as an UnsafeFileError with a clear message."""
    with open(path, "rb") as file:
        try:
            _check_download(file)
            yield file
        except UnsafeFileError as error:
            raise UnsafeFileError(f"{path}: {error}") from None
        except MemoryError:
            raise UnsafeFileError(f"{path}: it needs more memory than there is") from None
        except Exception as error:
            raise UnsafeFileError(
                f"{path}: it is damaged, or another kind of file than its name says ({type(error).__name__}). "
                "Download it again"
            ) from None


def _check_download(file: BinaryIO) -> None:
    """Recognise what is often downloaded instead of the file, and raise UnsafeFileError."""
    start = file.read(100).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if start.startswith(b"<"):  # no pickle or archive does
        raise UnsafeFileError(
            "it is a web page, often one to sign in or one that reports an error. Open its address in a browser, and "
            "download it again"
        )
    if start.startswith(b"version https://"):
        raise UnsafeFileError(
            "it is a Git LFS pointer, a text that stands for the file: run `git lfs pull`, or download it again"
        )
    if not _size(file):
        raise UnsafeFileError("it is empty: the download failed, download it again")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _archive(file: BinaryIO) -> zipfile.ZipFile:
    if file.read(2) != b"PK":
        raise UnsafeFileError("it is not a zip archive, as an npz file must be")
    if not zipfile.is_zipfile(file):  # its table of contents is at the end
        raise UnsafeFileError(CUT_OFF)
    return zipfile.ZipFile(file)


def _read_npy(file: BinaryIO) -> object:
    """One array in numpy's format; for an object array without axes, the object."""
    exact = ExactReader(file)
    version = np.lib.format.read_magic(exact)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(exact)
    if not is_plain(dtype):
        raise UnsafeFileError(f"an array has the type {dtype}; only plain numbers, text and objects are loaded")
    if dtype.hasobject:
        array = Unpickler(file).load()
        if type(array) is not np.ndarray or array.shape != shape:
            raise UnsafeFileError(f"it holds {describe(array)} that is not the array its header describes")
        return array if shape else array.item()
    file.seek(0)
    return np.lib.format.read_array(exact, allow_pickle=False)


def _read_torch_zip(archive: zipfile.ZipFile) -> object:
    """The format of torch.save since torch 1.6: one pickle, and a file for each storage."""
    members = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in members if f"/{name}".endswith("/data.pkl")]
    if len(roots) != 1:
        raise UnsafeFileError("it is a zip archive, but not one that torch.save writes")
    root = roots[0]
    contents: dict[str, torch.Tensor] = {}

    def storage(pid: object) -> Storage:
        dtype, name, size, _ = read_storage_id(pid)
        if name not in contents:
            contents[name] = _as_tensor(bytearray(archive.read(f"{root}data/{name}")))
        if size != len(contents[name]):
            raise UnsafeFileError(f"storage {name} claims {size:,} bytes, has {len(contents[name]):,}")
        return Storage(contents[name], dtype)

    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise UnsafeFileError("it was written on a big-endian machine; those files are not read")
    with archive.open(f"{root}data.pkl") as file:
        return Unpickler(file, storage).load()


def _as_tensor(content: bytearray) -> torch.Tensor:
    """(N,) uint8 tensor that shares the memory."""
    return torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _read_torch_stream(file: BinaryIO) -> object:
    """The older format of torch.save, still available as an option: five pickles, then the storages."""
    whole: dict[str, Storage] = {}

    def storage(pid: object) -> Storage:
        dtype, name, size, part = read_storage_id(pid)
        if name not in whole:
            if size > _size(file):
                raise UnsafeFileError(f"{CUT_OFF} (storage {name} has {size:,} bytes)")
            whole[name] = Storage(torch.empty(size, dtype=torch.uint8), dtype)
        if dtype != whole[name].dtype or size != len(whole[name].content):
            raise UnsafeFileError(f"storage {name} is claimed with two types or sizes")
        if part is None:
            return whole[name]
        _, start, count = part
        if min(start, count) < 0 or (start + count) * dtype.itemsize > size:
            raise UnsafeFileError(f"a part of storage {name} lies outside it")
        return Storage(whole[name].content[start * dtype.itemsize : (start + count) * dtype.itemsize], dtype)

    if Unpickler(file).load() != MAGIC or Unpickler(file).load() != VERSION:
        raise UnsafeFileError("it is not a file that torch.save writes")
    system = Unpickler(file).load()
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise UnsafeFileError("it was written on a big-endian machine; those files are not read")
    result = Unpickler(file, storage).load()
    names = Unpickler(file).load()
    if type(names) is not list or {str(name) for name in names} != whole.keys():
        raise UnsafeFileError("its list of storages is not that of its tensors")
    for name in map(str, names):  # each is its count of numbers, then the numbers
        content, dtype = whole[name].content, whole[name].dtype
        count = int.from_bytes(file.read(8), "little")
        got = file.readinto(content.numpy()) if len(content) else 0
        if got < len(content):
            raise UnsafeFileError(CUT_OFF)
        if count * (dtype.itemsize if dtype else 1) != got:
            raise UnsafeFileError(f"storage {name} has another size than its tensors say")
    return result
