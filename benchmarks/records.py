"""Records of finished measurements: one small JSON file each under docs/results/, so that none is done twice."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mocap3d.bench import records
from mocap3d.bench.records import KEYS, effect, means

__all__ = ["KEYS", "RESULTS", "effect", "means", "read", "run_rows", "write"]
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def read(name: str) -> dict | None:
    """A record by name; None if there is none yet."""
    return records.read(RESULTS, name)


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
