"""Right words at the wrong turn: each slip in each argument of each public call.

A call either works or raises an error of the library's own: the innermost frame of its traceback is a `raise` of this
package, and the message names the argument or what was given. Nothing breaks further inside.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from tqdm.auto import tqdm

import mocap3d
from mocap3d.evaluation.baselines import MeanPose
from mocap3d.evaluation.predict import predict_clips, to_metric
from mocap3d.lifting import cleanup
from mocap3d.lifting.stream import KeypointStream
from mocap3d.models.simple_baseline import SimpleBaseline3D
from tests.formats.test_asf_amc import AMC, ASF
from tests.toys import small_motionbert, sticks

PACKAGE = Path(mocap3d.__file__).parent


@cache
def given() -> dict[str, object]:
    """What calls are made with, and slips are made of; everything small."""
    torch.manual_seed(0)
    dataset = sticks(takes=2, frames=30, views=2)
    test = sticks(takes=1, frames=30, split="test", views=2)
    model = mocap3d.create_model("simple_baseline", channels=8)
    recipe = mocap3d.Recipe("tiny", steps=1, batch_size=16)
    run = mocap3d.fit(model, dataset, recipe, progress=False, device="cpu")
    clip = dataset[0]
    report = mocap3d.evaluate(model, test)
    folder = Path(tempfile.mkdtemp())
    still = clip.pose3d.in_world(clip.camera)
    mocap3d.write(still, folder / "a.bvh"), mocap3d.write(still, folder / "a.npz")
    mocap3d.write(clip.pose2d, folder / "a.json")
    (folder / "a.asf").write_text(ASF), (folder / "a.amc").write_text(AMC)
    mixed = mocap3d.PoseAndTrajectory(mocap3d.create_model("videopose3d_1", channels=8))
    return {
        "files": {path.suffix[1:]: path for path in folder.iterdir()},
        "dataset": dataset,
        "test": test,
        "model": model,
        "recipe": recipe,
        "run": run,
        "clip": clip,
        "report": report,
        "pair": mixed,
        "data": mocap3d.to_device(test),
        "bert": small_motionbert(frames=9, depth=1, channels=8, representation=8, heads=2).eval(),
        "protocol": mocap3d.PROTOCOLS["videopose3d"],
        "lifted": mocap3d.lift(clip.pose2d, model),
    }


def slips() -> dict[str, object]:
    """Kind of slip -> the value, made anew for each call."""
    g = given()
    clip, pose2d, pose3d = g["clip"], g["clip"].pose2d, g["clip"].pose3d
    return {
        "a class of model": SimpleBaseline3D,
        "a class of pose": mocap3d.Pose2D,
        "a path": Path("weights.pth"),
        "a file's name": "weights.pth",
        "a shipped model's name": "causal",
        "a model's name": "simple_baseline",
        "a device's wrong name": "gpu",
        "a device that is not there": "cuda:7",
        "a number as text": "1.75",
        "a number and its unit": "175cm",
        "an empty text": "",
        "bytes": b"bytes",
        "None": None,
        "...": ...,
        "True": True,
        "0": 0,
        "-1": -1,
        "3": 3,
        "1.5": 1.5,
        "nan": float("nan"),
        "infinity": float("inf"),
        "a complex number": 1j,
        "a clip": clip,
        "a list of clips": [clip],
        "a generator of clips": (clip for clip in [clip]),
        "a generator of 2D poses": (pose2d for pose2d in [pose2d]),
        "a 2D pose": pose2d,
        "a list of 2D poses": [pose2d],
        "a 3D pose": pose3d,
        "a dict of 3D poses": {"pose": pose3d},
        "a data set": g["dataset"],
        "a list of data sets": [g["dataset"]],
        "clips on a device": g["data"],
        "an array of 2D": pose2d.points,
        "an array of 3D": pose3d.points,
        "an array of one frame": pose3d.points[0],
        "a list of arrays": [pose3d.points],
        "an array without axes": np.array(1.75),
        "an empty array": np.zeros((0, 17, 3)),
        "an array of whole numbers": np.arange(5),
        "an array of objects": np.array([None, "a"], dtype=object),
        "an array of text": np.array(["a", "b"]),
        "a tensor of 2D": torch.from_numpy(pose2d.points),
        "a tensor of whole numbers": torch.arange(5),
        "a list of numbers": [1, 2, 3],
        "a pair of numbers": (640, 480),
        "a list of texts": ["a", "b"],
        "an empty list": [],
        "an empty dict": {},
        "a dict of numbers": {"a": 1},
        "a state_dict": g["model"].state_dict(),
        "a set": {1, 2},
        "a range": range(3),
        "a camera": clip.camera,
        "a list of cameras": [clip.camera],
        "a skeleton": mocap3d.H36M17,
        "a recipe": g["recipe"],
        "a protocol": g["protocol"],
        "a report": g["report"],
        "a run": g["run"],
        "a model": g["model"],
        "a plain network": nn.Linear(2, 3),
        "another model": g["bert"],
        "a baseline": MeanPose(),
        "a function": print,
        "a module": np,
        "an object": object(),
    }


def calls() -> dict[str, tuple[object, dict[str, object]]]:
    """Name -> the call and its fewest arguments."""
    g = given()
    dataset, test, model, recipe, run, clip = (g[key] for key in "dataset test model recipe run clip".split())
    files = g["files"]
    pose2d, pose3d, lifted, data, bert = clip.pose2d, clip.pose3d, g["lifted"], g["data"], g["bert"]
    world = pose3d.in_world(clip.camera)
    placed = replace(lifted, points=lifted.points + np.float32([0, 0, 4]), root="estimated")
    points, two = pose3d.points, {"prediction": pose3d.points, "truth": pose3d.points}
    small = {"device": "cpu", "progress": False}
    poses = torch.zeros(len(data), 17, 3)
    frames = torch.arange(3)
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    m = mocap3d
    found = {
        # skeletons, cameras, poses
        "Camera": (m.Camera, {"focal": (1000.0, 1000.0), "centre": (500.0, 500.0), "width": 1000, "height": 1000}),
        "Camera.phone": (m.Camera.phone, {}),
        "Camera.project": (clip.camera.project, {"points": points}),
        "Clip": (
            m.Clip,
            {key: getattr(clip, key) for key in ("subject", "action", "camera", "pose2d", "pose3d", "take")},
        ),
        "Clip.slice": (clip.slice, {"start": 0, "stop": 5}),
        "Pose2D": (m.Pose2D, {"points": pose2d.points, "image_size": (1000, 1000)}),
        "Pose2D.convert": (pose2d.convert, {}),
        "Pose2D.resample": (pose2d.resample, {"fps": 25}),
        "Pose2D.slice": (pose2d.slice, {"start": 0, "stop": 5}),
        "Pose3D": (m.Pose3D, {"points": points}),
        "Pose3D.convert": (pose3d.convert, {}),
        "Pose3D.resample": (pose3d.resample, {"fps": 25}),
        "Pose3D.in_camera": (world.in_camera, {"camera": clip.camera}),
        "Pose3D.in_world": (pose3d.in_world, {"camera": clip.camera}),
        "Pose3D.project": (pose3d.project, {"camera": clip.camera}),
        "Skeleton": (m.Skeleton, {"name": "two", "joints": ("a", "b"), "parents": (-1, 0)}),
        "fill_missing": (m.fill_missing, {"points": pose2d.points}),
        "flip": (m.flip, {"points": points}),
        "get_skeleton": (m.get_skeleton, {"skeleton": "coco17"}),
        "h36m_cameras": (m.h36m_cameras, {"subject": "S1"}),
        "pixels_to_screen": (m.pixels_to_screen, {"pixels": pose2d.points, "width": 1000, "height": 1000}),
        "provenance": (m.provenance, {"source": "coco17"}),
        "undo_inversions": (m.undo_inversions, {"pose2d": pose2d}),
        # data sets and files
        "PoseDataset": (m.PoseDataset, {"name": "some", "clips": (clip,)}),
        "PoseDataset.select": (dataset.select, {"subject": "S1"}),
        "PoseDataset.with_detections": (test.with_detections, {}),
        "check_keypoints": (m.check_keypoints, {"pose2d": pose2d}),
        "detect": (m.detect, {"pose2d": pose2d}),
        "film": (m.film, {"pose3d": world, "cameras": [clip.camera], "subject": "S1", "action": "a", "take": "t"}),
        "first_frames": (m.first_frames, {"clip": clip, "frames": 5}),
        "load_dataset": (m.load_dataset, {"name": "h36m", "root": "nowhere"}),
        "load_dataset synthetic": (m.load_dataset, {"name": "synthetic", "subjects": ("S1",), "actions": ("Walking",)}),
        "load_dataset open-mocap": (m.load_dataset, {"name": "open-mocap", "root": "nowhere"}),
        "read_amc": (m.read_amc, {"asf": files["asf"], "amc": files["amc"]}),
        "read_bvh": (m.read_bvh, {"path": files["bvh"]}),
        "read_keypoints": (m.read_keypoints, {"path": files["json"]}),
        "read_pose": (m.read_pose, {"path": files["npz"]}),
        "synthesize": (m.synthesize, {"subject": "S1", "action": "Walking", "seconds": 1}),
        "thin": (m.thin, {"dataset": dataset, "step": 2}),
        "to_device": (m.to_device, {"clips": test}),
        "write": (m.write, {"pose": pose3d, "path": "pose.npz"}),
        # models and weights
        "PoseAndTrajectory": (m.PoseAndTrajectory, {"pose": g["pair"].pose}),
        "as_lifter": (m.as_lifter, {"module": nn.Linear(2, 3)}),
        "count_parameters": (m.count_parameters, {"module": model}),
        "create_model": (m.create_model, {"name": "simple_baseline", "channels": 8}),
        "create_model videopose3d": (m.create_model, {"name": "videopose3d", "channels": 8, "filter_widths": (3,)}),
        "create_model motionbert": (m.create_model, {"name": "motionbert_lite", "channels": 8, "depth": 1, "heads": 2}),
        "export_weights": (m.export_weights, {"model": model, "style": "weigq"}),
        "load_shipped": (m.load_shipped, {"kind": "pretrained"}),
        "load_weights": (m.load_weights, {"path_or_state": "weights.pth"}),
        "save_weights": (m.save_weights, {"model": model, "path": "w.safetensors", "card": card}),
        # training
        "Recipe": (m.Recipe, {"name": "mine", "steps": 1}),
        "SemiSupervised": (m.SemiSupervised, {}),
        "fit": (m.fit, {"model": model, "train": test, "recipe": recipe, **small}),
        "fit_semi_supervised": (
            m.fit_semi_supervised,
            {
                "model": g["pair"],
                "labelled": test,
                "unlabelled": test,
                "recipe": replace(recipe, loss="mpjpe"),
                **small,
            },
        ),
        "label_subset": (m.label_subset, {"dataset": dataset, "fraction": 0.5}),
        "pretrain": (m.pretrain, {"model": bert, "train": test, "video": test, "recipe": recipe, **small}),
        # lifting, prediction, evaluation
        "EvalProtocol": (m.EvalProtocol, {"name": "mine"}),
        "KeypointStream": (KeypointStream, {"image_size": (640, 480), "model": m.load_shipped("causal")}),
        "MeanPose.fit": (MeanPose().fit, {"train": test}),
        "NearestNeighbour": (m.NearestNeighbour, {}),
        "NearestNeighbour.fit": (m.NearestNeighbour().fit, {"train": test}),
        "clean": (m.clean, {"pose": lifted, "pose2d": pose2d}),
        "cleanup.constant_bones": (cleanup.constant_bones, {"pose": lifted}),
        "cleanup.level": (cleanup.level, {"pose": lifted}),
        "cleanup.place": (cleanup.place, {"pose": lifted, "pose2d": pose2d, "camera": clip.camera}),
        "cleanup.smooth": (cleanup.smooth, {"pose": lifted}),
        "cleanup.touching": (cleanup.touching, {"pose": placed, "pose2d": pose2d, "camera": clip.camera}),
        "compare": (m.compare, {"a": g["report"], "b": g["report"]}),
        "evaluate": (m.evaluate, {"model": model, "dataset": test}),
        "evaluate_with_trajectory": (m.evaluate_with_trajectory, {"model": g["pair"], "dataset": test}),
        "lift": (m.lift, {"pose2d": pose2d, "model": model}),
        "measure": (m.measure, {"predictions": poses.numpy(), "data": data, "protocol": g["protocol"]}),
        "predict": (m.predict, {"model": model, "data": data}),
        "predict_clips": (
            predict_clips,
            {"model": model, "points2d": data.points2d, "lengths": data.stop - data.start},
        ),
        "table": (m.table, {"reports": [g["report"]]}),
        "to_metric": (to_metric, {"model": model, "poses": poses[:3], "data": data, "frames": frames}),
        "to_metric image": (to_metric, {"model": bert, "poses": poses[:3], "data": data, "frames": frames}),
        "metrics.mpjpe": (m.metrics.mpjpe, two),
        "metrics.p_mpjpe": (m.metrics.p_mpjpe, two),
        "metrics.n_mpjpe": (m.metrics.n_mpjpe, two),
        "metrics.mpjve": (m.metrics.mpjve, two),
        "metrics.acceleration_error": (m.metrics.acceleration_error, {**two, "fps": 50}),
        "metrics.pck": (m.metrics.pck, two),
        "metrics.auc": (m.metrics.auc, two),
        "metrics.per_joint_error": (m.metrics.per_joint_error, two),
        "metrics.bone_lengths": (m.metrics.bone_lengths, {"points": points}),
        "metrics.bone_length_error": (m.metrics.bone_length_error, two),
        "zoo.get": (m.zoo.get, {"name": "motionbert"}),
        # figures
        "chart": (m.chart, {"title": "a", "x": "b", "y": "c"}),
        "explore_dataset": (m.explore_dataset, {"dataset": test}),
        "explore_metrics": (m.explore_metrics, {}),
        "explore_model": (m.explore_model, {"models": model, "clips": test}),
        "explore_projection": (m.explore_projection, {}),
        "live_history": (m.live_history, {}),
        "show": (m.show, {"pose3d": pose3d}),
        "show_2d": (m.show_2d, {"pose2d": pose2d}),
        "show_attention": (m.show_attention, {"model": bert, "pose2d": pose2d.slice(0, 9)}),
        "show_cameras": (m.show_cameras, {"cameras": clip.camera}),
        "show_errors": (m.show_errors, {"prediction": pose3d, "truth": pose3d}),
        "show_gates": (m.show_gates, {"model": bert, "pose2d": pose2d.slice(0, 9)}),
        "show_history": (m.show_history, {"history": run.history}),
        "show_receptive_field": (m.show_receptive_field, {}),
        "what_if": (m.what_if, {"model": model, "clip": clip}),
        # the course, this machine
        "check": (m.check, {"exercise": "02.1"}),
        "choose_device": (m.choose_device, {}),
        "profile": (m.profile, {"quiet": True}),
    }
    return found


@cache
def raises(file: str) -> set[int]:
    """The lines of a file that belong to `raise` statements."""
    nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
    return {line for node in nodes if isinstance(node, ast.Raise) for line in range(node.lineno, node.end_lineno + 1)}


def fault(function: object, arguments: dict[str, object], name: str, value: object) -> str | None:
    """What is wrong with the outcome of one call, if anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**{**arguments, name: value})
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {str(error)[:120]}"
        if not frame.filename.startswith(str(PACKAGE)) or frame.lineno not in raises(frame.filename):
            return where
        if not isinstance(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)):
            return where
        text = str(error)
        words = [name, name.split("_")[0].rstrip("s"), type(value).__name__, str(value), *map(str, arguments.values())]
        words += [of.__name__ for of in [value] if hasattr(of, "__name__")]
        words += [of.name for of in [value] if isinstance(of, nn.Module) and hasattr(of, "name")]
        words += [str(of.shape) for of in [value] if hasattr(of, "shape")]
        empty = value.size == 0 if isinstance(value, np.ndarray) else isinstance(value, (list, dict)) and not value
        words += [" no ", "at least one"] if empty else []
        words += ["not a Pose2D"] if isinstance(value, Iterator) else []  # what was in it
        return None if any(word in text for word in words) else f"names nothing: {where}"
    return None


