"""Where the person went, in addition to how the body moved: predicted root trajectories and their errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from mocap3d import metrics
from mocap3d.arguments import Device, check_arguments, rereadable
from mocap3d.data.windows import DeviceDataset, to_device
from mocap3d.device import model_device
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict
from mocap3d.evaluation.protocol import EvalProtocol
from mocap3d.evaluation.report import Report
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.poses import Clip
from mocap3d.skeleton import ROOT


def predict_root(
    model: PoseAndTrajectory, data: DeviceDataset, flip_test: bool = False, batch_size: int = 4096
) -> Tensor:
    """Predict the position of the root in each frame.

    Args:
        model: pose and trajectory network.
        data, flip_test, batch_size: same as in `predict`.
    Returns:
        (N, 3) metres, camera frame.
    """
    pose, placed = (
        predict(view, data, flip_test=flip_test, batch_size=batch_size) for view in (model, model.absolute())
    )
    return (placed - pose)[:, ROOT]


def evaluate_with_trajectory(
    model: PoseAndTrajectory,
    dataset: Iterable[Clip],
    protocol: str | EvalProtocol = "videopose3d",
    device: Device | None = None,
    **options: object,
) -> Report:
    """Evaluate the poses as `evaluate` does, and the trajectory of the root as well.

    Args:
        model: pose and trajectory network.
        dataset, protocol, device, options: same as in `evaluate`.
    Returns:
        Report that also has the metrics "trajectory_mm" and "trajectory_aligned_mm": the mean distance over all frames
        between predicted and true root, without alignment, and after aligning each clip's whole trajectory by the best
        similarity transform (Umeyama 1991), which leaves the error of its shape. A wrong focal length or body size
        changes the first, and hardly the second.
    """
    dataset = rereadable(dataset)
    check_arguments(evaluate_with_trajectory, locals())
    report = evaluate(model, dataset, protocol, device, **options)
    judged = {(clip.take, clip.camera) for clip in report.clips}
    clips = [clip for clip in dataset if (clip.take, clip.camera.name) in judged]
    data = to_device(clips, model_device(model))
    paths = predict_root(model, data, report.protocol.flip_test).cpu().numpy()
    errors = {}
    for clip, start in zip(clips, data.start.tolist(), strict=True):
        path = paths[start : start + len(clip)].astype(np.float64)  # (T, 3)
        errors[clip.take, clip.camera.name] = _path_errors(path, clip.pose3d.points[:, ROOT].astype(np.float64))
    return replace(
        report,
        clips=tuple(replace(clip, values={**clip.values, **errors[clip.take, clip.camera]}) for clip in report.clips),
    )


def _path_errors(path: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Both (T, 3); NaN in the truth is ignored."""
    if not np.isfinite(truth).all(-1).any():
        return {"trajectory_mm": np.nan, "trajectory_aligned_mm": np.nan}
    return {
        "trajectory_mm": 1000 * metrics.mpjpe(path, truth),
        "trajectory_aligned_mm": 1000 * metrics.p_mpjpe(path, truth),  # all T points aligned at once
    }
