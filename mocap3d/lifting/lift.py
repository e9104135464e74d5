"""Lift one person's 2D joints to 3D."""

from __future__ import annotations

import warnings
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from mocap3d.arguments import Height, check_arguments
from mocap3d.camera import Camera, pixels_to_screen
from mocap3d.data.cache import weights_file
from mocap3d.data.image_space import depth_of_scale, screen_to_metres
from mocap3d.device import model_device, unwrapped
from mocap3d.evaluation.predict import predict_clips
from mocap3d.formats.check_keypoints import check_keypoints
from mocap3d.inversions import exchange_sides, find_inversions
from mocap3d.metrics import bone_lengths
from mocap3d.missing import fill_missing
from mocap3d.models.lifter import Lifter
from mocap3d.normalise import known_intrinsics
from mocap3d.poses import Pose2D, Pose3D, at_positions
from mocap3d.skeleton import H36M17, ROOT, convert_confidence, root_relative
from mocap3d.weights import SHIPPED, load_shipped, load_weights

MODEL_FPS = 50.0  # what every model here is trained at
HEIGHT = 1.70  # metres, assumed of a person nobody measured
# All 16 bones together are so many times as long as a person is tall: 2.31 to 2.38 over the seven bodies of
# data/synthetic (from Winter's fractions of stature), mean 2.34.
BONES_PER_HEIGHT = 2.34
# Each bone's share of that length, mean of the same bodies, in the order of H36M17. From those of recorded people at
# most 0.12 differ in sum, of networks in the package on phone-v1 0.17, of networks with random weights 0.3 to 0.6.
SHARES = np.array([26, 105, 105, 26, 105, 105, 54, 74, 25, 26, 43, 69, 62, 43, 69, 62]) / 1000
UNLIKE = 0.25
DEFAULT = {"motionbert": 2, "causal": 1}  # networks in the package whose poses are averaged, and their weights
STEADY_SECONDS = 1.0  # over which the scale of image space is averaged: people do not come nearer in a jump


@runtime_checkable
class Trained(Protocol):
    """What holds a trained model, as the Run does that `fit` returns."""

    model: Lifter


