"""Records of finished measurements: one small JSON file each under docs/results/, so that none is done twice."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from mocap3d.data.phone import PhoneClip
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


def phone_digest(clips: Iterable[PhoneClip]) -> dict[str, str]:
    """Hashes to check whether two builds of phone-v1 are the same.

    Returns:
        "truth": of 3D (rounded to 1e-5 m), image sizes, and which joints are missing or inverted. Equal on processors
        with AVX2 and AVX-512; older ones round the float32 motion differently, by up to 2e-6 m.
        "detections": of 2D (rounded to 1e-3 px). The detector's noise is float32 and differs by about 1e-3 px between
        kinds of processors, and perhaps versions of torch.
        Among millions of numbers some are then rounded differently: a different hash elsewhere proves nothing.
    """
    truth, detections = hashlib.sha256(), hashlib.sha256()
    for clip in clips:
        points, missing = clip.pose2d.points.astype(np.float64), np.isnan(clip.pose2d.points)
        truth.update(f"{clip.take} {clip.camera.name} {clip.pose2d.image_size}".encode())
        truth.update(np.rint(clip.pose3d.points.astype(np.float64) / 1e-5).astype("<i4").tobytes())
        truth.update(np.packbits(missing).tobytes() + np.packbits(clip.inverted).tobytes())
        detections.update(np.rint(np.where(missing, 0, points) / 1e-3).astype("<i4").tobytes())
    return {"truth": truth.hexdigest(), "detections": detections.hexdigest()}
