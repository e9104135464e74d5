"""Zip archives (npz, torch's .pth) and numpy's npy format, read within bounds."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mocap3d.formats.safe_files.pickles import Unpickler
from mocap3d.formats.safe_files.plain import Budget, UnsafeFileError, count_items, read_dtype

DEFLATE_RATIO = 1032  # the most one byte of deflated data can become
LONGEST_HEADER = 10_000  # bytes, numpy's own bound


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    """Open a file of an archive, after checking that it can be as long as it claims to be."""
    size, packed = member.file_size, member.compress_size
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise UnsafeFileError(
            f"{member.filename} is encrypted or compressed in a way numpy and torch never use"
        )
    most = packed if member.compress_type == zipfile.ZIP_STORED else packed * DEFLATE_RATIO
    if size > most or packed > Path(archive.filename).stat().st_size:
        raise UnsafeFileError(
            f"{member.filename} claims {size:,} bytes, which {packed:,} stored ones cannot hold"
        )
    return archive.open(member)


def read_bytes(file: BinaryIO, size: int, budget: Budget) -> bytearray:
    """Exactly the next `size` bytes, allocated after the budget has agreed."""
    budget.spend(size)
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        step = file.readinto(view[got : got + 2**20])
        if not step:
            raise UnsafeFileError(f"it ends {size - got:,} bytes early")
        got += step
    return content


def read_npy(file: BinaryIO, size: int, budget: Budget) -> object:
    """One array in numpy's format.

    Args:
        file: open at its start.
        size: bytes there are.
        budget: what may be allocated.
    Returns:
        the array; of an object array without axes, the object.
    Source: numpy's documentation of the npy format, versions 1 to 3.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise UnsafeFileError("it is no npy file")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > LONGEST_HEADER:
        raise UnsafeFileError(f"its header claims {length:,} bytes; at most {LONGEST_HEADER:,} are read")
    header = ast.literal_eval(file.read(length).decode("latin1" if start[6] < 3 else "utf-8").strip())
    if type(header) is not dict or header.keys() != {"descr", "fortran_order", "shape"}:
        raise UnsafeFileError("its header is not that of an npy file")
    dtype, shape = read_dtype(header["descr"]), header["shape"]
    count, rest = count_items(shape), size - 8 - width - length
    order = "F" if header["fortran_order"] else "C"
    if dtype.hasobject:
        array = Unpickler(bytes(read_bytes(file, rest, budget)), budget).load()
        if not isinstance(array, np.ndarray) or array.size != count:
            raise UnsafeFileError("it holds other objects than its header says")
        return array.reshape(shape, order=order) if shape else array.item()
    if count * dtype.itemsize > rest:
        raise UnsafeFileError(f"an array claims shape {shape} of {dtype}, but {rest:,} bytes are there")
    content = read_bytes(file, count * dtype.itemsize, budget)
    return np.frombuffer(content, dtype).reshape(shape, order=order)
