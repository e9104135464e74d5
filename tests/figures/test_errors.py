"""The error map and the training curves."""

from __future__ import annotations

import numpy as np
import pytest

from mocap3d.figures.errors import show_errors, show_history
from mocap3d.figures.style import FigureError, round_up
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17


def poses(frames: int = 20) -> tuple[Pose3D, Pose3D]:
    truth = np.random.default_rng(1).normal(0, 0.4, (frames, 17, 3))
    guess = truth.copy()
    guess[:, H36M17.index("left_wrist"), 0] += np.linspace(0, 0.19, frames)
    return Pose3D(guess, H36M17, 50.0), Pose3D(truth, H36M17, 50.0)


def test_map_holds_millimetres_by_joint_and_second():
    figure = show_errors(*poses())
    heat, bars = figure.data
    row = list(heat.y).index("left wrist")
    assert np.allclose(heat.z[row], np.linspace(0, 190, 20), atol=0.1)
    assert np.allclose(np.delete(np.asarray(heat.z), row, axis=0), 0, atol=0.1)
    assert (heat.x0, heat.dx) == (0, pytest.approx(0.02))
    assert bars.x[row] == pytest.approx(95, abs=0.1)
    assert "MPJPE 5.6 mm" in figure.layout.title.text  # 95 / 17
    assert heat.zmin == 0 and heat.colorscale[0][1] == "#00224e"  # cividis


def test_long_poses_are_averaged_in_time():
    guess, truth = poses(1001)
    figure = show_errors(guess, truth, max_columns=100)
    heat = figure.data[0]
    assert heat.z.shape == (17, 91) and heat.dx == pytest.approx(11 / 50)
    assert "mean of 11 frames" in figure.layout.title.text
    row = list(heat.y).index("left wrist")
    assert heat.z[row][0] == pytest.approx(np.linspace(0, 190, 1001)[:11].mean(), abs=0.1)
    assert len(figure.to_json()) < 40_000


def test_missing_joints_leave_holes_not_zeros():
    guess, truth = poses()
    points = guess.points.copy()
    points[:, 5] = np.nan
    points[3, 6] = np.nan
    heat, bars = show_errors(Pose3D(points, H36M17, 50.0), truth).data
    assert np.isnan(heat.z[5]).all() and np.isnan(heat.z[6][3]) and np.isfinite(heat.z[6][2])
    assert bars.text[5] == "missing"
    apart = np.full((20, 17, 3), np.nan)
    apart[:, 5] = 0
    with pytest.raises(FigureError, match="no joint is present in both"):
        show_errors(Pose3D(points, H36M17, 50.0), Pose3D(apart, H36M17, 50.0))


def test_roots_are_removed_when_one_is_unknown():
    guess, truth = poses()
    assert "root-relative" in show_errors(guess.root_relative(), truth).layout.title.text
    assert "as placed" in show_errors(guess, truth).layout.title.text
    with pytest.raises(FigureError, match=r"slice\(0, 5\)"):
        show_errors(guess, truth.slice(0, 5))
    assert show_errors(truth, truth).data[0].zmax == 1


@pytest.mark.parametrize(("value", "top"), [(37.2, 40), (62, 65), (100, 100), (101, 150), (0.3, 0.3)])
def test_scale_ends_at_a_round_number(value, top):
    assert round_up(value) == pytest.approx(top)


def test_history_draws_what_was_measured():
    history = [
        {"epoch": i, "train_loss": 1 / i, "validation_mpjpe_mm": 90.0 - i if i % 2 else None, "seconds": 3}
        for i in range(1, 9)
    ]
    figure = show_history(history)
    loss, validation, best = figure.data
    assert np.allclose(loss.y, [1 / i for i in range(1, 9)]) and figure.layout.yaxis.type == "log"
    assert list(validation.x) == [1, 3, 5, 7] and best.x == (7.0,)
    assert "83.0 mm at epoch 7" in figure.layout.title.text


def test_history_of_less_than_an_epoch_is_over_steps():
    history = [{"epoch": round(step / 1000, 2), "step": step, "train_loss": 1 / step} for step in (4, 8, 12)]
    figure = show_history(history)
    assert figure.layout.xaxis.title.text == "step" and list(figure.data[0].x) == [4, 8, 12]
    figure = show_history([*history, {"epoch": 1, "step": 1000, "train_loss": 1e-3}])
    assert figure.layout.xaxis.title.text == "epoch"


@pytest.mark.parametrize(
    ("low", "high"), [(0.22, 0.46), (0.12, 0.19), (0.1012, 0.1015), (0.011, 0.9), (0.2, 700), (6, 9)]
)
def test_the_axis_of_losses_has_two_ticks_or_more(low, high):
    axis = show_history([{"step": 1, "train_loss": high}, {"step": 2, "train_loss": low}]).layout.yaxis
    inside = [text for tick, text in zip(axis.tickvals, axis.ticktext, strict=True) if low <= tick <= high]
    assert 2 <= len(set(inside)) <= 10


def test_one_loss_alone_has_ticks_beside_it():
    assert show_history([{"step": 1, "train_loss": 0.3}]).layout.yaxis.tickvals


def test_history_with_one_curve_or_none():
    only = show_history([{"step": 10, "train_loss": 0.5}, {"step": 20, "train_loss": -0.1}])
    assert len(only.data) == 1 and only.layout.xaxis.title.text == "step" and only.layout.yaxis.type != "log"
    assert len(show_history([{"epoch": 1, "validation_mpjpe_mm": 50.0}]).data) == 2
    with pytest.raises(FigureError, match="validation_mpjpe_mm"):
        show_history([])
    with pytest.raises(FigureError, match="train_loss"):
        show_history([{"epoch": 1}])
