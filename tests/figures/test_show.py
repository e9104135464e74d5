"""The plotly figures in 3D and 2D, and of cameras: sides, handedness, fixed ranges, size, gaps, and refusals."""

from __future__ import annotations

import json
import time

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mocap3d
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.figures.body import UPRIGHT, most_open, polyline
from mocap3d.figures.cameras import show_cameras
from mocap3d.figures.skeleton2d import show_2d
from mocap3d.figures.skeleton3d import figure_3d as show
from mocap3d.figures.style import LEFT, RIGHT, FigureError, chosen_frames
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import COCO17, H36M17, SKELETONS, Skeleton

# A standing person facing +y in a world with z up: the right hand is at +x.
STANDING = {
    "pelvis": (0, 0, 0.95),
    "spine": (0, 0, 1.2),
    "thorax": (0, 0, 1.45),
    "nose": (0, 0.1, 1.55),
    "head": (0, 0, 1.7),
    "hip": (0.13, 0, 0.95),
    "knee": (0.13, 0.02, 0.5),
    "foot": (0.13, 0, 0.08),
    "shoulder": (0.17, 0, 1.42),
    "elbow": (0.22, 0, 1.15),
    "wrist": (0.25, 0.05, 0.9),
}


def standing(frames: int = 12, fps: float = 50.0, **labels) -> Pose3D:
    """The standing person, swaying and raising the right hand."""
    points = np.zeros((frames, 17, 3))
    for j, joint in enumerate(H36M17.joints):
        side, _, part = joint.partition("_")
        place = np.array(STANDING[part] if side in ("left", "right") else STANDING[joint], dtype=float)
        points[:, j] = place * ([-1, 1, 1] if side == "left" else [1, 1, 1])
    t = np.arange(frames) / fps
    points[:, :, 1] += 0.3 * np.sin(2 * np.pi * t)[:, None]
    points[:, H36M17.index("right_wrist"), 2] += 0.5 * np.sin(3 * t)
    return Pose3D(points, H36M17, fps, labels.pop("frame", "world"), labels.pop("root", "absolute"))


def drawn(figure: go.Figure, joint: str, trace: int = 0) -> np.ndarray:
    """Where the figure draws a joint: (x, y, z) or (x, y)."""
    part = figure.data[trace]
    at = list(part.customdata).index(joint.replace("_", " "))
    return np.array([getattr(part, axis)[at] for axis in ("x", "y", "z") if axis in part], dtype=float)


def bodies(figure: go.Figure) -> list:
    return [trace for trace in figure.data if trace.type == "scatter3d" and trace.customdata is not None]


def test_one_plain_trace_for_each_body():
    pose = standing()
    figure = show(pose, pose)
    assert type(figure) is go.Figure
    assert [trace.name for trace in bodies(figure)] == ["prediction", "truth"]
    assert len(figure.frames) == 12 and all(len(frame.data) == 2 and frame.traces == (0, 1) for frame in figure.frames)
    assert figure.data[1].line.dash == "dash" and figure.data[0].line.dash is None
    assert len(json.dumps(json.loads(figure.to_json())["layout"]["template"])) < 100, "the default template takes 7 kB"


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_bone_is_drawn_once_and_in_its_colour(skeleton: Skeleton):
    line = polyline(skeleton)
    strokes = [
        ((a, b), side)
        for a, b, side in zip(line.vertices, line.vertices[1:], line.sides, strict=False)
        if a >= 0 and b >= 0
    ]
    bones = [bone for bone, _ in strokes if bone in skeleton.bones]
    assert sorted(bones) == sorted(skeleton.bones)
    assert all(side == skeleton.side(skeleton.joints[bone[1]]) for bone, side in strokes if bone in skeleton.bones)
    assert sorted(j for j, first in zip(line.vertices, line.first, strict=True) if first) == list(range(len(skeleton)))


def test_h36m_takes_25_line_points():
    assert len(polyline(H36M17).vertices) == 25
    assert polyline(H36M17).vertices.count(-1) == 4


def test_left_is_orange_and_right_is_blue():
    trace = show(standing()).data[0]
    for label, stroke, dot in zip(trace.customdata, trace.line.color, trace.marker.color, strict=True):
        if label.startswith(("left", "right")):
            assert stroke == dot == (LEFT if label.startswith("left") else RIGHT), label


