"""The set of poses behind one picture: how a flow's samples cover the truth, beside a regressor of as many steps.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/flow.py            trains and measures what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/flow.py --table    prints the records

Rows are 2D-seed. Columns as in benchmarks/learning.py; one frame in twenty. "80 % interval" is the share of joints
whose true depth, relative to the root, lies between the 10th and the 90th percentile of 100 samples. "best of N" picks
the sample that is nearest to the truth: it uses the truth, and no method can.

The rows "choice" choose the temperature: a flow that was trained without some kinds of motion (KINDS, and every fourth
of CMU's recordings, which are of one kind each) lifts these. The others take that of TEMPERATURES whose interval held
nearest to 80 % there.
"""

from __future__ import annotations

import dataclasses
import time

import learning
import records
import torch

import mocap3d
from mocap3d.data.windows import normalised, to_device
from mocap3d.evaluation.report import text_table
from mocap3d.models.flow import FlowLifter, FlowMatching
from mocap3d.skeleton import ROOT, root_relative

SAMPLES, BEST_OF, EVERY = 100, 10, 20
TEMPERATURES = (1.0, 1.25, 1.5, 1.75)
KINDS = ("bow", "dash", "raise-up-left-hand", "walk-back", "wave-both-hands")  # of Bandai's
RECIPE = dataclasses.replace(learning.FRAMES, name="flow", learning_rate=2e-3)
REGRESSOR = learning.FRAMES
ROWS = ["gt-choice", "gt-0", "cpn-choice", "cpn-0", "gt-1", "cpn-1"]


def share_inside(samples: torch.Tensor, truth: torch.Tensor) -> float:
    """Percent of (N, J) true values within the central 80 % of (n, N, J) samples."""
    low, high = samples.quantile(torch.tensor([0.1, 0.9]), 0)
    return 100 * float(((low <= truth) & (truth <= high)).float().mean())


def choose(pose2d: str) -> None:
    """Measure each temperature on kinds of motion that a flow was trained without; writes a record."""
    clips = mocap3d.load_dataset("open-mocap", hold_out="recordings").train
    cmu = sorted({clip.recording for clip in clips if clip.source != "bandai"})[::4]
    kept, held = [], []
    for clip in clips:
        (held if clip.action in KINDS or clip.recording in cmu else kept).append(clip)
    models, seconds = train(pose2d, 0, dataclasses.replace(clips, clips=tuple(kept)))
    seen = dataclasses.replace(clips, clips=tuple(held))
    seen = seen if pose2d == "gt" else seen.with_detections(pose2d, seed=0)
    numbers = {}
    for temperature in TEMPERATURES:
        models[0].temperature = temperature
        numbers[str(temperature)] = mean_of(measure_sources(models, seen))
    records.write(
        f"flow-{pose2d}-choice", data="open-mocap", protocol=f"kinds held out of training, one frame in {EVERY}",
        seed=0, seconds=round(sum(seconds), 1), size=f"{RECIPE.steps} steps", numbers=numbers,
    )  # fmt: skip
    print(f"percent inside by temperature: { {key: values['inside'] for key, values in numbers.items()} }", flush=True)


def best_temperature(pose2d: str) -> float:
    """That whose interval held nearest to 80 % in `choose`."""
    if records.read(f"flow-{pose2d}-choice") is None:
        choose(pose2d)
    numbers = records.read(f"flow-{pose2d}-choice")["numbers"]
    return float(min(numbers, key=lambda temperature: abs(numbers[temperature]["inside"] - 80)))


@torch.no_grad()
def measure(flow: FlowLifter, regressor: torch.nn.Module, clips: mocap3d.data.dataset.PoseDataset) -> dict[str, float]:
    """Errors in mm, and coverage, of one source."""
    data = to_device(clips, "cpu")
    rows = torch.arange(0, len(data), EVERY)
    read = normalised(data, flow)
    truth = root_relative(read.pose3d[rows])  # (N, 17, 3), in the virtual cameras, where errors are as large
    poses = flow.samples_of(read.points2d[rows], SAMPLES)  # (n, N, 17, 3)
    regressor.eval()
    single = regressor.decode(regressor(regressor.encode(read.points2d[rows, None])))[:, 0]

    def error(pose: torch.Tensor) -> torch.Tensor:
        return 1000 * (pose - truth).norm(dim=-1).mean(-1)  # (..., N) mm

    joints = [joint for joint in range(17) if joint != ROOT]
    depth = poses[..., joints, 2]  # (n, N, 16)
    spread = poses.std(0).mean((0, 1))  # (3,)
    return {
        "inside": share_inside(depth, truth[:, joints, 2]),
        "mean": float(error(poses.mean(0)).mean()),
        "regressor": float(error(single).mean()),
        "one": float(error(poses[0]).mean()),
        "best": float(error(poses[:BEST_OF]).amin(0).mean()),
        "best_of_all": float(error(poses).amin(0).mean()),
        "spread_image": 1000 * float(spread[:2].mean()),
        "spread_depth": 1000 * float(spread[2]),
    }


