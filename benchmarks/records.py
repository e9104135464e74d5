"""Records of finished measurements: one small JSON file each under docs/results/, so that none is done twice."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mocap3d.bench import records
from mocap3d.evaluation.report import Report

KEYS = ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm")
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def read(name: str) -> dict | None:
    """A record by name; None if there is none yet."""
    return records.read(RESULTS, name)


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
    """What a change gains in MPJPE: its mean and 95 % interval, by a bootstrap on two levels.

    Seeds are drawn with replacement, and within each source recordings; both arms are scored on the same draw.

    Args:
        without, with_it: records of both arms, the same seeds in the same order.
        column: "new" or "known".
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
        weights = np.array([weight for weight, _ in recordings.values()])
        gap = np.array([[a[source][r][1] - b[source][r][1] for r in recordings] for a, b in pairs])  # (seeds, R)
        count = len(weights)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples) * weights
        drawn /= drawn.sum(-1, keepdims=True)
        gains.append(gap.mean(0) @ weights / weights.sum())
        draws.append(((seeds @ gap) * drawn).sum(-1))
    low, high = np.percentile(np.mean(draws, 0), [2.5, 97.5])
    return float(np.mean(gains)), float(low), float(high)


def run_rows(
    description: str, rows: list[str], prefix: str, run: Callable[[str], None], table: Callable[[], None]
) -> None:
    """A script's command line: run the rows that were asked for and have no record, then print the table."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"rows such as {rows[1]} (default: all)")
    parser.add_argument("--table", action="store_true", help="only print the records")
    arguments = parser.parse_args()
    if wrong := [row for row in arguments.rows if row not in rows]:
        parser.error(f"no row {wrong[0]!r}; there are: {', '.join(rows)}")
    if not arguments.table:
        for row in arguments.rows or rows:
            if read(f"{prefix}-{row}") is None:
                run(row)
    table()


def write(name: str, **entries) -> Path:
    """Write a record; its entries are those of `mocap3d.bench.records.write`."""
    return records.write(RESULTS, name, **entries)
