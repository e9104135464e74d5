"""Explorers of data, projection and metrics: `explore_dataset`, `explore_projection`, `explore_metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from mocap3d import metrics
from mocap3d.arguments import check_arguments, rereadable
from mocap3d.camera import Camera, quaternion_from_matrix, rotation_matrix
from mocap3d.data.synthetic import synthesize
from mocap3d.figures import style
from mocap3d.figures.body import facing, joint_label, most_open
from mocap3d.figures.explorer import Explorer, bars, choice, slider, switch
from mocap3d.figures.notebook import chart
from mocap3d.figures.player import show
from mocap3d.poses import Clip, Pose3D


def explore_dataset(dataset: Iterable[Clip]) -> Explorer:
    """Choose a clip by subject, action and camera: its pose in the world, its keypoints in the image.

    Args:
        dataset: a PoseDataset, or any clips.
    Returns:
        An Explorer; without a kernel, up to four actions side by side.
    Raises:
        FigureError: if there are no clips.
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    dataset = rereadable(dataset)
    check_arguments(explore_dataset, locals())
    clips = list(dataset)
    if not clips:
        raise style.FigureError("explore_dataset() was given no clips; check the selection that made the data set")
    labels = {
        "subject": lambda clip: clip.subject,
        "action": lambda clip: clip.action,
        "camera": lambda clip: clip.camera.name,
        "recording": lambda clip: clip.take,
    }
    if len({tuple(label(clip) for label in [*labels.values()][:3]) for clip in clips}) == len(clips):
        del labels["recording"]  # the others decide
    controls = {name: choice(name, [label(clips[0])]) for name, label in labels.items()}

    def chosen() -> Clip:
        """The clip of the lists; each offers what is left by those before it."""
        left = clips
        for name, label in labels.items():
            control, options = controls[name], tuple(dict.fromkeys(map(label, left)))
            if control.options != options:
                wanted = control.value
                control.options = options
                control.value = wanted if wanted in options else options[0]
            left = [clip for clip in left if label(clip) == control.value]
        return left[0]

    def motion(clip: Clip) -> Pose3D:
        return clip.pose3d.in_world(clip.camera)

    def draw(**_: str) -> str:
        clip = chosen()
        player.draw(motion(clip), pose2d=clip.pose2d)
        return (
            f"{len(clips):,} clips; this one: {len(clip)} frames at {clip.pose3d.fps:g} fps, "
            f"{clip.pose3d.seconds:.1f} s, person {clip.performer}, source {clip.source or 'unknown'}, {clip.split}"
        )

    first = chosen()
    player = show(motion(first), pose2d=first.pose2d, title="In the world, and in the image").widget()
    actions = list({clip.action: clip for clip in clips}.items())[:4]
    length = min(len(clip) for _, clip in actions)
    poses = {name: motion(clip).slice(0, length).root_relative() for name, clip in actions}
    alike = {(pose.fps, pose.skeleton.joints) for pose in poses.values()}
    still = show(poses if len(alike) == 1 else motion(clips[0]), max_frames=100, title="Some actions of the data set")
    return Explorer(controls, player, draw, still, "Subject, action and camera choose a clip of a data set.")


# Under keypoints an image is shown as a whole, else only where the body is.
WHITE = np.full((300, 300, 3), 252, dtype=np.uint8)
FOCAL, DISTANCE = 1150, 4.0  # pixels of a 1000-pixel image, as Human3.6M's cameras; metres


