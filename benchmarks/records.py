"""Records of finished measurements: one small JSON file each under docs/results/, so that none is done twice."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from mocap3d.files import write_whole

KEYS = ("mpjpe_mm", "p_mpjpe_mm", "mpjve_mm")
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def read(name: str) -> dict | None:
    """A record by name; None if there is none yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def means(**reports) -> dict[str, dict[str, float]]:
    """The means over sources of KEYS, by the name of each Report."""
    return {name: {key: round(report.mean(key), 2) for key in KEYS} for name, report in reports.items()}


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
