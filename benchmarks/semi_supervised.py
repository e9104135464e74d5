"""What unlabelled video is worth when a tenth, or a hundredth, of the recordings is labelled, on open-mocap.

    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/semi_supervised.py            trains what has no record yet
    MOCAP3D_DATA=data OMP_NUM_THREADS=1 python benchmarks/semi_supervised.py --table    prints the records

A row is percent-how-seed. That share of each source's recordings is labelled (one at least, others for each seed); the
rest are video: detected 2D and the camera, no 3D. VideoPose3D-27 of 128 channels, 1,500 steps of 64 labelled windows,
the same ones in the same order for all rows of one share and seed:

    sup     on the labelled recordings alone, screen units
    semi    the same, and a trajectory network; with 64 windows of video a step, bone lengths compared within a source
    ray     as sup, with the 2D read in a virtual camera that looks at the pelvis (normalise="ray")
    both    ray with video: each body is put where its joints lie nearest to their rays (least squares, no trajectory
            network), and its distance from its 2D, in heights of the person, and its bones are two more losses
    sup4, semi4, ray4    four times the steps: are there too few?

Simulated CPN detections, drawn once for each seed: a real detector's errors in a given video are what they are, too.
Columns as in benchmarks/learning.py; all weights are those of the last step.
"""

from __future__ import annotations

import dataclasses
import time
from functools import cache

import numpy as np
import records
import torch
from learning import FRAMES
from seeds import spread
from torch import nn

import mocap3d
from mocap3d.data.endless import InStep, endless_batches
from mocap3d.data.windows import Batch, normalised, to_device
from mocap3d.evaluation.report import text_table
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.normalise import centred_points, person_size
from mocap3d.skeleton import root_relative
from mocap3d.training.fit import supervised
from mocap3d.training.losses import bone_length, mpjpe
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, source_numbers, without_labels

RECIPE = dataclasses.replace(FRAMES, steps=1500, batch_size=64)
SEMI = SemiSupervised(warmup=0.05, same_source=True)
HOW = {10: ("sup", "semi", "ray", "both", "ray4"), 1: ("sup", "semi", "ray", "both", "sup4", "semi4", "ray4")}
ROWS = [f"{percent}-{how}-{seed}" for seed in range(3) for percent in HOW for how in HOW[percent]]


@cache
def data() -> mocap3d.PoseDataset:
    """Loaded once for all rows."""
    return mocap3d.load_dataset("open-mocap", hold_out="recordings")


@cache
def judged_on() -> mocap3d.PoseDataset:
    """The test columns, as the simulated detector sees them."""
    parts = dataclasses.replace(data(), clips=(*data().test, *data().known))
    return parts.with_detections("cpn", seed=0)


def split(dataset: mocap3d.PoseDataset, share: float, seed: int) -> tuple[mocap3d.PoseDataset, mocap3d.PoseDataset]:
    """A share of each source's recordings, and the others without 3D."""
    rng, chosen = np.random.default_rng(seed), set()
    for source in dataset.sources:
        recordings = sorted({clip.recording for clip in dataset if clip.source == source})
        chosen |= set(rng.permutation(recordings)[: max(round(share * len(recordings)), 1)])
    labelled = tuple(clip for clip in dataset if clip.recording in chosen)
    video = tuple(without_labels(clip) for clip in dataset if clip.recording not in chosen)
    return dataclasses.replace(dataset, clips=labelled), dataclasses.replace(dataset, clips=video)


