"""2D joints as a network reads them: what must not matter does not, and poses come back to the camera frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import Camera
from mocap3d.data.windows import mirrored, normalised, to_device, window
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.evaluation.predict import predict, predict_clips
from mocap3d.evaluation.protocol import PROTOCOLS
from mocap3d.lifting.lift import lift
from mocap3d.models.create import create_model
from mocap3d.models.lifter import as_lifter
from mocap3d.models.videopose3d import PoseAndTrajectory, VideoPose3D
from mocap3d.normalise import assumed_intrinsics, normalise_points, person_size, rolling_median, view_from_ray
from mocap3d.poses import Pose3D
from mocap3d.skeleton import ROOT, flip, root_relative
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from mocap3d.weights import export_weights, load_weights, save_weights
from tests.toys import body, sticks

MODES = ("root", "ray")
QUICK = Recipe("few", steps=3, batch_size=16, loss="mpjpe")
NAMES = ("simple_baseline", "videopose3d_27", "motionbert_tiny")


def people(frames: int = 30, seed: int = 0) -> torch.Tensor:
    """(T, 17, 3) m, camera frame, about 4 m away."""
    points = torch.from_numpy(body(frames, seed)).double()[..., [1, 2, 0]] * torch.tensor([1.0, -1.0, 1.0])
    return points + torch.tensor([0.6, 1.0, 4.0])


def screen(points: torch.Tensor, focal: float = 1.6) -> torch.Tensor:
    return focal * points[..., :2] / points[..., 2:]


def intrinsics(focal: float = 1.6) -> torch.Tensor:
    return torch.tensor([[focal, focal, 0.0, 0.0]], dtype=torch.float64)


def small(name: str, normalise: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "motionbert_tiny":
        return create_model(name, channels=16, heads=2, depth=1, frames=9, image_space=False, normalise=normalise)
    return create_model(name, channels=16, normalise=normalise, **options)


def fitted(name: str, normalise: str, data, **options) -> torch.nn.Module:
    """A small model with statistics, and batch norms that have seen something."""
    model = small(name, normalise, **options)
    ready = normalised(data, model)
    model.fit_normalisation(ready.points2d, ready.pose3d)
    rows = torch.arange(len(data))[:64]
    batch = window(ready, rows, 1 if model.clipwise else model.receptive_field, confidence=True)
    model.train()(model.encode(batch.points2d, batch.confidence))
    return model.eval()


@settings(max_examples=60, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2))
def test_virtual_cameras_look_at_the_pelvis_and_are_no_mirrors(x: float, y: float) -> None:
    points = torch.randn(3, 17, 2, dtype=torch.float64) * 0.1 + torch.tensor([x, y])
    seen, rotation = view_from_ray(points)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(3, 3, 3))
    assert seen[:, ROOT].abs().max() < 1e-12
    assert rotation[:, 0, 1].abs().max() < 1e-12  # right stays horizontal


def test_the_virtual_camera_sees_what_a_camera_there_would_see() -> None:
    pose = people()
    points, rotation = normalise_points(screen(pose), torch.tensor([30]), "ray", intrinsics=intrinsics())
    there = screen(pose @ rotation.mT, focal=1.0)
    torch.testing.assert_close(points, there / person_size(there)[:, None, None])


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(0.5, 2.0), st.integers(0, 100))
def test_where_a_camera_points_and_how_far_it_zooms_change_nothing(yaw: float, zoom: float, seed: int) -> None:
    pose, lengths = people(seed=seed), torch.tensor([30])
    c, s = np.cos(yaw), np.sin(yaw)
    pan = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)  # about the vertical axis
    tilted = pose - pose[:, [ROOT]] * torch.tensor([0.0, 1.0, 0.0])  # pelvis at the height of the camera
    one, _ = normalise_points(screen(tilted), lengths, "ray", 9, intrinsics=intrinsics())
    other, turned = normalise_points(screen(tilted @ pan.T, zoom), lengths, "ray", 9, intrinsics=intrinsics(zoom))
    torch.testing.assert_close(one, other)
    _, rotation = normalise_points(screen(tilted), lengths, "ray", 9, intrinsics=intrinsics())
    torch.testing.assert_close(tilted @ rotation.mT, tilted @ pan.T @ turned.mT)  # the same pose to learn
    moved, _ = normalise_points(screen(pose) * zoom + yaw, lengths, "root", 9)
    torch.testing.assert_close(normalise_points(screen(pose), lengths, "root", 9)[0], moved)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.sampled_from([1, 3, 9, 27, 81]), st.booleans())
def test_the_size_is_a_median_within_the_clip(lengths: list[int], width: int, causal: bool) -> None:
    values, start = torch.rand(sum(lengths)), 0
    found = rolling_median(values, torch.tensor(lengths), width, causal)
    for length in lengths:
        clip = values[start : start + length]
        for frame in range(length):
            first = frame - (width - 1 if causal else width // 2)
            offsets = np.linspace(first, first + width - 1, min(width, 27)).round()
            rows = np.clip(offsets, 0, length - 1).astype(int)
            assert found[start + frame] == clip[rows].median()
        start += length


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", [1, 27])
def test_frames_without_anybody_do_not_blow_up_the_others(mode: str, width: int) -> None:
    points = screen(people(60))
    points[:50] = 0
    found, _ = normalise_points(points, torch.tensor([60]), mode, width)
    assert found.abs().max() < 2
    assert normalise_points(0 * points, torch.tensor([60]), mode, width)[0].isfinite().all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("causal", [False, True])
def test_windows_clips_and_streams_agree(mode: str, causal: bool) -> None:
    data = to_device(sticks(takes=2, frames=50))
    model = fitted("videopose3d_27", mode, data, causal=causal, confidence=True)
    rows = torch.arange(0, len(data), 7)
    whole = predict(model, data)
    torch.testing.assert_close(predict(model, data, frames=rows), whole[rows], rtol=0, atol=1e-5)
    cameras = torch.from_numpy(np.stack([clip.camera.screen_intrinsics()[:4] for clip in data.clips]))
    again = predict_clips(
        model, data.points2d, data.stop - data.start, confidence=data.confidence, intrinsics=cameras, batch_size=64
    )
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-5)
    if causal:
        stream = model.stream(cameras[0].tolist())
        poses = torch.stack([stream(frame) for frame in data.points2d[: data.stop[0]]])
        torch.testing.assert_close(poses, whole[: data.stop[0]], rtol=0, atol=1e-5)


def test_a_stream_uses_confidence_of_several_persons() -> None:
    data = to_device(sticks(takes=1, frames=20, views=2))
    model = fitted("videopose3d_27", "root", data, causal=True, confidence=True)
    seen = torch.rand(40, 17)
    points, seen = data.points2d.view(2, 20, 17, 2), seen.view(2, 20, 17)
    stream = model.stream()
    poses = torch.stack([stream(points[:, at], seen[:, at]) for at in range(20)], 1)
    whole = predict_clips(model, data.points2d, torch.tensor([20, 20]), confidence=seen.flatten(0, 1))
    torch.testing.assert_close(poses.flatten(0, 1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_mirrored_input_gives_mirrored_poses(name: str, mode: str) -> None:
    """With flip testing, prediction commutes with the mirror: normalising does."""
    clips = sticks(takes=1, frames=30, views=1)
    data = to_device(clips)
    camera = replace(clips[0].camera, centre=(clips[0].camera.width / 2, clips[0].camera.height / 2))
    data = replace(data, intrinsics=torch.from_numpy(camera.screen_intrinsics()[None, :4]))
    model = fitted(name, mode, data)
    mirror = replace(data, points2d=flip(data.points2d), pose3d=flip(data.pose3d))
    torch.testing.assert_close(
        predict(model, mirror, flip_test=True), flip(predict(model, data, flip_test=True)), rtol=0, atol=1e-5
    )
    both = mirrored(window(normalised(data, model), torch.arange(30), 1))
    torch.testing.assert_close(normalised(mirror, model).points2d, both.points2d[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        root_relative(normalised(mirror, model).pose3d), root_relative(both.pose3d[:, 0]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_every_family_trains_saves_and_loads(name: str, mode: str, tmp_path) -> None:
    train = sticks(takes=2, frames=30)
    model = small(name, mode)
    run = fit(model, train, QUICK, validation=train, progress=False, out=tmp_path / "run", keep="last")
    report = evaluate(model, train, "videopose3d")
    assert run.best["validation_mpjpe_mm"] < 1000 and report.mpjpe_mm < 1000
    twin = small(name, mode)
    fit(twin, train, QUICK, validation=train, progress=False, out=tmp_path / "run", keep="last")  # resumes
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    path = save_weights(model, tmp_path / "w.safetensors", card)
    for loaded in (load_weights(path), load_weights(tmp_path / "run" / "checkpoint.pt"), twin.eval()):
        assert loaded.normalise == mode
        data = to_device(train)
        torch.testing.assert_close(predict(loaded, data), predict(model, data), rtol=0, atol=1e-6)


def test_poses_with_a_ray_are_in_the_camera_frame() -> None:
    """A network that knows the answer in the virtual camera has no error after evaluation, and none in lift."""

    class Knows(torch.nn.Module):
        def forward(self, x):
            return known[(x[..., 0] ** 2).sum(-1)[..., None].sub(keys).abs().argmin(-1)]

    train = sticks(takes=1, frames=20, views=2)
    model = as_lifter(Knows(), normalise="ray")
    data = normalised(to_device(train), model)
    known, keys = root_relative(data.pose3d), (data.points2d[..., 0] ** 2).sum(-1)
    protocol = replace(PROTOCOLS["videopose3d"], flip_test=False)
    assert evaluate(model, train, protocol).mpjpe_mm < 1e-2
    clip = train[0]
    lifted = lift(clip.pose2d, model, camera=clip.camera).points
    np.testing.assert_allclose(lifted, root_relative(clip.pose3d.points), atol=1e-4)


def test_lift_takes_a_field_of_view_or_a_camera() -> None:
    data = to_device(sticks(takes=1, frames=20))
    model = fitted("simple_baseline", "ray", data)
    seen = Pose3D(people(20).numpy().astype(np.float32), fps=50, frame="camera")
    pose = seen.project(Camera.phone(60, 1080, 1920))
    same = lift(pose, model, fov=65).points
    np.testing.assert_array_equal(lift(pose, model).points, same)
    assert np.abs(lift(pose, model, fov=40).points - same).max() > 1e-4
    focal = 1920 / 2 / np.tan(np.radians(32.5))
    camera = Camera((focal, focal), (540, 960), 1080, 1920)
    np.testing.assert_allclose(lift(pose, model, camera=camera).points, same, atol=1e-5)
    for wrong in (0, 4.9, 171, float("nan")):
        with pytest.raises(ValueError, match="degrees along the longer side"):
            lift(pose, model, fov=wrong)
    with pytest.raises(ValueError, match="in place of a camera"):
        lift(pose, model, fov=60, camera=camera)
    with pytest.raises(ValueError, match="only for models with normalise='ray'"):
        lift(pose, fitted("simple_baseline", "root", data), fov=60)


def test_published_networks_read_what_they_always_read() -> None:
    data = to_device(sticks(takes=1, frames=20))
    model = create_model("videopose3d_27", channels=16)
    assert normalised(data, model) is data
    ready = normalised(data, small("videopose3d_27", "ray"))
    assert normalised(ready, small("videopose3d_27", "ray")) is ready
    assert normalise_points(data.points2d, data.stop - data.start, "published")[0] is data.points2d


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_model("videopose3d_27", normalise="rays"), "'published' or 'root' or 'ray'"),
        (lambda: create_model("motionbert_tiny", normalise="root"), "image_space=False"),
        (lambda: VideoPose3D((3,), joints_out=1, normalise="ray"), "trajectory"),
        (lambda: PoseAndTrajectory(small("videopose3d_27", "ray")), "published"),
        (lambda: PoseAndTrajectory(create_model("videopose3d_27", confidence=True)), "confidence"),
        (lambda: as_lifter(torch.nn.Linear(2, 3), space="image", normalise="ray"), "space='metric'"),
        (lambda: small("simple_baseline", "ray").encode(torch.zeros(1, 1, 17, 2)), "no normalisation yet"),
    ],
)
def test_what_does_not_go_together_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_assumed_intrinsics_are_those_of_a_phone() -> None:
    for width, height in ((1920, 1080), (1080, 1920), (500, 500)):
        across = 2 * np.degrees(np.arctan(np.tan(np.radians(32.5)) * width / max(width, height)))
        camera = Camera.phone(across, width, height)
        np.testing.assert_allclose(
            assumed_intrinsics(width, height), camera.screen_intrinsics()[:4], rtol=1e-6, atol=1e-12
        )


def test_confidence_is_read_trained_and_stored(tmp_path) -> None:
    train = sticks(takes=2, frames=30)
    model = small("videopose3d_27", "ray", confidence=True)
    fit(model, train, replace(QUICK, detector="cpn"), progress=False, out=tmp_path / "run", keep="last")
    data = to_device(train)
    unsure = replace(data, confidence=0.5 * data.confidence)
    assert (predict(model, data) - predict(model, unsure)).abs().max() > 1e-4
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    path = save_weights(model, tmp_path / "w.safetensors", card)
    for loaded in (load_weights(path), load_weights(tmp_path / "run" / "checkpoint.pt")):
        torch.testing.assert_close(predict(loaded, data), predict(model, data), rtol=0, atol=1e-6)
    for other in (model, small("videopose3d_27", "ray"), small("motionbert_tiny", "root")):
        with pytest.raises(ValueError, match="export one with normalise='published'"):
            export_weights(other, "mmpose")
    assert (model.encode(data.points2d[None, :5]).unflatten(-1, (17, 3))[..., 2] == 1).all()  # no scores: all are sure