def arguments_of(function: object, given: dict[str, object]) -> list[str]:
    """The names of all its arguments; of those in **options, the ones given here."""
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return names + [name for name in given if name not in names]


@pytest.mark.slow
def test_every_slip_in_every_call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # some slips are names of files to write
    monkeypatch.setattr("mocap3d.training.fit.tqdm", partial(tqdm, disable=True))
    tried, faults = 0, []
    for call, (function, arguments) in calls().items():
        for name in arguments_of(function, arguments):
            for slip, value in slips().items():
                if name == "callback" and callable(value):
                    continue  # what a function of the user's does is its own affair
                tried += 1
                if text := fault(function, arguments, name, value):
                    faults.append(f"{call}({name}={slip}): {text}")
    assert len(calls()) > 60 and len(slips()) > 40 and tried > 20_000
    assert not faults, "\n".join(faults)


def test_a_fault_is_found():
    def careless(model):
        return model.weight

    assert fault(careless, {"model": nn.Linear(1, 1)}, "model", nn.Linear(2, 2)) is None
    assert "AttributeError" in fault(careless, {}, "model", "causal")


SENTENCES = {
    "a clip for a pose": (
        lambda g: mocap3d.lift(g["clip"], g["model"]),
        "takes a Pose2D as pose2d, not a Clip; give clip.pose2d",
    ),
    "a data set for a pose": (lambda g: mocap3d.lift(g["test"]), "give dataset\\[0\\].pose2d"),
    "an array for a pose": (
        lambda g: mocap3d.lift(g["clip"].pose2d.points),
        r"not an array of shape \(30, 17, 2\).* wrap it: Pose2D",
    ),
    "None for a pose": (lambda g: mocap3d.lift(None), "takes a Pose2D as pose2d, not None; read_keypoints"),
    "a clip for clips": (
        lambda g: mocap3d.fit(g["model"], g["clip"]),
        r"takes Clips as train, not a Clip; give \[clip\]",
    ),
    "a pose among clips": (
        lambda g: mocap3d.evaluate(g["model"], [g["clip"].pose2d]),
        r"a Clip as dataset\[0\], not a Pose2D",
    ),
    "data sets for clips": (
        lambda g: mocap3d.evaluate(g["model"], [g["test"]]),
        r"dataset\[0\], not a PoseDataset; .*\[\*dataset\]",
    ),
    "a data set for tensors": (
        lambda g: mocap3d.predict(g["model"], g["test"]),
        r"DeviceDataset .* give to_device\(dataset\)",
    ),
    "a class for a model": (
        lambda g: mocap3d.fit(SimpleBaseline3D, g["test"]),
        r"the class SimpleBaseline3D; call it: SimpleBaseline3D\(\.\.\.\)",
    ),
    "a name for a model": (
        lambda g: mocap3d.evaluate("causal", g["test"]),
        r"a model as model, not 'causal'; .*create_model.*load_shipped.*load_weights",
    ),
    "a path for a model": (
        lambda g: mocap3d.fit(Path("a.pth"), g["test"]),
        r"not a PosixPath; .*load_weights\(file\)|WindowsPath",
    ),
    "a run for a model": (
        lambda g: mocap3d.evaluate(g["run"], g["test"]),
        "a model as model, not a Run; give run.model",
    ),
    "a run for a history": (lambda g: mocap3d.show_history(g["run"]), "not a Run; give run.history"),
    "a network for a model": (
        lambda g: mocap3d.lift(g["clip"].pose2d, nn.Linear(2, 3)),
        r"not a Linear; as_lifter\(module\)",
    ),
    "a report for a model": (lambda g: mocap3d.lift(g["clip"].pose2d, g["report"]), "not a Report"),
    "a camera for cameras": (
        lambda g: mocap3d.film(g["clip"].pose3d, g["clip"].camera),
        r"Cameras as cameras, not a Camera; give \[camera\]",
    ),
    "a height in quotes": (
        lambda g: mocap3d.lift(g["clip"].pose2d, g["model"], height="1.75"),
        "metres.*not '1.75'; give 1.75 without quotes",
    ),
    "a height and its unit": (
        lambda g: mocap3d.lift(g["clip"].pose2d, g["model"], height="175cm"),
        "metres, such as 1.75.*not '175cm'",
    ),
    "one of two names": (
        lambda g: mocap3d.fit(g["model"], g["test"], keep="bst"),
        "'best' or 'last' as keep, not 'bst'",
    ),
    "an option": (lambda g: g["test"].select(subject=9), "takes a string or strings as subject, not 9"),
    "a pose in a dict": (lambda g: mocap3d.show({"a": g["clip"].pose2d}), r"a Pose3D as pose3d\['a'\], not a Pose2D"),
    "a method": (
        lambda g: g["clip"].slice("0", 5),
        r"Clip.slice\(\) takes a whole number as start, not '0'; give 0 without",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_the_sentence_names_the_fix(case):
    call, pattern = SENTENCES[case]
    with pytest.raises((TypeError, ValueError), match=pattern):
        call(given())


def test_lift_takes_a_run_and_the_name_of_a_shipped_network(tmp_path):
    g, pose2d = given(), given()["clip"].pose2d
    assert np.array_equal(mocap3d.lift(pose2d, g["run"]).points, mocap3d.lift(pose2d, g["run"].model).points)
    causal = mocap3d.load_shipped("causal")
    expected = mocap3d.lift(pose2d, causal).points
    assert np.array_equal(mocap3d.lift(pose2d, "causal").points, expected)
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    path = mocap3d.save_weights(causal, tmp_path / "a.safetensors", card)
    assert np.array_equal(mocap3d.lift(pose2d, path).points, expected)
    with pytest.raises(ValueError, match="'causa': no file, no network in the package .*causal"):
        mocap3d.lift(pose2d, "causa")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "weights.pth"])