@pytest.mark.parametrize("skeleton", ["cmu", "cc", "bandai"])
def test_labels_say_the_side_where_the_name_does_not(skeleton):
    skeleton = SKELETONS[skeleton]
    points = np.random.default_rng(0).normal(size=(1, len(skeleton), 3))
    labels = [label for label in show(Pose3D(points, skeleton, 50.0)).data[0].customdata if label]
    assert sum("left" in label for label in labels) == sum("right" in label for label in labels) > 4


def test_camera_view_is_a_rotation_and_keeps_right_right():
    assert np.allclose(UPRIGHT @ UPRIGHT.T, np.eye(3)) and np.linalg.det(UPRIGHT) == pytest.approx(1)
    camera = Camera.look_at((0.0, 4.0, 1.5), (0.0, 0.0, 1.0))  # in front of the person: the right hand is at image left
    seen = standing().in_camera(camera)
    figure = show(seen)
    right, left, head, foot = (drawn(figure, joint) for joint in ("right_wrist", "left_wrist", "head", "right_foot"))
    assert right[0] < left[0] and head[2] > foot[2]
    still = most_open(seen.points @ UPRIGHT.T)
    assert np.allclose(right, UPRIGHT @ seen.points[still, H36M17.index("right_wrist")], atol=1e-4)
    eye = figure.layout.scene.camera.eye
    assert eye.y < -abs(eye.x), "a camera-frame pose is looked at from the camera's side"


def test_world_pose_is_seen_from_its_front_and_not_turned():
    figure = show(standing())
    assert figure.layout.scene.camera.eye.y > 0, "the person faces +y, so the eye is at +y"
    assert np.allclose(drawn(figure, "right_hip")[0], 0.13, atol=1e-4)
    assert figure.layout.scene.camera.up.z == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["world", "camera"]), st.booleans())
def test_distances_and_volumes_survive_drawing(seed, frame, relative):
    """Drawn joints are the given ones up to a rotation: a signed volume would change sign in a mirror."""
    points = np.random.default_rng(seed).normal(0, 0.5, (3, 17, 3))
    pose = Pose3D(points, H36M17, 25.0, frame)
    figure = show(pose.root_relative() if relative else pose, max_frames=1)
    names = ("left_wrist", "right_wrist", "head", "right_foot")
    given_ = pose.points[0, H36M17.indices(names)].astype(float)
    shown = np.array([drawn(figure, name) for name in names])
    assert np.allclose(
        np.linalg.norm(np.diff(shown, axis=0), axis=1), np.linalg.norm(np.diff(given_, axis=0), axis=1), atol=1e-3
    )
    assert np.linalg.det(shown[1:] - shown[0]) == pytest.approx(np.linalg.det(given_[1:] - given_[0]), abs=1e-2)


def test_ranges_are_fixed_equal_and_hold_every_frame():
    pose = standing(60)
    figure = show(pose, Pose3D(pose.points + 0.1, H36M17, 50.0))
    scene = figure.layout.scene
    everything = np.array([[[part.x, part.y, part.z] for part in frame.data] for frame in figure.frames], dtype=float)
    metres_per_unit = []
    for i, axis in enumerate("xyz"):
        low, high = scene[f"{axis}axis"].range
        assert scene[f"{axis}axis"].autorange is False
        assert low < np.nanmin(everything[:, :, i]) and np.nanmax(everything[:, :, i]) < high
        metres_per_unit.append((high - low) / scene.aspectratio[axis])
    assert scene.aspectmode == "manual" and np.ptp(metres_per_unit) < 2e-3 * metres_per_unit[0]
    assert scene.uirevision and figure.layout.uirevision


def test_play_redraws_without_transition_at_the_speed_of_the_motion():
    figure = show(standing(300), max_frames=100)
    play, pause = figure.layout.updatemenus[0].buttons
    options = play.args[1]
    assert options["frame"] == {"duration": 60.0, "redraw": True} and options["transition"] == {"duration": 0}
    assert options["fromcurrent"] and list(pause.args[0]) == [None]
    steps = figure.layout.sliders[0].steps
    assert len(steps) == len(figure.frames) == 100
    assert steps[10].label.startswith("0.60 s") and "frame 30" in steps[10].label
    assert [list(step.args[0]) for step in steps] == [[frame.name] for frame in figure.frames]
    assert "every 3rd of 300 frames drawn" in figure.layout.title.text


@given(st.integers(1, 5000), st.integers(1, 400))
def test_never_more_frames_than_asked(count, most):
    frames, note = chosen_frames(count, most)
    assert 1 <= len(frames) <= most and frames[0] == 0 and frames[-1] < count
    assert bool(note) == (len(frames) < count)


