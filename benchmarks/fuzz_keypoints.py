"""Damaged keypoint files by the thousand: a valid pose or a KeypointError, never anything else.

    python -m benchmarks.fuzz_keypoints --cases 20000

Files of every layout are damaged at random, half of them in their bytes, half in the values of their JSON. A result
counts as valid if it is a Pose2D whose missing joints, and no others, are NaN with confidence 0, and if it took less
than `LONGEST` seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path

import numpy as np

import mocap3d
from mocap3d.formats.keypoint_files import KeypointError
from mocap3d.skeleton import COCO17
from tests.formats import keypoint_texts as texts

LONGEST = 5.0
VALUES = (None, True, 0, -1, 1e300, 10**400, float("nan"), "", "1", "nose", [], {}, [[]], [1, 2], {"x": 1, "y": 2})


def examples() -> dict[str, bytes]:
    """A small file of each layout."""
    clip, names = texts.motion(17, 3), list(COCO17.joints)
    return {
        "AlphaPose": texts.alphapose(clip, ids=True),
        "AlphaPose by picture": texts.alphapose_by_picture(texts.motion(18, 3)),
        "OpenPose": texts.openpose(texts.motion(25, 1)[0]),
        "MMPose": texts.mmpose(clip, {"keypoint_id2name": {str(i): name for i, name in enumerate(names)}}),
        "rtmlib": texts.rtmlib(clip),
        "rtmlib, whole clip": texts.rtmlib_whole(clip),
        "rtmlib, with timestamps": texts.rtmlib_whole(clip)[:-1] + b', "timestamps": [0, 0.04, 0.08]}',
        "COCO": texts.coco(clip),
        "Ultralytics": texts.ultralytics(clip),
        "Ultralytics, lines": texts.ultralytics_lines(clip),
        "MediaPipe": texts.mediapipe(texts.motion(33, 3)),
        "VideoPose3D": texts.videopose3d(clip),
        "DeepLabCut": texts.deeplabcut(clip, names),
        "Sports2D": texts.sports2d(clip, names),
        "table": texts.table(clip, names),
        "arrays": texts.arrays(clip, fps=30.0, image_size=texts.SIZE),
    }


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three kinds of damage to bytes, at random places."""
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 64))
        kind = rng.integers(6)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + data[at + size :]
        elif kind == 3:
            data = data[:at] + data[at : at + size] * int(rng.integers(2, 5)) + data[at + size :]
        elif kind == 4:
            data = data[:at] + bytes(rng.integers(0, 256, size, np.uint8)) + data[at:]
        else:
            data = data[:at] + rng.choice([b"[", b"}", b",", b"\n", b"1e999", b"null", b'"', b"-"]) + data[at:]
    return data


def damage_values(node: object, rng: np.random.Generator) -> object:
    """A JSON value in which one to three random nodes are replaced, removed or repeated."""
    for _ in range(rng.integers(1, 4)):
        parent = node
        while True:
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            if not len(keys):
                break
            key = keys[int(rng.integers(len(keys)))]
            if isinstance(parent[key], (dict, list)) and rng.random() < 0.75:
                parent = parent[key]
                continue
            kind = rng.integers(4)
            if kind == 0:
                del parent[key]
            elif kind == 1 and isinstance(parent, list):
                parent.insert(key, deepcopy(parent[key]))
            else:
                parent[key] = deepcopy(VALUES[int(rng.integers(len(VALUES)))])
            break
    return node


def case(name: str, data: bytes, rng: np.random.Generator) -> bytes:
    """A damaged copy of one example."""
    if data[:1] in (b"[", b"{") and "lines" not in name and rng.random() < 0.6:
        return json.dumps(damage_values(json.loads(data), rng)).encode()
    return damage(data, rng)


def outcome(path: Path) -> str:
    """ "read", "refused", or what went wrong."""
    start = time.perf_counter()
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            pose = mocap3d.read_keypoints(path, image_size=texts.SIZE, fps=None if b"time" in path.read_bytes() else 30)
    except KeypointError as error:
        result = "refused" if str(error).startswith(str(path)) else f"a message without the file: {error}"
    except Exception:
        result = traceback.format_exc(limit=-3)
    else:
        missing = np.isnan(pose.points).any(-1)
        valid = (missing == np.isnan(pose.points).all(-1)).all() and ((pose.confidence == 0) == missing).all()
        result = "read" if valid and pose.confidence.max() <= 1 else f"an invalid pose: {pose}"
    return result if time.perf_counter() - start < LONGEST else f"more than {LONGEST} s"


def run(cases: int, seed: int) -> Counter:
    """Outcomes of damaged files, counted."""
    rng, found = np.random.default_rng(seed), Counter()
    examples_here = list(examples().items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged"
        for number in range(cases):
            name, data = examples_here[number % len(examples_here)]
            path.write_bytes(case(name, data, rng))
            result = outcome(path)
            found[result] += 1
            if result not in ("read", "refused"):
                print(f"{name}, case {number}: {result}")
    return found


def main() -> None:
    """Print how many files were read, refused, and what else happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = run(options.cases, options.seed)
    read, refused = found.pop("read", 0), found.pop("refused", 0)
    other = sum(found.values())
    print(f"{options.cases:,} damaged files: {read:,} read, {refused:,} refused, {other:,} other outcomes")


if __name__ == "__main__":
    main()
