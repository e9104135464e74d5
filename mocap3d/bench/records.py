"""Records of finished measurements: one small JSON file each, so that none is made twice."""

from __future__ import annotations

import datetime
import json
import platform
import re
from pathlib import Path

import numpy as np
import torch

from mocap3d.evaluation.report import Report
from mocap3d.files import write_whole

KEYS = ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm")


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


def means(**reports: Report) -> dict[str, dict]:
    """The means over sources of KEYS, by the name of each Report, and what `effect` resamples.

    "recordings" holds source -> recording -> [weight, MPJPE in mm].
    """
    return {
        name: {key: round(report.mean(key), 2) for key in KEYS} | {"recordings": _by_recording(report)}
        for name, report in reports.items()
    }


def _by_recording(report: Report) -> dict[str, dict[str, list[float]]]:
    clips: dict[str, dict[str, list]] = {}
    for clip in report.clips:
        clips.setdefault(clip.source, {}).setdefault(clip.recording, []).append(clip)
    return {
        source: {
            recording: [round(sum(clip.weight for clip in views), 1), round(report.mean("mpjpe_mm", views), 2)]
            for recording, views in recordings.items()
        }
        for source, recordings in clips.items()
    }


def effect(
    without: list[dict], with_it: list[dict], column: str, resamples: int = 10_000
) -> tuple[float, float, float]:
    """What a change gains: its mean and 95 % interval, by a bootstrap on two levels.

    Seeds are drawn with replacement, and within each source recordings; both arms are scored on the same draw.

    Args:
        without, with_it: records of both arms, the same seeds in the same order.
        column: of their numbers, with "recordings" as in `means`.
        resamples: bootstrap draws.
    Returns:
        (gain, low, high) in mm; above 0, the change makes the error smaller.
    """
    pairs = [
        [record["numbers"][column]["recordings"] for record in pair] for pair in zip(without, with_it, strict=True)
    ]
    rng = np.random.default_rng(0)
    seeds = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=resamples) / len(pairs)
    gains, draws = [], []
    for source, recordings in pairs[0][0].items():
        weights = np.array([weight for weight, _ in recordings.values()], float)
        gap = np.array([[a[source][r][1] - b[source][r][1] for r in recordings] for a, b in pairs])  # (seeds, R)
        count = len(weights)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples) * weights
        drawn /= drawn.sum(-1, keepdims=True)
        gains.append(gap.mean(0) @ weights / weights.sum())
        draws.append(((seeds @ gap) * drawn).sum(-1))
    low, high = np.percentile(np.mean(draws, 0), [2.5, 97.5])
    return float(np.mean(gains)), float(low), float(high)