def test_a_device_that_is_not_there(name):
    g = given()
    for call in (
        lambda: mocap3d.fit(g["model"], g["dataset"], g["recipe"], device=name),
        lambda: mocap3d.evaluate(g["model"], g["test"], device=name),
        lambda: mocap3d.to_device(g["test"], name),
        lambda: mocap3d.choose_device(name),
    ):
        with pytest.raises(ValueError, match=rf"a device of this machine \(cpu.*\).* as device, not '{name}'"):
            call()


def test_cuda_without_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"takes a device of this machine \(cpu\) or None as device, not 'cuda'"):
        mocap3d.choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert mocap3d.choose_device("cuda:1") == torch.device("cuda:1") and str(mocap3d.choose_device("cuda")) == "cuda"
    assert mocap3d.choose_device() == torch.device("cuda")


def test_what_fit_doubts():
    g, options = given(), {"progress": False, "device": "cpu"}
    model = mocap3d.create_model("simple_baseline", channels=8)
    with pytest.warns(UserWarning, match="learning_rate=1e\\+06 is expected to diverge") as found:
        mocap3d.fit(model, g["dataset"], replace(g["recipe"], learning_rate=1e6), **options)
    assert len(found) == 1 and found[0].filename == __file__
    with pytest.warns(UserWarning, match="^1 of 1 validation clips are training clips") as found:
        mocap3d.fit(model, g["dataset"], g["recipe"], [g["clip"]], **options)
    assert len(found) == 1 and found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mocap3d.fit(model, g["dataset"], g["recipe"], g["test"], **options)