def explore_projection(pose3d: Pose3D | None = None) -> Explorer:
    """Move a joint along its ray, and the image stays; tilt the camera, change its focal length, and the body stays.

    Args:
        pose3d: (T, J, 3) metres, world frame, the root known; its most open frame is used. By default built-in motion.
    Returns:
        An Explorer; without a kernel, three bodies with one image.
    Raises:
        FigureError: for a pose in the camera frame, or a relative root.
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    check_arguments(explore_projection, locals())
    pose = synthesize("S9", "Greeting", seconds=2) if pose3d is None else pose3d
    style.check_pose(pose, "explore_projection()")
    if pose.frame != "world" or pose.root == "relative":
        raise style.FigureError(
            f"explore_projection(): the pose is in the {pose.frame} frame, root {pose.root}; give one that stands in "
            "the world: clip.pose3d.in_world(clip.camera)"
        )
    at = most_open(pose.points)
    truth, skeleton = pose.slice(at, at + 1), pose.skeleton
    joints = {joint_label(skeleton, j): j for j, parent in enumerate(skeleton.parents) if parent >= 0}
    first = joints.get("left wrist", next(iter(joints.values())))

    def moved(joint: int, metres: float, camera: Camera) -> Pose3D:
        points = truth.points.copy()
        ray = points[0, joint] - np.array(camera.translation)
        points[0, joint] += metres * ray / np.linalg.norm(ray)
        return replace(truth, points=points)

    def draw(joint: int, along: float, pitch: float, focal: float, distance: float) -> str:
        camera = _camera_before(truth, pitch, focal, distance)
        other = moved(joint, along / 100, camera)
        before, after = truth.project(camera), other.project(camera)
        player.draw(other, truth, pose2d=after, images=WHITE)
        apart = np.linalg.norm(after.points - before.points, axis=-1)[0, joint]
        name, parent = joint_label(skeleton, joint), skeleton.parents[joint]
        old, new = (np.linalg.norm(np.diff(p.points[0, [parent, joint]], axis=0)) * 100 for p in (truth, other))
        height = np.ptp(before.points[0, :, 1])
        return (
            f"The {name} is <b>{along:+.0f} cm</b> along its ray; in the image it moved by <b>{apart:.2f} px</b>. "
            f"The bone from the {joint_label(skeleton, parent)} was {old:.0f} cm long and is now {new:.0f} cm. "
            f"The body is {height:.0f} px high in the image."
        )

    camera = _camera_before(truth, 0, FOCAL, DISTANCE)
    controls = {
        "joint": choice("joint", joints, first),
        "along": slider("along its ray", 40, -80, 80, 1, "cm"),
        "pitch": slider("camera pitch", 0, -25, 25, 1, "°"),
        "focal": slider("focal length", FOCAL, 400, 3000, 10, "px"),
        "distance": slider("distance", DISTANCE, 2, 12, 0.1, "m"),
    }
    start = moved(first, 0.4, camera)
    title = "Two bodies, and the image of both"
    player = show(start, truth, pose2d=start.project(camera), images=WHITE, title=title, view="side").widget()
    name = joint_label(skeleton, first)
    bodies = {"truth": truth} | {
        f"{name} {abs(cm)} cm {'farther' if cm > 0 else 'nearer'}": moved(first, cm / 100, camera) for cm in (-40, 40)
    }
    still = show(bodies, title="Three bodies, one image: a joint may move along its ray", view="side")
    return Explorer(controls, player, draw, still, "Three bodies with the same image: one joint moves along its ray.")


def _camera_before(pose: Pose3D, pitch: float, focal: float, distance: float) -> Camera:
    """A camera in front of a body, level or pitched downwards by so many degrees."""
    body = np.asarray(pose.points[0], dtype=np.float64)
    middle, ahead = np.nanmean(body, axis=0), facing(body, pose.skeleton)
    ahead = np.array([0.0, -1.0]) if ahead is None else ahead
    level = Camera.look_at(middle + distance * np.append(ahead, 0), middle, name="in front")
    right, down, forward = rotation_matrix(level.rotation).T
    c, s = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    axes = np.stack([right, c * down - s * forward, c * forward + s * down], axis=1)
    return replace(level, focal=(focal, focal), rotation=tuple(quaternion_from_matrix(axes)))


def explore_metrics(pose3d: Pose3D | None = None) -> Explorer:
    """Shift, scale, turn, mirror, shuffle and shake a pose, and see which metrics notice.

    Args:
        pose3d: (T, J, 3) metres, the truth, T >= 2. By default a second of built-in motion.
    Returns:
        An Explorer; without a kernel, a chart of some changes and what four metrics make of them.
    Raises:
        FigureError: for a pose of one frame.
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    check_arguments(explore_metrics, locals())
    truth = synthesize("S9", "Walking", seconds=1) if pose3d is None else pose3d
    style.check_pose(truth, "explore_metrics()")
    if len(truth) < 2:
        raise style.FigureError("explore_metrics(): the pose has one frame; MPJVE needs two or more")

    def draw(**change: float) -> str:
        prediction = _changed(truth, **change)
        player.draw(prediction, truth)
        return bars(_measured(prediction, truth))

    controls = {
        "shift": slider("shift", 0, 0, 50, 1, "cm"),
        "scale": slider("scale", 1.0, 0.5, 1.5, 0.01),
        "turn": slider("turn", 30, -180, 180, 1, "°"),
        "noise": slider("noise", 0, 0, 60, 1, "mm"),
        "shuffled": slider("shuffled joints", 0, 0, len(truth.skeleton), 1),
        "mirror": switch("mirror"),
    }
    player = show(truth, truth, title="A pose, changed on purpose").widget()
    some = {
        "shift 10 cm": {"shift": 10},
        "scale × 1.1": {"scale": 1.1},
        "turn 30°": {"turn": 30},
        "noise 20 mm": {"noise": 20},
        "4 joints shuffled": {"shuffled": 4},
        "mirror": {"mirror": True},
    }
    measured = {name: _measured(_changed(truth, **change), truth) for name, change in some.items()}
    still = chart("What each metric forgives", "change", "mm", barmode="group")
    colours = (style.CENTRE, "#A9A9A9", *style.OTHER_COLOURS)
    for metric, colour in zip(next(iter(measured.values())), colours, strict=False):
        still.add_bar(x=[*some], y=[round(m[metric], 1) for m in measured.values()], name=metric, marker_color=colour)
    return Explorer(controls, player, draw, still, "Bar chart: five metrics of a pose changed in six ways.")


