"""What unlabelled video is worth, and what it costs.

    python benchmarks/semi_supervised.py                                   the cost of a step
    MOCAP3D_DATA=data python benchmarks/semi_supervised.py --curve --out runs open-mocap-10-semi-0 ...   these rows
    MOCAP3D_DATA=data python benchmarks/semi_supervised.py --curve --out runs                  all rows, those missing
    python benchmarks/semi_supervised.py --table --out runs                what is there, as a table

A row is dataset-percent-how-seed: the label-efficiency curve with that share of one source (open-mocap) or of one
subject (synthetic) labelled, all else unlabelled; "sup" trains the pose network on the labelled part alone, "semi" the
pose and trajectory networks on both. Both see the same labelled batches in the same order, for the same number of
updates. Each is judged on the test part as its last step leaves it. One row is one process's work: several may run side
by side on one folder, and a killed one goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from machine import describe_machine, time_interleaved
from seeds import spread

import mocap3d
from mocap3d.data.windows import batches, to_device
from mocap3d.evaluation.report import text_table
from mocap3d.evaluation.trajectory import evaluate_with_trajectory
from mocap3d.files import write_whole
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, label_subset, losses, unlabelled_video

CHANNELS, DROPOUT, STEPS, SEEDS = 128, 0.125, 5000, 3
RECIPE = mocap3d.Recipe(
    "semi_curve",
    "adam",
    2e-3,
    "cosine",
    warmup=0.05,
    batch_size=64,
    steps=STEPS,
    loss="mpjpe",
    gradient_clip=1.0,
    norm_momentum=(0.1, 0.001),
    flip=True,
)
SEMI = SemiSupervised(warmup=0.05)
LABELLED = {"open-mocap": {"source": "cmu-cc-005"}, "synthetic": {"subject": "S1"}}
# CMU alone: Bandai's skeleton has thorax and shoulders elsewhere, which the bone term takes for other people
USED = {"open-mocap": {"source": ("cmu-cc-005", "cmu-asfamc-01", "cmu-asfamc-02", "cmu-cc-007")}, "synthetic": {}}
PROTOCOL = {"open-mocap": "open-mocap", "synthetic": "videopose3d"}
PERCENT = (1, 5, 10, 50, 100)
ROWS = [
    f"{dataset}-{percent}-{how}-{seed}"
    for seed in range(SEEDS)
    for dataset in LABELLED
    for percent in PERCENT
    for how in ("sup", "semi")
]


def run(row: str, dataset: mocap3d.PoseDataset, out: Path) -> None:
    """Train and judge one row; its numbers go into out/row.json."""
    name, percent, how, seed = row.rsplit("-", 3)
    seed = int(seed)
    dataset = dataset.select(**USED[name])
    labelled, unlabelled = label_subset(dataset.train, int(percent) / 100, seed, **LABELLED[name])
    torch.manual_seed(seed)
    model = mocap3d.create_model("videopose3d_27", channels=CHANNELS, dropout=DROPOUT)
    options = {"seed": seed, "keep": "last", "progress": False, "out": out / row}
    started = time.process_time()
    if how == "sup":
        mocap3d.fit(model, labelled, RECIPE, **options)
    else:
        model = PoseAndTrajectory(model)
        fit_semi_supervised(model, labelled, unlabelled, RECIPE, semi=SEMI, **options)
    seconds = time.process_time() - started
    judge = mocap3d.evaluate if how == "sup" else evaluate_with_trajectory
    report = judge(model, dataset.test, PROTOCOL[name])
    numbers = report.summary | {
        "by_source": {source: values["mpjpe_mm"] for source, values in report.by_source.items()},
        "labelled": labelled.frames,
        "unlabelled": unlabelled.frames,
        "cpu_seconds": seconds,
        "protocol": str(report.protocol),
    }
    write_whole(out / f"{row}.json", lambda part: part.write_text(json.dumps(numbers, indent=1)))
    print(f"{row}: {numbers['mpjpe_mm']:.1f} mm MPJPE, {seconds:.0f} CPU s", flush=True)


def table(out: Path) -> None:
    """Print mean and spread over seeds of what is there."""
    head = [
        "labelled",
        "frames",
        "seeds",
        "MPJPE sup",
        "semi",
        "gain",
        "P-MPJPE sup",
        "semi",
        "N-MPJPE sup",
        "semi",
        "trajectory",
        "aligned",
        "CPU min",
    ]
    for name in LABELLED:
        lines = []
        for percent in PERCENT:
            runs = {how: _read(out, f"{name}-{percent}-{how}") for how in ("sup", "semi")}
            seeds = sorted(runs["sup"].keys() & runs["semi"].keys())
            if not seeds:
                continue
            sup, semi = ([runs[how][seed] for seed in seeds] for how in ("sup", "semi"))
            pairs = [
                spread([r[key] for r in rs]) for key in ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm") for rs in (sup, semi)
            ]
            gain = spread([a["mpjpe_mm"] - b["mpjpe_mm"] for a, b in zip(sup, semi, strict=True)])
            path = [spread([r[key] for r in semi]) for key in ("trajectory_mm", "trajectory_aligned_mm")]
            minutes = sum(r["cpu_seconds"] for r in sup + semi) / 60
            lines.append(
                [
                    f"{percent} %",
                    f"{sup[0]['labelled']:,}",
                    str(len(seeds)),
                    *pairs[:2],
                    gain,
                    *pairs[2:],
                    *path,
                    f"{minutes:.1f}",
                ]
            )
        if lines:
            print(f"\n{name}, labelled: a share of {LABELLED[name]}; mm\n" + "\n".join(text_table([head, *lines])))
            print(sup[0]["protocol"])
    print(f"\n{CHANNELS} channels, dropout {DROPOUT}, {RECIPE}, {SEMI}")


def _read(out: Path, prefix: str) -> dict[str, dict]:
    return {path.stem.rsplit("-", 1)[1]: json.loads(path.read_text()) for path in out.glob(f"{prefix}-?.json")}


def cost(channels: int, width: int = 27, batch_size: int = 64) -> None:
    """Print what a semi-supervised step costs, over the two forward and backward passes it consists of."""
    data = mocap3d.load_dataset("synthetic").train
    labelled, unlabelled = label_subset(data, 0.1, subject="S1")
    model = PoseAndTrajectory(mocap3d.create_model("videopose3d_27", channels=channels)).train()
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True, fused=True)
    known = to_device(labelled)
    feed = {
        "labelled": iter(_endless(lambda: batches(known, batch_size, width=width, mirror=True))),
        "video": unlabelled_video(unlabelled).batches(0, batch_size, width, mirror=True),
    }
    points = torch.randn(2 * batch_size, width, 34)

    def step() -> None:
        loss = sum(losses(model, next(feed["labelled"]), next(feed["video"])).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def passes() -> None:
        """Pose and trajectory networks over the joint batch, forward and backward, and the update of their weights."""
        optimizer.zero_grad()
        for network in (model.pose, model.trajectory):
            network(points).square().mean().backward()
        optimizer.step()

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    timing = time_interleaved({"step": step, "passes": passes}, turns=21, clock=clock)
    a, b = timing["step"].seconds, timing["passes"].seconds
    print(
        f"{channels} channels, {batch_size} + {batch_size} windows of {width} frames: a step {1000 * a:.1f} ms, "
        f"its two passes {1000 * b:.1f} ms: {a / b:.2f} times (goal 1.3)"
    )


def _endless(make):
    while True:
        yield from make()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="rows such as open-mocap-10-semi-0 (default: all)")
    parser.add_argument("--curve", action="store_true", help="train the rows that are missing")
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("--out", type=Path, help="folder for checkpoints and numbers")
    arguments = parser.parse_args()
    if wrong := [row for row in arguments.rows if row not in ROWS]:
        parser.error(f"no row {wrong[0]!r}; there are: {', '.join(ROWS)}")
    if not (arguments.curve or arguments.table):
        print(describe_machine())
        for channels in (128, 1024):
            cost(channels)
        return
    if arguments.out is None:
        parser.error("say where the numbers go: --out FOLDER")
    data = {}
    for row in (arguments.rows or ROWS) if arguments.curve else ():
        if not (arguments.out / f"{row}.json").exists():
            name = row.rsplit("-", 3)[0]
            if name not in data:
                data[name] = mocap3d.load_dataset(name)
            run(row, data[name], arguments.out)
    table(arguments.out)


if __name__ == "__main__":
    main()
