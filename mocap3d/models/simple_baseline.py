"""SimpleBaseline3D: lift one frame of 2D joints to 3D with a small residual network.

Source: Martinez, Hossain, Romero, Little, "A simple yet effective baseline for 3d human pose estimation", ICCV 2017.

    2D joints, z-scored
      -> Layer: linear to 1024 channels, batch norm, ReLU, dropout
      -> Stage: x + Layer(Layer(x))          twice
      -> linear to 3 x 16 channels           = 3D joints without the pelvis, z-scored

There are two published forms, which differ little. "weigq", the common PyTorch port, takes 16 joints (all but the
nose), and its linear layers have a bias. "mmpose" takes all 17, and only the last layer has a bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mocap3d.arguments import check_arguments
from mocap3d.models.cpu import dropout, linear
from mocap3d.models.lifter import Normalise
from mocap3d.models.scaling import Scaling
from mocap3d.skeleton import H36M17, ROOT

JOINTS_OUT = tuple(i for i in range(len(H36M17)) if i != ROOT)
JOINTS_IN = {
    "weigq": tuple(i for i, joint in enumerate(H36M17.joints) if joint != "nose"),
    "mmpose": tuple(range(len(H36M17))),
}


class Layer(nn.Module):
    """Linear, batch norm, ReLU, dropout: the building block of the paper's figure 2."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(channels_in, channels_out, bias=bias)
        self.norm = nn.BatchNorm1d(channels_out)
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, C_in) -> (N, C_out)
        x = self.norm(linear(x, self.linear.weight, self.linear.bias))
        return dropout(F.relu(x, inplace=True), self.dropout, self.training)


class Stage(nn.Module):
    """Two layers with a skip connection around both; no activation after the sum."""

    def __init__(self, channels: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.first = Layer(channels, channels, dropout, bias)
        self.second = Layer(channels, channels, dropout, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, C) -> (N, C)
        return x + self.second(self.first(x))


class SimpleBaseline3D(nn.Module):
    """The network, and the statistics of its z-scored input and output.

    Args:
        form: "weigq" or "mmpose", see the module docstring.
        channels: width of every layer.
        stages: number of residual stages.
        dropout: probability of dropping a channel in training.
        normalise: how its 2D joints are given to it, see `Lifter`.
    Raises:
        ValueError: for an argument outside its range.
    Source: Martinez et al. 2017, section 3 and figure 2; the code of both ports for details the paper omits.
    """

    input_skeleton = "h36m17"
    receptive_field = 1  # frames
    clipwise = causal = checkpointing = False
    space = "metric"

    def __init__(
        self,
        form: str = "weigq",
        channels: int = 1024,
        stages: int = 2,
        dropout: float = 0.5,
        normalise: Normalise = "published",
    ) -> None:
        check_arguments(SimpleBaseline3D.__init__, locals())
        super().__init__()
        if form not in JOINTS_IN:
            raise ValueError(f"form={form!r}: there are two published forms; use 'weigq' or 'mmpose'")
        if channels < 1 or stages < 0:
            raise ValueError(f"channels={channels}, stages={stages}: need at least 1 channel and 0 stages")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout}: a probability of dropping must be at least 0 and below 1")
        self.form = form
        self.name = "simple_baseline" if form == "weigq" else "simple_baseline_mmpose"
        self.joints_in = JOINTS_IN[form]
        bias = form == "weigq"
        self.stem = Layer(2 * len(self.joints_in), channels, dropout, bias)
        self.stages = nn.ModuleList(Stage(channels, dropout, bias) for _ in range(stages))
        self.head = nn.Linear(channels, 3 * len(JOINTS_OUT))
        self.initialise()
        self.normalise = normalise
        self.scaling = Scaling(self.joints_in, JOINTS_OUT, together=normalise != "published")

    def initialise(self) -> None:
        """Draw new weights as the form's own code does; biases and the mmpose head keep torch's defaults."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and self.form == "weigq":
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.Linear) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The published network: (..., 2 J_in) joint by joint -> (..., 48) joint by joint, z-scores."""
        features = self.stem(x.reshape(-1, x.shape[-1]))  # (N, 2 J_in) -> (N, C); N joins batch and frames
        for stage in self.stages:
            features = stage(features)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round the pose
            features = features.to(self.head.weight.dtype)
            output = linear(features, self.head.weight, self.head.bias)  # (N, 48)
        return output.view(*x.shape[:-1], -1)  # (..., 48)

    def encode(self, points2d: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
        """Turn 2D joints into the network's input; each frame is lifted alone, so any T is allowed.

        Args:
            points2d: (B, T, 17, 2), screen coordinates, h36m17. A missing joint (NaN) takes its mean position.
            confidence: ignored.
        Returns:
            (B, T, 2 J_in), z-scores.
        """
        _check(points2d, 2)
        return self.scaling.encode(points2d).flatten(-2)  # (B, T, 2 J_in)

    def targets(self, pose3d: torch.Tensor) -> torch.Tensor:
        """Turn poses into training targets: (B, T, 17, 3) m, camera frame -> (B, T, 48) z-scores; NaN stays NaN."""
        _check(pose3d, 3)
        return self.scaling.targets(pose3d).flatten(-2)  # (B, T, 48)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """Turn network output into poses: (B, T, 48) z-scores -> (B, T, 17, 3) m, camera frame, pelvis at 0."""
        return self.scaling.decode(output)

    def fit_normalisation(self, points2d: torch.Tensor | np.ndarray, pose3d: torch.Tensor | np.ndarray) -> None:
        """Compute the means and standard deviations of training data, ignoring missing joints (NaN).

        Args:
            points2d: (N, 17, 2), screen coordinates, h36m17.
            pose3d: (N, 17, 3), m, camera frame, h36m17; the root is subtracted here.
        Raises:
            ValueError: for other shapes, or if a joint is missing in every frame.
        Source: Martinez et al. 2017, section 3.1 ("data preprocessing"); population standard deviation.
        """
        for values, size in ((points2d, 2), (pose3d, 3)):
            _check(torch.as_tensor(values), size)
        self.scaling.fit(points2d, pose3d)

    @property
    def normalisation(self) -> dict[str, torch.Tensor] | None:
        """For a checkpoint: "mean_2d", "std_2d" (J_in, 2) screen, "mean_3d", "std_3d" (16, 3) m; None if unset."""
        return self.scaling.statistics

    @normalisation.setter
    def normalisation(self, statistics: Mapping[str, torch.Tensor | np.ndarray]) -> None:
        self.scaling.statistics = statistics


def _check(points: torch.Tensor, size: int) -> None:
    if points.ndim < 3 or points.shape[-2:] != (len(H36M17), size):
        raise ValueError(
            f"got shape {tuple(points.shape)}; needs (..., 17, {size}) in h36m17, batch first: "
            "convert with mocap3d.skeleton.convert"
        )
