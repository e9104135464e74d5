"""Explorers: every control has its effect, what they print is true, and a still is there without a kernel."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import mocap3d
from mocap3d import metrics
from mocap3d.figures.explore_damage import GONE, damaged
from mocap3d.figures.explore_geometry import _camera_before
from mocap3d.figures.explore_models import predicted
from mocap3d.figures.explorer import WIDGET, Explorer
from mocap3d.figures.style import FigureError
from mocap3d.skeleton import ROOT
from mocap3d.weights import load_shipped

PLOTLY = "application/vnd.plotly.v1+json"
ROOT_FOLDER = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset():
    return mocap3d.load_dataset("synthetic", subjects=("S1", "S9"), actions=("Walking", "Greeting"), seconds=1)


@pytest.fixture(scope="module")
def model():
    return load_shipped("causal")


def shown_2d(explorer: Explorer) -> str:
    """The 2D beside the bodies, as it is sent to the browser."""
    return explorer.view.scene["flat"]["data"]


def numbers(explorer: Explorer) -> dict[str, float]:
    """The rows of an explorer's text: name -> millimetres."""
    rows = re.findall(r"<span[^>]*>([^<]+)</span><b[^>]*>([\d.]+) mm", explorer.text.value)
    return {name: float(value) for name, value in rows}


def test_a_data_set_is_explored_by_its_labels(dataset):
    explorer = mocap3d.explore_dataset(dataset)
    assert list(explorer.controls) == ["subject", "action", "camera"]  # these decide, no recording is asked for
    explorer.controls["action"].value = "Walking"
    walking = explorer.view.scene["data"]
    explorer.controls["subject"].value = "S9"
    assert explorer.controls["action"].value == "Walking" and explorer.view.scene["data"] != walking
    assert "synthetic S9" in explorer.text.value and f"{len(dataset)} clips" in explorer.text.value
    before = shown_2d(explorer)
    explorer.controls["camera"].value = explorer.controls["camera"].options[2]
    clip = dataset.select(subject="S9", action="Walking", camera=explorer.controls["camera"].value)[0]
    assert shown_2d(explorer) != before
    assert shown_2d(explorer) == mocap3d.show(clip.pose3d, pose2d=clip.pose2d).scene()["flat"]["data"]
    explorer.close()


def test_lists_offer_what_is_left_and_clips_may_be_of_any_length(dataset):
    clips = [mocap3d.first_frames(clip, 9) if clip.subject == "S1" else clip for clip in dataset]
    clips = [clip for clip in clips if (clip.subject, clip.action) != ("S9", "Greeting")]
    explorer = mocap3d.explore_dataset([*clips, replace(clips[0], take="again")])
    explorer.controls["subject"].value = "S9"
    assert explorer.controls["action"].options == ("Walking",)
    explorer.controls["subject"].value = "S1"  # nine frames
    assert "9 frames" in explorer.text.value
    assert set(explorer.controls["recording"].options) >= {"again"}
    explorer.close()
    with pytest.raises(FigureError, match="no clips"):
        mocap3d.explore_dataset([])


def test_a_joint_on_its_ray_stays_in_the_image():
    explorer = mocap3d.explore_projection()

    def height() -> float:
        return float(re.search(r"is (\d+) px high", explorer.text.value)[1])

    before, seen = shown_2d(explorer), []
    for along in (-80, 30):
        explorer.controls["along"].value = along
        assert f"{along:+d} cm" in explorer.text.value and "moved by <b>0.00 px" in explorer.text.value
        seen.append(explorer.view.scene["data"])
    assert shown_2d(explorer) == before and seen[0] != seen[1]
    pose, tall = explorer.view.scene["data"], height()
    explorer.controls["focal"].value *= 2
    assert height() == pytest.approx(2 * tall, abs=2)
    assert explorer.view.scene["data"] == pose and shown_2d(explorer) != before, "the body stays, the image does not"
    assert explorer.view.scene["flat"]["crop"] == [0, 0, 1000, 1000]
    explorer.controls["distance"].value *= 2
    assert height() == pytest.approx(tall, rel=0.1)
    explorer.close()
    with pytest.raises(FigureError, match="camera frame"):
        mocap3d.explore_projection(mocap3d.Pose3D(np.ones((1, 17, 3)), frame="camera"))


def test_a_camera_that_looks_down_sees_the_body_higher_in_the_image():
    pose = mocap3d.synthesize("S9", "Greeting", seconds=1).slice(0, 1)
    level, down = (pose.project(_camera_before(pose, pitch, 1150, 4)).points for pitch in (0, 10))
    assert down[..., 1].mean() < level[..., 1].mean() - 100
    assert level.mean((0, 1)) == pytest.approx([500, 500], abs=15), "aimed at the body"


