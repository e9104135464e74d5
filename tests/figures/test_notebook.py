"""What several notebooks share: the chart, thinner data sets, shorter clips, the count of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import mocap3d
from mocap3d import chart, count_parameters, first_frames, thin


@pytest.fixture(scope="module")
def dataset() -> mocap3d.PoseDataset:
    return mocap3d.load_dataset("synthetic", subjects=["S1"], actions=["Walking", "Posing"], seconds=1.0)


def test_a_chart_is_empty_and_named():
    figure = chart("Errors grow", "time (s)", "error (mm)")
    layout = figure.layout
    assert len(figure.data) == 0 and layout.title.text == "<b>Errors grow</b>" and layout.height == 420
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == ("time (s)", "error (mm)")
    assert layout.legend.orientation == "h" and layout.legend.yanchor == "bottom"  # above whatever the height


def test_a_chart_takes_other_settings_and_keeps_the_rest():
    layout = chart("t", "x", "y", 500, margin_b=100, barmode="group", xaxis_type="log").layout
    assert layout.height == 500 and layout.barmode == "group" and layout.xaxis.type == "log"
    assert (layout.margin.b, layout.margin.l) == (100, 70) and layout.xaxis.title.text == "x"


def test_thin_keeps_every_nth_clip_and_the_data_sets_name_and_notes(dataset):
    some = thin(dataset, 3)
    assert some.clips == dataset.clips[::3] and len(some) == 3
    assert (some.name, some.notes) == (dataset.name, dataset.notes)
    assert thin(dataset, 1).clips == dataset.clips
    with pytest.raises(ValueError, match="1 or more as step, not 0"):
        thin(dataset, 0)


@pytest.mark.parametrize(("frames", "left"), [(1, 1), (20, 20), (50, 50), (400, 50)])
def test_first_frames_shortens_2d_and_3d_alike(dataset, frames, left):
    clip = dataset[0]
    short = first_frames(clip, frames)
    assert len(short) == len(short.pose2d) == len(short.pose3d) == left
    assert np.array_equal(short.pose2d.points, clip.pose2d.points[:left])
    assert np.array_equal(short.pose3d.points, clip.pose3d.points[:left])
    assert (short.take, short.camera) == (clip.take, clip.camera)


def test_first_frames_refuses_an_empty_clip(dataset):
    with pytest.raises(ValueError, match="1 or more as frames, not 0"):
        first_frames(dataset[0], 0)


def test_parameters_are_counted_and_buffers_are_not(device: torch.device):
    layer = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).to(device)  # the norm has running statistics
    assert count_parameters(layer) == 4 * 3 + 3 + 2 * 3
    assert count_parameters(mocap3d.create_model("simple_baseline")) == 4_291_632
