"""What a recipe makes of the clips before batches are drawn: simulated detections, new films, chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from mocap3d.data.chunks import cut_chunks
from mocap3d.data.detector import detect_tensor
from mocap3d.data.filming import Motion, film_anew, motion_on_device
from mocap3d.data.windows import DeviceDataset
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip
from mocap3d.training.recipe import Recipe


class TrainingError(RuntimeError):
    """Training that cannot start or continue."""


def add_detector_noise(data: DeviceDataset, detector: str, seed: int, epoch: int) -> DeviceDataset:
    """The data with simulated detections, which differ in every epoch."""
    generator = torch.Generator(data.device).manual_seed(1_000_003 * seed + epoch)
    points, confidence = detect_tensor(data.points2d, data.clip, data.clips[0].pose2d.fps, detector, generator)
    confidence = confidence.where(data.confidence > 0, 0)  # a joint that was filled in stays missing
    return replace(data, points2d=points, confidence=confidence)


def motion_of(model: Lifter, clips: Iterable[Clip], device: torch.device) -> Motion:
    """What is filmed anew for a model; raises TrainingError for one whose space depends on the clips' own cameras."""
    if model.space == "image":
        raise TrainingError(
            f"{model.name} predicts in image space, which needs the cameras of the clips; set the recipe's cameras to "
            "None, or make it with image_space=False"
        )
    return motion_on_device(clips, device)


def film_for(recipe: Recipe, motion: Motion, seed: int, epoch: int) -> DeviceDataset:
    """The recipe's film of an epoch, counted from 1."""
    return _film(motion, recipe.detector, recipe.bodies, seed, 1 + (epoch - 1) // recipe.refilm)


_film = lru_cache(maxsize=1)(film_anew)  # epochs that share a film do not make it again


def chunks_of(model: Lifter, data: DeviceDataset, recipe: Recipe) -> Tensor:
    """(P, C) the examples of a model that lifts whole clips."""
    frames = recipe.clip_frames or model.receptive_field
    extent = (frames - 1) * recipe.clip_step + 1
    return cut_chunks(data, frames, min(recipe.clip_stride or -(-extent // 3), extent), recipe.clip_step)
