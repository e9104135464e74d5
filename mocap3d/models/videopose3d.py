"""VideoPose3D: lift a window of frames to the 3D pose in its middle, with convolutions over time.

Source: Pavllo, Feichtenhofer, Grangier, Auli, "3D human pose estimation in video with temporal convolutions and
semi-supervised training", CVPR 2019.

    2D joints of R frames, as 34 channels
      -> Layer: convolution over w0 frames to 1024 channels, batch norm, ReLU, dropout
      -> Block: x + Layer(Layer(x)), the first over w frames that lie `dilation` apart, the second over one
         ... each dilation the product of the widths before it, so that R frames feed one output
      -> linear to 3 x 17 channels           = 3D joints of one frame, metres

No layer pads: T frames go in, T - R + 1 poses come out. For exactly R frames, most results of the dilated form are
never used, so each convolution can use its own width as stride. This strided form has the same weights and
gives the same pose for a fifth to a fifteenth of the work, so it is used in training.

Frames are contiguous in memory, channels last, so every convolution is a matrix product. In evaluation on a
CPU a block processes 1,536 frames at a time, which changes no number but bounds the memory and keeps the values
between its layers in cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from mocap3d.arguments import check_arguments
from mocap3d.models.cpu import dropout, linear
from mocap3d.models.lifter import Normalise, Space
from mocap3d.models.scaling import Scaling
from mocap3d.models.streaming import Stream
from mocap3d.skeleton import H36M17, ROOT, root_relative

CHUNK = 1536  # frames per step in a block: half as many cost 3 % on two threads, all of a long video up to 7 %


class Layer(nn.Module):
    """Convolution over time, batch norm, ReLU, dropout: the building block of the paper's figure 2."""

    def __init__(
        self, channels_in: int, channels_out: int, width: int, dilation: int, stride: int, dropout: float
    ) -> None:
        super().__init__()
        # A published (C_out, C_in, w) kernel with its last two axes swapped: a window of w frames is then one row.
        self.weight = nn.Parameter(torch.empty(channels_out, width, channels_in))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch does for its own convolutions
        self.norm = nn.BatchNorm1d(channels_out)
        self.dilation, self.stride, self.dropout = dilation, stride, dropout

    def forward(self, x: torch.Tensor, strided: bool) -> torch.Tensor:  # (B, T, C_in) -> (B, T', C_out)
        if strided:
            rows = x.unflatten(1, (-1, self.stride)).flatten(2)  # (B, T / w, w C_in)
        else:
            width, reach = self.weight.shape[1], (self.weight.shape[1] - 1) * self.dilation
            taps = [x[:, k * self.dilation : x.shape[1] - reach + k * self.dilation] for k in range(width)]
            rows = torch.cat(taps, -1)  # (B, T - reach, w C_in)
        x = linear(rows, self.weight.flatten(1))  # (B, T', C_out)
        x = self.norm(x.flatten(0, 1)).view_as(x)
        return dropout(F.relu(x, inplace=True), self.dropout, self.training)


