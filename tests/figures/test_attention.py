"""`show_attention` and `show_gates`: what is drawn are the network's own weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from mocap3d.camera import pixels_to_screen
from mocap3d.figures.attention import LINES, WHOLE, show_attention, show_gates
from mocap3d.figures.style import FigureError
from mocap3d.models.create import create_model
from mocap3d.models.motionbert import MotionBERT
from mocap3d.normalise import assumed_intrinsics, normalise_points
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17

HEADS, DEPTH = 2, 2
SIZE = len(LINES) + 2 + HEADS + 1  # traces of one layer: lines, dots, ring, heads, their mean


@pytest.fixture(scope="module")
def model() -> MotionBERT:
    """Weights large enough for attention to differ from an equal share."""
    torch.manual_seed(0)
    model = MotionBERT(32, 2, 32, depth=DEPTH, heads=HEADS, frames=9).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def video() -> Pose2D:
    rng = np.random.default_rng(0)
    return Pose2D(rng.uniform(100, 900, (30, 17, 2)), skeleton=H36M17, fps=50, image_size=(1000, 1000))


def network_input(video: Pose2D, first: int, model: MotionBERT) -> torch.Tensor:
    screen = pixels_to_screen(video.points[first : first + 9].astype(np.float32), 1000, 1000)
    return model.encode(torch.from_numpy(screen)[None])


def part(figure: go.Figure, layer: int, frame: int | None = None) -> list:
    """The traces of one layer, as first shown or as a frame of the joint menu leaves them."""
    traces = figure.data if frame is None else figure.frames[frame].data
    return list(traces[1 + layer * SIZE : 1 + (layer + 1) * SIZE])


@pytest.mark.parametrize("head", [None, 1])
def test_weights_drawn_are_those_of_the_model(model, video, head):
    names = ["right_wrist", "head"]
    figure = show_attention(model, video, names, frame=20, head=head)
    x, at = network_input(video, 16, model), 4  # the clip around frame 20
    for layer, (depth, stream) in enumerate([(0, "st"), (0, "ts"), (1, "st"), (1, "ts")]):
        joints = model.attention(x, depth, stream, "joints")[0, at].numpy()  # (H, J, J)
        joints = joints.mean(0) if head is None else joints[head]
        frames = model.attention(x, depth, stream, "frames")[0, :, :, at].numpy()  # (J, H, T)
        for number, query in enumerate(H36M17.indices(names)):
            *lines, dots, ring, _, _, mean = part(figure, layer, number)
            assert np.allclose(dots.customdata, 100 * joints[query], atol=0.01)
            area = (np.asarray(dots.marker.size) / WHOLE) ** 2
            assert np.allclose(area, joints[query], atol=0.01) and abs(area.sum() - 1) < 0.05
            assert np.allclose([ring.x[0], ring.y[0]], video.points[20, query], atol=0.06)
            curves = [trace.y for trace in part(figure, layer, number)[-1 - HEADS : -1]]
            assert np.allclose(curves, 100 * frames[query], atol=0.001)
            assert np.allclose(mean.y, 100 * frames[query].mean(0), atol=0.001)
            led = sum(len(line.x) // 3 for line in lines)
            assert led == (np.delete(17 * joints[query], query) >= 1).sum()
    curve = part(figure, 0)[-1]
    assert np.allclose(curve.x, np.arange(16, 25) / 50) and curve.xaxis == "x2"


def test_a_model_that_reads_normalised_points_is_given_them(video):
    torch.manual_seed(0)
    ray = MotionBERT(32, 2, 32, depth=DEPTH, heads=HEADS, frames=9, image_space=False, init="fan_in", normalise="ray")
    screen = torch.from_numpy(pixels_to_screen(video.points[16:25].astype(np.float32), 1000, 1000))
    camera = screen.new_tensor([assumed_intrinsics(1000, 1000)])
    points, _ = normalise_points(screen, torch.tensor([9]), "ray", 9, intrinsics=camera)
    ray.eval().fit_normalisation(points, torch.randn(9, 17, 3))
    weights = ray.attention(ray.encode(points[None]), 0, "st", "joints")[0, 4].mean(0)[16]
    dots = part(show_attention(ray, video, "right_wrist", frame=20), 0)[len(LINES)]
    assert np.allclose(dots.customdata, 100 * weights, atol=0.01)


def test_lines_lead_from_the_joint_to_those_it_prefers(model, video):
    figure = show_attention(model, video, "left_foot", frame=20)
    weights = model.attention(network_input(video, 16, model), 0)[0, 4].mean(0)[H36M17.index("left_foot")]
    foot, ends = video.points[20, H36M17.index("left_foot")], {}
    for line, least in zip(part(figure, 0), LINES, strict=False):
        path = np.stack([line.x, line.y], -1).reshape(-1, 3, 2)
        assert np.allclose(path[:, 0], foot, atol=0.06) and np.isnan(path[:, 2]).all()
        for end in path[:, 1]:
            ends[int(np.linalg.norm(video.points[20] - end, axis=-1).argmin())] = least
    assert ends
    for joint, least in ends.items():
        assert 17 * weights[joint] >= least and (least == 4 or 17 * weights[joint] < 2 * least)


def test_menus_do_what_they_say(model, video):
    figure = show_attention(model, video, ["right_wrist", "pelvis"], depth=1, stream="ts")
    layers, joints = figure.layout.updatemenus
    assert [button.label for button in layers.buttons][layers.active] == "depth 1, ts stream"
    visible = [trace.visible for trace in figure.data[1:]]
    assert visible == list(layers.buttons[layers.active].args[0]["visible"])
    for number, button in enumerate(layers.buttons):
        assert np.flatnonzero(button.args[0]["visible"]).tolist() == [*range(number * SIZE, (number + 1) * SIZE)]
        assert list(button.args[1]) == list(range(1, len(figure.data)))
    assert [button.label for button in joints.buttons] == ["right wrist", "pelvis"]
    assert [button.args[0] for button in joints.buttons] == [(frame.name,) for frame in figure.frames]


def test_one_joint_needs_no_menu_and_is_named(model, video):
    figure = show_attention(model, video, "left_knee")
    assert len(figure.layout.updatemenus) == 1 and not figure.frames
    assert "left knee, frame 15, 0.30 s" in figure.layout.title.text


@pytest.mark.parametrize(("frame", "first"), [(0, 0), (2, 0), (29, 21)])
def test_the_clip_stays_inside_the_video(model, video, frame, first):
    figure = show_attention(model, video, "head", frame)
    assert np.allclose(part(figure, 0)[-1].x, np.arange(first, first + 9) / 50)
    short = show_attention(model, video.slice(0, 4), "head")
    assert len(part(short, 0)[-1].x) == 4


def test_up_is_up_and_pixels_are_square(model, video):
    layout = show_attention(model, video).layout
    low, high = layout.yaxis.range
    assert low > high and layout.yaxis.scaleanchor == "x"
    assert layout.xaxis.title.text.endswith("(px)") and layout.xaxis2.title.text.endswith("(s)")


def test_missing_joints_are_drawn_where_the_model_is_told_they_are(model, video):
    points = video.points.copy()
    points[20, 3] = np.nan
    figure = show_attention(model, replace(video, points=points, confidence=None), frame=20)
    assert np.isfinite(np.asarray(part(figure, 0)[len(LINES)].x)).all()


def test_gates_drawn_are_those_of_the_model(model, video):
    (heat,) = show_gates(model, video).data
    shares = model.shares(network_input(video, 11, model))[:, 0, :, :, 0].mean(1)  # the clip in the middle
    assert np.allclose(np.asarray(heat.z), 100 * shares.T, atol=0.06)
    assert list(heat.y)[16] == "right wrist" and list(heat.x) == ["depth 0", "depth 1"]


def test_figures_stay_small(video):
    torch.manual_seed(0)
    tiny = create_model("motionbert_tiny").eval()
    long = video.resample(200)  # 117 frames or more, cut to a clip of 81
    assert len(show_attention(tiny, long).to_json()) < 180_000
    assert len(show_gates(tiny, long).to_json()) < 10_000


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"joint": "tail"}, "no joint 'tail'; give one of pelvis"),
        ({"joint": []}, "no joint"),
        ({"frame": 30}, "frame is 30; give 0 to 29"),
        ({"frame": -1}, "frame is -1; give 0 to 29"),
        ({"depth": 2}, "depth is 2; give 0 to 1"),
        ({"stream": "tt"}, "stream is 'tt'; give 'st' or 'ts'"),
        ({"head": 2}, "head is 2; give 0 to 1"),
    ],
)
def test_what_is_not_there_is_refused(model, video, wrong, says):
    with pytest.raises(FigureError, match=says):
        show_attention(model, video, **wrong)


def test_other_models_are_refused(video):
    with pytest.raises(TypeError, match="takes a MotionBERT as model, not a VideoPose3D"):
        show_attention(create_model("videopose3d_27", channels=8), video)
    with pytest.raises(FigureError, match="fuse=False"):
        show_gates(MotionBERT(8, 1, 8, depth=1, heads=1, frames=9, fuse=False), video)
    with pytest.raises(TypeError, match="a Pose2D as pose2d, not an array"):
        show_gates(MotionBERT(8, 1, 8, depth=1, heads=1, frames=9), video.points)
