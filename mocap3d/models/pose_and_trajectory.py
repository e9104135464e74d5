"""Two networks on the same 2D: one says the pose about its root, the other where the root is.

Source: Pavllo et al. 2019, section 4 and figure 3: the trajectory model is what lets a pose be projected back into
the image, so that video without labels can teach. The two share no weights.
"""

from __future__ import annotations

import torch
from torch import nn

from mocap3d.models.temporal_conv import VideoPose3D


class PoseAndTrajectory(nn.Module):
    """A pose network and a trajectory network as one model, whose output is that of the first, then the second.

    Args:
        pose: a VideoPose3D of 17 joints.
        trajectory: one of `joints_out=1` that looks at the same frames; None makes a new one built like `pose`.
        absolute: whether `decode_3d` puts the pose where the trajectory says, or leaves it about its root.
    Raises:
        ValueError: if the two do not go together.
    """

    input_skeleton = "h36m17"

    def __init__(
        self, pose: VideoPose3D, trajectory: VideoPose3D | None = None, absolute: bool = False
    ) -> None:
        super().__init__()
        if trajectory is None:
            trajectory = VideoPose3D(
                pose.filter_widths, pose.channels, pose.stem.dropout, pose.causal, pose.dense, joints_out=1
            )
        if (pose.joints_out, trajectory.joints_out) != (17, 1):
            raise ValueError(
                f"the networks put out {pose.joints_out} and {trajectory.joints_out} joints; they must be 17 and 1"
            )
        frames = [(model.receptive_field, model.causal) for model in (pose, trajectory)]
        if frames[0] != frames[1]:
            raise ValueError(
                f"{pose.name} and {trajectory.name} look at other frames; give both the same filter_widths and causal"
            )
        self.pose, self.trajectory = pose, trajectory
        self.name = f"{pose.name}_and_trajectory"
        self.receptive_field, self.causal = frames[0]
        self.root = "estimated" if absolute else "relative"  # of what decode_3d gives, see Pose3D

    def absolute(self) -> PoseAndTrajectory:
        """The same networks, as a model that puts the pose where it says the root is."""
        model = PoseAndTrajectory(self.pose, self.trajectory, absolute=True)
        return model.train(self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, 34) -> (B, T - R + 1, 51 + 3) metres
        return torch.cat([self.pose(x), self.trajectory(x)], -1)

    def run(self, x: torch.Tensor, strided: bool) -> torch.Tensor:
        """As `VideoPose3D.run`, of both."""
        return torch.cat([self.pose.run(x, strided), self.trajectory.run(x, strided)], -1)

    def encode_2d(self, points: torch.Tensor) -> torch.Tensor:
        """Turn 2D joints into the input of both: (B, T, 17, 2) screen, h36m17 -> (B, T, 34)."""
        return self.pose.encode_2d(points)

    def encode_3d(self, pose: torch.Tensor) -> torch.Tensor:
        """Turn poses into targets: (B, T, 17, 3) m, camera frame, absolute -> (B, T, 51 + 3), NaN stays NaN."""
        return torch.cat([self.pose.encode_3d(pose), self.trajectory.encode_3d(pose)], -1)

    def decode_3d(self, output: torch.Tensor) -> torch.Tensor:
        """Turn output into poses: (B, T, 51 + 3) -> (B, T, 17, 3) m, camera frame; see `absolute`."""
        pose = self.pose.decode_3d(output[..., :-3])
        return pose + self.decode_root(output) if self.root == "estimated" else pose

    def decode_root(self, output: torch.Tensor) -> torch.Tensor:
        """Where the root is: (B, T, 51 + 3) -> (B, T, 1, 3) m, camera frame."""
        return self.trajectory.decode_3d(output[..., -3:])

    def fit_normalisation(self, points2d_screen: torch.Tensor, pose3d: torch.Tensor) -> None:
        """Nothing to measure, see `VideoPose3D`."""

    @property
    def normalisation(self) -> None:
        """None: these networks have none."""
        return None
