"""Cameras against published implementations, round trips, and the handedness of every conversion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d import camera as cam
from mocap3d.camera import Camera, CameraError, h36m_cameras, h36m_subjects


@pytest.fixture(scope="module")
def case(golden):
    return golden("camera")


@pytest.fixture(scope="module")
def clamped(formula):
    x = formula.pose3d("cam/x", (3, 6, 17, 3)) + formula.root3d("cam/root", 3, 6)
    x[0, 0, :, 2] = 0.1
    return x


def intrinsics(case, like):
    values = like(case["cam"].astype(np.float64))[:, None, None]  # (3, 1, 1, 9)
    return values[..., :2], values[..., 2:4], values[..., 4:]


def test_projection_equals_published(case, clamped, device):
    for to in (np.asarray, lambda x: torch.as_tensor(x, device=device)):
        focal, centre, distortion = intrinsics(case, to)
        points = to(case["X"].astype(np.float64))
        back = np.asarray if to is np.asarray else lambda x: x.cpu().numpy()
        full = cam.project(points, focal, centre, distortion, "videopose3d")
        np.testing.assert_allclose(back(full), case["project_to_2d"], atol=1e-6)
        linear = cam.project(points, focal, centre, None, "videopose3d")
        np.testing.assert_allclose(back(linear), case["project_to_2d_linear"], atol=1e-6)
        edge = cam.project(to(clamped.astype(np.float64)), focal, centre, distortion, "videopose3d")
        np.testing.assert_allclose(back(edge), case["project_to_2d_clamped"], atol=1e-6)


def test_whole_metres_and_lists_project_like_any_others():
    camera, whole = h36m_cameras("S1")[0], [[0, 0, 5], [1, 1, 5], [-1, 0, 4]]
    expected = camera.project(np.array(whole, float))
    for points in (whole, np.array(whole)):
        np.testing.assert_allclose(camera.project(points), expected, atol=1e-9)
    np.testing.assert_allclose(camera.project(torch.tensor(whole)).numpy(), expected, atol=1e-3)
    world = camera.camera_to_world(whole)
    np.testing.assert_allclose(camera.world_to_camera(torch.as_tensor(world)).numpy(), whole, atol=1e-9)
    assert camera.sees(world).tolist() == camera.sees(torch.as_tensor(world)).tolist()


def test_world_and_screen_equal_published(case):
    camera = Camera((1145.0, 1143.0), (512.0, 515.0), 1000, 1002, rotation=case["q"], translation=case["t"])
    points = case["X"][0].astype(np.float64)
    np.testing.assert_allclose(camera.world_to_camera(points), case["world_to_camera"], atol=1e-6)
    np.testing.assert_allclose(camera.camera_to_world(points), case["camera_to_world"], atol=1e-6)
    screen = cam.pixels_to_screen(case["px"].astype(np.float64), 1000, 1002)
    np.testing.assert_allclose(screen, case["normalize_screen"], atol=1e-6)
    np.testing.assert_allclose(cam.screen_to_pixels(screen, 1000, 1002), case["image_coordinates"], atol=1e-4)


def test_opencv_model_by_hand():
    """OpenCV's formula written out, p1 with y and p2 with x."""
    k1, k2, k3, p1, p2 = -0.2, 0.24, -0.003, -0.0014, -0.00098
    x, y = 0.21, -0.13
    r2 = x * x + y * y
    g = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    expected = [x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y]
    got = cam.project(np.array([x, y, 1.0]) * 4, [1, 1], [0, 0], [k1, k2, k3, p1, p2], "opencv")
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_lens_models_agree_but_for_half_the_cross_term():
    """Same lens, both notations: they differ by 0.8 to 1.5 px in the corners."""
    for camera, corner in zip(h36m_cameras("S1"), (0.85, 1.49, 0.79, 0.83), strict=True):
        corners = np.array([[0, 0], [camera.width, 0], [0, camera.height], [camera.width, camera.height]], float)
        ideal = camera.rays(corners)
        k, (a, b) = camera.distortion[:3], camera.distortion[3:]
        half = cam.project(ideal, camera.focal, camera.centre, camera.distortion, "videopose3d")
        full = cam.project(ideal, camera.focal, camera.centre, (*k, b, a), "opencv")
        assert np.linalg.norm(half - full, axis=-1).max() == pytest.approx(corner, abs=0.02)


@pytest.mark.parametrize("subject", h36m_subjects())
def test_h36m_cameras_look_down_at_the_room_from_head_height(subject):
    for camera in h36m_cameras(subject):
        forward = cam.rotation_matrix(camera.rotation)[:, 2]
        assert 1.4 < camera.translation[2] < 1.7
        assert 10 < np.degrees(np.arcsin(-forward[2])) < 16.5
        assert camera.sees(np.array([0.0, 0.0, 1.0]))
        assert camera.distortion_model == "videopose3d"


quaternions = st.integers(0, 2**32 - 1).map(
    lambda seed: (lambda q: q / np.linalg.norm(q))(np.random.default_rng(seed).normal(size=4))
)