def test_payload_and_speed():
    pose = standing(150)
    show(pose)  # plotly imports its validators on first use
    start = time.process_time()
    figure = show(pose, pose)
    assert time.process_time() - start < 2.0  # 0.2 s on a quiet machine
    assert len(figure.to_json()) < 300_000
    notebook = json.dumps(json.loads(figure.to_json()), indent=1)
    assert len(notebook) < 350_000
    assert len(show(standing(4000)).to_json()) < 200_000


def test_same_input_same_figure():
    pose = standing()
    assert show(pose, pose).to_json() == show(pose, pose).to_json()


def test_missing_joints_are_left_out():
    pose = standing()
    points = pose.points.copy()
    points[:, H36M17.index("left_wrist")] = np.nan
    points[4] = np.nan
    figure = show(Pose3D(points, H36M17, 50.0), pose)
    assert np.isnan(drawn(figure, "left_wrist")).all() and np.isfinite(drawn(figure, "left_elbow")).all()
    assert np.isnan(np.asarray(figure.frames[4].data[0].x, dtype=float)).all()
    assert "no joint to compare" in figure.layout.sliders[0].steps[4].label
    assert all(np.isfinite(figure.layout.scene[f"{axis}axis"].range).all() for axis in "xyz")


def test_no_joint_left_after_striding_or_without_a_root():
    points = standing(10).points.copy()
    points[::5] = np.nan
    with pytest.raises(FigureError, match="max_frames"):
        show(Pose3D(points, H36M17, 50.0), max_frames=2)
    rootless = standing(10).points.copy()
    rootless[:, 0] = np.nan
    with pytest.raises(FigureError, match="root is missing"):
        show(standing(10).root_relative(), Pose3D(rootless, H36M17, 50.0))


def test_still_frame_is_complete_and_open():
    points = np.zeros((5, 4, 3))
    points[2] = np.eye(4, 3) * 3
    points[3] = np.eye(4, 3) * 9
    points[3, 0] = np.nan
    assert most_open(points) == 2


def test_single_frame_needs_no_controls():
    figure = show(standing(1))
    assert not figure.layout.sliders and not figure.layout.updatemenus and not figure.frames


def test_error_is_told_in_title_and_slider():
    pose = standing()
    figure = show(Pose3D(pose.points + [0.03, 0, 0.04], H36M17, 50.0), pose)
    assert "50.0 mm" in figure.layout.title.text and "as placed" in figure.layout.title.text
    assert figure.layout.sliders[0].steps[3].label.endswith("error 50 mm")


def test_relative_prediction_over_absolute_truth_is_centred_and_says_so():
    pose = standing()
    figure = show(pose.root_relative(), pose)
    assert "root-relative: 0.0 mm" in figure.layout.title.text
    assert np.allclose(drawn(figure, "pelvis", 1), 0)


def test_side_by_side():
    pose = standing()
    figure = show({"a": pose, "b": pose}, pose)
    assert [trace.name for trace in bodies(figure)] == ["a", "truth", "b", "truth"]
    a, b = drawn(figure, "pelvis", 0), drawn(figure, "pelvis", 2)
    assert np.hypot(*(a - b)[:2]) >= 0.99 and a[2] == b[2]
    assert "a 0.0 mm, b 0.0 mm" in figure.layout.title.text
    eye = figure.layout.scene.camera.eye
    assert -eye.x * (b - a)[1] + eye.y * (b - a)[0] < 0, "the second body stands on the right"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: Pose3D(np.zeros((12, 17, 3)) + np.arange(17)[:, None] * 0.1, COCO17, 50.0), "skeletons differ"),
        (lambda p: Pose3D(p.points, H36M17, 25.0), "frame rates differ"),
        (lambda p: p.slice(0, 5), "lengths differ"),
        (lambda p: Pose3D(p.points, H36M17, 50.0, "camera"), "world frame"),
        (lambda p: Pose3D(np.full((12, 17, 3), np.nan), H36M17, 50.0), "nothing to draw"),
    ],
)
def test_poses_that_do_not_belong_together_are_refused(change, words):
    pose = standing()
    with pytest.raises(FigureError, match=words):
        show(pose, change(pose))


