"""The command line: `mocap3d doctor`, `check-keypoints`, `lift`, `animate`, `show`, `fetch-weights`, `zoo` and
`open-benchmark`.

Exit codes: 0 where all is well, 1 where something was found (`doctor`, `check-keypoints`) or a licence refused, 2 for a
wrong argument or a file that cannot be read or written, with one line on stderr, 130 if stopped by Ctrl-C. Results go
to stdout, all else to stderr.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from mocap3d.bench import open_benchmark, training, zoo
from mocap3d.bench.fetch import fetch_weights
from mocap3d.bench.verify import verify
from mocap3d.diagnostics import doctor
from mocap3d.figures.player import show
from mocap3d.figures.skeleton2d import show_2d
from mocap3d.formats.animation_files import PREFIXES
from mocap3d.formats.check_keypoints import check_keypoints
from mocap3d.formats.export import ExportError, read_pose, write
from mocap3d.formats.keypoints import read_keypoints
from mocap3d.inversions import find_inversions
from mocap3d.lifting.cleanup import clean
from mocap3d.lifting.lift import lift
from mocap3d.poses import Pose2D, Pose3D

NUMBERS, PICTURES = (".npz", ".csv", ".json"), (".html", ".gif", ".mp4")  # endings of files that `lift` writes
MOTIONS = (".bvh", ".glb", ".trc", ".angles.csv")  # and `animate` besides
VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
CHECK = "say what looks wrong with 2D keypoints; exit code 1 if anything does"
LIFT = "lift 2D keypoints to a 3D pose"
ANIMATE = "from keypoints, or from a video, to a clean animation: lift, level, place, smooth, plant the feet, export"
FETCH = "download published weights for lift, after showing their licence; exit code 1 if it is not accepted"
ZOO = "the published table: print it, train its rows, verify it on Human3.6M"
TRAIN = "train rows of the published table, or go on where that was broken off; several GPUs: torchrun -m mocap3d ..."
OPEN = "train and measure models on open motion; without --model, print the table of the records"
VERIFY = "evaluate published weights on your Human3.6M: one record, without poses"
SHOW = "write a page that shows keypoints, or a pose that lift wrote"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `mocap3d`; None takes them from the command line.
    Returns:
        the exit status, 0 where all is well.
    """
    options = _parser().parse_args(arguments)
    if options.command == "doctor":
        return 0 if doctor() else 1
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            return COMMANDS[options.command](options)
        except (OSError, ValueError, ImportError) as error:
            _say(f"mocap3d {options.command}: error: {' '.join(str(error).split())}")
            return 2
        except KeyboardInterrupt:
            _say("stopped")
            return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mocap3d", description="3D human pose lifting, learned by doing")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("doctor", help="check what works on this machine, and how to fix what does not")
    for name, text in {"check-keypoints": CHECK, "lift": LIFT, "animate": ANIMATE, "show": SHOW}.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("file", help="keypoints of any detector, see mocap3d.read_keypoints")
        command.add_argument("--size", type=_size, metavar="1920x1080", help="of the video, if the file lacks it")
        command.add_argument("--fps", type=float, help="frames per second of the video, if the file lacks it")
        command.add_argument("--skeleton", help="of the keypoints, such as coco17; by default recognised")
        command.add_argument("--person", help="which of several people; by default the largest")
        command.add_argument("--threshold", type=float, help="confidence below which a joint is missing")
    lifting, animating, showing = (commands.choices[name] for name in ("lift", "animate", "show"))
    for command in (lifting, animating):
        command.add_argument("--height", type=float, help="of the person, in metres")
        command.add_argument(
            "--model", help="a file of weights, or a NAME that was fetched; by default the model in the package"
        )
    animating.add_argument("--names", choices=tuple(PREFIXES), default="mixamo", help="of the joints in BVH and GLB")
    animating.add_argument("--out", required=True, help=f"file to write: {', '.join(MOTIONS + NUMBERS + PICTURES)}")
    lifting.add_argument("--out", required=True, help=f"file to write: {', '.join(NUMBERS + PICTURES)}")
    showing.add_argument("--out", help="file to write, .html")
    command = commands.add_parser("fetch-weights", help=FETCH, description=FETCH)
    command.add_argument("name", metavar="NAME", help=f"one of {', '.join(zoo.ROWS)}")
    command.add_argument("--yes", action="store_true", help="accept the licence without being asked")
    _add_zoo(commands.add_parser("zoo", help=ZOO, description=ZOO))
    command = commands.add_parser("open-benchmark", help=OPEN, description=OPEN)
    command.add_argument("--model", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(open_benchmark.NAMES)}")
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="(default 0 1 2)")
    command.add_argument("--minutes", type=float, help="of training; by default the steps of the benchmark's recipes")
    command.add_argument("--root", help="folder of the data; by default MOCAP3D_DATA")
    command.add_argument("--out", type=Path, default=open_benchmark.RUNS, help="folder of the records")
    command.add_argument("--device", help="cpu, cuda, ...")
    return parser