def test_metrics_forgive_what_they_are_known_to_forgive():
    explorer = mocap3d.explore_metrics()
    explorer.controls["turn"].value = 0
    assert set(numbers(explorer).values()) == {0.0}

    def after(**change) -> dict[str, float]:
        for name, value in change.items():
            before, explorer.controls[name].value = explorer.controls[name].value, value
        found = numbers(explorer)
        explorer.controls[name].value = before
        return found

    assert after(shift=10) == {name: 100.0 * (name == "MPJPE as placed") for name in numbers(explorer)}
    scaled = after(scale=1.2)
    assert scaled["MPJPE, both centred"] > 50 and scaled["N-MPJPE"] == scaled["P-MPJPE"] == 0
    turned = after(turn=90)
    assert turned["N-MPJPE"] > 100 and turned["P-MPJPE"] == 0
    assert min(after(mirror=True).values()) > 0
    shuffled, noisy = after(shuffled=6), after(noise=20)
    assert shuffled["P-MPJPE"] > 100
    # independent noise in two frames: its difference is larger by the square root of two
    assert noisy["MPJVE (a frame)"] == pytest.approx(2**0.5 * noisy["MPJPE, both centred"], rel=0.05)
    assert set(numbers(explorer).values()) == {0.0}
    explorer.close()


def test_the_receptive_field_is_the_product_of_the_widths():
    explorer = mocap3d.explore_receptive_field()
    explorer.controls["widths"].value = "7, 5"
    assert "35 frames" in explorer.text.value and "0.34 s late" in explorer.text.value
    explorer.controls["causal"].value = True
    explorer.controls["form"].value = "strided"
    assert "0.00 s late" in explorer.text.value
    explorer.close()


def test_models_are_compared_clip_by_clip(dataset, model):
    models = {"one": model, "two": load_shipped("centred")}
    explorer = mocap3d.explore_model(models, dataset.test)
    clip = 2
    explorer.controls["clip"].value = clip
    report = mocap3d.evaluate(model, [dataset.test[clip]], protocol="videopose3d")
    assert numbers(explorer)["one"] == pytest.approx(
        mpjpe(predicted(model, dataset.test[clip]), dataset.test[clip]), abs=0.06
    )
    assert mpjpe(predicted(model, dataset.test[clip]), dataset.test[clip]) < 2 * report.mpjpe_mm
    assert explorer.view.scene["names"] == ["one", "two", "truth"]
    explorer.controls["show two"].value = False
    assert explorer.view.scene["names"] == ["one", "truth"] and list(numbers(explorer)) == ["one"]
    explorer.controls["show one"].value = False
    assert "Tick" in explorer.text.value
    explorer.close()
    alone = mocap3d.explore_model(model, dataset.test)
    assert list(alone.controls) == ["clip"]
    alone.close()
    with pytest.raises(FigureError, match="0 clips"):
        mocap3d.explore_model(model, [])


def mpjpe(pose, clip) -> float:
    return 1000 * metrics.mpjpe(pose.points, clip.pose3d.root_relative().points)


def test_every_control_of_what_if_changes_the_prediction(dataset, model):
    clip = mocap3d.first_frames(dataset.test[0], 40)
    explorer = mocap3d.what_if(model, clip)
    given = numbers(explorer)
    assert given["now"] == given["as given"] == pytest.approx(mpjpe(predicted(model, clip), clip), abs=0.06)
    clean, seen = explorer.view.scene["data"], {}
    settings = dict(noise=20, missing=50, gone="legs", inverted=40, fps=10, pitch=40, roll=50, frames=1)
    for name, value in settings.items():
        control = explorer.controls[name]
        before, control.value = control.value, value
        seen[name] = explorer.view.scene["data"]
        assert seen[name] != clean, name
        control.value = before
    assert explorer.view.scene["data"] == clean and len(set(seen.values())) == len(settings)
    explorer.controls["inverted"].value = 40
    explorer.controls["undo"].value = True
    assert numbers(explorer)["now"] == given["now"], "inversions are found and undone"
    explorer.controls["stated"].value = False  # at 50 fps it makes no difference
    assert numbers(explorer)["now"] == given["now"]
    explorer.controls["fps"].value = 20
    assert numbers(explorer)["now"] != given["now"]
    explorer.controls["missing"].value = 90
    assert explorer.text.value
    assert len(explorer.still.data[0].x) == len(explorer.still.data[0].y) > 10
    explorer.close()
    with pytest.raises(FigureError, match="25 fps"):
        half = replace(clip, pose2d=clip.pose2d.resample(25), pose3d=clip.pose3d.resample(25))
        mocap3d.what_if(model, half)


