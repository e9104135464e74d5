"""Pretraining: learn a representation of motion from any motion capture and from unlabelled 2D.

Source: Zhu et al. 2023, section 3.3. The network gets corrupted 2D (a detector's noise, joints and whole frames
masked) and predicts the 3D position of every joint, including masked ones. Any motion capture can be used for this,
because its 2D is obtained by projection. Later in the run 2D without labels is used as well: there the loss compares
the projected pose with it, each joint weighted by the detector's confidence. The network is then finetuned with `fit`
on the target poses.

    run = pretrain(model, synthetic.train, video)                    # recipe "motionbert_pretrain"
    run = fit(run.model, few_labelled_clips, "motionbert_finetune")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from mocap3d import metrics
from mocap3d.arguments import Device, Seed, check_arguments
from mocap3d.data.chunks import cut_chunks
from mocap3d.data.endless import InStep, endless_batches
from mocap3d.data.windows import Batch, DeviceDataset, described, normalised, to_device
from mocap3d.device import choose_device, unwrapped
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip, Pose2D
from mocap3d.skeleton import ROOT, root_relative
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.fit import fit, forward, supervised
from mocap3d.training.losses import weighted_2d
from mocap3d.training.recipe import Recipe, RecipeError, get_recipe
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import UNLABELLED_SEED, unlabelled_clips

DISTANCE = 5.0  # metres from camera to pelvis, assumed where a metric pose is projected to be compared with 2D


class Pretraining:
    """Training objective of pretraining; `fit` calls it with every batch of 3D.

    Args:
        video: the 2D-only part.
        chunks: (P, C) rows of `video`.
        after: share of the run that uses only 3D.
        weight: of the 2D loss.
        seed: of the run.
    """

    def __init__(self, video: DeviceDataset, chunks: Tensor, after: float, weight: float, seed: int) -> None:
        self.video, self.chunks, self.after, self.weight, self.seed = video, chunks, after, weight, seed
        self._batches: InStep | None = None

    def __call__(self, model: nn.Module, batch: Batch, recipe: Recipe, step: int = 1, steps: int = 1) -> Tensor:
        """The loss of step `step` of `steps`, counted from 1."""
        loss = supervised(model, batch, recipe)
        if step <= self.after * steps:
            return loss
        if self._batches is None:
            self._batches = InStep(
                lambda first: endless_batches(
                    self.video,
                    recipe.batch_size,
                    first,
                    chunks=self.chunks,
                    seed=self.seed + UNLABELLED_SEED,
                    mirror=recipe.flip,
                    confidence=True,
                )
            )
        return loss + self.weight * seen_in_2d(model, self._batches.at(step - 1), recipe)

    def describe(self) -> dict:
        """Everything here that determines a run's numbers, for checkpoint and record."""
        return {
            "pretraining": {"after": self.after, "weight": self.weight},
            "unlabelled": {
                "name": self.video.name,
                "clips": len(self.video.clips),
                "frames": len(self.video),
                "digest": self.video.digest(),
            },
        }


def seen_in_2d(model: nn.Module, video: Batch, recipe: Recipe) -> Tensor:
    """The loss for 2D without 3D: a scalar, in the unit of the 2D.

    Args:
        model: of image space, whose x and y are compared as they are; or metric with normalise="ray", whose pose is
            projected from `DISTANCE` and scaled to fit. In training mode.
        video: B clips with confidence; filled joints have confidence 0 and are ignored.
        recipe: defines masks and precision.
    Source: Zhu et al. 2023, equation 6, for image space; own for metric poses.
    """
    root_seen = video.confidence[..., [ROOT]] > 0  # no joint can be relative to a root that was not detected
    pose, seen = unwrapped(model).decode(forward(model, video, recipe)), root_relative(video.points2d)
    confidence = video.confidence * root_seen
    if unwrapped(model).space != "image":
        pose = DISTANCE * pose[..., :2] / (DISTANCE + pose[..., 2:]).clamp_min(1)
        pose = metrics.best_scale(pose, seen, confidence > 0)  # video does not show how large or how far away they are
    return weighted_2d(pose, seen, confidence)


def pretrain(
    model: Lifter,
    train: Iterable[Clip],
    video: Iterable[Clip | Pose2D],
    recipe: Recipe | str = "motionbert_pretrain",
    validation: Iterable[Clip] | None = None,
    *,
    after: float = 1 / 3,
    weight: float = 1.0,
    device: Device | None = None,
    seed: Seed = 0,
    **options: object,
) -> Run:
    """Pretrain on clips with 3D and, after a given share of the run, also on 2D video. Without video, same as `fit`.

    Args:
        model: a MotionBERT that predicts image space, or was made with normalise="ray"; trained in place.
        train: clips with 3D; with the recipe's detector their 2D is the projected truth plus new noise each epoch.
        video: clips whose 3D is ignored, or Pose2D from a detector. Where no camera is known,
            image space needs none, and for normalise="ray" a field of view is assumed.
        recipe: same as in `fit`. Every step uses `batch_size` clips of each kind, cut alike.
        validation: same as in `fit`.
        after: share of the run, in [0, 1), that uses only 3D; published: 30 of 90 epochs.
        weight: of the 2D loss; published: 1.
        device, seed: same as in `fit`.
        options: out, resume, progress, keep, callback, ... same as in `fit`.
    Returns:
        Run, same as in `fit`; `run.record["unlabelled"]` names the video.
    Raises:
        TrainingError, CheckpointError, RecipeError: same as in `fit`, and for video that cannot be used.
    Source: Zhu et al. 2023, section 3.3. There epochs of 2D and of 3D alternate; here each step uses both.
    """
    check_arguments(pretrain, locals() | {"model": unwrapped(model)})
    lifter = unwrapped(model)
    if not (lifter.clipwise and (lifter.space == "image" or lifter.normalise == "ray")):
        raise TrainingError(
            f"pretraining compares poses with 2D: {lifter.name} is neither a MotionBERT of image space nor one made "
            "with normalise='ray'"
        )
    if not 0 <= after < 1:
        raise RecipeError(f"after={after!r}: give a share of the run, in [0, 1)")
    if not 0 <= weight < float("inf"):
        raise RecipeError(f"weight={weight!r}: give 0 or above")
    device, (name, clips, _) = choose_device(device), described(video, "video")
    clips = unlabelled_clips(clips)
    if sum(map(len, clips)) < 2:
        raise TrainingError(
            f"the video {name!r} holds {sum(map(len, clips))} frames; give two or more, or train with `fit`, which "
            "needs none"
        )
    data, recipe = replace(normalised(to_device(clips, device), lifter), name=name), get_recipe(recipe)
    frames = recipe.clip_frames or lifter.receptive_field
    chunks = cut_chunks(data, frames, (frames - 1) * recipe.clip_step + 1, recipe.clip_step)
    if len(chunks) == 1:
        chunks = chunks.repeat(2, 1)  # an epoch skips a batch of one
    objective = Pretraining(data, chunks, after, weight, seed)
    return fit(model, train, recipe, validation, device, seed=seed, objective=objective, **options)
