"""Lift one frame at a time: a causal VideoPose3D that computes, for each new frame, nothing twice.

Of everything the network computed for earlier frames, the next pose needs only what its kernels still reach. Each
layer keeps that in a ring: a new frame overwrites the oldest. So a frame costs one column of every convolution,
whatever the receptive field, and mostly the time to read the weights once.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mocap3d.missing import fill_next
from mocap3d.normalise import centred_points, person_size, sampled_frames, scaled_points, usual_size
from mocap3d.skeleton import H36M17

PIXELS = 20.0  # no joint is so many half widths of the image away from its middle: these are no screen units


class Column:
    """One layer at one frame: its weights with the batch norm inside, and the frames its kernel still reaches."""

    def __init__(self, layer: nn.Module) -> None:
        norm = layer.norm
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        self.weight = (layer.weight * scale[:, None, None]).flatten(1)  # (C_out, w, C_in) -> (C_out, w C_in)
        self.bias = norm.bias - norm.running_mean * scale
        self.width, self.dilation = layer.weight.shape[1], layer.dilation
        self.ring: torch.Tensor | None = None  # (B, frames, C_in)
        self.oldest = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (B, C_in) -> (B, C_out)
        if self.width > 1:
            if self.ring is None:  # as if the first frame had always been there
                self.ring = x[:, None].repeat(1, (self.width - 1) * self.dilation + 1, 1)
            frames = self.ring.shape[1]
            self.ring[:, self.oldest] = x
            self.oldest = (self.oldest + 1) % frames
            taps = [(self.oldest + k * self.dilation) % frames for k in range(self.width)]
            x = torch.cat([self.ring[:, tap] for tap in taps], 1)  # (B, w C_in), oldest first
        return F.relu_(F.linear(x, self.weight, self.bias))


class Stream:
    """Frames in, poses out, one by one; equal to lifting the whole sequence up to rounding.

    Args:
        model: a causal VideoPose3D. Its weights are copied: training it further changes nothing here.
        intrinsics: focal lengths (2) and principal point (2) in screen units, for a model with normalise="ray"; by
            default `assumed_intrinsics` of a landscape image.
    Source: own; beyond its beginning a sequence is continued by its first frame, as Pavllo et al. 2019 do.
    """

    def __init__(self, model: nn.Module, intrinsics: Sequence[float] | None = None) -> None:
        self._intrinsics = None if intrinsics is None else torch.tensor([[*intrinsics]])
        self._normalise, self._scaling = model.normalise, copy.deepcopy(model.scaling)
        self._confidence = model.confidence
        self._sampled = model.receptive_field - 1 + sampled_frames(model.receptive_field, causal=True)
        with torch.no_grad():
            self._stem = Column(model.stem)
            self._blocks = [(Column(block.first), Column(block.second)) for block in model.blocks]
            self._head = model.head.weight.clone(), model.head.bias.clone()
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one is the first of another sequence."""
        self._last: torch.Tensor | None = None  # (B, 17, 2), the frame before, with no joint missing
        self._sizes: torch.Tensor | None = None  # (B, R) of each person in the last R frames
        for column in (self._stem, *(column for block in self._blocks for column in block)):
            column.ring, column.oldest = None, 0

    def _normalised(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`normalise_points` for the next frame, (B, 17, 2), whose clip is known up to here."""
        intrinsics = None if self._intrinsics is None else self._intrinsics.to(frame)
        points, rotation = centred_points(frame, self._normalise, intrinsics)
        size = person_size(points)[:, None]  # (B, 1)
        if self._sizes is None:
            self._sizes = size.repeat(1, int(self._sampled[-1]) + 1)
        self._sizes = torch.cat([self._sizes[:, 1:], size], 1)
        return self._scaling.encode(scaled_points(points, usual_size(self._sizes[:, self._sampled]))), rotation

    @torch.no_grad()
    def __call__(
        self, points2d: torch.Tensor | np.ndarray, confidence: torch.Tensor | np.ndarray | None = None
    ) -> torch.Tensor:
        """Lift the next frame.

        Args:
            points2d: (17, 2), or (B, 17, 2) for B persons at once; screen coordinates, h36m17. A missing joint (NaN)
                is filled from this and earlier frames (`fill_missing`); of an empty frame the one before is taken.
            confidence: (17,) or (B, 17), for a model that uses it; by default 1 for every joint that is not missing.
        Returns:
            (17, 3) or (B, 17, 3) m, camera frame, relative to the root; of a trajectory model (1, 3), the root.
        Raises:
            ValueError: for another shape, or another number of persons than in the frame before.
        """
        weight, bias = self._head
        points = torch.as_tensor(points2d).to(weight)
        if points.ndim not in (2, 3) or points.shape[-2:] != (len(H36M17), 2):
            raise ValueError(
                f"got shape {tuple(points.shape)}; needs one frame, (17, 2) or (B, 17, 2), in h36m17: "
                "convert with mocap3d.skeleton.convert"
            )
        frame = points.reshape(-1, len(H36M17), 2)  # (B, 17, 2)
        if self._last is not None and len(frame) != len(self._last):
            raise ValueError(
                f"got {len(frame)} persons after {len(self._last)}; call reset() to begin another sequence"
            )
        if self._last is None and (reach := float(frame.nan_to_num().abs().max())) > PIXELS:
            text = "take mocap3d.pixels_to_screen, or KeypointStream, which is given pixels"
            warnings.warn(f"points reach {reach:.0f} in an image that runs from -1 to 1: {text}", stacklevel=2)
        seen = frame.isfinite().all(-1).to(frame)  # (B, 17)
        if confidence is not None:
            seen = seen * torch.as_tensor(confidence).to(frame).view_as(seen)
        self._last = frame = fill_next(self._last, frame)
        rotation = None
        if self._normalise != "published":
            frame, rotation = self._normalised(frame)
        if self._confidence:
            frame = torch.cat([frame, seen[..., None]], -1)
        x = self._stem(frame.flatten(1))  # (B, 34) -> (B, C)
        for first, second in self._blocks:
            x = x + second(first(x))
        pose = F.linear(x, weight, bias)  # (B, 3 J)
        pose = self._scaling.decode(pose) if self._scaling else pose.unflatten(-1, (-1, 3))
        return (pose if rotation is None else pose @ rotation).view(*points.shape[:-2], -1, 3)
