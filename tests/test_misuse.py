"""Right words at the wrong turn: each slip in each argument of each public call.

A call either works or raises an error of the library's own: the innermost frame of its traceback is a `raise` of this
package, and the message names the argument or what was given. Nothing breaks further inside.
"""

from __future__ import annotations

import ast
import inspect
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

import mocap3d
from mocap3d.evaluation.baselines import MeanPose
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
            m.predict_clips,
            {"model": model, "points2d": data.points2d, "lengths": data.stop - data.start},
        ),
        "table": (m.table, {"reports": [g["report"]]}),
        "to_metric": (m.to_metric, {"model": model, "poses": poses[:3], "data": data, "frames": frames}),
        "to_metric image": (m.to_metric, {"model": bert, "poses": poses[:3], "data": data, "frames": frames}),
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
        return None if any(word in text for word in words) else f"names nothing: {where}"
    return None


if __name__ == "__main__":
    import contextlib
    import io
    import os
    import sys
    import tempfile
    import time

    os.chdir(tempfile.mkdtemp())
    only = sys.argv[1:]
    import mocap3d.diagnostics

    torch.set_num_threads(1)
    total, bad = 0, Counter()
    slow = Counter()
    for key, (function, arguments) in calls().items():
        if only and key not in only:
            continue
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind not in (2, 4)]
        names += [n for n in arguments if n not in names]
        began = time.time()
        for name in names:
            for slip, value in slips().items():
                if os.environ.get("BEFORE") and name in ("path", "asf", "amc") and isinstance(value, int):
                    continue
                total += 1
                t = time.time()
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    text = fault(function, arguments, name, value)
                if time.time() - t > 0.3:
                    print("SLOW", key, name, slip, round(time.time() - t, 2), flush=True)
                if text:
                    bad[key] += 1
                    print(f"{key}({name}={slip}): {text}", flush=True)
        slow[key] = time.time() - began
    print(total, "calls", sum(bad.values()), "faults")
    print(bad.most_common())
    print([(k, round(v, 1)) for k, v in slow.most_common(25)])
