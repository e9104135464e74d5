"""Explorers of models: `explore_receptive_field` and `explore_model`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch

from mocap3d import metrics
from mocap3d.arguments import check_arguments, rereadable
from mocap3d.data.windows import to_device
from mocap3d.device import model_device
from mocap3d.evaluation.predict import predict, to_metric
from mocap3d.figures import style
from mocap3d.figures.body import joint_label
from mocap3d.figures.explorer import Explorer, bars, choice, switch, widgets
from mocap3d.figures.player import show
from mocap3d.figures.receptive_field import FPS, show_receptive_field
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip, Pose3D

WIDTHS = ("1, 1, 1", "3, 3, 1", "3, 3, 3", "5, 3", "7, 5", "3, 3, 3, 3")


def explore_receptive_field() -> Explorer:
    """Choose filter widths, dilated or strided, centred or causal, and see what one pose is computed from.

    Returns:
        An Explorer; without a kernel, `show_receptive_field()`.
    Raises:
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    view = widgets().Output()

    def draw(widths: str, form: str, causal: bool) -> str:
        numbers = [int(width) for width in widths.split(",")]
        figure = show_receptive_field(numbers, causal, form == "strided")
        output = {"output_type": "display_data", "data": figure._repr_mimebundle_(), "metadata": {}}
        view.outputs = (output,)
        seen = int(np.prod(numbers))
        late = 0 if causal else seen // 2 / FPS
        return (
            f"{widths.replace(', ', ' × ')} = <b>{seen} frames</b>, {seen / FPS:.2f} s at {FPS:g} fps, with "
            f"{sum(numbers)} weights for each pair of channels; a live pose is {late:.2f} s late."
        )

    controls = {
        "widths": choice("filter widths", WIDTHS, "3, 3, 3"),
        "form": choice("form", ["dilated", "strided"]),
        "causal": switch("causal"),
    }
    still = show_receptive_field()
    return Explorer(controls, view, draw, still, "Chart: the frames that one pose of a stack of convolutions sees.")


def explore_model(models: Lifter | Mapping[str, Lifter], clips: Iterable[Clip]) -> Explorer:
    """Compare the predictions of models, clip by clip: side by side over the truth, with their errors.

    Args:
        models: trained; one, or name -> model.
        clips: a PoseDataset, or any clips with 3D, on h36m17.
    Returns:
        An Explorer; without a kernel, the first clip.
    Raises:
        FigureError: if there are no models or no clips.
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    clips = rereadable(clips)
    check_arguments(explore_model, locals())
    models, clips = dict(models) if isinstance(models, Mapping) else {models.name: models}, list(clips)
    if not models or not clips:
        raise style.FigureError(
            f"explore_model() was given {len(models)} models and {len(clips)} clips; give one or more"
        )
    known: dict[tuple[str, int], Pose3D] = {}

    def predictions(clip: int, names: Iterable[str]) -> dict[str, Pose3D]:
        for name in names:
            if (name, clip) not in known:
                known[name, clip] = predicted(models[name], clips[clip])
        return {name: known[name, clip] for name in names}

    def draw(clip: int, **ticked: bool) -> str:
        names = [name for name in models if ticked.get(f"show {name}", True)]
        if not names:
            return "Tick a model."
        truth = clips[clip].pose3d.root_relative()
        found = predictions(clip, names)
        player.draw(found, truth)
        return errors({name: (pose, truth) for name, pose in found.items()})

    titles = {f"{i + 1}: {clip.action}, {clip.subject}, camera {clip.camera.name}": i for i, clip in enumerate(clips)}
    controls = {"clip": choice("clip", titles)}
    if len(models) > 1:
        controls |= {f"show {name}": switch(name, True) for name in models}
    still = show(predictions(0, models), clips[0].pose3d.root_relative(), max_frames=100, title=next(iter(titles))[3:])
    player = show(predictions(0, models), clips[0].pose3d.root_relative(), title="Predictions over the truth").widget()
    return Explorer(controls, player, draw, still, f"Predictions of {', '.join(models)} over the truth, for one clip.")


def predicted(model: Lifter, clip: Clip, frames: int | None = None) -> Pose3D:
    """The prediction for a clip, as `evaluate` compares it: metres, camera frame, relative to the root.

    Args:
        frames: so many successive frames are lifted together; by default all.
    """
    length = frames or len(clip)
    parts = [clip.slice(first, first + length) for first in range(0, len(clip), length)]
    data = to_device(parts, model_device(model))
    poses = to_metric(model, predict(model, data), data, torch.arange(len(data), device=data.device))
    return replace(clip.pose3d, points=poses.cpu().numpy()).root_relative()


def errors(compared: Mapping[str, tuple[Pose3D, Pose3D]]) -> str:
    """HTML: MPJPE of predictions against their truths, root-relative, with other metrics and the worst joint."""
    rows, notes = {}, {}
    for name, (pose, truth) in compared.items():
        a, b = pose.points, truth.points
        joints = 1000 * metrics.per_joint_error(a, b)
        worst = int(np.nanargmax(joints))
        jitter = f"MPJVE {1000 * metrics.mpjve(a, b):.1f} mm a frame, " if len(b) > 1 else ""
        rows[name] = 1000 * metrics.mpjpe(a, b)
        notes[name] = f"P-MPJPE {1000 * metrics.p_mpjpe(a, b):.1f} mm, {jitter}"
        notes[name] += f"worst: {joint_label(truth.skeleton, worst)}, {joints[worst]:.0f} mm"
    return bars(rows, notes)