def test_nobody_is_seen():
    g, options = given(), {"progress": False, "device": "cpu"}
    unseen = [replace(clip, pose2d=replace(clip.pose2d, points=clip.pose2d.points * np.nan)) for clip in g["test"]]
    for call in (
        lambda: mocap3d.fit(g["model"], unseen, g["recipe"], **options),
        lambda: mocap3d.fit(g["model"], g["dataset"], g["recipe"], unseen, **options),
        lambda: mocap3d.evaluate(g["model"], unseen),
    ):
        with pytest.raises(ValueError, match="nobody is seen in 30 of 30 frames"):
            call()
    with pytest.warns(UserWarning, match="Nobody is in the clip") as found:
        assert np.isnan(mocap3d.lift(unseen[0].pose2d, g["model"]).points).all()
    assert len(found) == 1


EDITED = """
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
import mocap3d, os, sys, time
shell = InteractiveShell.instance()
def cell(code):
    result = shell.run_cell(code)
    error = result.error_before_exec or result.error_in_exec
    print("CELL", f"{type(error).__name__}: {error}" if error else "works")
cell("%load_ext autoreload")
cell("%autoreload 2")
cell("import mocap3d, numpy as np")
cell("pose = mocap3d.synthesize('S1', 'Walking', seconds=0.2).in_camera(mocap3d.Camera.phone())")
cell("pose2d = mocap3d.Pose2D(np.random.default_rng(0).uniform(100, 400, (5, 17, 2)), image_size=(500, 500))")
cell("mocap3d.lift(pose2d, 'causal')")
for name in sys.argv[1:]:
    path = Path(mocap3d.__file__).parent / name
    path.write_text(path.read_text() + "\\n# edited\\n")
    os.utime(path, (time.time() + 9, time.time() + 9))
cell("mocap3d.lift(pose2d, 'causal')")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lifting/lift.py", "poses.py", "skeleton.py"])
def test_after_autoreload(name, tmp_path):
    """It works, or one sentence says that the class was reloaded."""
    shutil.copytree(PACKAGE, tmp_path / "mocap3d", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "script.py").write_text(EDITED)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-W", "ignore", str(tmp_path / "script.py"), name]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    cells = [line for line in done.stdout.splitlines() if line.startswith("CELL")]
    assert len(cells) == 7 and cells[:-1] == ["CELL works"] * 6, done.stdout + done.stderr
    assert re.fullmatch(r"CELL (works|TypeError: .* was reloaded: .*restart the kernel)", cells[-1]), cells[-1]


def test_a_reloaded_class_is_named():
    spec = importlib.util.spec_from_file_location("mocap3d.poses", PACKAGE / "poses.py")
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    pose2d = given()["clip"].pose2d
    other = again.Pose2D(pose2d.points, image_size=pose2d.image_size)
    with pytest.raises(TypeError, match="from before mocap3d.poses was reloaded: .*restart the kernel"):
        mocap3d.lift(other)