def _changed(
    pose: Pose3D,
    shift: float = 0,
    scale: float = 1.0,
    turn: float = 0,
    noise: float = 0,
    shuffled: int = 0,
    mirror: bool = False,
) -> Pose3D:
    """A pose shifted (cm, along x), scaled and turned (degrees, about the vertical) about the root, ...: see above."""
    rng = np.random.default_rng(0)
    points, root = pose.points.astype(np.float64), pose.points[:, :1].astype(np.float64)  # (T, J, 3), (T, 1, 3)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    about = (
        np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        if pose.frame == "world"
        else np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    )
    points = (points - root) @ about.T * scale * ([-1, 1, 1] if mirror else 1) + root
    points += rng.normal(0, noise / 1000, points.shape) + [shift / 100, 0, 0]
    joints = rng.permutation(len(pose.skeleton))[:shuffled]
    points[:, joints] = points[:, np.roll(joints, 1)]
    return replace(pose, points=points.astype(np.float32))


def _measured(prediction: Pose3D, truth: Pose3D) -> dict[str, float]:
    """Millimetres, MPJVE per frame; all but the first with both poses centred on their root."""
    placed, (a, b) = (prediction.points, truth.points), (p.root_relative().points for p in (prediction, truth))
    values = {
        "MPJPE as placed": metrics.mpjpe(*placed),
        "MPJPE, both centred": metrics.mpjpe(a, b),
        "N-MPJPE": metrics.n_mpjpe(a, b),
        "P-MPJPE": metrics.p_mpjpe(a, b),
        "MPJVE (a frame)": metrics.mpjve(a, b),
    }
    return {name: 1000 * float(value) for name, value in values.items()}
