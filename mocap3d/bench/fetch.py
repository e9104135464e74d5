"""Fetch published weights to this machine, from their publisher."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm.auto import tqdm

from mocap3d.bench import zoo
from mocap3d.data.cache import weights_file
from mocap3d.files import write_whole

TIMEOUT_S = 30.0
CHUNK = 1 << 18


def fetch_weights(name: str, progress: bool = True) -> Path:
    """Download the published weights of a row of the zoo, once; `lift(pose2d, model=name)` uses them from then on.

    Their licence, `zoo.ROWS[name].licence`, is for you to accept before: what is trained on Human3.6M is for research.

    Args:
        name: of a row with a checkpoint, such as "motionbert-finetuned".
        progress: show a progress bar.
    Returns:
        the file, in the user's cache. It is put there whole, and only if its SHA-256 begins as its published name says.
    Raises:
        ZooError: for an unknown row, or one without an address.
        ValueError: if what was sent is not the published file.
        OSError: without network, or if the cache cannot be written.
    Source: own.
    """
    address = zoo.get(name).checkpoint
    if address is None:
        raise zoo.ZooError(f"row {name!r} has no verified address of weights")
    digest = re.search(r"-([0-9a-f]{8})_\d{8}\.pth$", address)[1]
    path = weights_file(name)
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
        return path
    return write_whole(path, lambda part: _download(address, digest, part, progress))


def _download(address: str, digest: str, path: Path, progress: bool) -> None:
    found, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, open(path, "wb") as file:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, unit="B", unit_scale=True, disable=not progress) as bar:
                while chunk := answer.read(CHUNK):
                    found.update(chunk)
                    size += file.write(chunk)
                    bar.update(len(chunk))
    except (OSError, HTTPException) as error:
        raise OSError(f"{address}: {error}; try again, or download it yourself and give the file to lift") from None
    if not found.hexdigest().startswith(digest):
        raise ValueError(
            f"{address} sent {size:,} bytes with SHA-256 {found.hexdigest()[:8]}..., and not {digest}... as its name "
            "says: it broke off or is another file; nothing is kept, try again"
        )
