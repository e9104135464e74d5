"""PoseFormerV2: lift the middle frame of a window from a few frames in full and the low frequencies of all.

Source: Zhao, Zheng, Liu, Wang, Chen, "PoseFormerV2: Exploring Frequency Domain for Efficient and Robust 3D Human Pose
Estimation", CVPR 2023.

    2D joints of R frames
      time:       the f frames in the middle; in each, a spatial transformer whose tokens are the joints
                    -> all joints of a frame, concatenated, are one token: f tokens
      frequency:  the cosine transform of each coordinate over all R frames; its n lowest coefficients
                    -> each coefficient of all joints is one token: n tokens
      -> fusion layers: attention between all n + f tokens, then a perceptron for the first half of the tokens, and for
         the second half the same in the frequency domain ("FreqMLP")
      -> a learned weighted mean of the n tokens, and one of the f tokens
      -> layer norm, linear                       = 3D joints of the middle frame, metres, relative to the root

A window costs the same for any R: a longer one only has lower frequencies. High frequencies, where a detector's noise
is, never enter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from mocap3d.arguments import check_arguments
from mocap3d.models.cpu import linear, linear_gelu
from mocap3d.models.lifter import Normalise
from mocap3d.models.motionbert import EPS, Attention, Layer, drop_path
from mocap3d.models.scaling import Scaling
from mocap3d.skeleton import H36M17, root_relative

JOINTS = len(H36M17)
MLP_RATIO = 2  # hidden channels of every perceptron, as a multiple of its input, as published


def cosine_transform(frames: int) -> torch.Tensor:
    """The matrix of the discrete cosine transform (DCT-II, not normalised): (N, N), a frequency per row."""
    numbers = torch.arange(frames, dtype=torch.float64)
    return (2 * torch.cos(math.pi / frames * numbers[:, None] * (numbers + 0.5))).float()


class FusionLayer(nn.Module):
    """Attention between all tokens, then a perceptron for each half of them, each added to its input.

    The published code halves the tokens by their number. For n = f the first half are the n coefficients and the second
    the f frames, as the paper has it. For n = 3, f = 1 the second half is the last coefficient and the frame.
    """

    def __init__(self, channels: int, heads: int, tokens: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attention = Attention(channels, heads, "joints")  # over the third axis, which here holds the tokens
        self.norm2, self.norm3 = nn.LayerNorm(channels, eps=EPS), nn.LayerNorm(channels, eps=EPS)
        self.fc1, self.fc3 = (nn.Linear(channels, MLP_RATIO * channels) for _ in range(2))
        self.fc2, self.fc4 = (nn.Linear(MLP_RATIO * channels, channels) for _ in range(2))
        self.drop_path, self.first = drop_path, tokens // 2
        transform = cosine_transform(tokens - self.first)
        self.register_buffer("to_frequency", transform, persistent=False)
        scale = transform.new_full((len(transform),), 0.5 / len(transform))
        scale[0] /= 2
        self.register_buffer("to_time", transform.T * scale, persistent=False)  # the inverse

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, W, n + f, D) -> the same
        x = x + self.drop(self.attention(self.norm1(x)))
        first, second = x[:, :, : self.first], x[:, :, self.first :]
        hidden = linear_gelu(self.norm2(first), self.fc1.weight, self.fc1.bias)
        first = first + self.drop(linear(hidden, self.fc2.weight, self.fc2.bias))
        hidden = linear_gelu(self.to_frequency @ self.norm3(second), self.fc3.weight, self.fc3.bias)
        second = second + self.drop(self.to_time @ linear(hidden, self.fc4.weight, self.fc4.bias))
        return torch.cat([first, second], 2)

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """In training, zero whole windows at random."""
        return drop_path(x, self.drop_path if self.training else 0.0)


class PoseFormerV2(nn.Module):
    """The network, for windows of R frames, or whole sequences of them.

    Args:
        frames: R, the window; odd. Cannot be inferred from the weights.
        kept: f, the frames in the middle that are seen in full; odd.
        coefficients: n, of the cosine transform.
        channels: of each joint; a multiple of `heads`. A token of the fusion layers has 17 times as many.
        depth: number of spatial layers, and of fusion layers.
        heads: of every attention. Cannot be inferred from the weights.
        drop_path: probability of skipping an addition in the last layers; it grows linearly from 0 in the first.
        normalise: how its 2D joints are given to it, see `Lifter`. "published" works in screen units and metres; with
            the others, input and output are z-scores.
    Raises:
        ValueError: for an argument outside its range.
    Source: Zhao et al. 2023, section 3; the published code for details the paper omits. Its sizes: 27 frames with f = 1
        or 3 and n = 3; 81 with 1, 3 or 9 and n = 3 or 9; 243 with f = n = 27.
    """

    input_skeleton = "h36m17"
    clipwise = causal = checkpointing = False
    space = "metric"

    def __init__(
        self,
        frames: int = 27,
        kept: int = 1,
        coefficients: int = 3,
        channels: int = 32,
        depth: int = 4,
        heads: int = 8,
        drop_path: float = 0.1,
        normalise: Normalise = "published",
    ) -> None:
        check_arguments(PoseFormerV2.__init__, locals())
        super().__init__()
        if frames < 1 or frames % 2 == 0 or not 1 <= kept <= frames or kept % 2 == 0:
            raise ValueError(
                f"frames={frames}, kept={kept}: give odd numbers, so that there is a middle; kept <= frames"
            )
        if not 1 <= coefficients <= frames:
            raise ValueError(f"coefficients={coefficients}: a window of {frames} frames has 1 to {frames}")
        if min(channels, depth, heads) < 1 or channels % heads:
            raise ValueError(f"channels={channels}, heads={heads}, depth={depth}: at least 1, channels / heads whole")
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path={drop_path}: a probability must be at least 0 and below 1")
        self.normalise = normalise
        self.scaling = None if normalise == "published" else Scaling()
        self.frames = self.receptive_field = frames
        self.kept, self.coefficients, self.channels, self.heads, self.drop_path = (
            kept, coefficients, channels, heads, drop_path,
        )  # fmt: skip
        self.name = f"poseformerv2_{frames}"
        width = JOINTS * channels
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.joint_embed = nn.Linear(2, channels)
        self.joint_embedding = nn.Parameter(torch.zeros(1, JOINTS, channels))
        self.spatial = nn.ModuleList(Layer(channels, heads, MLP_RATIO, rate, "joints") for rate in rates)
        self.spatial_norm = nn.LayerNorm(channels, eps=EPS)
        self.frame_embedding = nn.Parameter(torch.zeros(1, kept, width))
        self.frequency_embed = nn.Linear(2 * JOINTS, width)
        self.coefficient_embedding = nn.Parameter(torch.zeros(1, coefficients, width))
        self.register_buffer("to_frequency", cosine_transform(frames)[:coefficients], persistent=False)
        self.fusion = nn.ModuleList(FusionLayer(width, heads, coefficients + kept, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.coefficient_mean = nn.Conv1d(coefficients, 1, 1)  # tokens in, their mean out
        self.frame_mean = nn.Conv1d(kept, 1, 1)
        self.head_norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, 3 * JOINTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The published network: (B, T, 17, 2) screen -> (B, T - R + 1, 51) metres, W = T - R + 1 windows."""
        if x.ndim != 4 or x.shape[2:] != (JOINTS, 2) or x.shape[1] < self.frames:
            raise ValueError(
                f"got shape {tuple(x.shape)}; {self.name} needs (B, T, 17, 2) with T at least {self.frames}: repeat "
                "the first and last frame"
            )
        tokens = torch.cat([self.frequency_tokens(x), self.frame_tokens(x)], 2)  # (B, W, n + f, D)
        for layer in self.fusion:
            tokens = layer(tokens)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round the pose
            tokens = self.norm(tokens.to(self.norm.weight.dtype)).flatten(0, 1)  # (B W, n + f, D)
            coefficients, frames = tokens.split([self.coefficients, self.kept], 1)
            means = torch.cat([self.coefficient_mean(coefficients), self.frame_mean(frames)], -1)  # (B W, 1, 2 D)
            output = linear(self.head_norm(means), self.head.weight, self.head.bias)  # (B W, 1, 51)
        return output.unflatten(0, (len(x), -1)).squeeze(2)

    def frame_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """The middle frames of every window, each computed once: (B, T, 17, 2) -> (B, W, f, D)."""
        outer = (self.frames - self.kept) // 2
        x = self.joint_embed(x[:, outer : x.shape[1] - outer]) + self.joint_embedding  # (B, W + f - 1, 17, C)
        for layer in self.spatial:
            x = layer(x)
        x = self.spatial_norm(x).flatten(2)  # (B, W + f - 1, D)
        return x.unfold(1, self.kept, 1).mT + self.frame_embedding

    def frequency_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """The low frequencies of every window: (B, T, 17, 2) -> (B, W, n, D)."""
        windows = x.flatten(2).unfold(1, self.frames, 1)  # (B, W, 34, R)
        return self.frequency_embed(self.to_frequency @ windows.mT) + self.coefficient_embedding

    def encode(self, points2d: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
        """Turn 2D joints into the network's input: (B, T, 17, 2) h36m17 -> the same; confidence is ignored."""
        return self.scaling.encode(points2d) if self.scaling else points2d

    def targets(self, pose3d: torch.Tensor) -> torch.Tensor:
        """Turn poses into targets: (B, T, 17, 3) m, camera frame -> (B, T, 51), relative to the root; NaN stays NaN."""
        return (self.scaling.targets(pose3d) if self.scaling else root_relative(pose3d)).flatten(-2)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """Turn network output into poses: (B, T, 51) -> (B, T, 17, 3) m, camera frame; not re-centred."""
        return self.scaling.decode(output) if self.scaling else output.unflatten(-1, (JOINTS, 3))

    def fit_normalisation(self, points2d: torch.Tensor, pose3d: torch.Tensor) -> None:
        """Compute the statistics of (N, 17, 2) points and (N, 17, 3) poses, unless published, which has none."""
        if self.scaling:
            self.scaling.fit(points2d, pose3d)

    @property
    def normalisation(self) -> dict[str, torch.Tensor] | None:
        """Statistics for a checkpoint, see `Scaling.statistics`."""
        return self.scaling.statistics if self.scaling else None

    @normalisation.setter
    def normalisation(self, statistics: Mapping[str, torch.Tensor]) -> None:
        self.scaling.statistics = statistics
