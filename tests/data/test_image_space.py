"""2.5D against MMPose's codec and MotionBERT's slicing, and back again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import Camera, h36m_cameras, pixels_to_screen
from mocap3d.data.chunks import published_chunks, resample_frames
from mocap3d.data.image_space import (
    ImageSpaceError,
    denormalise,
    depth_of_scale,
    from_image_space,
    mm_factor,
    normalise,
    scale_by_factor,
    screen_targets,
    screen_to_metres,
    to_image_space,
)
from tests.toys import body

MM_CAMERA = Camera((1145.05, 1143.78), (512.54, 515.45), 1000, 1002)
LENGTHS = [600, 243, 100, 500, 81]  # of the golden case


def seen(frames: int = 5, seed: int = 0, camera: Camera | None = None) -> np.ndarray:
    camera = camera or h36m_cameras("S9")[0]
    return camera.world_to_camera(body(frames, seed).astype(np.float64))


def test_factor_and_image_space_are_mmposes(golden):
    case = golden("camera")
    pose = case["X"][0].astype(np.float64)
    np.testing.assert_allclose(mm_factor(pose[:, 0], MM_CAMERA), case["mm_factor"], rtol=2e-6)
    np.testing.assert_allclose(to_image_space(pose, MM_CAMERA) / 1000, case["mm_camera_to_image_coord"], atol=5e-7)


def test_the_codecs_labels_are_mmposes(golden):
    case = golden("camera")
    pose = case["X"][0].astype(np.float64)
    image, factor = to_image_space(pose, MM_CAMERA), mm_factor(pose[:, 0], MM_CAMERA)
    for mode in ("train", "test"):
        keypoints = case[f"mb_codec_{mode}_keypoint_labels"]
        np.testing.assert_allclose(pixels_to_screen(case["px"], 1000, 1002), keypoints[..., :2], atol=2e-6)
        assert (keypoints[..., 2] == 1).all()  # its 2D is the exact truth, with confidence 1
        np.testing.assert_allclose(factor[:, None], case[f"mb_codec_{mode}_factor"], rtol=2e-6)
    labels = normalise(image, 1000, 1002)
    np.testing.assert_allclose(labels - labels[:, :1], case["mb_codec_train_lifting_target_label"], atol=1e-6)
    np.testing.assert_allclose(scale_by_factor(image, factor), case["mb_codec_test_lifting_target_label"], atol=2e-6)


def test_the_codecs_decoding_is_mmposes(golden):
    case = golden("camera")
    network = case["mb_decode_in"][0].astype(np.float64)
    network[:, 0] = 0  # rootrel
    decoded = scale_by_factor(denormalise(network, 1000, 1002), case["mm_factor"].astype(np.float64))
    np.testing.assert_allclose(decoded, case["mb_codec_decode"][0], atol=1e-6)


def test_factor_is_mm_per_pixel():
    """A rod of 1 m across the view, at the root's depth: its pixels times the factor are 1 m, but for the 1 px."""
    root = np.array([0.3, -0.2, 5.0])
    ends = np.stack([root, root + [1.0, 0, 0]])
    pixels = np.diff(to_image_space(np.repeat(ends, [1, 16], 0), MM_CAMERA)[[0, -1], 0])[0]
    assert pixels * mm_factor(root, MM_CAMERA) == pytest.approx(1000, rel=0.003)
    assert mm_factor(2 * root, MM_CAMERA) == pytest.approx(2 * mm_factor(root, MM_CAMERA), rel=0.003)
    with pytest.raises(ImageSpaceError, match="behind"):
        mm_factor(-root, MM_CAMERA)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 50), view=st.integers(0, 3))
def test_there_and_back(seed, view):
    camera = h36m_cameras("S11")[view]
    pose = seen(3, seed, camera)
    image = to_image_space(pose, camera)
    np.testing.assert_allclose(from_image_space(image, camera, pose[:, 0]), pose, atol=1e-9)
    screen = normalise(image, camera.width, camera.height)
    np.testing.assert_allclose(denormalise(screen, camera.width, camera.height), image, atol=1e-9)
    assert (image[:, 0, 2] == 0).all()


