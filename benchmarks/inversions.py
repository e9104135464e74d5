"""How many inverted frames of phone-v1 are found and undone, how many others are touched, and what that is worth in mm.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/inversions.py            measures what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/inversions.py --table    prints the record

A frame is found if all its pairs are exchanged. Another frame is touched if any pair is exchanged, and wrongly if its
limbs are then farther from the true 2D: the simulated detector also inverts arms or legs alone. Errors as in phone.py.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import phone
import records
from phone import errors, truth_of

import mocap3d
from mocap3d.data.phone import LIMBS, PhoneClip, digest
from mocap3d.inversions import exchange_sides, find_inversions
from mocap3d.poses import Pose2D
from mocap3d.skeleton import COCO17, H36M17

NAME = "inversions-phone-v1"
KINDS = {"as detected": False, "undone": True}


def limb_error(pose2d: Pose2D, clip: PhoneClip) -> np.ndarray:
    """(T,) sum over limbs of the distance to the true 2D, px."""
    coco = COCO17.indices([name.replace("foot", "ankle") for name in LIMBS])
    off = pose2d.points[:, coco] - clip.true2d.points[:, H36M17.indices(LIMBS)]
    return np.nansum(np.linalg.norm(off, axis=-1), 1)


def measure(clips: list[PhoneClip], model: object) -> dict:
    """Frames found and touched, and errors with and without undoing, over all clips and the clips with inversions."""
    frames = dict.fromkeys(("inverted", "found", "others", "touched", "touched wrongly"), 0)
    values: dict[str, list] = {kind: [] for kind in KINDS}
    for clip in clips:
        exchanged, text = find_inversions(clip.pose2d)
        every = exchanged[:, COCO17.indices([*COCO17.left, *COCO17.right])].all(1)
        worse = limb_error(exchange_sides(clip.pose2d, exchanged), clip) > limb_error(clip.pose2d, clip)
        touched = exchanged.any(1) & ~clip.inverted
        frames["inverted"] += int(clip.inverted.sum())
        frames["found"] += int((every & clip.inverted).sum())
        frames["others"] += int((~clip.inverted).sum())
        frames["touched"] += int(touched.sum())
        frames["touched wrongly"] += int((touched & worse).sum())
        plain = errors(mocap3d.lift(clip.pose2d, model, undo_inversions=False).root_relative().points, truth_of(clip))
        lifted = plain
        if text and exchanged.any():
            lifted = errors(mocap3d.lift(clip.pose2d, model).root_relative().points, truth_of(clip))
        values["as detected"].append(plain)
        values["undone"].append(lifted)
    some = np.array([clip.inverted.any() for clip in clips])
    numbers: dict = {"frames": frames}
    numbers["share found"] = round(frames["found"] / frames["inverted"], 4)
    numbers["share of others touched"] = round(frames["touched"] / frames["others"], 5)
    numbers["share of others touched wrongly"] = round(frames["touched wrongly"] / frames["others"], 5)
    for kind, found in values.items():
        for group, members in {"all": np.ones(len(clips), bool), "with inversions": some}.items():
            means = {key: round(float(np.mean([v[key] for v in np.array(found)[members]])), 2) for key in found[0]}
            numbers[f"{kind}, {group}"] = means | {"clips": int(members.sum())}
    return numbers


def main() -> None:
    """Measure what has no record, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the record and measure nothing")
    arguments = parser.parse_args()
    if records.read(NAME) is None and not arguments.table:
        dataset = mocap3d.load_dataset("open-mocap", cameras="phone-v1")
        model, started = mocap3d.load_shipped(), time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers = measure(list(dataset), model)
        seconds, data = time.monotonic() - started, str(digest(dataset)["truth"])[:16]
        size = f"{model.name}, wall seconds"
        records.write(NAME, data=data, protocol=phone.PROTOCOL, size=size, seed=None, seconds=seconds, numbers=numbers)
    if (record := records.read(NAME)) is not None:
        for name, value in record["numbers"].items():
            print(f"{name:34}{value}")


if __name__ == "__main__":
    main()
