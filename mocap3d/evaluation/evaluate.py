"""Evaluate predictions under a stated protocol."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch

from mocap3d import metrics
from mocap3d.arguments import Device, PositiveInt, check_arguments
from mocap3d.data.chunks import published_chunks
from mocap3d.data.image_space import mm_factor, screen_to_metres, to_image_space
from mocap3d.data.windows import DeviceDataset, described, to_device
from mocap3d.device import model_device
from mocap3d.evaluation.predict import FRAMES_AT_ONCE, predict, predict_chunks
from mocap3d.evaluation.protocol import (
    BOTH_CENTRED,
    CLIPS_RESAMPLED,
    EVERY_FRAME,
    FILE_FACTOR,
    METRIC,
    PROTOCOLS,
    ROOT_COPIED,
    ROOT_DEPTH,
    TARGET_ADDED,
    EvalProtocol,
    ReportError,
)
from mocap3d.evaluation.report import ClipErrors, Report
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip
from mocap3d.skeleton import H36M17, ROOT, root_relative

EXACT_2D = 0.5  # pixels: on average, lens conventions differ from each other by less than this


def evaluate(
    model: Lifter,
    dataset: Iterable[Clip],
    protocol: str | EvalProtocol = "videopose3d",
    device: Device | None = None,
    batch_size: PositiveInt = FRAMES_AT_ONCE,
    factors: Mapping[tuple[str, str], np.ndarray] | None = None,
) -> Report:
    """Evaluate a model on every frame of a data set that the protocol counts.

    A model that lifts whole clips is run on the chunks that the protocol defines, if they fit (MotionBERT: 243 frames);
    under the other protocols, on overlapping chunks that cover every frame.

    Args:
        model: fulfils `Lifter`.
        dataset: a PoseDataset or clips, h36m17, at the protocol's frame rate; clips of subjects that the protocol
            does not count are skipped.
        protocol: a name in `PROTOCOLS`, or an EvalProtocol of your own.
        device: the device to run on; by default the model's. The model is moved there.
        batch_size: frames per batch.
        factors: see `measure`.
    Returns:
        Report: MPJPE, P-MPJPE, N-MPJPE, MPJVE, acceleration error, PCK@150mm and AUC, by action, joint, source, clip.
            If the data has missing 2D joints, also the MPJPE of seen and of filled joints, and the share of the latter.
    Raises:
        ReportError: for an unknown protocol, another frame rate, or predictions that are not finite.
    Deviation: VideoPose3D weights a clip's MPJVE by its n frames; here the weight is its n - 1 differences.
    """
    check_arguments(evaluate, locals())
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ReportError(f"no protocol {protocol!r}; there are: {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    if device is not None:
        model.to(device)
    name, clips, notes = described(dataset)
    clips = [clip for clip in clips if not protocol.subjects or clip.subject in protocol.subjects]
    if not clips:
        wanted = f" of the protocol's subjects {', '.join(protocol.subjects)}" if protocol.subjects else "s at all"
        raise ReportError(f"{name} has no clip{wanted}; select others, or load a data set that has some")
    data = replace(to_device(clips, model_device(model)), name=name)
    _warn_of_repeated(clips)
    options = {"flip_test": protocol.flip_test, "batch_size": batch_size}
    if model.clipwise and protocol.frames != EVERY_FRAME and model.receptive_field >= protocol.piece:
        predictions = np.zeros((len(data), len(H36M17), 3), dtype=np.float32)
        if chunks := _published_chunks(data, protocol):
            chunks = np.stack(chunks)
            poses = predict_chunks(model, data, torch.from_numpy(chunks).to(data.device), **options)
            predictions[chunks] = poses.cpu().numpy()  # if a frame is predicted twice, the last prediction counts
    else:
        predictions = predict(model, data, **options).cpu().numpy()
    if model.space == "metric absolute":
        predictions = root_relative(predictions)
    return measure(predictions, data, protocol, model.name, notes, model.space == "image", factors)


def measure(
    predictions: np.ndarray,
    data: DeviceDataset,
    protocol: EvalProtocol,
    model: str = "predictions",
    notes: Iterable[str] = (),
    in_image_space: bool = False,
    factors: Mapping[tuple[str, str], np.ndarray] | None = None,
    targets: Mapping[tuple[str, str], np.ndarray] | None = None,
) -> Report:
    """Evaluate predictions that were made earlier, by any means.

    Args:
        predictions: (N, J, 3) metres, camera frame, root-relative, one per frame of `data`.
        data: the clips.
        protocol: the rules; that the predictions were made with its flip test setting is not checked.
        model: name to print.
        notes: of the data set; those about its 2D go into the report.
        in_image_space: the predictions are MotionBERT's, image space in screen units. Under a metric protocol
            they are converted to metres with the camera and the true root position, and the report states it.
        factors: for protocols that evaluate in image space, the data's own mm per pixel instead of the camera's:
            (take, camera name) -> (T,), as returned by `read_factors` of the layouts.
        targets: the same for the ground truth: (take, camera name) -> (T, J, 3) metres, image space times factor.
    Deviation: MotionBERT treats a frame with an error of exactly 0 as covered by no chunk; here it counts.
    """
    check_arguments(measure, locals())
    if predictions.shape != tuple(data.pose3d.shape):
        raise ReportError(f"predictions have shape {predictions.shape}; the data needs {tuple(data.pose3d.shape)}")
    if (factors or targets) and protocol.space == METRIC:
        raise ReportError(f"the {protocol.name} protocol evaluates {METRIC}; it has no use for factors or targets")
    counted, clips = _counted_frames(data, protocol), []
    any_filled = any(np.isnan(clip.pose2d.points).any() for clip in data.clips)
    for start, clip in zip(data.start.tolist(), data.clips, strict=True):
        rows = slice(start, start + len(clip))
        _check_rate(clip, protocol)
        if not counted[rows].any():
            continue
        prediction, truth = predictions[rows].astype(np.float64), clip.pose3d.points.astype(np.float64)
        if not np.isfinite(prediction).all():
            raise ReportError(
                f"the prediction of clip {clip.take!r}, camera {clip.camera.name}, holds NaN or infinite values"
            )
        given = [_given(mapping, clip, shape) for mapping, shape in ((factors, ()), (targets, (17, 3)))]
        prediction, truth = _in_space(prediction, truth, clip, protocol, in_image_space, *given)
        prediction, truth = _roots(prediction, truth, protocol.root)
        truth = np.where(counted[rows][:, None, None], truth, np.nan)
        errors = _clip_errors(clip, prediction, truth)
        clips.append(_with_filled(errors, clip, prediction, truth) if any_filled else errors)
    if not clips:
        raise ReportError(f"{protocol.name} counts no frame of {data.name}: {protocol}")
    protocol = replace(
        protocol,
        pose2d=pose2d_source(data.clips, notes),
        subjects=tuple(dict.fromkeys(clip.subject for clip in clips)),
        factor=_factor_source(factors, data.clips) if factors else protocol.factor,
    )
    if in_image_space and protocol.space == METRIC:
        protocol = replace(protocol, factor=ROOT_DEPTH)
    return Report(model, data.name, protocol, tuple(clips), H36M17.joints, data.digest())


def _warn_of_repeated(clips: list[Clip]) -> None:
    """Warn of clips that are there twice, and would count twice."""
    count = Counter((clip.take, clip.camera.name, len(clip), clip.pose3d.points[0].tobytes()) for clip in clips)
    if twice := [key[:2] for key, times in count.items() if times > 1]:
        take, camera = twice[0]
        warnings.warn(
            f"{len(twice)} clips are there more than once and count as often: the first is {take!r}, camera {camera}",
            stacklevel=3,
        )


def _check_rate(clip: Clip, protocol: EvalProtocol) -> None:
    if abs(clip.pose3d.fps - protocol.fps) > 0.01:
        raise ReportError(
            f"clip {clip.take!r} runs at {clip.pose3d.fps:g} fps, the {protocol.name} protocol at "
            f"{protocol.fps:g}: .resample({protocol.fps:g}) its poses, or change the protocol: "
            f"dataclasses.replace(protocol, fps={clip.pose3d.fps:g})"
        )


def _counted_frames(data: DeviceDataset, protocol: EvalProtocol) -> np.ndarray:
    """(N,) bool: which rows of `data` the protocol counts."""
    start, stop = data.start.tolist(), data.stop.tolist()
    counted = np.full(len(data), protocol.frames == EVERY_FRAME)
    if protocol.frames != EVERY_FRAME:
        for chunk in _published_chunks(data, protocol):
            counted[chunk] = True
    for first, last, clip in zip(start, stop, data.clips, strict=True):
        counted[first:last] &= np.arange(last - first) % protocol.stride == 0
        counted[first:last] &= clip.recording not in protocol.exclusions
    return counted


def _published_chunks(data: DeviceDataset, protocol: EvalProtocol) -> list[np.ndarray]:
    """The chunks that a protocol defines, (C,) rows each."""
    short = "resample" if protocol.frames == CLIPS_RESAMPLED else "drop"
    return published_chunks([len(clip) for clip in data.clips], protocol.piece, protocol.piece, short)


def _in_space(
    prediction: np.ndarray,
    truth: np.ndarray,
    clip: Clip,
    protocol: EvalProtocol,
    in_image_space: bool,
    factor: np.ndarray | None,
    target: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Convert both to the protocol's space. truth (T, J, 3) absolute, prediction relative to the true root; metres."""
    if protocol.space == METRIC and not in_image_space:
        return prediction, truth
    camera, root = clip.camera, truth[:, ROOT]  # (T, 3)
    if protocol.space == METRIC:
        return screen_to_metres(prediction, camera, root), truth
    image = to_image_space(truth, camera)  # (T, J, 3) pixels
    at = image[:, [ROOT]]
    if in_image_space:
        pixels = prediction * (camera.width / 2) + at
    else:
        pixels = to_image_space(prediction + root[:, None], camera, root)
    factor = mm_factor(root, camera) if factor is None else factor  # (T,) mm per pixel
    scale = factor[:, None, None] / 1000
    return (pixels - at) * scale, image * scale if target is None else target