class Block(nn.Module):
    """Two layers, and a skip connection that carries one frame of the input around both."""

    def __init__(self, channels: int, width: int, dilation: int, dropout: float, causal: bool, dense: bool) -> None:
        super().__init__()
        reach = (width - 1) * dilation
        self.first = Layer(channels, channels, *((reach + 1, 1) if dense else (width, dilation)), width, dropout)
        self.second = Layer(channels, channels, 1, 1, 1, dropout)
        self.width = width
        self.skip = reach if causal else reach // 2  # the frame of the window that skips the layers
        self.skip_strided = width - 1 if causal else width // 2
        self.reach = reach

    def forward(self, x: torch.Tensor, strided: bool) -> torch.Tensor:  # (B, T, C) -> (B, T', C)
        if strided:
            carried = x[:, self.skip_strided :: self.width]
        else:
            carried = x[:, self.skip : x.shape[1] - self.reach + self.skip]
        return carried + self.second(self.first(x, strided), strided)

    def in_chunks(self, x: torch.Tensor) -> torch.Tensor:
        """The dilated form, a few frames at a time."""
        step = max(CHUNK // max(len(x), 1), 1)
        starts = range(0, x.shape[1] - self.reach, step)
        return torch.cat([self(x[:, start : start + step + self.reach], strided=False) for start in starts], 1)


class VideoPose3D(nn.Module):
    """The network, for whole sequences and single windows with the same weights; centred or causal.

    Args:
        filter_widths: frames each convolution sees, odd; their product R is the receptive field. Widths of 1 give a
            single-frame network with as many layers.
        channels: of every hidden layer.
        dropout: probability of dropping a channel in training.
        causal: the pose belongs to the window's last frame instead of its middle one, so no future frames are needed.
        dense: dense filters instead of dilated ones, as in the paper's ablation. Slow.
        joints_out: 17; or 1 for a trajectory model, whose output is the root's absolute position.
        normalise: how its 2D joints are given to it, see `Lifter`. "published" works in screen units and metres; with
            the others, input and output are z-scores.
        confidence: whether the detector's confidence is a third channel of every joint (own).
    Raises:
        ValueError: for an argument outside its range.
    Source: Pavllo et al. 2019, section 3 and appendix A; widths (1, 1, 1, 1, 1) are MMPose's single-frame form.
    """

    input_skeleton = "h36m17"
    clipwise = checkpointing = False

    def __init__(
        self,
        filter_widths: Sequence[int] = (3, 3, 3),
        channels: int = 1024,
        dropout: float = 0.25,
        causal: bool = False,
        dense: bool = False,
        joints_out: int = len(H36M17),
        normalise: Normalise = "published",
        confidence: bool = False,
    ) -> None:
        check_arguments(VideoPose3D.__init__, locals())
        super().__init__()
        widths = tuple(int(width) for width in filter_widths)
        if not widths or any(width < 1 or width % 2 == 0 for width in widths):
            raise ValueError(f"filter_widths={filter_widths}: give odd numbers of frames, such as (3, 3, 3)")
        if channels < 1:
            raise ValueError(f"channels={channels}: need at least 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout}: a probability of dropping must be at least 0 and below 1")
        if joints_out not in (1, len(H36M17)):
            raise ValueError(f"joints_out={joints_out}: 17 for poses, or 1 for the root's trajectory")
        if joints_out == 1 and normalise != "published":
            raise ValueError(f"normalise={normalise!r}: a trajectory model needs the place in the image, 'published'")
        self.normalise = normalise
        self.scaling = None if normalise == "published" else Scaling()
        self.filter_widths, self.channels, self.joints_out = widths, channels, joints_out
        self.causal, self.dense = bool(causal), bool(dense)
        self.receptive_field = math.prod(widths)  # frames
        kind = "_causal" * causal + "_dense" * dense + "_trajectory" * (joints_out == 1)
        self.name = f"videopose3d_{self.receptive_field}{kind}"
        self.confidence = bool(confidence)
        self.stem = Layer((2 + self.confidence) * len(H36M17), channels, widths[0], 1, widths[0], dropout)
        dilations = [math.prod(widths[:i]) for i in range(1, len(widths))]
        self.blocks = nn.ModuleList(
            Block(channels, width, dilation, dropout, causal, dense)
            for width, dilation in zip(widths[1:], dilations, strict=True)
        )
        self.head = nn.Linear(channels, 3 * joints_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The published network: (B, T, 34) screen -> (B, T - R + 1, 3 J_out) metres; T at least R.

        One window (T = R) is computed in the strided form, anything longer in the dilated one.
        """
        if x.ndim != 3 or x.shape[1] < self.receptive_field:
            raise ValueError(
                f"got shape {tuple(x.shape)}; {self.name} needs (B, T, 34) with T at least {self.receptive_field}: "
                "repeat the first and last frame"
            )
        exporting = torch.compiler.is_exporting()  # one graph for any length
        return self.run(x, strided=not (self.dense or exporting) and x.shape[1] == self.receptive_field)

    def run(self, x: torch.Tensor, strided: bool) -> torch.Tensor:
        """`forward` in the given form; the strided one takes T = n R frames as n adjacent windows."""
        chunked = not (strided or self.training or torch.compiler.is_exporting()) and x.device.type == "cpu"
        x = self.stem(x, strided)  # (B, T, 34) -> (B, T', C)
        for block in self.blocks:
            x = block.in_chunks(x) if chunked else block(x, strided)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round a metre to 4 mm
            return linear(x.to(self.head.weight.dtype), self.head.weight, self.head.bias)  # (B, T', 3 J_out)

    def stream(self, intrinsics: Sequence[float] | None = None) -> Stream:
        """Lift frames one by one as they arrive, with the current weights; requires a causal model.

        Args:
            intrinsics: see `Stream`.
        Raises:
            ValueError: if this model needs future frames.
        """
        if not self.causal:
            raise ValueError(
                f"{self.name} needs {self.receptive_field // 2} frames of the future; "
                "only a model made and trained with causal=True can stream"
            )
        return Stream(self, intrinsics)

    @property
    def space(self) -> Space:
        """Absolute for a trajectory model, whose only joint is the root."""
        return "metric absolute" if self.joints_out == 1 else "metric"

    def encode(self, points2d: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
        """Turn 2D joints into the network's input: (B, T, 17, 2) h36m17 -> (B, T, 34); with confidence (B, T, 51)."""
        _check(points2d, 2)
        x = self.scaling.encode(points2d) if self.scaling else points2d
        if self.confidence:
            seen = torch.ones_like(x[..., 0]) if confidence is None else confidence.to(x)
            x = torch.cat([x, seen[..., None]], -1)  # (B, T, 17, 3)
        return x.flatten(-2)

    def targets(self, pose3d: torch.Tensor) -> torch.Tensor:
        """Turn poses into targets: (B, T, 17, 3) m, camera frame, absolute -> (B, T, 3 J_out), NaN stays NaN.

        Poses are relative to the root; a trajectory model's target is the root itself.
        """
        _check(pose3d, 3)
        if self.scaling:
            return self.scaling.targets(pose3d).flatten(-2)
        return (pose3d[..., [ROOT], :] if self.joints_out == 1 else root_relative(pose3d)).flatten(-2)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """Turn network output into poses: (B, T, 3 J_out) -> (B, T, J_out, 3) m, camera frame; not re-centred."""
        return self.scaling.decode(output) if self.scaling else output.unflatten(-1, (self.joints_out, 3))

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


class PoseAndTrajectory(nn.Module):
    """A pose network and a trajectory network as one model, with their outputs concatenated.

    With the trajectory, a pose can be projected back into the image, so that unlabelled video can be used in training.
    The two networks share no weights.

    Args:
        pose: a VideoPose3D with 17 joints.
        trajectory: one with `joints_out=1` and the same window; None creates a new one built like `pose`.
        absolute: whether `decode` places the pose at the predicted root, or leaves it root-relative.
    Raises:
        ValueError: if the two do not match.
    Source: Pavllo et al. 2019, section 4 and figure 3.
    """

    input_skeleton = "h36m17"
    clipwise = checkpointing = False
    normalise, normalisation = "published", None

    def __init__(self, pose: VideoPose3D, trajectory: VideoPose3D | None = None, absolute: bool = False) -> None:
        check_arguments(PoseAndTrajectory.__init__, locals())
        super().__init__()
        if trajectory is None:
            trajectory = VideoPose3D(
                pose.filter_widths, pose.channels, pose.stem.dropout, pose.causal, pose.dense, joints_out=1
            )
        if pose.normalise != "published":
            raise ValueError(f"{pose.name} has normalise={pose.normalise!r}; with a trajectory it must be 'published'")
        if (pose.joints_out, trajectory.joints_out) != (17, 1):
            raise ValueError(
                f"the networks put out {pose.joints_out} and {trajectory.joints_out} joints; they must be 17 and 1"
            )
        frames = [(model.receptive_field, model.causal) for model in (pose, trajectory)]
        if pose.confidence or trajectory.confidence:
            raise ValueError("confidence=True is not supported together with a trajectory")
        if frames[0] != frames[1]:
            raise ValueError(
                f"{pose.name} and {trajectory.name} use different windows; give both the same filter_widths and causal"
            )
        self.pose, self.trajectory = pose, trajectory
        self.name = f"{pose.name}_and_trajectory"
        self.receptive_field, self.causal = frames[0]
        self._absolute = absolute

    @property
    def space(self) -> Space:
        """Of the poses that `decode` returns."""
        return "metric absolute" if self._absolute else "metric"

    def absolute(self) -> PoseAndTrajectory:
        """The same networks, as a model that places the pose at the predicted root."""
        model = PoseAndTrajectory(self.pose, self.trajectory, absolute=True)
        return model.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, 34) -> (B, T - R + 1, 51 + 3) metres
        return torch.cat([self.pose(x), self.trajectory(x)], -1)

    def run(self, x: torch.Tensor, strided: bool) -> torch.Tensor:
        """Same as `VideoPose3D.run`, for both networks."""
        return torch.cat([self.pose.run(x, strided), self.trajectory.run(x, strided)], -1)

    def encode(self, points2d: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
        """Turn 2D joints into the input of both: (B, T, 17, 2) screen, h36m17 -> (B, T, 34)."""
        return self.pose.encode(points2d, confidence)

    def targets(self, pose3d: torch.Tensor) -> torch.Tensor:
        """Turn poses into targets: (B, T, 17, 3) m, camera frame, absolute -> (B, T, 51 + 3), NaN stays NaN."""
        return torch.cat([self.pose.targets(pose3d), self.trajectory.targets(pose3d)], -1)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """Turn output into poses: (B, T, 51 + 3) -> (B, T, 17, 3) m, camera frame; see `absolute`."""
        pose = self.pose.decode(output[..., :-3])
        return pose + self.decode_root(output) if self._absolute else pose

    def decode_root(self, output: torch.Tensor) -> torch.Tensor:
        """The root position: (B, T, 51 + 3) -> (B, T, 1, 3) m, camera frame."""
        return self.trajectory.decode(output[..., -3:])

    def fit_normalisation(self, points2d: torch.Tensor, pose3d: torch.Tensor) -> None:
        """Does nothing, see `VideoPose3D`."""


def _check(points: torch.Tensor, size: int) -> None:
    if points.ndim != 4 or points.shape[-2:] != (len(H36M17), size):
        raise ValueError(
            f"got shape {tuple(points.shape)}; needs (B, T, 17, {size}) in h36m17: "
            "convert with mocap3d.skeleton.convert"
        )
