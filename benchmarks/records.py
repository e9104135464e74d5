"""Records of finished measurements: one small JSON file each under docs/results/, so that none is done twice."""

from __future__ import annotations

import datetime
import json
import platform
from pathlib import Path

import torch

from mocap3d.files import write_whole

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def read(name: str) -> dict | None:
    """A record by name; None if there is none yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(name: str, *, data: str, protocol: str, size: str, seed: int | None, seconds: float, numbers: dict) -> Path:
    """Write a record.

    Args:
        name: of the file, without suffix.
        data: digest of what was measured on, such as `DeviceDataset.digest()`.
        protocol: rules of the numbers.
        size: of the model and the run, in words.
        seed: of the run; None where nothing was drawn.
        seconds: of processor or wall time, whichever `size` says.
        numbers: the results, plain data.
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
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    return write_whole(RESULTS / f"{name}.json", lambda part: part.write_text(text, encoding="utf-8"))
