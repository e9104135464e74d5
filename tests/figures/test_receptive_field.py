"""`show_receptive_field`: what it lights up is what the network reads."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.figures.receptive_field import show_receptive_field
from mocap3d.models.create import create_model

odd = st.sampled_from([1, 3, 5])


def lit(figure: go.Figure, output: int) -> dict[int, list[int]]:
    """level -> frames of the dots lit for one output."""
    x, y = np.asarray(figure.frames[output].data[-1].x), np.asarray(figure.data[-1].y)
    return {int(level): x[y == level].astype(int).tolist() for level in np.unique(y)}


@settings(max_examples=20, deadline=None)
@given(st.lists(odd, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_the_lit_frames_are_those_the_network_reads(widths, causal, strided):
    """The network itself is asked: which inputs have a gradient, of which output."""
    torch.manual_seed(0)
    model = create_model("videopose3d", filter_widths=widths, channels=64, causal=causal).eval().double()
    field, outputs = math.prod(widths), 4
    x = torch.randn(1, field + outputs - 1, 34, dtype=torch.float64, requires_grad=True)
    figure = show_receptive_field(widths, causal, strided, outputs=outputs)
    poses = model.run(x, strided=False)
    for output in range(outputs):
        (gradient,) = torch.autograd.grad(poses[0, output].square().sum(), x, retain_graph=True)
        read = gradient[0].abs().sum(-1).nonzero()[:, 0].tolist()
        dots = lit(figure, output)
        assert dots[0] == read == list(range(output, output + field))
        assert dots[len(widths)] == [output + (field - 1 if causal else field // 2)]


def test_a_tree_is_as_large_as_the_strided_form():
    for output in range(9):
        assert [len(places) for places in lit(show_receptive_field(), output).values()] == [27, 9, 3, 1]
    assert lit(show_receptive_field(), 0) == {0: list(range(27)), 1: list(range(1, 27, 3)), 2: [4, 13, 22], 3: [13]}
    assert lit(show_receptive_field(causal=True), 0)[2] == [8, 17, 26]


def test_the_dilated_form_shows_every_column_and_counts_them():
    figure = show_receptive_field(outputs=9)  # 35 frames -> 33 + 27 + 9
    assert len(figure.data[1].x) == 35 + 33 + 27 + 9
    assert "69 columns for 9 poses; this pose uses 13" in figure.layout.title.text
    strided = show_receptive_field(strided=True, outputs=9)
    assert len(strided.data[0].x) == 35 and "13 columns a pose" in strided.layout.title.text


@pytest.mark.parametrize("strided", [False, True])
def test_every_dot_says_what_it_sees(strided):
    figure = show_receptive_field(strided=strided)
    dots = figure.frames[0].data[-1] if strided else figure.data[1]
    y = np.asarray(figure.data[-1].y if strided else dots.y)
    texts = dict(zip(zip(y, dots.x, strict=True), dots.text, strict=True))
    assert "reads 4, 13, 22" in texts[3, 13] and "sees frames 0 to 26: 0.54 s at 50 fps" in texts[3, 13]
    if not strided:  # the lit dots move, so the still ones under them speak
        assert figure.data[-1].hoverinfo == "skip" and figure.data[-1].text is None


def test_the_slider_names_the_frames_and_the_figure_stays_small():
    figure = show_receptive_field((3, 3, 3, 3), outputs=5)
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps][0] == "the pose of frame 40 sees frames 0 to 80"
    assert slider.active == 2 and len(figure.frames) == 5 and len(figure.to_json()) < 120_000
    alone = show_receptive_field((3, 3), outputs=1)
    assert not alone.frames and not alone.layout.sliders


@pytest.mark.parametrize(("widths", "outputs"), [((3, 2), 9), ((), 9), ((0,), 9), ((3,), 0)])
def test_what_cannot_be_drawn_is_refused(widths, outputs):
    with pytest.raises(ValueError, match="as outputs, not 0" if outputs == 0 else "odd numbers"):
        show_receptive_field(widths, outputs=outputs)