def _given(mapping: Mapping | None, clip: Clip, shape: tuple[int, ...]) -> np.ndarray | None:
    """The data's own values for one clip, with their shape checked."""
    if mapping is None:
        return None
    values = np.asarray(mapping.get((clip.take, clip.camera.name), ()), dtype=np.float64)
    if values.shape != (len(clip), *shape):
        raise ReportError(
            f"factors or targets of clip {clip.take!r}, camera {clip.camera.name}, have shape {values.shape}; "
            f"give {(len(clip), *shape)}"
        )
    return values


def _factor_source(factors: Mapping[tuple[str, str], np.ndarray], clips: Iterable[Clip]) -> str:
    """Where the factor came from, and how much it differs from the camera's."""
    off = [
        factors[clip.take, clip.camera.name] / mm_factor(clip.pose3d.points[:, ROOT], clip.camera) - 1
        for clip in clips
        if (clip.take, clip.camera.name) in factors
    ]
    return f"{FILE_FACTOR}, {100 * np.nanmean(np.abs(np.concatenate(off))):.2g} % from the camera's on average"


def _clip_errors(clip: Clip, prediction: np.ndarray, truth: np.ndarray) -> ClipErrors:
    """Every metric of one clip: differences in time never cross its ends. Both (T, J, 3) float64, NaN left out."""
    counted = np.isfinite(truth).all(-1)  # (T, J)
    if not counted.any():
        raise ReportError(f"clip {clip.take!r}, camera {clip.camera.name}, has no joint with known truth; leave it out")

    def in_time(metric, frames: int, *more) -> float:
        try:
            return metric(prediction, truth, *more) if len(clip) >= frames else float("nan")
        except metrics.MetricError:  # gaps leave no two consecutive frames
            return float("nan")

    values = {
        "mpjpe_mm": 1000 * metrics.mpjpe(prediction, truth),
        "p_mpjpe_mm": 1000 * metrics.p_mpjpe(prediction, truth),
        "n_mpjpe_mm": 1000 * metrics.n_mpjpe(prediction, truth),
        "mpjve_mm": 1000 * in_time(metrics.mpjve, 2),
        "acceleration": in_time(metrics.acceleration_error, 3, clip.pose3d.fps),
        "pck": metrics.pck(prediction, truth),
        "auc": metrics.auc(prediction, truth),
    }
    return ClipErrors(
        clip.take,
        clip.source,
        clip.subject,
        clip.action,
        clip.camera.name,
        clip.performer,
        int(counted.any(1).sum()),
        float(counted.mean(1).sum()),
        values,
        tuple((1000 * metrics.per_joint_error(prediction, truth)).tolist()),
    )


