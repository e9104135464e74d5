"""Every row of the published table on a licence holder's own Human3.6M, in one record without poses."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from mocap3d.bench import records, zoo
from mocap3d.data.cache import weights_file


def verify(
    root: str | Path, weights: str | Path | None = None, out: str | Path = zoo.RUNS, device: str | None = None
) -> dict:
    """Evaluate every row on a licence holder's Human3.6M, and write one record, without poses.

    Args:
        root: folder of Human3.6M, in MMPose's layout for all rows.
        weights: folder of the published files under their own names; by default those fetched by `fetch-weights`.
        out: folder of the record.
        device: the device to run on; by default the CPU.
    Returns:
        the record; of a row that could not be run, it holds the reason.
    """
    began, numbers, protocols, sources = time.monotonic(), {}, {}, set()
    for row in zoo.ROWS.values():
        names = [name for name, other in zoo.ROWS.items() if other.checkpoint == row.checkpoint]
        files = [Path(weights) / Path(row.checkpoint).name] if weights else [weights_file(name) for name in names]
        file = next((file for file in files if file.is_file()), files[0])
        try:
            done = zoo.evaluate(row, root, file, device)
        except (OSError, ValueError) as error:
            numbers[row.name] = {"failed": f"{type(error).__name__}: {error}"}
            continue
        sources |= {clip.source for clip in done.report.clips}
        protocols[row.name] = str(done.report.protocol)
        numbers[row.name] = {key: round(value, 2) for key, value in done.measured.items()} | {
            "data": done.report.digest, "weights": hashlib.sha256(file.read_bytes()).hexdigest()
        }  # fmt: skip
    records.write(
        out, zoo.VERIFIED, data="of each row", protocol="of each row", size="published weights, wall seconds",
        seed=None, seconds=time.monotonic() - began, numbers=numbers, protocols=protocols,
        dataset=zoo.real_name(sources),
    )  # fmt: skip
    return records.read(out, zoo.VERIFIED)
