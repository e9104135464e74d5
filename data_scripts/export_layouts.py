"""Write open data in the layouts that published Human3.6M code reads, so that it can run beside ours.

    python data_scripts/export_layouts.py OUT                                    synthetic data, every layout
    python data_scripts/export_layouts.py OUT --dataset open-mocap --layouts videopose3d
    python data_scripts/export_layouts.py OUT --pose2d cpn                       with simulated detections
    python data_scripts/export_layouts.py OUT --pose2d sh --layouts mmpose --original
                                                 ... and as MotionBERT's data, h36m_*_original.npz and h36m_factors.npy

Each layout gets a folder of its own. Takes get names that published code accepts: "walk 1" of S1, where S1 is the
subject whose cameras saw it; `takes.json` beside the files says which take that was, whence it comes and under which
licence. Then, for example, in a copy of VideoPose3D:

    python run.py -d h36m -k gt -arc 3,3,3        with OUT/videopose3d as its folder `data`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mocap3d.data.h36m import own
from mocap3d.data.loading import load_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the writers are found from anywhere

from data_scripts.h36m_writers import mmpose, motionbert, videopose3d  # noqa: E402

WRITERS = {"videopose3d": videopose3d.write, "mmpose": mmpose.write, "motionbert": motionbert.write, "own": own.write}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--dataset", default="synthetic", choices=("synthetic", "open-mocap", "h36m"))
    parser.add_argument("--root", type=Path, help="folder of the data set's files, if it has some")
    parser.add_argument("--pose2d", default="gt", choices=("gt", "cpn", "sh"), help="default gt")
    parser.add_argument("--layouts", nargs="+", default=list(WRITERS), choices=WRITERS, help="all by default")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a synthetic take (default 8)")
    parser.add_argument("--original", action="store_true", help="mmpose: write MotionBERT's annotation and factors too")
    args = parser.parse_args(argv)
    if args.original and "mmpose" not in args.layouts:
        parser.error("--original belongs to the layout mmpose: add it to --layouts")
    options = {"seconds": args.seconds} if args.dataset == "synthetic" else {}
    try:
        dataset = load_dataset(args.dataset, args.root, args.pose2d, **options)
        print(dataset)
        for layout in args.layouts:
            extra = {"pose2d": args.pose2d} if layout == "own" else {}
            if layout == "videopose3d" and args.pose2d != "gt":
                extra = {"detections": args.pose2d}
            if layout == "mmpose":
                extra = {"original": args.original}
            names = WRITERS[layout](dataset, args.out / layout, **extra)
            some = ", ".join(f"{old} -> {new}" for old, new in list(names.items())[:2])
            print(f"wrote {args.out / layout}: {len(names)} takes ({some}, ...)")
    except (ValueError, OSError) as error:
        print(f"FAILED {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