def test_what_is_not_a_pose_is_refused():
    with pytest.raises(TypeError, match=r"array of shape \(3, 17, 3\)"):
        mocap3d.show(np.zeros((3, 17, 3)))
    with pytest.raises(TypeError, match=r"tensor of shape \(3, 17, 3\)"):
        mocap3d.show(torch.zeros(3, 17, 3))
    with pytest.raises(TypeError, match="Pose2D"):
        show_2d(standing())
    with pytest.raises(FigureError, match="empty"):
        show({})
    with pytest.raises(ValueError, match="max_frames"):
        mocap3d.show(standing(), max_frames=0)


# 2D


def flat(frames: int = 12, size=(1000, 800), seed: int = 0, shift: float = 0.0) -> Pose2D:
    rng = np.random.default_rng(seed)
    return Pose2D(
        rng.uniform(100, 700, (frames, 17, 2)) + shift, rng.uniform(0.1, 0.9, (frames, 17)), H36M17, 50.0, size
    )


def test_2d_runs_down_with_square_pixels_and_a_border():
    figure = show_2d(flat())
    low, high = figure.layout.yaxis.range
    assert low > high and figure.layout.yaxis.scaleanchor == "x" and figure.layout.yaxis.autorange is False
    border = figure.layout.shapes[0]
    assert (border.x0, border.y0, border.x1, border.y1) == (0, 0, 1000, 800)
    assert "px" in figure.layout.xaxis.title.text and "down" in figure.layout.yaxis.title.text


def test_2d_sides_and_confidence():
    pose = flat()
    figure = show_2d(pose)
    assert [trace.line.color for trace in figure.data[:2]] == [LEFT, RIGHT]
    still = most_open(pose.points.astype(float))
    at = list(figure.data[0].customdata).index("left knee")
    assert figure.data[0].marker.opacity[at] == pytest.approx(
        pose.confidence[still, H36M17.index("left_knee")], abs=0.006
    )
    assert figure.data[0].x[at] == pytest.approx(pose.points[still, H36M17.index("left_knee"), 0], abs=0.06)
    sure = Pose2D(pose.points, None, H36M17, 50.0, (1000, 800))
    assert "marker" not in show_2d(sure).frames[0].data[0].to_plotly_json()


def test_2d_other_pose_is_lighter_and_its_distance_told():
    figure = show_2d(flat(), flat(shift=3.0), names=("detections", "truth"))
    assert "detections and truth in the drawn frames: 4.2 px" in figure.layout.title.text
    assert len(figure.frames[0].data) == 6 and figure.data[3].line.dash == "dot"
    assert len(show_2d(flat(150), flat(150)).to_json()) < 400_000


def test_2d_wild_and_missing_points_do_not_spoil_the_view():
    pose = flat()
    points = pose.points.copy()
    points[0, 0] = 1e6
    points[:, 3] = np.nan
    figure = show_2d(Pose2D(points, None, H36M17, 50.0, (1000, 800)))
    assert np.abs(figure.layout.xaxis.range).max() < 1600
    with pytest.raises(FigureError, match="image sizes differ"):
        show_2d(pose, flat(size=(640, 480)))


# cameras


def test_cameras_are_where_they_are_and_look_where_they_look():
    cameras = h36m_cameras("S9")
    figure = show_cameras(cameras, standing())
    traces = [trace for trace in figure.data if trace.name in {camera.name for camera in cameras}]
    assert len(traces) == 4 and len({trace.line.color for trace in traces}) == 4
    for camera, trace in zip(cameras, traces, strict=True):
        points = np.stack([trace.x, trace.y, trace.z], axis=1).astype(float)
        assert np.allclose(points[0], camera.translation, atol=1e-4)
        seen = camera.world_to_camera(points[~np.isnan(points[:, 0])][1:3])
        pixels = seen[:, :2] / seen[:, 2:] * camera.focal + camera.centre
        assert np.allclose(pixels, [[0, 0], [camera.width, 0]], atol=1)
        assert points[15, 2] > points[14, 2], "the mark is above the upper edge"
    assert len(figure.frames) == 12


def test_cameras_without_subject_and_wrong_input():
    camera = h36m_cameras("S1")[0]
    assert not show_cameras(camera).frames
    with pytest.raises(FigureError, match="no camera"):
        show_cameras([])
    with pytest.raises(FigureError, match="in_world"):
        show_cameras(camera, standing().in_camera(camera))
    with pytest.raises(FigureError, match="relative"):
        show_cameras(camera, standing().root_relative())
    with pytest.raises(TypeError, match=r"a Camera as cameras\[0\], not 1"):
        show_cameras([1])
    with pytest.raises(ValueError, match="a number above 0 as depth"):
        show_cameras(camera, depth=0)
