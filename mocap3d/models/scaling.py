"""z-scores of a network's input and output, from the statistics of its training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mocap3d.skeleton import H36M17, root_relative

STATISTICS = ("mean_2d", "std_2d", "mean_3d", "std_3d")
EVERY = tuple(range(len(H36M17)))


class Scaling(nn.Module):
    """Means and standard deviations of 2D joints and of root-relative poses, NaN until they are set.

    They are buffers, but not in the state_dict, since the published files hold no statistics.

    Args:
        joints_in, joints_out: indices of the joints that the network reads and predicts.
        together: one standard deviation for all 2D coordinates instead of one for each. Relative to the pelvis the hips
            hardly move: scaled alone, their noise would be as large as the movement of a wrist.
    Source: Martinez et al. 2017, section 3.1 ("data preprocessing"); population standard deviation.
    """

    def __init__(self, joints_in: Sequence[int] = EVERY, joints_out: Sequence[int] = EVERY, together: bool = True):
        super().__init__()
        self.joints_in, self.joints_out = tuple(joints_in), tuple(joints_out)
        self._together, self._known = together, False
        for name in STATISTICS:
            shape = (len(self.joints_in), 2) if name.endswith("2d") else (len(self.joints_out), 3)
            self.register_buffer(name, torch.full(shape, torch.nan), persistent=False)

    def encode(self, points2d: Tensor) -> Tensor:
        """(..., 17, 2) -> (..., J_in, 2) z-scores; a missing joint (NaN) takes its mean position, 0."""
        self._need()
        return torch.nan_to_num((points2d[..., self.joints_in, :] - self.mean_2d) / self.std_2d, nan=0.0)

    def targets(self, pose3d: Tensor) -> Tensor:
        """(..., 17, 3) m -> (..., J_out, 3) z-scores, relative to the root; NaN stays NaN."""
        self._need()
        return (root_relative(pose3d)[..., self.joints_out, :] - self.mean_3d) / self.std_3d

    def decode(self, output: Tensor) -> Tensor:
        """(..., 3 J_out) z-scores -> (..., 17, 3) m; joints that are not predicted are 0."""
        self._need()
        relative = output.unflatten(-1, (len(self.joints_out), 3)) * self.std_3d + self.mean_3d
        if self.joints_out == EVERY:
            return relative
        pose = relative.new_zeros(*relative.shape[:-2], len(H36M17), 3)
        pose[..., self.joints_out, :] = relative
        return pose

    def fit(self, points2d: Tensor | np.ndarray, pose3d: Tensor | np.ndarray) -> None:
        """Compute the statistics of (N, 17, 2) points and (N, 17, 3) poses, ignoring NaN.

        Raises:
            ValueError: if a joint is missing in every frame.
        """
        points = torch.as_tensor(points2d).double().reshape(-1, len(H36M17), 2)[:, self.joints_in]  # (N, J_in, 2)
        pose = root_relative(torch.as_tensor(pose3d).double()).reshape(-1, len(H36M17), 3)[:, self.joints_out]
        statistics = _mean_and_std(points, self.joints_in) + _mean_and_std(pose, self.joints_out)
        found = dict(zip(STATISTICS, statistics, strict=True))
        if self._together:
            found["std_2d"] = (points - found["mean_2d"]).square().nanmean().sqrt().expand(len(self.joints_in), 2)
        self.statistics = found

    @property
    def statistics(self) -> dict[str, Tensor] | None:
        """For a checkpoint: "mean_2d", "std_2d" (J_in, 2), "mean_3d", "std_3d" (J_out, 3) m; None if not set."""
        if not self._known:
            return None
        return {name: getattr(self, name).detach().cpu().clone() for name in STATISTICS}

    @statistics.setter
    def statistics(self, statistics: Mapping[str, Tensor | np.ndarray]) -> None:
        values = {}
        for name in STATISTICS:
            if name not in statistics:
                raise ValueError(f"normalisation lacks {name!r}; give all of {', '.join(STATISTICS)}")
            values[name] = torch.as_tensor(statistics[name])
            wanted = tuple(getattr(self, name).shape)
            if values[name].shape != wanted:
                raise ValueError(f"{name} has shape {tuple(values[name].shape)}; the network needs {wanted}")
            if not torch.isfinite(values[name]).all() or ("std" in name and (values[name] <= 0).any()):
                raise ValueError(f"{name} must be finite" + (" and above 0" if "std" in name else ""))
        for name, value in values.items():
            getattr(self, name).copy_(value)
        self._known = True

    def _need(self) -> None:
        if not self._known:
            raise ValueError(
                "the model has no normalisation yet: call model.fit_normalisation(points2d, pose3d), or set "
                "model.normalisation"
            )


def _mean_and_std(values: Tensor, joints: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the first axis of (N, J, C); a constant coordinate gets 1."""
    mean = values.nanmean(0)  # (J, C)
    if torch.isnan(mean).any():
        never = [H36M17.joints[joint] for joint, row in zip(joints, mean, strict=True) if torch.isnan(row).any()]
        raise ValueError(f"no frame holds the joints {', '.join(never)}: a model needs each seen at least once")
    std = (values - mean).square().nanmean(0).sqrt()
    return mean, torch.where(std < 1e-6, 1.0, std)