@settings(max_examples=50, deadline=None)
@given(quaternions, st.integers(0, 2**32 - 1))
def test_rotations_are_rotations_and_round_trips_hold(q, seed):
    rng = np.random.default_rng(seed)
    matrix = cam.rotation_matrix(q)
    assert np.linalg.det(matrix) == pytest.approx(1)
    again = cam.quaternion_from_matrix(matrix)
    assert min(np.abs(again - q).max(), np.abs(again + q).max()) < 1e-9
    vectors = rng.normal(size=(4, 17, 3))
    np.testing.assert_allclose(cam.rotate(q, vectors), vectors @ matrix.T, atol=1e-12)
    np.testing.assert_allclose(
        cam.rotate(torch.as_tensor(q), torch.as_tensor(vectors)).numpy(), vectors @ matrix.T, atol=1e-12
    )
    camera = Camera((1000, 1000), (500, 500), 1000, 1000, rotation=q, translation=rng.normal(size=3))
    np.testing.assert_allclose(camera.camera_to_world(camera.world_to_camera(vectors)), vectors, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(h36m_subjects()),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["videopose3d", "opencv"]),
)
def test_undistort_inverts_the_lens_all_over_the_image(subject, index, seed, model):
    known = h36m_cameras(subject)[index]
    camera = Camera(known.focal, known.centre, known.width, known.height, known.distortion, model)
    pixels = np.random.default_rng(seed).uniform(0, 1000, size=(50, 2))
    rays = camera.rays(pixels)
    np.testing.assert_allclose(camera.project(rays * 3.7), pixels, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 2**32 - 1))
def test_screen_round_trip_keeps_aspect_and_further_channels(width, height, seed):
    pixels = np.random.default_rng(seed).uniform(0, 1, size=(7, 3)) * [width, height, 1]
    screen = cam.pixels_to_screen(pixels, width, height)
    np.testing.assert_allclose(cam.screen_to_pixels(screen, width, height), pixels, atol=1e-9 * max(width, height))
    assert (screen[:, 2] == pixels[:, 2]).all()
    np.testing.assert_allclose(
        cam.pixels_to_screen(np.array([[0.0, 0], [width, height]]), width, height)[:, 0], [-1, 1]
    )
    np.testing.assert_allclose(np.diff(screen[:, :2], axis=0) * width / 2, np.diff(pixels[:, :2], axis=0), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_look_at_is_upright_and_not_mirrored(seed):
    rng = np.random.default_rng(seed)
    position, target = rng.uniform(-5, 5, 3), rng.uniform(-1, 1, 3)
    camera = Camera.look_at(position, target)
    np.testing.assert_allclose(camera.project(camera.world_to_camera(target)), camera.centre, atol=1e-6)
    above = camera.project(camera.world_to_camera(target + [0, 0, 0.1]))
    assert above[1] < camera.centre[1] and above[0] == pytest.approx(camera.centre[0], abs=1e-6)
    facing = target - position
    to_the_right = np.cross(facing, [0, 0, 1])
    assert camera.project(camera.world_to_camera(target + 0.01 * to_the_right))[0] > camera.centre[0]


def test_phone_holds_its_angle_and_pitch():
    camera = Camera.phone(70, 1920, 1080, pitch_degrees=12)
    edge = camera.rays(np.array([[0.0, 540.0], [1920.0, 540.0]]))
    angles = np.degrees(np.arctan(edge[:, 0]))
    np.testing.assert_allclose(angles, [-35, 35], atol=1e-9)
    forward = cam.rotation_matrix(camera.rotation)[:, 2]
    assert np.degrees(np.arcsin(-forward[2])) == pytest.approx(12)


def test_behind_the_camera_is_missing():
    camera = Camera.phone()
    assert np.isnan(camera.project(np.array([0.1, 0.2, -1.0]))).all()


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(focal=(0, 1)), "a number above 0"),
        (dict(rotation=(2, 0, 0, 0)), "unit quaternion"),
        (dict(translation=(1800, 4900, 1500)), "not millimetres"),
        (dict(distortion=(1, 2, 3)), "five numbers"),
        (dict(distortion=(0.1, 0, 0, 0, 0)), "the model it belongs to"),
        (dict(distortion_model="brown"), "distortion_model"),
        (dict(centre=(np.nan, 1)), "not nan"),
    ],
)
def test_impossible_cameras_are_refused(change, word):
    with pytest.raises(CameraError, match=word):
        Camera(**{**dict(focal=(1000, 1000), centre=(500, 500), width=1000, height=1000), **change})


# r (1 - 2 r^2) never exceeds 0.28, so nothing beyond 280 px from the centre is an image of anything
BARREL = Camera((1000, 1000), (500, 500), 1000, 1000, (-2.0, 0, 0, 0, 0), "opencv")


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: h36m_cameras("S2"), "S11"),
        (lambda: Camera.phone(200), "field of view"),
        (lambda: Camera.look_at([0, 0, 2], [0, 0, 0]), "sideways"),
        (lambda: cam.quaternion_from_matrix(np.diag([1, 1, -1.0])), "determinant"),
        (lambda: cam.project(np.ones(3), [1, 1], [0, 0], None, "fisheye"), "unknown"),
        (lambda: BARREL.undistort(np.array([900.0, 500.0])), "undistorted"),
    ],
)
def test_bad_input_says_what_is_wrong(call, word):
    with pytest.raises(CameraError, match=word):
        call()
