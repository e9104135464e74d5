"""Files: written so that nobody ever sees half of one, checked for damage, and quoted in messages."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file under a temporary name in the same folder, then put it in place in one step.

    Args:
        path: where it shall be; its folder is made if missing.
        write: called with the temporary path; writes the whole file.
    Returns:
        the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-32 of contiguous data, which tells damage (not forgery).

    Args:
        data: bytes, or an array's `.data`.
        before: the checksum of what comes before them, where data come in parts.
    """
    return zlib.crc32(data, before)


def excerpt(value: str | bytes, longest: int = 40) -> str:
    """A bit of a foreign file for a message: quoted, printable, at most `longest` characters before escapes."""
    if isinstance(value, bytes):
        value = value[: longest + 4].decode("ascii", "backslashreplace")
    return ascii(value if len(value) <= longest else value[: longest - 3] + "...")
