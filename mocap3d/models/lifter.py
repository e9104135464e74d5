"""The contract between the library and a model: every attribute and method that the library uses.

`Lifter` lists them; every model here is a plain nn.Module that has them all. `as_lifter` wraps your own network:

    model = as_lifter(nn.Sequential(nn.Flatten(2), nn.Linear(34, 51), nn.Unflatten(2, (17, 3))))
    run = fit(model, dataset.train, "quick")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mocap3d.arguments import PositiveInt, check_arguments
from mocap3d.models.scaling import Scaling
from mocap3d.skeleton import H36M17, root_relative

Space = Literal["metric", "metric absolute", "image"]
Normalise = Literal["published", "root", "ray"]
JOINTS = len(H36M17)


@runtime_checkable
class Lifter(Protocol):
    """What the rest of the library may use of a model.

    Args:
        name: printed in reports and records.
        input_skeleton: skeleton of the 2D joints, "h36m17".
        receptive_field: R, the frames that one pose is computed from; for a clipwise model, its longest clip.
        clipwise: whether the model predicts a pose for every frame of a clip of 1 to R frames. Otherwise T frames give
            T - R + 1 poses.
        causal: whether the pose belongs to the last frame of its window instead of the middle one.
        checkpointing: whether activations are recomputed in the backward pass instead of stored. `fit` sets it.
        space: of the poses. "metric": metres in the camera frame, relative to the root; "metric absolute": the same
            at the predicted root position; "image": x and y on the screen, z the depth behind the root in the
            same unit, relative to the root (see `data.image_space`).
        normalise: how 2D joints are given to `encode`. "published": screen units; "root", "ray": relative to the pelvis
            and to the body's size, with "ray" in a virtual camera that looks at it (see `mocap3d.normalise`).
        normalisation: statistics of the training data by name, for a checkpoint; None if there are none (yet).
    """

    name: str
    input_skeleton: str
    receptive_field: int
    clipwise: bool
    causal: bool
    checkpointing: bool
    space: Space
    normalise: Normalise
    normalisation: Mapping[str, Tensor] | None

    def __call__(self, x: Tensor) -> Tensor:
        """Network input -> network output."""

    def encode(self, points2d: Tensor, confidence: Tensor | None = None) -> Tensor:
        """2D joints, (B, T, 17, 2) as `normalise` says, without NaN, and confidence (B, T, 17) -> network input.

        A model that does not use confidence ignores it; None means 1 everywhere.
        """

    def targets(self, pose3d: Tensor) -> Tensor:
        """Poses, (B, T, 17, 3) in the model's space (metres: absolute), NaN where unknown -> targets of the output."""

    def decode(self, output: Tensor) -> Tensor:
        """Network output -> poses, (B, T', 17, 3) in the model's space; not re-centred on the root."""

    def fit_normalisation(self, points2d: Tensor, pose3d: Tensor) -> None:
        """Compute the statistics of (N, 17, 2) input of `encode` and (N, 17, 3) poses; `fit` calls it once."""


class WrappedLifter(nn.Module):
    """A joints-to-joints network that fulfils the contract; created by `as_lifter`, which documents the arguments."""

    input_skeleton = "h36m17"
    causal = False
    checkpointing = False

    def __init__(
        self,
        module: nn.Module,
        frames: int,
        confidence: bool,
        space: Space,
        name: str,
        normalise: Normalise,
        scaled: bool,
    ) -> None:
        super().__init__()
        self.module, self.normalise = module, normalise
        self.scaling = Scaling() if scaled else None
        self.name, self.space, self.confidence = name, space, confidence
        self.receptive_field, self.clipwise = frames, frames > 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 17, 2 or 3) -> (B, T, 17, 3); the output shape is checked."""
        output = self.module(x)
        wanted = (*x.shape[:-1], 3)
        if not isinstance(output, Tensor) or output.shape != wanted:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"{self.name} was given {tuple(x.shape)} (B, T, joints, channels) and returned {found}; it must return "
                f"{wanted}: x, y and z of every joint in every frame"
            )
        return output

    def encode(self, points2d: Tensor, confidence: Tensor | None = None) -> Tensor:
        """(B, T, 17, 2) screen units -> the same or z-scores, or with confidence as a third channel."""
        if self.scaling:
            points2d = self.scaling.encode(points2d)
        if not self.confidence:
            return points2d
        if confidence is None:
            confidence = torch.ones_like(points2d[..., 0])
        return torch.cat([points2d, confidence[..., None].to(points2d)], -1)

    def targets(self, pose3d: Tensor) -> Tensor:
        """(B, T, 17, 3) in the model's space -> z-scores, or relative to the root unless the space is absolute."""
        if self.scaling:
            return self.scaling.targets(pose3d)
        return pose3d if self.space == "metric absolute" else root_relative(pose3d)

    def decode(self, output: Tensor) -> Tensor:
        """(B, T, 17, 3) -> the same in the model's space."""
        return self.scaling.decode(output.flatten(-2)) if self.scaling else output

    def fit_normalisation(self, points2d: Tensor, pose3d: Tensor) -> None:
        """Compute the statistics of the z-scores, if there are any."""
        if self.scaling:
            self.scaling.fit(points2d, pose3d)

    @property
    def normalisation(self) -> dict[str, Tensor] | None:
        """Statistics for a checkpoint, see `Scaling.statistics`."""
        return self.scaling.statistics if self.scaling else None

    @normalisation.setter
    def normalisation(self, statistics: Mapping[str, Tensor]) -> None:
        self.scaling.statistics = statistics


def as_lifter(
    module: nn.Module,
    *,
    frames: PositiveInt = 1,
    confidence: bool = False,
    space: Space = "metric",
    name: str | None = None,
    normalise: Normalise = "published",
    scaled: bool = False,
) -> WrappedLifter:
    """Wrap any network that maps joints to joints as a model that can be trained, evaluated and used for lifting.

    Args:
        module: maps (B, T, 17, 2), screen units on h36m17, to (B, T, 17, 3): a pose for every frame.
        frames: 1 for a network that lifts each frame alone (T = 1), else its longest clip (1 <= T <= frames).
        confidence: whether to pass the detector's confidence as a third channel, (B, T, 17, 3).
        space: of the output, see `Lifter`.
        name: printed name; by default the class name of the module.
        normalise: how the 2D joints are given to it, see `Lifter`; all but "published" need space="metric".
        scaled: give it z-scores, and read its output as z-scores, both by the statistics of the training data: numbers
            near 0 with a spread of about 1, in which networks learn fastest. False: scaling is left to the network.
    Returns:
        the module wrapped in a model that fulfils `Lifter`, with the same parameters.
    Raises:
        TypeError: if module is not an nn.Module.
        ValueError: for an invalid frames, space or normalise; later, if the module returns another shape.
    Source: own.
    """
    check_arguments(as_lifter, locals())
    if normalise != "published" and space != "metric":
        raise ValueError(f"normalise={normalise!r} needs space='metric', not {space!r}: the place in the image is lost")
    return WrappedLifter(module, frames, bool(confidence), space, name or type(module).__name__, normalise, scaled)


@contextmanager
def activation_checkpointing(model: Lifter) -> Iterator[None]:
    """Enable activation checkpointing; the model's setting is restored afterwards."""
    before, model.checkpointing = model.checkpointing, True
    try:
        yield
    finally:
        model.checkpointing = before
