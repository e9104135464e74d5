"""Pretraining: learn a representation of motion from any motion capture and from unlabelled 2D.

Source: Zhu et al. 2023, section 3.3. The network gets corrupted 2D (a detector's noise, joints and whole frames
masked) and predicts the 3D position of every joint, including masked ones. Any motion capture can be used for this,
because its 2D is obtained by projection. Later in the run 2D without labels is used as well: there the loss covers only
x and y, each joint weighted by the detector's confidence. The network is then finetuned with `fit` on the target poses.

    run = pretrain(model, synthetic.train, video)                    # recipe "motionbert_pretrain"
    run = fit(run.model, few_labelled_clips, "motionbert_finetune")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from mocap3d.arguments import Device, Seed, check_arguments
from mocap3d.data.chunks import cut_chunks
from mocap3d.data.endless import InStep, endless_batches
from mocap3d.data.windows import Batch, DeviceDataset, described, to_device
from mocap3d.device import choose_device, unwrapped
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip, Pose2D
from mocap3d.skeleton import ROOT, root_relative
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.fit import fit, forward, supervised
from mocap3d.training.losses import weighted_2d
from mocap3d.training.recipe import Recipe, RecipeError
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import UNLABELLED_SEED, unlabelled_clips


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
    """The loss for 2D without 3D: a scalar, screen units.

    Args:
        model: predicts image space; in training mode.
        video: B clips with confidence; filled joints have confidence 0 and are ignored.
        recipe: defines masks and precision.
    """
    root_seen = video.confidence[..., [ROOT]] > 0  # no joint can be relative to a root that was not detected
    return weighted_2d(forward(model, video, recipe), root_relative(video.points2d), video.confidence * root_seen)


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
        model: a MotionBERT that predicts image space; trained in place.
        train: clips with 3D; with the recipe's detector their 2D is the projected truth plus new noise each epoch.
        video: clips whose 3D is ignored, or Pose2D from a detector. No camera is needed.
        recipe: same as in `fit`. Every step uses `batch_size` clips of each kind.
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
    if not (lifter.clipwise and lifter.space == "image"):
        raise TrainingError(
            f"pretraining compares x and y in the image: it needs a MotionBERT of image space, not {lifter.name}"
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
    data = replace(to_device(clips, device), name=name)
    chunks = cut_chunks(data, lifter.receptive_field, lifter.receptive_field)
    if len(chunks) == 1:
        chunks = chunks.repeat(2, 1)  # an epoch skips a batch of one
    objective = Pretraining(data, chunks, after, weight, seed)
    return fit(model, train, recipe, validation, device, seed=seed, objective=objective, **options)