def lift(
    pose2d: Pose2D,
    model: Lifter | Trained | str | PathLike | None = None,
    flip_test: bool | None = None,
    *,
    height: Height | None = None,
    camera: Camera | None = None,
    fov: float | None = None,
    undo_inversions: bool = True,
    progress: bool = False,
) -> Pose3D:
    """Lift a 2D pose with a trained model.

    One camera cannot tell a small person from one far away. Models that predict metres guess from their training data;
    a model of image space (MotionBERT) predicts the shape alone, and the person's height scales it to metres.

    Args:
        pose2d: pixels, any known skeleton (converted to h36m17, see `provenance`), any length. One warning says what
            looks wrong (`check_keypoints`). Joints that are NaN, at (0, 0) or have confidence 0 are filled first, as in
            training and evaluation (`fill_missing`); frames without anybody give NaN. Any rate, or timestamps: for a
            model of several frames, motion is interpolated at 50 fps, and the poses at the times of the frames.
        model: fulfils `Lifter` and is trained; or what `fit` returned; or a file of weights, the name of a network in
            the package ("causal"), or of published weights that `mocap3d fetch-weights` has fetched. By default the
            mean of two networks in the package (`DEFAULT`), which was the best on real detections and on recordings
            kept from training.
        flip_test: average with the un-mirrored pose of the mirrored input, as some protocols do; takes twice as long.
            None: only for the default model.
        height: metres, of the person. By default metric models keep the size they predict, and 1.70 is assumed for
            models of image space.
        camera: intrinsics of the camera that filmed it. For a model with normalise="ray": the direction in which the
            camera sees the person. For models of image space: perspective is undone too, and the person is placed by
            height and focal length ("estimated"); without it depth is as if filmed from far away.
        fov: in place of camera for normalise="ray": field of view in degrees along the longer side of the image. With
            neither, 65 is assumed, as phones have.
        undo_inversions: first exchange left and right where the detector has inverted them (`undo_inversions` in
            inversions.py), with a warning that names the frames.
        progress: show a progress bar.
    Returns:
        Pose3D on h36m17, a pose for each frame of pose2d, with its rate and timestamps; camera frame, metres, the
        pelvis at the origin (root "relative"), or where a model with a trajectory, or a camera, puts it ("estimated").
        A warning says if the bones are in no person's proportions, as those of an untrained network are.
        `filled` marks joints of which a source joint was missing.
    Raises:
        SkeletonError: if the skeleton has no conversion.
        ValueError: for an impossible height or field of view, a camera of another image size, a camera or field of
            view for a model that uses none, or a name without weights.
    """
    model = unwrapped(model)
    check_arguments(lift, locals())
    flip_test = model is None if flip_test is None else flip_test
    if isinstance(model, (str, PathLike)):
        model = _loaded(model)
    elif isinstance(model, Trained) and not isinstance(model, nn.Module):
        model = model.model
    models = [load_shipped(name) for name in DEFAULT] if model is None else [model]
    shares, model = DEFAULT.values() if model is None else [1], models[0]
    in_image_space = model.space == "image"
    if camera is not None and not in_image_space and model.normalise != "ray":
        raise ValueError(f"{model.name} predicts metres by itself and cannot use a camera; leave it out")
    if fov is not None and model.normalise != "ray":
        raise ValueError(f"fov={fov!r}: only for models with normalise='ray'; leave it out")
    known = known_intrinsics(pose2d.image_size, camera, fov)
    pose2d, found = prepared(pose2d, undo_inversions)
    for text in found:
        warnings.warn(text, stacklevel=2)
    seen = np.isfinite(pose2d.points).all(-1)
    labels = {"fps": pose2d.fps, "timestamps": pose2d.timestamps}
    labels["filled"] = convert_confidence(np.float32(~seen), pose2d.skeleton) > 0
    rate = pose2d.fps if pose2d.timestamps is None or len(pose2d) == 1 else 1 / np.median(np.diff(pose2d.timestamps))
    pose2d = replace(pose2d, points=fill_missing(pose2d.points, pose2d.skeleton, rate)).convert("h36m17")
    points, empty = _without_empty_frames(pose2d.points)
    pose2d, back = _at_model_rate(replace(pose2d, points=points), model)
    device = model_device(model)
    screen = pixels_to_screen(torch.from_numpy(pose2d.points).to(device), *pose2d.image_size)  # (T, J, 2)
    confidence = torch.from_numpy(pose2d.confidence).to(device)
    lengths = torch.tensor([len(screen)], device=device)
    options = {"confidence": confidence, "intrinsics": screen.new_tensor([known]), "flip_test": flip_test}
    parts = [predict_clips(each, screen, lengths, progress=progress, **options) for each in models]
    points = (sum(share * part for share, part in zip(shares, parts, strict=True)) / sum(shares)).cpu().numpy()
    bones_of_frames = bone_lengths(points)  # (T, 16)
    bones = np.median(bones_of_frames, 0)
    likely = np.abs(bones - SHARES * bones.sum()).sum() < UNLIKE * bones.sum()
    if not (likely or found or empty.all()):  # odd 2D, which has been told, gives odd poses
        warnings.warn(
            f"the predicted bones are in no person's proportions: is {model.name} trained, and on h36m17?", stacklevel=2
        )
    root = "estimated" if model.space == "metric absolute" else "relative"
    if in_image_space:
        points, root = _metres_by_height(points, pose2d, height or HEIGHT, camera)
    elif height is not None:
        points = points * (BONES_PER_HEIGHT * height / np.median(bones_of_frames.sum(-1)))
    points = points if back is None else at_positions(points, back)
    points[empty] = np.nan
    return Pose3D(points, H36M17, frame="camera", root=root, **labels)


def _loaded(model: str | PathLike) -> Lifter:
    """The model of a file, or of a name."""
    if model in SHIPPED:
        return load_shipped(model)
    file = model if Path(model).is_file() else weights_file(str(model))
    if not Path(file).is_file():
        raise ValueError(
            f"model={str(model)!r}: no file, no network in the package ({', '.join(SHIPPED)}) and no fetched weights "
            "(see `mocap3d fetch-weights --help`)"
        )
    return load_weights(file)


