"""Read other people's pkl, npy, npz and torch files without running anything in them.

Pickle is a programming language: `pickle.load`, `torch.load` and `np.load(allow_pickle=True)` run whatever the file
says. Here a reader of our own rebuilds plain data (containers, numpy arrays, tensors on the CPU), turns harmless
unknown classes into inert `Placeholder`s, and refuses all else with an `UnsafeFileError` that names it. Files of
numpy 1 and 2, Python 2 and 3, torch 0.4 to 2.x. No file is believed: sizes are checked before memory is taken, and
`limit` bounds it altogether (by default 64 times the file and 256 MiB, at most 16 GiB).
"""

from __future__ import annotations

import mmap
import zipfile
from pathlib import Path

from mocap3d.formats.safe_files.archives import open_member, read_npy
from mocap3d.formats.safe_files.pickles import Unpickler
from mocap3d.formats.safe_files.plain import Budget, Placeholder, UnsafeFileError, guarded
from mocap3d.formats.safe_files.torch_files import read_stream, read_zip

__all__ = ["Placeholder", "UnsafeFileError", "load_npy", "load_npz", "load_pickle", "load_torch"]


def load_pickle(path: str | Path, limit: int | None = None) -> object:
    """What a pickle file holds, of any protocol.

    Args:
        path: the file.
        limit: bytes of memory it may fill, in place of the default.
    Raises:
        UnsafeFileError: naming what it asks for and does not get, or what is wrong with it.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    budget = Budget(path, limit)
    with open(path, "rb") as file, guarded(path), _map(file) as data:
        return Unpickler(data, budget).load()


def load_npy(path: str | Path, limit: int | None = None) -> object:
    """The array of an npy file; arguments and errors as load_pickle. Of an object array without axes, the object."""
    path = Path(path)
    budget = Budget(path, limit)
    with open(path, "rb") as file, guarded(path):
        return read_npy(file, path.stat().st_size, budget)


def load_npz(path: str | Path, limit: int | None = None) -> dict[str, object]:
    """The arrays of an npz file by name; arguments and errors as load_pickle. Object arrays as load_npy."""
    path = Path(path)
    budget = Budget(path, limit)
    with open(path, "rb") as file, guarded(path):
        with zipfile.ZipFile(file) as archive:
            arrays = {}
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise UnsafeFileError(f"it holds {member.filename!r}, which is no array")
                with open_member(archive, member) as content:
                    arrays[member.filename.removesuffix(".npy")] = read_npy(content, member.file_size, budget)
            return arrays


def load_torch(path: str | Path, limit: int | None = None) -> object:
    """What torch.save wrote, in its zip or its older format; arguments and errors as load_pickle.

    Returns:
        tensors are on the CPU, whatever device they were saved from, and ask for no gradient.
    """
    path = Path(path)
    budget = Budget(path, limit)
    with open(path, "rb") as file, guarded(path):
        if file.read(4) == b"PK\3\4":
            with zipfile.ZipFile(file) as archive:
                return read_zip(archive, budget)
        with _map(file) as data:
            return read_stream(data, budget)


def _map(file) -> mmap.mmap:
    """The file as memory that is read when needed, so that a large one is not held twice."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