def measure_sources(models: list[torch.nn.Module], clips: mocap3d.data.dataset.PoseDataset) -> dict[str, dict]:
    """`measure` by source, rounded."""
    of = {source: measure(*models, clips.select(source=source)) for source in clips.sources}
    return {source: {key: round(value, 2) for key, value in values.items()} for source, values in of.items()}


def mean_of(sources: dict[str, dict]) -> dict[str, float]:
    """Each source counts once."""
    keys = next(iter(sources.values()))
    return {key: round(sum(values[key] for values in sources.values()) / len(sources), 2) for key in keys}


def train(pose2d: str, seed: int, clips: mocap3d.data.dataset.PoseDataset) -> tuple[list[torch.nn.Module], list[float]]:
    """Flow and regressor, and the CPU seconds of each."""
    models, seconds = [], []
    for name, options, recipe, objective in (
        ("flow", {}, RECIPE, FlowMatching(draws=2)),
        ("simple_baseline", {"channels": 512, "dropout": 0.0625}, REGRESSOR, None),
    ):
        torch.manual_seed(seed)
        model = mocap3d.create_model(name, normalise="ray", **options)
        recipe = dataclasses.replace(recipe, detector=None if pose2d == "gt" else pose2d)
        started = time.process_time()
        mocap3d.fit(model, clips, recipe, seed=seed, keep="last", progress=False, objective=objective)
        models.append(model)
        seconds.append(time.process_time() - started)
    return models, seconds


def run(row: str) -> None:
    """Train and measure one row; writes its record."""
    pose2d, seed = row.split("-")
    if seed == "choice":
        return choose(pose2d)
    temperature = best_temperature(pose2d)
    dataset = mocap3d.load_dataset("open-mocap", hold_out="recordings")
    models, seconds = train(pose2d, int(seed), dataset.train)
    models[0].temperature = temperature
    seen = dataset if pose2d == "gt" else dataset.with_detections(pose2d, seed=0)
    new = measure_sources(models, seen.test)
    numbers = new | {"new": mean_of(new), "known": mean_of(measure_sources(models, seen.known))}
    sizes = " and ".join(f"{model.name} {sum(p.numel() for p in model.parameters()):,} parameters" for model in models)
    records.write(
        f"flow-{row}", data=seen.test.name, protocol=f"MPJPE in mm, root zeroed, one frame in {EVERY}, mean over "
        f"sources; {SAMPLES} samples, best of {BEST_OF} and of all", seed=int(seed), seconds=round(sum(seconds), 1),
        size=f"{sizes}, {RECIPE.steps} and {REGRESSOR.steps} steps, {seconds[0]:.0f} and {seconds[1]:.0f} CPU seconds, "
        f"temperature {temperature}",
        numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {numbers['new']}, {seconds} CPU s", flush=True)


def table() -> None:
    """Print the records."""
    head = ["2D", "seed", "column", "80 % interval holds", "mean of samples", "regressor", "one sample",
            f"best of {BEST_OF}", f"best of {SAMPLES}", "spread image", "spread depth"]  # fmt: skip
    keys = ("mean", "regressor", "one", "best", "best_of_all", "spread_image", "spread_depth")
    lines = []
    for row in ROWS:
        record = records.read(f"flow-{row}")
        for column, values in (record["numbers"] if record else {}).items():
            lines.append(
                [*row.split("-"), column, f"{values['inside']:.1f} %", *(f"{values[key]:.1f}" for key in keys)]
            )
    print("\n".join(text_table([head, *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "flow", run, table)