def prepared(pose2d: Pose2D, undo_inversions: bool = True) -> tuple[Pose2D, list[str]]:
    """Keypoints as they are lifted: joints at (0, 0), where detectors put what they do not see, or with confidence 0
    are NaN, and left and right are exchanged where they are inverted.

    Args:
        pose2d: any skeleton.
        undo_inversions: see `lift`.
    Returns:
        the keypoints, and what was found in them, one text each; what `check_keypoints` says among it.
    """
    found = []
    unseen = ((pose2d.confidence == 0) | (pose2d.points == 0).all(-1)) & np.isfinite(pose2d.points).all(-1)
    if unseen.any():
        found += [f"{unseen.sum():,} of {unseen.size:,} joints are at (0, 0) or have confidence 0 and count as missing"]
        pose2d = replace(pose2d, points=np.where(unseen[..., None], np.nan, pose2d.points))
    if wrong := check_keypoints(pose2d):
        found.append(" ".join(wrong))
    if undo_inversions:
        inverted, text = find_inversions(pose2d)
        found += [text] if text else []
        pose2d = exchange_sides(pose2d, inverted)
    return pose2d, found


def _at_model_rate(pose2d: Pose2D, model: Lifter) -> tuple[Pose2D, np.ndarray | None]:
    """The pose at the rate of models of several frames, and at which of its frames, with fractions, the given ones are.

    None if nothing is resampled. The last frame of the result is the last one given, so that no time is lost.
    """
    if model.receptive_field == 1 or (pose2d.timestamps is None and pose2d.fps == MODEL_FPS):
        return pose2d, None
    times = pose2d.times - pose2d.times[0]
    grid = np.arange(int(np.ceil(times[-1] * MODEL_FPS - 1e-6)) + 1) / MODEL_FPS
    grid[-1] = times[-1]
    there, back = (np.interp(at, of, np.arange(len(of))) for at, of in ((grid, times), (times, grid)))
    points, confidence = at_positions(pose2d.points, there), at_positions(pose2d.confidence, there, lowest=True)
    return replace(pose2d, points=points, confidence=confidence, fps=MODEL_FPS, timestamps=None), back


def _without_empty_frames(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, 17, 2) with the nearest frame in place of those in which nobody is seen, and which those are, (T,)."""
    empty = np.isnan(points).any((1, 2))
    if not empty.any():
        return points, empty
    if empty.all():  # check_keypoints has said so
        return np.zeros_like(points), empty
    warnings.warn(f"nobody is seen in {empty.sum():,} of {len(empty):,} frames; the pose there is NaN", stacklevel=3)
    there, frames = np.flatnonzero(~empty), np.arange(len(points))
    before = np.maximum(np.searchsorted(there, frames, side="right") - 1, 0)
    after = np.minimum(before + 1, len(there) - 1)
    nearer = np.abs(there[after] - frames) < np.abs(there[before] - frames)
    return points[np.where(nearer, there[after], there[before])], empty


def _metres_by_height(
    image: np.ndarray, pose2d: Pose2D, height: float, camera: Camera | None
) -> tuple[np.ndarray, str]:
    """(T, 17, 3) image space -> metres, and what is known of the root."""
    width = pose2d.image_size[0]
    image = root_relative(image.astype(np.float64))
    size = bone_lengths(image * (width / 2)).sum(-1)  # (T,) pixels: shrinks as the person walks away
    steady = min(len(size), round(STEADY_SECONDS * pose2d.fps))
    edge = np.pad(size, (steady // 2, (steady - 1) // 2), mode="edge")
    size = np.convolve(edge, np.full(steady, 1 / steady), mode="valid")  # (T,)
    scale = BONES_PER_HEIGHT * height / size  # metres per pixel
    if camera is None:
        return (image * (width / 2) * scale[:, None, None]).astype(np.float32), "relative"
    root = camera.rays(pose2d.points[:, ROOT]) * depth_of_scale(scale, camera)[:, None]  # (T, 3)
    return (screen_to_metres(image, camera, root) + root[:, None]).astype(np.float32), "estimated"
