"""Records of finished measurements: one small JSON file each, so that none is made twice."""

from __future__ import annotations

import datetime
import json
import platform
import re
from pathlib import Path

import torch

from mocap3d.files import write_whole


def read(folder: str | Path, name: str) -> dict | None:
    """A record by name; None if there is none yet."""
    path = Path(folder) / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(
    folder: str | Path, name: str, *, data: str, protocol: str, size: str, seed: int | None, seconds: float,
    numbers: dict, **more: object,
) -> Path:  # fmt: skip
    """Write a record.

    Args:
        folder: to write into; it is made.
        name: of the file, without suffix.
        data: digest of what was measured on, such as `DeviceDataset.digest()`.
        protocol: rules of the numbers.
        size: of the model and the run, in words.
        seed: of the run; None where nothing was drawn.
        seconds: of processor or wall time, whichever `size` says.
        numbers: the results, plain data.
        more: further entries, and others in place of those filled in here: device, threads, torch, date.
    Returns:
        the path.
    """
    record = {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "data": data,
        "protocol": protocol,
        "size": size,
        "device": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seed": seed,
        "seconds": round(seconds, 1),
        "numbers": numbers,
    } | more
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    text = re.sub(r"\[\s+([-\d., \n]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)  # one line
    return write_whole(Path(folder) / f"{name}.json", lambda part: part.write_text(text, encoding="utf-8"))
