"""Baselines a lifter has to beat: the mean pose and the nearest neighbour in 2D. Both satisfy the model contract."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mocap3d.arguments import check_arguments
from mocap3d.data.windows import to_device
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17, root_relative

JOINTS = len(H36M17)
LARGEST_PRODUCT = 2**22  # elements of the similarity matrix at a time: 16 MiB, about the size of a cache


class BaselineError(ValueError):
    """A baseline that is used before `fit`, or fitted without usable poses."""


class MeanPose(nn.Module):
    """Predicts the same pose for every input: the root-relative mean of the training set, in the camera frame.

    Source: own; the error of this "model" measures the spread of the data.
    """

    name = "mean_pose"
    receptive_field = 1
    input_skeleton = "h36m17"
    clipwise = causal = checkpointing = False
    normalise = "published"
    space = "metric"
    normalisation = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((JOINTS, 3), torch.nan))

    @property
    def is_fitted(self) -> bool:
        return bool(torch.isfinite(self.mean).all())

    def fit(self, train: Iterable[Clip]) -> MeanPose:
        """Compute the mean over a PoseDataset; returns self."""
        check_arguments(MeanPose.fit, locals())
        data = to_device(train, self.mean.device)
        self.fit_normalisation(data.points2d, data.pose3d)
        return self

    def fit_normalisation(self, points2d: Tensor, pose3d: Tensor) -> None:
        """Compute the mean of (N, J, 3) metres, ignoring missing joints."""
        self.mean.copy_(torch.nanmean(root_relative(pose3d).double(), 0))

    def encode(self, points2d: Tensor, confidence: Tensor | None = None) -> Tensor:
        """(B, 1, J, 2) screen units, unchanged."""
        return points2d

    def targets(self, pose3d: Tensor) -> Tensor:
        """(B, 1, J, 3) metres -> root-relative metres."""
        return root_relative(pose3d)

    def decode(self, output: Tensor) -> Tensor:
        """(B, 1, J, 3) root-relative metres, unchanged."""
        return output

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, J, 2) -> (B, 1, J, 3) metres."""
        if not self.is_fitted:
            raise BaselineError("MeanPose is not fitted (or some joint was always missing); call .fit(train) first")
        return self.mean.expand(len(x), 1, JOINTS, 3)


class NearestNeighbour(nn.Module):
    """Predicts the 3D pose of the training frame whose 2D pose is most similar.

    Similarity is the sum of squared distances (smaller is more similar) after moving the root to the origin and
    scaling the 17 points, in screen units, to unit norm. Position and size in the image therefore do not matter; the
    direction the body faces does. The prediction is that frame's root-relative pose in metres, unchanged.

    Args:
        most: maximum number of training frames, drawn at random; None for all. At 50 fps, neighbours differ little.
        seed: of the random draw.
    Source: own.
    """

    name = "nearest_neighbour"
    receptive_field = 1
    input_skeleton = "h36m17"
    clipwise = causal = checkpointing = False
    normalise = "published"
    space = "metric"
    normalisation = None

    def __init__(self, most: int | None = 50_000, seed: int = 0) -> None:
        check_arguments(NearestNeighbour.__init__, locals())
        super().__init__()
        if most is not None and most < 1:
            raise BaselineError(f"NearestNeighbour: most is {most}; give at least 1, or None for all frames")
        self.most, self.seed = most, seed
        self.register_buffer("looks", torch.zeros(0, JOINTS * 2))  # (M, 2 J), unit norm
        self.register_buffer("poses", torch.zeros(0, JOINTS, 3))  # (M, J, 3) metres, root-relative

    @property
    def is_fitted(self) -> bool:
        return len(self.looks) > 0

    def extra_repr(self) -> str:
        return f"{len(self.looks):,} training poses, most={self.most}, seed={self.seed}"

    def fit(self, train: Iterable[Clip]) -> NearestNeighbour:
        """Store the frames of a PoseDataset; returns self."""
        check_arguments(NearestNeighbour.fit, locals())
        data = to_device(train, self.looks.device)
        self.fit_normalisation(data.points2d, data.pose3d)
        return self

    def fit_normalisation(self, points2d: Tensor, pose3d: Tensor) -> None:
        """Store (N, J, 2) screen units with their (N, J, 3) metres; frames with missing ground truth are skipped."""
        rows = torch.isfinite(pose3d).all(-1).all(-1).nonzero()[:, 0]
        if len(rows) == 0:
            raise BaselineError("NearestNeighbour: no training frame has all its joints")
        if self.most is not None and len(rows) > self.most:
            drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))[: self.most]
            rows = rows[drawn.sort().values.to(rows.device)]
        self.looks = self.encode(points2d[rows, None])
        self.poses = root_relative(pose3d[rows])

    def encode(self, points2d: Tensor, confidence: Tensor | None = None) -> Tensor:
        """(B, 1, J, 2) screen units -> (B, 2 J), root at the origin, unit norm."""
        look = root_relative(points2d).flatten(1)  # (B, 1, J, 2) -> (B, 2 J)
        return look / torch.linalg.vector_norm(look, dim=1, keepdim=True).clamp_min(1e-8)

    def targets(self, pose3d: Tensor) -> Tensor:
        """(B, 1, J, 3) metres -> root-relative metres."""
        return root_relative(pose3d)

    def decode(self, output: Tensor) -> Tensor:
        """(B, 1, J, 3) root-relative metres, unchanged."""
        return output

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 J) -> (B, 1, J, 3) metres; of unit vectors, the nearest has the largest dot product."""
        if not self.is_fitted:
            raise BaselineError("NearestNeighbour is not fitted; call .fit(train) first")
        rows = max(1, LARGEST_PRODUCT // len(self.looks))
        nearest = torch.cat([(part @ self.looks.T).argmax(1) for part in x.split(rows)])  # (B,)
        return self.poses[nearest, None]  # (B, J, 3) -> (B, 1, J, 3)