class OnRays:
    """Training objective: labels as ever; bodies of the video land on their 2D and have labelled bones."""

    def __init__(self, labelled: mocap3d.PoseDataset, video: mocap3d.PoseDataset, model: nn.Module, seed: int) -> None:
        raw = to_device(video)
        intrinsics = torch.from_numpy(np.stack([clip.camera.screen_intrinsics()[:4] for clip in video]))
        self.film = normalised(raw, model)
        unscaled, _ = centred_points(raw.points2d, model.normalise, intrinsics[raw.clip])  # (N, 17, 2)
        self.size = person_size(unscaled) / person_size(self.film.points2d)  # (N,) of the person in each frame
        options = {"width": model.receptive_field, "seed": seed + 1000, "mirror": RECIPE.flip}
        options["balance"] = RECIPE.balance
        self.batches = InStep(lambda first: endless_batches(self.film, RECIPE.batch_size, first, **options))
        self.sources = source_numbers(labelled, video)

    def describe(self) -> dict:
        return {"unlabelled": self.film.digest()}

    def __call__(
        self, model: nn.Module, batch: Batch, recipe: mocap3d.Recipe, step: int = 1, steps: int = 1
    ) -> torch.Tensor:
        if step <= SEMI.warmup * steps:
            return supervised(model, batch, recipe)
        video, known = self.batches.at(step - 1), len(batch)
        points2d = torch.cat([batch.points2d, video.points2d])
        pose = model.decode(model(model.encode(points2d)))[:, 0]  # (B + B', 17, 3)
        size = self.size[video.frames][:, None, None]
        seen = video.points2d[:, model.receptive_field // 2]  # (B', 17, 2) in heights of the person
        body = placed(pose[known:], seen * size)
        off = body[..., :2] / body[..., 2:].clamp(min=0.5) / size - seen
        groups = tuple(of[part.frames] for of, part in zip(self.sources, (batch, video), strict=True))
        labels = mpjpe(pose[:known], root_relative(batch.pose3d)[:, 0])
        return labels + off.norm(dim=-1).mean() + bone_length(pose[:known], pose[known:], groups)


def placed(pose: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """Bodies where their joints lie nearest to rays (u, v, 1): (B, 17, 3) metres, (B, 17, 2) -> (B, 17, 3) metres."""
    factors = torch.cat([torch.eye(2).expand(*rays.shape, 2), -rays[..., None]], -1).flatten(1, 2)  # (B, 34, 3)
    wanted = (rays * pose[..., 2:] - pose[..., :2]).flatten(1)[..., None]  # (B, 34, 1)
    return pose + torch.linalg.solve(factors.mT @ factors, factors.mT @ wanted).mT


def run(row: str) -> None:
    """Train and evaluate one row; writes its record."""
    percent, how, seed = row.split("-")
    labelled, video = split(data().train, int(percent) / 100, int(seed))
    labelled = labelled.with_detections("cpn", seed=int(seed))
    video = video.with_detections("cpn", seed=int(seed)) if how in ("semi", "semi4", "both") else None
    recipe = dataclasses.replace(RECIPE, steps=4 * RECIPE.steps) if how.endswith("4") else RECIPE
    torch.manual_seed(int(seed))
    normalise = "ray" if how in ("ray", "both", "ray4") else "published"
    model = mocap3d.create_model("videopose3d_27", channels=128, dropout=0.0625, normalise=normalise)
    options, started = {"seed": int(seed), "keep": "last", "progress": False}, time.process_time()
    if how.startswith("semi"):
        model = PoseAndTrajectory(model)
        fit_semi_supervised(model, labelled, video, recipe, semi=SEMI, **options)
    else:
        objective = OnRays(labelled, video, model, int(seed)) if how == "both" else None
        mocap3d.fit(model, labelled, recipe, objective=objective, **options)
    seconds = time.process_time() - started
    test, known = (mocap3d.evaluate(model, part, "open-mocap") for part in (judged_on().test, judged_on().known))
    numbers = records.means(new=test, known=known)
    records.write(
        f"semi-supervised-{row}", data=test.digest, protocol=str(test.protocol), seed=int(seed), seconds=seconds,
        size=f"{model.name}, 128 channels, {recipe.steps} steps, {labelled.frames:,} labelled frames of "
        f"{len({clip.recording for clip in labelled})} recordings, CPU seconds of training",
        numbers=numbers,
    )  # fmt: skip
    print(f"{row}: {[numbers[column]['mpjpe_mm'] for column in numbers]}, {seconds:.0f} CPU s", flush=True)


def table() -> None:
    """Print mean and spread over seeds of what has records; MPJPE in mm, and P-MPJPE of new motion."""
    lines = []
    for percent, ways in HOW.items():
        for how in ways:
            found = [records.read(f"semi-supervised-{percent}-{how}-{seed}") for seed in range(3)]
            if found := [record for record in found if record]:
                columns = [("known", "mpjpe_mm"), ("known", "p_mpjpe_mm"), ("new", "mpjpe_mm"), ("new", "p_mpjpe_mm")]
                cells = [spread([record["numbers"][column][key] for record in found]) for column, key in columns]
                minutes = sum(record["seconds"] for record in found) / 60 / len(found)
                lines.append([f"{percent} %", how, *cells, str(len(found)), f"{minutes:.1f}"])
    heads = ["labelled", "how", "known", "P-MPJPE known", "new", "P-MPJPE new", "seeds", "CPU min"]
    print("\n".join(text_table([heads, *lines])))


if __name__ == "__main__":
    records.run_rows(__doc__, ROWS, "semi-supervised", run, table)