def test_25d_is_a_picture_of_the_pose_not_the_pose():
    pose = seen()
    factor = mm_factor(pose[:, 0], h36m_cameras("S9")[0])
    error = scale_by_factor(to_image_space(pose, h36m_cameras("S9")[0]), factor) - (pose - pose[:, :1])
    assert 0.002 < np.linalg.norm(error, axis=-1).mean() < 0.15  # metres: perspective is no small thing


@pytest.mark.parametrize("stride, name", [(81, "train"), (243, "test")])
def test_pieces_are_motionberts(golden, stride, name):
    pieces = published_chunks(LENGTHS, 243, stride)
    bounds = np.array([[piece[0], piece[-1], len(piece)] for piece in pieces])
    np.testing.assert_array_equal(bounds, golden("data")[f"mb_split_{name}_bounds"])


def test_stretching_is_motionberts(golden):
    case = golden("data")
    np.testing.assert_array_equal(resample_frames(100, 243, "even"), case["mb_resample_norandom"])
    np.testing.assert_array_equal(resample_frames(100, 243, "repeat"), case["mb_resample_replay"])


def test_chance_is_motionberts(golden):
    """Pieces of 27 from 60, 27 and 33 frames, as the published evaluator cut them."""
    np.testing.assert_array_equal(published_chunks([60, 27, 33], 27, 27), golden("eval_motionbert")["clip_ids"])


def test_short_videos():
    drop = published_chunks(LENGTHS, 243, 243, short="drop")
    assert [piece[0] for piece in drop] == [0, 243, 600, 943, 1186]
    stretched = published_chunks(LENGTHS, 243, 243)[3]
    assert (np.diff(stretched) >= 0).all() and set(stretched) <= set(range(843, 943))
    assert not (published_chunks(LENGTHS, 243, 243, seed=1)[3] == stretched).all()
    last = published_chunks([81], 243, 243)
    assert last == [] and len(published_chunks([81, 243], 243, 243)) == 2


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 20), st.integers(1, 20))
def test_pieces_stay_within_their_video(lengths, frames, stride):
    owner = np.repeat(np.arange(len(lengths)), lengths)
    whole = published_chunks(lengths, frames, stride, short="drop")
    for piece in published_chunks(lengths, frames, stride):
        assert len(piece) == frames and len(set(owner[piece])) == 1
    assert all((np.diff(piece) == 1).all() for piece in whole)
    assert len(whole) == sum((length - frames) // stride + 1 for length in lengths if length >= frames)


def test_bad_calls_are_refused():
    for call in (
        lambda: published_chunks([10], 5, 5, short="pad"),
        lambda: published_chunks([10], 0, 5),
        lambda: published_chunks([0], 5, 5),
        lambda: resample_frames(10, 5),
        lambda: resample_frames(3, 5, "odd"),
    ):
        with pytest.raises(ValueError):
            call()


@given(seed=st.integers(0, 1000), place=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_targets_come_back_in_metres(seed, place):
    camera = h36m_cameras("S9")[place]
    pose = seen(5, seed, camera)
    said = screen_targets(pose, camera)
    assert said.shape == pose.shape and (said[:, 0] == 0).all()
    image = normalise(to_image_space(pose, camera), camera.width, camera.height)
    np.testing.assert_allclose(said, image - image[:, :1], atol=1e-9)
    np.testing.assert_allclose(screen_to_metres(said, camera, pose[:, 0]), pose - pose[:, :1], atol=1e-9)


def test_scale_tells_depth():
    """A pixel of so many metres lies so far away; the factor is that scale in mm."""
    pose = seen(5)
    camera = h36m_cameras("S9")[0]
    factor = mm_factor(pose[:, 0], camera)
    np.testing.assert_allclose(depth_of_scale(factor / 1000, camera), pose[:, 0, 2], rtol=1e-9)
