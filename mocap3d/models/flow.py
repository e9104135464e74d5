"""FlowLifter: the set of poses that one picture leaves possible, by flow matching.

Source: Lipman, Chen, Ben-Hamu, Nickel, Le, "Flow Matching for Generative Modeling", ICLR 2023; the straight paths are
those of their section 4.1 with sigma_min = 0. The network is ours.

    noise z0, one number per coordinate of the pose; time t = 0
      -> t from 0 to 1 in a few steps: z <- z + dt * velocity(z, t | 2D joints)
      -> z1: one sample of the pose, z-scored. Other noise, another sample

The noise is a quarter as wide as the poses of all pictures, about as wide as those that one picture leaves possible:
wider noise would hide which of them z leads to until t is nearly 1, where a few steps and a small network learn little.

In training, z = (1 - t) noise + t pose, and the network predicts the pose, from which follows the velocity
(pose - z) / (1 - t). Many pairs of noise and pose lead through one z, so that it learns the mean pose of those that do.
At t = 0, z is noise and says nothing: the mean is that of all poses behind the picture, which is what a regressor
predicts, and a single step leads there from any noise. With several steps z comes nearer to some of these poses than to
others, and each noise ends at its own.

    run = mocap3d.fit(create_model("flow"), train, "quick", objective=FlowMatching())
    poses = run.model.sample(pose2d, 100)                          # (100, T, 17, 3) metres
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mocap3d.arguments import check_arguments
from mocap3d.camera import Camera, pixels_to_screen
from mocap3d.device import model_device, unwrapped
from mocap3d.models.lifter import Normalise
from mocap3d.models.scaling import EVERY, Scaling
from mocap3d.models.simple_baseline import JOINTS_OUT, Layer, Stage
from mocap3d.normalise import known_intrinsics, normalise_points
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17

POSE = 3 * len(JOINTS_OUT)  # numbers of a pose without its root
FREQUENCIES = 8  # of the sine and cosine that represent t
NOISE = 0.25  # standard deviation of the noise, z-scored; 1 held the truth less often (docs/RESULTS.md)
ROWS = 2**14  # poses in memory at once


class Block(nn.Module):
    """A residual block of the network that follows z, steered by the features of the 2D joints and the time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1, self.fc2 = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # (..., C) twice -> (..., C)
        return x + self.fc2(F.silu(self.fc1(self.norm(x) + context)))