def _with_filled(errors: ClipErrors, clip: Clip, prediction: np.ndarray, truth: np.ndarray) -> ClipErrors:
    """Add the MPJPE of the joints that the detector saw, and of those that were filled before lifting."""
    filled = np.isnan(clip.pose2d.points).any(-1)  # (T, J)
    distance = 1000 * metrics.joint_errors(prediction, truth)  # (T, J) mm, NaN where the truth is unknown
    counted = np.isfinite(distance)
    seen_mm, filled_mm = (
        float(distance[part].mean()) if part.any() else float("nan") for part in (counted & ~filled, counted & filled)
    )
    values = {"seen_mpjpe_mm": seen_mm, "filled_mpjpe_mm": filled_mm, "filled": float(filled[counted].mean())}
    return replace(errors, values={**errors.values, **values})


def _roots(prediction: np.ndarray, truth: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Apply the protocol's root rule. truth is absolute, prediction root-relative; both (T, J, 3)."""
    if rule == TARGET_ADDED:
        return prediction + truth[:, [ROOT]], truth
    if rule == BOTH_CENTRED:
        prediction = root_relative(prediction)
    elif rule == ROOT_COPIED:
        prediction = prediction.copy()
        prediction[:, ROOT] = 0
    return prediction, root_relative(truth)


def pose2d_source(clips: tuple[Clip, ...], notes: Iterable[str]) -> str:
    """Whether the 2D is the projected truth: measured on up to 20 frames of each clip, in pixels."""
    errors = []
    for clip in clips:
        rows = np.unique(np.linspace(0, len(clip) - 1, 20).astype(int))
        exact = clip.camera.project(clip.pose3d.points[rows].astype(np.float64))
        errors.append(np.linalg.norm(clip.pose2d.points[rows] - exact, axis=-1).ravel())
    off = np.concatenate(errors)
    off = off[np.isfinite(off)]
    if len(off) and off.mean() < EXACT_2D:
        return "ground truth (projected)"
    stated = [note.removeprefix("2D:").strip() for note in notes if note.startswith("2D:")]
    measured = (
        f"{off.mean():.1f} px from the projected truth on average" if len(off) else "nowhere comparable to the truth"
    )
    return f"detections ({'; '.join([*stated, measured])})"
