"""Sealed room: the open benchmark, version 2: lifting, measured on motion that anyone can have. `run` and `table`.

Promised: what is trained and measured on depends on nothing but the version. The 2D is detected (simulated CPN, in
training anew each epoch), and a model is measured with the weights of its last step. Each column asks one question:

    person       unseen persons, seen kinds of motion, cameras of Human3.6M's test subjects: walks and runs of CMU 02,
                 walks of CMU 07, both on a skeleton that is in training. 2 persons
    motion       unseen kinds of motion, the same cameras: Bandai's held-out contents (up to 3 persons, in training with
                 other motion), the playground of CMU 01, the other recordings of CMU 02
    phones       `phone-v1`: cameras and detections as `lift` meets them; of its three sources one has the skeleton, one
                 the motion that is not in training. Up to 5 persons
    skeleton     a skeleton that is not in training: CMU 02 as ASF/AMC. 1 person
    development  new recordings of known motion, for choices: it asks nothing. Up to 4 persons

The columns "motion" and "person" hold the performances of "skeleton" on the skeleton of training, so that the
difference is the skeleton's. Recordings named cmu-cc-001 and cmu-cc-002 were in no table and no choice before this
version (their performances were, on the other skeleton); all others are those of earlier tables. Training has Bandai
and CMU 05 without "development". Columns are means over sources, each the mean of its frames; MPJPE in mm, but P-MPJPE
for "phones", where neither size nor camera is known.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mocap3d import metrics
from mocap3d.bench import records
from mocap3d.bench.training import APART, CONSECUTIVE, SMALL, WINDOWS
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.loading import load_dataset
from mocap3d.evaluation.baselines import MeanPose, NearestNeighbour
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.report import html_table, text_table
from mocap3d.lifting.lift import lift
from mocap3d.models.create import create_model, list_models
from mocap3d.poses import Clip
from mocap3d.skeleton import root_relative
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from mocap3d.weights import load_shipped

NAME, VERSION = "open benchmark, version 2", 2  # raise it when anything below changes a number
RANKED = {"person": "mpjpe_mm", "motion": "mpjpe_mm", "phones": "p_mpjpe_mm", "skeleton": "mpjpe_mm"}
COLUMNS = (*RANKED, "development")
RUNS = Path("runs/open-benchmark")  # where records go, unless told otherwise
BASELINES = {"mean_pose": MeanPose, "nearest_neighbour": NearestNeighbour}
PRETRAINED = "motionbert_tiny_pretrained"  # motionbert_tiny that starts from the weights in the package
NAMES = (*BASELINES, *list_models(), PRETRAINED)
REFERENCE = "simple_baseline"  # what gains are measured over
SEEN = ("walk", "run")  # actions of CMU 02 that are in training
STEPS = 1 / 2  # of those of benchmarks/learning.py
RECIPES = {
    clipwise: tuple(replace(recipe, steps=round(STEPS * recipe.steps), detector="cpn") for recipe in recipes)
    for clipwise, recipes in {False: [WINDOWS], True: [APART, CONSECUTIVE]}.items()
}
NOTES = (
    "Sorted by the mean of the four columns that are not for development, where settings are chosen.",
    "± is the standard deviation over seeds; intervals: bootstrap over seeds and, within each source, recordings.",
    "A test set of up to 5 persons says nothing about people at large.",
    f"{PRETRAINED}: its weights come from built-in motion and the 2D, without 3D, of CMU 01 and 05.",
)


class OpenBenchmarkError(ValueError):
    """A row that is unknown or cannot be made; the message states the reason."""


def part_of(clip: Clip) -> str | None:
    """The part of the benchmark a clip of open-mocap (hold_out="recordings") belongs to: "train", a column, or None."""
    if clip.source == "cmu-asfamc-01":  # the left-out skeleton; its performances are in "motion"
        return None
    if clip.split != "test" and clip.split != "check":
        return {"train": "train", "known": "development"}[clip.split]
    if clip.source == "cmu-asfamc-02":
        return "skeleton"
    seen = clip.source == "cmu-cc-007" or clip.source == "cmu-cc-002" and clip.action in SEEN
    return "person" if seen else "motion"


@cache
def load(root: str | Path | None = None) -> dict[str, PoseDataset]:
    """ "train" with true 2D, and the columns with detections, by name; `root` as in `load_dataset`."""
    real = load_dataset("open-mocap", root, hold_out="recordings")
    clips: dict[str, list] = {}
    for clip in real:
        clips.setdefault(part_of(clip), []).append(clip)
    if missing := [part for part in ("train", *COLUMNS) if part != "phones" and part not in clips]:
        raise OpenBenchmarkError(f"no recording for {', '.join(missing)}: run data_scripts/fetch_open_mocap.py again")
    parts = {part: replace(real, clips=tuple(some)) for part, some in clips.items() if part}
    parts["development"] = replace(real, clips=parts["development"].clips[::3])  # of the four cameras, in turn
    seen = {part: some if part == "train" else some.with_detections("cpn", seed=0) for part, some in parts.items()}
    return seen | {"phones": load_dataset("open-mocap", root, cameras="phone-v1")}


def make(name: str) -> nn.Module:
    """A model of the benchmark, before training."""
    if name in BASELINES:
        return BASELINES[name]()
    if name not in NAMES:
        raise OpenBenchmarkError(f"no model {name!r}; there are: {', '.join(NAMES)}")
    metric = {"image_space": False} if name.startswith("motionbert") else {}
    options = SMALL.get(name.removesuffix("_pretrained"), {"normalise": "ray"} | metric)
    if name != PRETRAINED:
        return create_model(name, **options)
    model, weights = create_model("motionbert_tiny", **options), load_shipped("pretrained").state_dict()
    weights["frame_embedding"] = weights["frame_embedding"][:, : model.receptive_field]
    model.load_state_dict({key: value for key, value in weights.items() if not key.startswith("head")}, strict=False)
    return model  # the head is new: it predicts metres, the pretrained one image space


def run(
    name: str, seed: int = 0, minutes: float | None = None, out: str | Path = RUNS,
    root: str | Path | None = None, device: torch.device | str | None = None, progress: bool = True,
) -> dict:  # fmt: skip
    """Train and measure one model; one that has a record is not repeated.

    Args:
        name: of `list_models()`, or "mean_pose", "nearest_neighbour", "motionbert_tiny_pretrained".
        seed: of weights and frame order.
        minutes: of training, in place of the recipes' steps.
        out: folder of the record.
        root: folder of the data; by default MOCAP3D_DATA.
        device, progress: see `fit`.
    Returns:
        the record.
    Raises:
        OpenBenchmarkError, DatasetError: for an unknown model, or without the data.
        KeyboardInterrupt: after Ctrl-C; nothing is kept.
    """
    torch.manual_seed(seed)
    model, title = make(name), title_of(name, seed, minutes)
    if (done := records.read(out, title)) is not None:
        return done
    data, started = load(root), time.process_time()
    if name in BASELINES:
        model.fit(data["train"].with_detections("cpn", seed=0))
        recipes: Sequence[Recipe] = ()
    else:
        recipes = RECIPES[model.clipwise]
    steps = []
    for recipe in recipes:
        if minutes is not None:
            part = minutes * recipe.steps / sum(each.steps for each in recipes)
            recipe = replace(recipe, steps=None, minutes=part)
        done = fit(model, data["train"], recipe, device=device, seed=seed, keep="last", progress=progress)
        if done.interrupted:
            raise KeyboardInterrupt
        steps.append(done.record["steps"])
    seconds = time.process_time() - started
    size = sum(parameter.numel() for parameter in model.parameters())
    reports = {column: evaluate(model, data[column], "open-mocap") for column in COLUMNS if column != "phones"}
    records.write(
        out, title, data=", ".join(f"{column} {report.digest}" for column, report in reports.items()), seed=seed,
        protocol=f"{NAME}; {reports['person'].protocol}", seconds=seconds,
        size=f"{size:,} parameters, {' then '.join(map(str, steps)) or 'no'} steps, CPU seconds of training",
        numbers=records.means(**reports) | {"phones": lifted(model, data["phones"])}, model=name, minutes=minutes,
    )  # fmt: skip
    return records.read(out, title)


def title_of(name: str, seed: int, minutes: float | None = None) -> str:
    """The name of a record."""
    length = "" if minutes is None else f"-{minutes:g}min"
    return f"open-benchmark-{VERSION}-{name}{length}-{seed}"


def lifted(model: nn.Module, clips: PoseDataset) -> dict:
    """P-MPJPE in mm of what `lift` makes of keypoints: the mean over sources, and by recording."""
    found: dict[str, dict[str, list]] = {}
    for clip in clips:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inversions and gaps, which are part of the test
            pose = root_relative(lift(clip.pose2d, model).points.astype(np.float64))
        kept = np.isfinite(pose).all((1, 2))
        truth = root_relative(clip.pose3d.points.astype(np.float64))
        error = 1000 * metrics.p_mpjpe(pose[kept], truth[kept])
        found.setdefault(clip.source, {}).setdefault(clip.take.partition(":")[0], []).append((len(clip), error))
    recordings = {
        source: {take: np.average(views, axis=0).round(2).tolist() for take, views in takes.items()}
        for source, takes in found.items()
    }
    means = [np.average([e for _, e in r.values()], weights=[w for w, _ in r.values()]) for r in recordings.values()]
    return {"p_mpjpe_mm": round(float(np.mean(means)), 2), "recordings": recordings}


@dataclass(frozen=True, repr=False)
class OpenTable:
    """Rows of the benchmark as text and as HTML; see `table`.

    Args:
        rows: name -> records of its seeds, the best first.
    """

    rows: dict[str, list[dict]]

    @property
    def errors(self) -> list[list[str]]:
        """Mean and spread over seeds: MPJPE / P-MPJPE in mm; "phones" has P-MPJPE alone."""
        lines = [["mm MPJPE / P-MPJPE", *COLUMNS, "seeds", "CPU min"]]
        for name, found in self.rows.items():
            cells = []
            for column in COLUMNS:
                keys = [key for key in ("mpjpe_mm", "p_mpjpe_mm") if key in found[0]["numbers"][column]]
                cells.append(" / ".join(_spread([record["numbers"][column][key] for record in found]) for key in keys))
            minutes = np.mean([record["seconds"] for record in found]) / 60
            lines.append([name, *cells, str(len(found)), f"{minutes:.1f}"])
        return lines

    @property
    def gains(self) -> list[list[str]]:
        """Gain over `REFERENCE` in the ranked metric, mm with its 95 % interval, over the seeds that both have."""
        lines = [[f"mm better than {REFERENCE}", *COLUMNS, "seeds"]]
        reference = {record["seed"]: record for record in self.rows.get(REFERENCE, ())}
        for name, found in self.rows.items():
            paired = [record for record in found if record["seed"] in reference]
            if name == REFERENCE or not paired:
                continue
            arms = [reference[record["seed"]] for record in paired], paired
            cells = [
                f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]"
                for gain, low, high in (records.effect(*arms, column) for column in COLUMNS)
            ]
            lines.append([name, *cells, str(len(paired))])
        return lines

    def __repr__(self) -> str:
        if not self.rows:
            return f"{NAME}: no records yet"
        return "\n".join([NAME, *text_table(self.errors), "", *text_table(self.gains), "", *NOTES])

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{self!r}</p>"
        return (
            f"<p>{NAME}</p>{html_table(self.errors)}{html_table(self.gains)}<p><small>{'<br>'.join(NOTES)}</small></p>"
        )


def table(out: str | Path = RUNS) -> OpenTable:
    """The records of a folder, sorted by the mean of the four ranked columns."""
    found: dict[str, list[dict]] = {}
    for path in sorted(Path(out).glob(f"open-benchmark-{VERSION}-*.json")):
        record = records.read(out, path.stem)
        length = "" if record["minutes"] is None else f", {record['minutes']:g} min"
        found.setdefault(record["model"] + length, []).append(record)
    ranks = {
        name: np.mean([record["numbers"][column][key] for record in some for column, key in RANKED.items()])
        for name, some in found.items()
    }
    return OpenTable({name: found[name] for name in sorted(found, key=ranks.get)})


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")