def test_what_cannot_be_shown_is_told_in_words(dataset, model):
    clip = mocap3d.first_frames(dataset.test[0], 5)
    nobody = replace(clip, pose2d=replace(clip.pose2d, points=clip.pose2d.points.copy()))
    nobody.pose2d.points[3], nobody.pose2d.confidence[3] = np.nan, 0
    explorer = mocap3d.what_if(model, clip)
    explorer._draw = lambda **_: (_ for _ in ()).throw(FigureError("nothing <to> draw"))
    explorer.draw()
    assert explorer.text.value == "<b>nothing &lt;to&gt; draw</b>"
    explorer.close()


def test_a_camera_moves_around_the_person(dataset):
    clip = dataset.test[0]
    middle = clip.pose3d.points[:, ROOT].mean(0)
    above = damaged(clip, pitch=30)
    assert np.allclose(above.pose3d.points[:, ROOT].mean(0), middle, atol=1e-4), "it stays where it was"
    head, foot = clip.pose3d.skeleton.index("head"), clip.pose3d.skeleton.index("left_foot")
    lean = lambda c: (c.pose3d.points[:, head, 2] - c.pose3d.points[:, foot, 2]).mean()  # noqa: E731
    assert lean(above) < lean(clip) - 0.5, "from above the head is nearer than the feet"
    rolled = damaged(clip, roll=90)  # clockwise, so the image turns counterclockwise: up becomes left
    up = clip.pose2d.points[0, head] - clip.pose2d.points[0, foot]
    turned = rolled.pose2d.points[0, head] - rolled.pose2d.points[0, foot]
    assert up[1] < -100 and turned[0] < -100 and abs(turned[1]) < abs(up[1]) / 2
    for changed in (above, rolled, damaged(clip, focal=1.7)):
        projected = changed.pose3d.project(changed.camera).points
        assert np.allclose(projected, changed.pose2d.points, atol=0.02), "image and pose belong together"
        assert np.allclose(
            metrics.bone_lengths(changed.pose3d.points), metrics.bone_lengths(clip.pose3d.points), atol=1e-4
        )


def test_a_detector_fails_as_asked(dataset):
    clip = dataset.test[0]
    noisy = damaged(clip, noise=10).pose2d.points - clip.pose2d.points
    assert noisy.std() == pytest.approx(10, rel=0.1)
    lost = damaged(clip, missing=40).pose2d
    assert np.isnan(lost.points).any(-1).mean() == pytest.approx(0.4, abs=0.05)
    assert np.array_equal(np.isnan(lost.points).any(-1), lost.confidence == 0)
    legs = np.isnan(damaged(clip, gone="legs").pose2d.points).all((0, 2))
    assert {clip.pose2d.skeleton.joints[j] for j in np.flatnonzero(legs)} == set(GONE["legs"])
    half = damaged(clip, inverted=50).pose2d.points
    changed = (half != clip.pose2d.points).any((1, 2))
    assert changed.sum() == len(clip) // 2 and changed[len(clip) // 2] and not changed[0]
    assert damaged(clip).pose2d.points is clip.pose2d.points or np.array_equal(
        damaged(clip).pose2d.points, clip.pose2d.points
    )
    known, unknown = damaged(clip, fps=10), damaged(clip, fps=10, stated=False)
    assert len(known) > len(clip) - 5 and len(unknown) == pytest.approx(len(clip) / 5, abs=1)
    assert np.array_equal(known.pose3d.points, clip.pose3d.points[: len(known)])
    assert np.allclose(known.pose2d.points[::5], clip.pose2d.points[: len(known) : 5], atol=1e-3)


def test_in_a_notebook_it_is_live_and_leaves_a_still():
    sources = ["import mocap3d", "mocap3d.explore_metrics()", "mocap3d.explore_projection()"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(
        book, resources={"metadata": {"path": str(ROOT_FOLDER)}}, store_widget_state=False
    ).execute()
    for cell, kinds in zip(book.cells[1:], ({PLOTLY}, {"image/png", "text/html"}), strict=True):
        data = cell.outputs[-1].data
        assert WIDGET in data and kinds <= set(data) and data["text/plain"].endswith(".")


def test_closing_leaves_no_widgets_behind(dataset, model):
    """A cell that runs again closes its explorer; a browser test shows that."""
    from ipywidgets import Widget

    def opened() -> int:
        return len(Widget.get_manager_state()["state"])

    before = opened()
    for explore in (
        mocap3d.explore_metrics,
        mocap3d.explore_receptive_field,
        lambda: mocap3d.explore_dataset(dataset),
        lambda: mocap3d.what_if(model, mocap3d.first_frames(dataset.test[0], 5)),
    ):
        explorer = explore()
        assert opened() > before + 5
        explorer.close()
        explorer.close()
        assert opened() == before


def test_without_ipywidgets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"mocap3d\[course\]"):
        mocap3d.explore_receptive_field()
