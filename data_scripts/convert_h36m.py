"""Turn Human3.6M from any layout into mocap3d's own: flat arrays and a JSON index, which load in seconds.

    python data_scripts/convert_h36m.py FOLDER                      say what is there, what is missing, whence it comes
    python data_scripts/convert_h36m.py FOLDER --out OWN            convert it, with ground-truth 2D
    python data_scripts/convert_h36m.py FOLDER --out OWN --pose2d cpn

then `mocap3d.load_dataset("h36m", root=OWN)`. Foreign files are read without running anything in them. What is
written holds Human3.6M's poses: its licence goes with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mocap3d.data.h36m import own
from mocap3d.data.h36m.facts import EXCLUSIONS
from mocap3d.data.h36m.load import LAYOUTS, load_h36m, recognise


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the Human3.6M files, in any layout")
    parser.add_argument("--out", type=Path, help="folder to write; without it, only say what the folder holds")
    parser.add_argument("--layout", default="auto", choices=("auto", *LAYOUTS), help="if there are several")
    parser.add_argument("--pose2d", default="gt", help="gt (default), cpn, sh, detectron, ... as the layout has")
    parser.add_argument("--subjects", nargs="+", help="e.g. S9 S11; all by default")
    parser.add_argument("--exclude", nargs="+", default=(), choices=EXCLUSIONS, help="published exclusions")
    args = parser.parse_args(argv)
    try:
        found = recognise(args.root)
        print(found)
        if args.out is None:
            return 0 if found.files else 1
        start = time.perf_counter()
        dataset = load_h36m(args.root, args.layout, args.pose2d, args.subjects, args.exclude)
        own.write(dataset, args.out, args.pose2d)
    except (ValueError, OSError) as error:
        print(f"FAILED {error}", file=sys.stderr)
        return 1
    print(dataset)
    for note in dataset.notes:
        print(f"note: {note}")
    size = sum(path.stat().st_size for path in args.out.glob("*.npy")) / 1e6
    print(f"wrote {args.out}: {size:,.0f} MB in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
