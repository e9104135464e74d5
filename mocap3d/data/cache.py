"""Cache of built data sets on disk: keyed, checksummed, written atomically; damaged files are built again."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mocap3d.files import checksum, write_whole

Built = tuple[np.ndarray, list[dict], list[str]]
LABELS = {"subject", "action", "take", "frames", "split", "source", "performer", "licence"}  # of each chunk


def cache_folder() -> Path:
    """MOCAP3D_CACHE, or mocap3d's folder in the user's cache."""
    if folder := os.environ.get("MOCAP3D_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mocap3d"


def weights_file(name: str) -> Path:
    """Where the published weights of this name are, once `mocap3d fetch-weights` has fetched them."""
    return cache_folder() / "weights" / f"{name}.pth"


def cached(name: str, key: object, build: Callable[[], Built], folder: str | Path | None = None) -> Built:
    """The result of `build`, from disk if it was built before with the same key.

    Args:
        name: of the file.
        key: any JSON-serialisable value; each key has its own file.
        build: returns (points (N, J, 3) float32, `LABELS` of each chunk, whose "frames" add up to N, notes).
        folder: of the cache; `cache_folder()` by default. If it is not writable, the result is not cached.
    Returns:
        the result of `build`, new or cached.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(folder or cache_folder()) / f"{name}-{digest}.npz"
    if (found := _read(path)) is not None:
        return found
    points, pieces, notes = build()
    text = json.dumps({"pieces": pieces, "notes": notes})
    try:
        write_whole(path, lambda part: _write(part, points, text))
    except OSError as error:
        print(
            f"mocap3d: the built data could not be kept in {path.parent} ({error}); "
            "set MOCAP3D_CACHE to a folder that can be written"
        )
    return points, pieces, notes


def _checksum(points: np.ndarray, text: str) -> str:
    return str(checksum(np.ascontiguousarray(points).data, checksum(text.encode())))


def _old_checksum(points: np.ndarray, text: str) -> str:
    """The checksum in files written before all files used the same one."""
    key = hashlib.sha256(text.encode()).digest()
    return hashlib.blake2b(np.ascontiguousarray(points).data, digest_size=16, key=key).hexdigest()


def _write(path: Path, points: np.ndarray, text: str) -> None:
    with open(path, "wb") as file:
        np.savez(file, points=points, text=np.array(text), checksum=np.array(_checksum(points, text)))


def _read(path: Path) -> Built | None:
    """The cached result, or None if it is absent or damaged in any way."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:  # numpy leaks files that it opens
            points, text, written = file["points"], str(file["text"]), str(file["checksum"])
        if written != _checksum(points, text) and written != _old_checksum(points, text):
            return None
        labels = json.loads(text)
        found = points, labels["pieces"], labels["notes"]
        return found if _is_whole(*found) else None
    except Exception:  # a damaged zip raises many kinds of error; all of them mean: build again
        return None


def _is_whole(points: np.ndarray, pieces: list[dict], notes: list[str]) -> bool:
    """Whether this is what builders return: a checksum shows damage, but not that something else was written."""
    texts = [value for piece in pieces for key, value in piece.items() if key != "frames"]
    return (
        points.dtype == np.float32
        and points.ndim == 3
        and np.isfinite(points).all()
        and all(set(piece) == LABELS and piece["frames"] > 0 for piece in pieces)
        and sum(piece["frames"] for piece in pieces) == len(points)
        and all(isinstance(text, str) for text in [*texts, *notes])
    )
