"""Random cameras: they are those the mixture describes, and film like `Camera` does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import pixels_to_screen
from mocap3d.data.cameras import (
    CLEARANCE,
    NEAREST,
    PHONES,
    REACH,
    draw_cameras,
    film_tensor,
    random_camera,
    world_motion,
)
from mocap3d.poses import Pose3D
from tests.data.people import people
from tests.toys import sticks

seeds = st.integers(0, 2**31)


def seeded(seed: int, device="cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def many(count: int = 1500, seed: int = 0):
    """Cameras for many short clips, and what they see."""
    points, clip = people((11,) * count)
    cameras = draw_cameras(points, clip, generator=seeded(seed))
    return points, clip, cameras, film_tensor(points, clip, cameras)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_films_as_camera_projects(seed):
    points, clip = people(seed=seed % 7)
    cameras = draw_cameras(points, clip, generator=seeded(seed))
    filmed = film_tensor(points, clip, cameras)
    for k in range(len(cameras)):
        camera, rows = cameras[k], clip == k
        pose, seen = filmed.pose3d[rows], filmed.seen[rows]
        torch.testing.assert_close(pose, camera.world_to_camera(points[rows]), atol=1e-9, rtol=0)
        expected = pixels_to_screen(camera.project(pose), camera.width, camera.height)
        error = (filmed.points2d[rows] - expected)[seen].abs().max() * camera.width / 2
        assert seen.double().mean() > 0.3 and error < 1e-4  # pixels


def test_films_in_float32(device):
    points, clip = people(dtype=torch.float32)
    points, clip = points.to(device), clip.to(device)
    cameras = draw_cameras(points, clip, generator=seeded(3))
    filmed = film_tensor(points, clip, cameras)
    assert filmed.points2d.dtype == torch.float32 and filmed.points2d.device.type == device.type
    for k in range(len(cameras)):
        rows, camera = clip == k, cameras[k]
        expected = camera.project(camera.world_to_camera(points[rows].double()))
        expected = pixels_to_screen(expected, camera.width, camera.height)
        found, seen = filmed.points2d[rows].double(), filmed.seen[rows]
        torch.testing.assert_close(found[seen], expected[seen], atol=1e-5, rtol=0)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_cameras_are_rotations_level_but_for_their_roll(seed):
    points, clip = people((20,) * 20)
    axes = draw_cameras(points, clip, generator=seeded(seed)).axes
    torch.testing.assert_close(axes @ axes.mT, torch.eye(3).double().expand_as(axes), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(20).double())
    assert (axes[:, 1, 2] < 0.25).all()  # image down is down in the world, or level where a camera looks straight down


def test_the_same_seed_gives_the_same_bits_and_another_does_not(device):
    points, clip = people()
    points, clip = points.to(device), clip.to(device)

    def film(seed):
        return film_tensor(points, clip, draw_cameras(points, clip, generator=seeded(seed, device)))

    first, again, other = film(5), film(5), film(6)
    assert torch.equal(first.points2d, again.points2d) and torch.equal(first.pose3d, again.pose3d)
    assert not torch.allclose(first.points2d, other.points2d, atol=1e-3)


def test_a_generator_of_the_cpu_gives_the_same_cameras_on_every_device(device):
    points, clip = people()
    here = draw_cameras(points, clip, generator=seeded(5))
    there = draw_cameras(points.to(device), clip.to(device), generator=seeded(5))
    torch.testing.assert_close(there.axes.cpu(), here.axes)
    assert torch.equal(there.size.cpu(), here.size)


def test_the_mixture_is_what_it_says():
    points, clip, cameras, filmed = many()
    share = lambda flags: flags.double().mean().item()  # noqa: E731
    for k, lens in enumerate(PHONES.lenses):
        assert share(cameras.lens == k) == pytest.approx(lens.share, abs=0.03)
        focal = cameras.focal[cameras.lens == k] / cameras.size[cameras.lens == k].amax(1)
        fov = 2 * torch.atan(0.5 / focal).rad2deg()
        assert lens.fov[0] - 0.01 < fov.min() and fov.max() < lens.fov[1] + 0.01
        middle = torch.stack([points[clip == i].mean((0, 1)) for i in range(len(cameras))])
        distance = (cameras.position - middle).norm(dim=1)[cameras.lens == k]
        assert lens.distance[0] - 0.3 < distance.min() and distance.max() < lens.distance[1] + 0.3
    for width, height, part in PHONES.images:
        assert share((cameras.size == torch.tensor([width, height])).all(1)) == pytest.approx(part, abs=0.04)
    height = cameras.position[:, 2]
    assert height.min() > 0.5 and height.max() < 2.6 and height.mean() == pytest.approx(1.55, abs=0.05)
    roll = torch.atan2(-cameras.axes[:, 0, 2], -cameras.axes[:, 1, 2]).rad2deg()
    assert share(roll.abs() <= 5) == pytest.approx(0.9, abs=0.03) and 20 < roll.abs().max() < 30
    assert share(roll > 0) == pytest.approx(0.5, abs=0.05)
    heading = cameras.axes[:, 2, :2] / cameras.axes[:, 2, :2].norm(dim=1, keepdim=True)
    assert heading.mean(0).norm() < 0.06  # from all sides


def test_bodies_are_anywhere_in_the_image_and_truncated_in_some_clips():
    points, clip, cameras, filmed = many()
    unseen = torch.zeros(len(cameras)).index_add(0, clip, (~filmed.seen).float().mean(1)) / 11
    assert (unseen > 0.02).double().mean() == pytest.approx(PHONES.truncated, abs=0.06)
    assert (unseen > 0.6).double().mean() < 0.005  # somebody is still there
    middle = filmed.points2d[::11, 0] * cameras.size[:, :1] / cameras.size  # in half images
    assert (middle.std(0) > 0.3).all() and (middle.mean(0).abs() < 0.3).all()


def test_without_truncation_all_is_seen():
    points, clip = people((21,) * 200)
    cameras = draw_cameras(points, clip, replace(PHONES, truncated=0.0), seeded(1))
    assert film_tensor(points, clip, cameras).seen.double().mean() > 0.995


def test_cameras_keep_out_of_the_way():
    points, clip, cameras, filmed = many(300)
    near = (points[..., :2] - cameras.position[clip][:, None, :2]).norm(dim=-1)
    assert near.min() > 0.9 * CLEARANCE and (filmed.pose3d[..., 2][filmed.seen] > NEAREST).all()


def test_what_is_not_seen_lies_outside_and_is_finite():
    points, clip = people((40,) * 50)
    cameras = draw_cameras(points, clip, generator=seeded(2))
    cameras = replace(cameras, position=cameras.position + torch.tensor([1.5, 0.0, 0.0]))  # the aim is lost
    filmed = film_tensor(points, clip, cameras)
    assert filmed.points2d.isfinite().all() and 0.05 < (~filmed.seen).double().mean() < 0.95
    inside = (filmed.points2d.abs() <= (cameras.size / cameras.size[:, :1])[clip][:, None]).all(-1)
    assert torch.equal(filmed.seen, inside & (filmed.pose3d[..., 2] > NEAREST))
    back = torch.tensor([[-1.0], [1.0], [-1.0]])  # turned round: a body behind the camera
    filmed = film_tensor(points, clip, replace(cameras, axes=cameras.axes * back))
    assert filmed.points2d.isfinite().all() and not filmed.seen.any()


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_every_pixel_can_be_undistorted(seed):
    points, clip = people((5,) * 20)
    cameras = draw_cameras(points, clip, generator=seeded(seed))
    for k in range(len(cameras)):
        camera = cameras[k]
        x, y = np.meshgrid(np.linspace(0, camera.width, 9), np.linspace(0, camera.height, 9))
        rays = camera.rays(np.stack([x, y], -1))
        radius = np.hypot(rays[..., 0], rays[..., 1])
        assert radius.max() <= cameras.reach[k] * (1 + 1e-9)
        k1, k2, k3 = cameras.distortion[k].tolist()
        r2 = np.linspace(0, radius.max(), 200) ** 2
        assert (1 + 3 * k1 * r2 + 5 * k2 * r2**2 + 7 * k3 * r2**3).min() > 0.1


def test_main_lenses_distort_like_those_of_phones():
    _, _, cameras, _ = many()
    main = cameras.lens == 0
    corner2 = (cameras.reach[main] / REACH) ** 2
    k1, k2, k3 = cameras.distortion[main].T
    moved = k1 * corner2 + k2 * corner2**2 + k3 * corner2**3
    quartiles = moved.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    torch.testing.assert_close(quartiles, torch.tensor([0.014, 0.021, 0.039]).double(), atol=0.012, rtol=0)
    assert k1.median() == pytest.approx(0.15, abs=0.02) and k2.median() == pytest.approx(-0.48, abs=0.08)


def test_missing_joints_stay_missing(device):
    points, clip = people()
    points[3, 4], points[clip == 1, 7] = torch.nan, torch.nan
    points, clip = points.to(device), clip.to(device)
    filmed = film_tensor(points, clip, draw_cameras(points, clip, generator=seeded(0)))
    missing = points.isnan().any(-1)
    assert torch.equal(filmed.points2d.isnan().all(-1), missing) and not filmed.seen[missing].any()
    assert torch.equal(filmed.pose3d.isnan().any(-1), missing)


def test_refuses_what_it_cannot_film():
    points, clip = people()
    with pytest.raises(ValueError, match="ascend from 0"):
        draw_cameras(points, clip + 1)
    with pytest.raises(ValueError, match="ascend from 0"):
        draw_cameras(points, clip.flip(0))
    with pytest.raises(ValueError, match="one int64 label per frame"):
        draw_cameras(points, clip[1:])
    with pytest.raises(ValueError, match="floating-point"):
        draw_cameras(points.long(), clip)
    points[clip == 1] = torch.nan
    with pytest.raises(ValueError, match="clip 1 holds no joint"):
        draw_cameras(points, clip)


def test_a_camera_for_one_pose():
    points, clip = people()
    pose = Pose3D(points[clip == 2].numpy())
    camera = random_camera(pose, seeded(4))
    assert camera == random_camera(pose, seeded(4)) and camera != random_camera(pose, seeded(5))
    assert camera.sees(pose.points).mean() > 0.5 and camera.name in {lens.name for lens in PHONES.lenses}
    with pytest.raises(ValueError, match="in the camera frame"):
        random_camera(pose.in_camera(camera))
    with pytest.raises(ValueError, match="root relative"):
        random_camera(pose.root_relative())


def test_world_motion_holds_every_recording_once(device):
    dataset = sticks(takes=3, frames=20, views=2)
    points, clip, kept = world_motion(dataset, device)
    assert [c.take for c in kept] == list(dataset.takes) and 2 * len(points) == dataset.frames
    assert torch.bincount(clip).tolist() == [len(c) for c in kept]
    for k, take in enumerate(dataset.takes):
        for view in dataset.select(take=take):
            world = view.pose3d.in_world(view.camera).points
            np.testing.assert_allclose(points[clip == k].cpu(), world, atol=1e-5)
    with pytest.raises(ValueError, match="no clips"):
        world_motion([])
    first = dataset[0]
    with pytest.raises(ValueError, match="root-relative"):
        world_motion([replace(first, pose3d=first.pose3d.root_relative())])