def _add_zoo(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    table = actions.add_parser("table", help="print published and measured numbers side by side")
    train = actions.add_parser("train", help=TRAIN, description=TRAIN)
    checking = actions.add_parser("verify", help=VERIFY, description=VERIFY)
    train.add_argument("--rows", nargs="+", default=["all"], metavar="ROW", help=f"all, or of {', '.join(zoo.ROWS)}")
    train.add_argument("--data", choices=training.DATA, default="open-mocap")
    train.add_argument("--size", choices=training.SIZES, default="small", help="of network and run (default small)")
    train.add_argument(
        "--minutes", type=float, help=f"of training a row; small {training.MINUTES:g}, else the recipe's"
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--root", help="folder of the data; by default MOCAP3D_DATA or MOCAP3D_H36M")
    checking.add_argument("root", help="folder of Human3.6M")
    checking.add_argument("--weights", help="folder of the published files; by default those of fetch-weights")
    for action in (train, checking):
        action.add_argument("--device", help="cpu, cuda, ...")
    for action in (table, train, checking):
        action.add_argument("--out", type=Path, default=zoo.RUNS, help=f"folder of the records (default {zoo.RUNS})")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 1920x1080")
    return int(match[1]), int(match[2])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read(options: argparse.Namespace) -> Pose2D:
    how = options.skeleton, options.fps, options.size, options.person, options.threshold
    with redirect_stdout(sys.stderr):
        return read_keypoints(options.file, *how)


def _check(options: argparse.Namespace) -> int:
    found = check_keypoints(_read(options))
    print(found)
    return 1 if found else 0


def _lift(options: argparse.Namespace) -> int:
    _checked_ending(options.out, NUMBERS + PICTURES)
    pose2d = _read(options)
    _save(_lifted(pose2d, options), options.out)
    return 0


def _animate(options: argparse.Namespace) -> int:
    _checked_ending(options.out, MOTIONS + NUMBERS + PICTURES)
    if Path(options.file).suffix.lower() in VIDEOS:
        options.file = _detected(options.file)
    pose2d = _read(options)
    lifted = _lifted(pose2d, options)
    _say("cleaning ...")
    pose3d, remarks = clean(lifted, pose2d, height=options.height)
    _save(pose3d, options.out, options.names)
    inverted = find_inversions(pose2d)[0].any(1).mean()
    print(f"  keypoints: {lifted.filled.mean():.1%} of the joints were missing and filled")
    print(f"  left and right: exchanged in {inverted:.1%} of the frames")
    for remark in remarks:
        print(f"  {remark}")
    sure = pose2d.confidence[pose2d.confidence > 0]
    if sure.size:
        print(f"  how sure: confidence {sure.mean():.2f} of 1 on average of joints seen, on the detector's scale;")
        print("      it knows nothing of depth. How far off such poses were in tests: docs/RESULTS.md")
    return 0


def _checked_ending(out: str, endings: tuple[str, ...]) -> None:
    if not out.lower().endswith(endings):
        raise ExportError(f"--out {out}: give a file name that ends in {', '.join(endings)}")


def _detected(video: str) -> str:
    """Keypoints of a video, made by the script beside the package."""
    script = Path(__file__).resolve().parent.parent / "data_scripts" / "detect_2d.py"
    if not script.exists():
        raise FileNotFoundError(f"{video}: run data_scripts/detect_2d.py of the project on it, and give the .json")
    if subprocess.run([sys.executable, script, video]).returncode:
        raise OSError(f"{video}: no keypoints were found in it, see above")
    return str(Path(video).with_suffix(".json"))


def _lifted(pose2d: Pose2D, options: argparse.Namespace) -> Pose3D:
    _say(f"lifting {len(pose2d):,} frames ...")
    return lift(pose2d, options.model, height=options.height, progress=sys.stderr.isatty())


def _save(pose3d: Pose3D, out: str, names: str = "mixamo") -> None:
    if out.lower().endswith(PICTURES):
        _say(f"drawing {Path(out).name} ...")
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        show(pose3d).save(out)
    else:
        write(pose3d, out, names)
    print(f"{out}: {pose3d}")


def _show(options: argparse.Namespace) -> int:
    try:
        pose: Pose2D | Pose3D = read_pose(options.file)
    except ExportError:
        pose = _read(options)
    out = Path(options.out or f"{options.file}.html")
    if isinstance(pose, Pose3D):
        show(pose).save(out)
    else:
        show_2d(pose).write_html(out, include_plotlyjs=True)
    print(f"{out}: open it in a browser")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    row = zoo.get(options.name)
    _say(f"{row.name}: {row.title}\nlicence: {row.licence}\nfrom {row.checkpoint}")
    if not options.yes:
        if not sys.stdin.isatty():
            raise zoo.ZooError("nobody is there to ask: add --yes to accept the licence")
        if input("Human3.6M is for academic research only. Download on these terms? [y/N] ").lower() not in (
            "y",
            "yes",
        ):
            return 1
    print(f"{fetch_weights(row.name, progress=sys.stderr.isatty())}: use it with --model {row.name}")
    return 0


def _zoo(options: argparse.Namespace) -> int:
    if options.action == "table":
        print(zoo.table(folder=options.out))
        return 0
    if options.action == "verify":
        rows = verify(options.root, options.weights, options.out, options.device)["numbers"]
        print(zoo.table(folder=options.out))
        for name, row in rows.items():
            if "failed" in row:
                _say(f"{name}: not run: {row['failed']}")
        return 1 if any("failed" in row for row in rows.values()) else 0
    names, failed = list(zoo.ROWS) if options.rows == ["all"] else options.rows, False
    for name in names:
        zoo.get(name)
    for name in names:
        try:
            how = options.data, options.size, options.minutes, options.seed, options.device, options.root, options.out
            with redirect_stdout(sys.stderr):
                record = training.train_row(name, *how)
        except ValueError as error:  # the other rows may still be trained
            _say(f"{name}: not trained: {error}")
            failed = True
            continue
        if record:
            numbers = record["numbers"]
            print(f"{name}: {numbers['mpjpe_mm']} mm MPJPE, {numbers['p_mpjpe_mm']} mm P-MPJPE; {record['size']}")
    return 1 if failed else 0


def _open_benchmark(options: argparse.Namespace) -> int:
    for name in options.model:
        for seed in options.seeds[: 1 if name in open_benchmark.BASELINES else None]:
            with redirect_stdout(sys.stderr):
                open_benchmark.run(name, seed, options.minutes, options.out, options.root, options.device)
    print(open_benchmark.table(options.out))
    return 0


COMMANDS = {
    "check-keypoints": _check, "lift": _lift, "animate": _animate, "show": _show, "fetch-weights": _fetch, "zoo": _zoo,
    "open-benchmark": _open_benchmark,
}  # fmt: skip