class FlowLifter(nn.Module):
    """The network of single frames. As a lifter it predicts the mean of `samples` samples.

    A sample starts all frames of a clip from the same noise, so that it moves smoothly where the 2D does. For each
    frame alone the samples are what the picture leaves possible; their motion over time is not learned.

    Args:
        channels: of the part that reads the 2D joints, a SimpleBaseline3D without its head.
        flow_channels, depth: of the part that follows z, and its number of blocks.
        steps: from noise to pose, by Euler's method; with 1 every sample is the mean.
        temperature: scales the noise of the samples. A network is wrong by more on new motion than on the motion it
            was trained on; above 1 the set becomes wider, see benchmarks/flow.py on how to choose it.
        samples: whose mean is predicted.
        dropout: of the part that reads the 2D joints.
        normalise: how its 2D joints are given to it, see `Lifter`.
    Raises:
        ValueError: for an argument outside its range.
    Source: own; see the module docstring.
    """

    input_skeleton, name = "h36m17", "flow"
    receptive_field = 1  # frames
    clipwise = causal = checkpointing = False
    space = "metric"

    def __init__(
        self,
        channels: int = 512,
        flow_channels: int = 256,
        depth: int = 3,
        steps: int = 10,
        samples: int = 16,
        dropout: float = 0.0625,
        normalise: Normalise = "published",
        temperature: float = 1.0,
    ) -> None:
        check_arguments(FlowLifter.__init__, locals())
        super().__init__()
        if min(channels, flow_channels, depth, steps, samples) < 1:
            raise ValueError(
                f"channels={channels}, flow_channels={flow_channels}, depth={depth}, steps={steps}, "
                f"samples={samples}: each must be at least 1"
            )
        if temperature <= 0:
            raise ValueError(f"temperature={temperature}: must be above 0")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout}: a probability of dropping must be at least 0 and below 1")
        self.channels, self.flow_channels, self.steps, self.samples = channels, flow_channels, steps, samples
        self.dropout, self.normalise, self.temperature = dropout, normalise, float(temperature)
        self.stem = Layer(2 * len(H36M17), channels, dropout, bias=True)
        self.stages = nn.ModuleList(Stage(channels, dropout, bias=True) for _ in range(2))
        self.condition_in = nn.Linear(channels, flow_channels)
        self.time_in = nn.Linear(2 * FREQUENCIES, flow_channels)
        self.pose_in = nn.Linear(POSE, flow_channels)
        self.blocks = nn.ModuleList(Block(flow_channels) for _ in range(depth))
        self.head = nn.Linear(flow_channels, POSE)
        self.scaling = Scaling(EVERY, JOINTS_OUT, together=normalise != "published")

    def forward(self, x: Tensor) -> Tensor:
        """The mean of `samples` samples, the same noise in each call: (B, T, 34) z-scores -> (B, T, 48) z-scores."""
        if self.training and torch.is_grad_enabled():
            raise ValueError(
                "a flow does not learn by the error of its mean: train it by fit(..., objective=FlowMatching())"
            )
        return self.flow(x, draw_noise(self.samples, 0, x)).mean(0)

    def flow(self, x: Tensor, noise: Tensor) -> Tensor:
        """Carry noise to poses: (B, T, 34) and (n, 48) -> (n, B, T, 48), z-scores."""
        condition = self.condition(x)  # (B, T, V)
        z = self.temperature * noise[:, None, None].expand(-1, *x.shape[:-1], -1)
        for step in range(self.steps):
            pose = self.pose(z, x.new_full((1,), step / self.steps), condition)
            z = z + (pose - z) / (self.steps - step)  # dt / (1 - t) = 1 / (steps - step): the last step ends in a pose
        return z

    def condition(self, x: Tensor) -> Tensor:
        """Features of the 2D joints, computed once for all samples and steps: (..., 34) -> (..., V)."""
        features = self.stem(x.reshape(-1, x.shape[-1]))  # (N, 34) -> (N, C)
        for stage in self.stages:
            features = stage(features)
        return self.condition_in(features).unflatten(0, x.shape[:-1])

    def pose(self, z: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """The mean of the poses that z may lead to: (..., 48), (..., 1) in [0, 1), (..., V) -> (..., 48), z-scores."""
        angle = math.pi * time * torch.arange(1, FREQUENCIES + 1, device=z.device)
        context = condition + self.time_in(torch.cat([angle.sin(), angle.cos()], -1))
        features = self.pose_in(z)
        for block in self.blocks:
            features = block(features, context)
        return self.head(features)

    @torch.no_grad()
    def sample(self, pose2d: Pose2D, n: int = 100, seed: int = 0, camera: Camera | None = None) -> np.ndarray:
        """Draw poses that project onto the given 2D joints, as far as the network has learned.

        Args:
            pose2d: pixels, any known skeleton, T frames; without gaps.
            n: number of samples.
            seed: of the noise; the first samples of a larger n are the same.
            camera: that filmed it, see `lift`.
        Returns:
            (n, T, 17, 3) metres, camera frame, relative to the root; h36m17.
        Raises:
            ValueError: if a joint is missing.
        """
        points = torch.from_numpy(pose2d.convert("h36m17").points).to(model_device(self))
        if points.isnan().any():
            raise ValueError("pose2d has missing joints; fill them with mocap3d.missing.fill_missing before sampling")
        screen = pixels_to_screen(points, *pose2d.image_size)
        known = screen.new_tensor([known_intrinsics(pose2d.image_size, camera)])
        lengths = torch.tensor([len(screen)], device=screen.device)
        points, rotation = normalise_points(screen, lengths, self.normalise, intrinsics=known)
        poses = self.samples_of(points, n, seed)
        return (poses if rotation is None else poses @ rotation).cpu().numpy()

    @torch.no_grad()
    def samples_of(self, points2d: Tensor, n: int, seed: int = 0) -> Tensor:
        """`sample` of points as `normalise` says, (N, 17, 2) -> (n, N, 17, 3), in evaluation mode."""
        before = self.training
        self.eval()
        noise = draw_noise(n, seed, points2d)
        parts = [self.flow(self.encode(part[None]), noise)[:, 0] for part in points2d.split(max(ROWS // n, 1))]
        self.train(before)
        return self.decode(torch.cat(parts, 1))

    def encode(self, points2d: Tensor, confidence: Tensor | None = None) -> Tensor:
        """Turn 2D joints into the network's input: (B, T, 17, 2) h36m17 -> (B, T, 34); confidence is ignored."""
        return self.scaling.encode(points2d).flatten(-2)

    def targets(self, pose3d: Tensor) -> Tensor:
        """Turn poses into targets: (B, T, 17, 3) m, camera frame -> (B, T, 48) z-scores; NaN stays NaN."""
        return self.scaling.targets(pose3d).flatten(-2)

    def decode(self, output: Tensor) -> Tensor:
        """Turn network output into poses: (..., 48) z-scores -> (..., 17, 3) m, camera frame, pelvis at 0."""
        return self.scaling.decode(output)

    def fit_normalisation(self, points2d: Tensor, pose3d: Tensor) -> None:
        """Compute the statistics of (N, 17, 2) points and (N, 17, 3) poses."""
        self.scaling.fit(points2d, pose3d)

    @property
    def normalisation(self) -> dict[str, Tensor] | None:
        """Statistics for a checkpoint, see `Scaling.statistics`."""
        return self.scaling.statistics

    @normalisation.setter
    def normalisation(self, statistics: Mapping[str, Tensor]) -> None:
        self.scaling.statistics = statistics


class FlowMatching:
    """Training objective of a FlowLifter; `fit` calls it with every batch.

    Args:
        draws: pairs of noise and time for each pose of a batch. They share the costly part, which reads the 2D joints.
    Source: Lipman et al. 2023, equation 23 with sigma_min = 0, the mean squared error of the velocity, here weighted by
        (1 - t)^2: that of the pose. A small network cannot learn velocities near t = 1, where they grow without bound.
    """

    def __init__(self, draws: int = 4) -> None:
        self.draws = draws

    def __call__(self, model: nn.Module, batch: object, recipe: object, step: int = 1, steps: int = 1) -> Tensor:
        """The loss of a Batch; recipe and step are not used."""
        model = unwrapped(model)
        pose = model.targets(batch.pose3d).repeat(self.draws, 1, 1, 1)  # (K, B, T, 48)
        noise, time = NOISE * torch.randn_like(pose), torch.rand_like(pose[..., :1])
        known = ~pose.isnan()  # for an unknown coordinate z is noise, and its error does not count
        z = torch.where(known, noise + time * (pose - noise), noise)
        found = model.pose(z, time, model.condition(model.encode(batch.points2d)))
        return torch.where(known, found - pose, 0.0).square().sum() / known.sum().clamp_min(1)

    def describe(self) -> dict:
        """What determines the numbers of a run, for checkpoint and record."""
        return {"flow_matching": {"draws": self.draws}}


def draw_noise(n: int, seed: int, like: Tensor) -> Tensor:
    """(n, 48) normal noise, of the type and on the device of `like`, but the same numbers on every device."""
    return NOISE * torch.randn(n, POSE, generator=torch.Generator().manual_seed(seed)).to(like)
