"""Poses refuse what cannot be, and change frame, rate and skeleton without losing anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import DatasetError, PoseDataset, film
from mocap3d.data.loading import load_dataset
from mocap3d.poses import Clip, Pose2D, Pose3D, PoseError, persons


def body(seed=0, frames=12, fps=50.0):
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=0.3, size=(1, 17, 3)) + rng.normal(scale=0.01, size=(frames, 17, 3)).cumsum(0) + [0, 0, 1]
    return Pose3D(points, fps=fps)


def test_frames_of_reference_round_trip():
    pose, camera = body(), h36m_cameras("S9")[2]
    there = pose.in_camera(camera)
    np.testing.assert_allclose(there.in_world(camera).points, pose.points, atol=2e-6)
    relative = there.root_relative().in_world(camera)
    np.testing.assert_allclose(relative.points, pose.root_relative().points, atol=2e-6)
    np.testing.assert_allclose(pose.project(camera).points, there.project(camera).points)
    with pytest.raises(PoseError, match="camera frame"):
        there.in_camera(camera)
    with pytest.raises(PoseError, match="relative"):
        there.root_relative().project(camera)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90),
    st.sampled_from([10.0, 25.0, 30.0, 50.0, 60.0, 120.0]),
    st.sampled_from([10.0, 25.0, 50.0, 60.0]),
)
def test_resampling_keeps_time_and_straight_lines(frames, fps, wanted):
    time = np.arange(frames) / fps
    line = np.ones((frames, 17, 3)) * [0, 0, 1] + time[:, None, None] * [0.5, -0.2, 0.1]
    again = Pose3D(line, fps=fps).resample(wanted)
    at = np.arange(len(again)) / wanted
    assert at[-1] <= time[-1] + 1e-6 < at[-1] + 1 / wanted
    np.testing.assert_allclose(again.points[:, 0], [0, 0, 1] + at[:, None] * [0.5, -0.2, 0.1], atol=1e-5)
    assert again.fps == wanted


def test_resampling_does_not_spread_gaps_onto_frames_that_exist():
    points = np.ones((5, 17, 3))
    points[2, 4] = np.nan
    again = Pose3D(points, fps=25).resample(50).points
    assert np.isnan(again[:, 4]).all(-1).tolist() == [False, False, False, True, True, True, False, False, False]


def test_timestamps_and_filled_go_with_the_frames():
    times, filled = np.array([1.0, 1.04, 1.05, 1.2]), np.zeros((4, 17), bool)
    filled[1, 3] = True
    pose = Pose3D(np.ones((4, 17, 3)) * [0, 0, 1], fps=25, timestamps=times, filled=filled)
    part = pose.slice(1, 3)
    assert part.timestamps.tolist() == [1.04, 1.05] and part.filled[0, 3] and part.filled.sum() == 1
    assert pose.seconds == pytest.approx(0.24) and part.times is part.timestamps
    camera = h36m_cameras("S9")[0]
    for other in (pose.root_relative(), pose.in_camera(camera), pose.in_camera(camera).in_world(camera)):
        assert other.timestamps is pose.timestamps and other.filled is pose.filled
    seen = pose.project(camera)
    assert seen.timestamps.tolist() == times.tolist() and seen.slice(2, 4).timestamps.tolist() == [1.05, 1.2]
    halpe = Pose2D(np.ones((4, 26, 2)), None, "halpe26", 25, (1000, 1000), times)
    assert halpe.convert().timestamps is halpe.timestamps
    wide = np.zeros((4, 32), bool)
    wide[2, 1] = True  # right_hip
    converted = Pose3D(np.zeros((4, 32, 3)), "h36m32", timestamps=times, filled=wide).convert()
    assert np.argwhere(converted.filled).tolist() == [[2, 1]] and converted.timestamps is not None


def test_resampling_from_timestamps():
    times = np.array([5.0, 5.1, 5.4, 5.5])
    line = np.ones((4, 17, 3)) * [0, 0, 1] + (times - 5)[:, None, None] * [1, 0, 0]
    filled = np.zeros((4, 17), bool)
    filled[2, 5] = True
    again = Pose3D(line, fps=10, timestamps=times, filled=filled).resample(10)
    assert len(again) == 6 and again.timestamps is None
    np.testing.assert_allclose(again.points[:, 0, 0], np.arange(6) / 10, atol=1e-6)
    assert again.filled[:, 5].tolist() == [False, False, True, True, True, False]
    sure = np.ones((4, 17))
    sure[2] = 0.2
    flat = Pose2D(line[..., :2], sure, fps=10, image_size=(9, 9), timestamps=times).resample(10)
    assert flat.confidence[:, 0].tolist() == pytest.approx([1, 1, 0.2, 0.2, 0.2, 1])


def test_missing_joints_have_no_confidence():
    points = np.ones((2, 17, 2))
    points[0, 3] = np.nan
    assert Pose2D(points, image_size=(1000, 1000)).confidence[0, 3] == 0
    assert Pose2D(points, np.ones((2, 17)), image_size=(1000, 1000)).confidence[0, 3] == 0
    assert Pose2D(points, image_size=(1000, 1000)).confidence.sum() == 33


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: Pose3D(np.zeros((3, 16, 3))), "17"),
        (lambda: Pose3D(np.zeros((0, 17, 3))), "no frames"),
        (lambda: Pose3D(np.zeros((3, 17, 3)) + np.arange(17)[:, None] * 100), "millimetres"),
        (lambda: Pose3D(np.full((3, 17, 3), np.inf)), "NaN"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), fps=0), "fps"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), frame="sky"), "frame"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), root="lost"), "root"),
        (lambda: Pose3D(np.array([["a"]])), "dtype"),
        (lambda: Pose2D(np.zeros((3, 17, 3))), "shape"),
        (lambda: Pose2D(np.zeros((3, 17, 2)), np.ones((3, 16))), "confidence"),
        (lambda: Pose2D(np.zeros((3, 17, 2)), np.full((3, 17), -0.5)), "0, 1"),
        (lambda: Pose2D(np.zeros((3, 17, 2)), np.full((3, 17), np.nan)), "NaN"),
        (lambda: Pose2D(np.zeros((3, 17, 2))), "image_size=.width, height.*of the picture or video"),
        (lambda: Pose2D(np.zeros((3, 17, 2)), image_size=(0, 5)), "image_size"),
        (lambda: Pose2D(np.zeros((3, 17, 2)), image_size=1000), "image_size"),
        (lambda: Pose3D(np.full((3, 17, 3), 1e300)), "infinite"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), timestamps=[0, 1]), "one per frame"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), timestamps=[0, 0.02, 0.02]), "frame 2 has 0.02"),
        (lambda: Pose3D(np.zeros((1, 17, 3)), timestamps=[np.nan]), "frame 0 has nan"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), fps=30, timestamps=[0, 33, 67]), "divide milliseconds"),
        (lambda: Pose3D(np.zeros((3, 17, 3)), filled=np.zeros((3, 17))), "one bool per joint"),
    ],
)
def test_impossible_poses_are_refused(make, word):
    with pytest.raises(PoseError, match=word):
        make()


@pytest.mark.parametrize("highest", [1.0000001, 1.02, 8.3])
def test_confidence_above_1_is_clipped_with_one_warning(highest):
    confidence = np.full((3, 17), 0.5)
    confidence[1, 4] = highest
    with pytest.warns(UserWarning, match="clipped to 1; detectors such as RTMPose and OpenPose") as told:
        pose = Pose2D(np.zeros((3, 17, 2)), confidence, image_size=(1000, 1000))
    assert len(told) == 1 and f"up to {np.float32(highest):.8g}" in str(told[0].message)
    assert pose.confidence[1, 4] == 1 and (np.delete(pose.confidence, 21) == 0.5).all()


def clips(split="train", **labels):
    return film(
        body(),
        h36m_cameras("S1"),
        **{**dict(subject="S1", action="Waving", take="a", source="made"), **labels},
        split=split,
    )


def test_film_gives_four_views_of_one_take():
    views = clips()
    assert [view.camera.name for view in views] == ["54138969", "55011271", "58860488", "60457274"]
    for view in views:
        np.testing.assert_allclose(view.pose3d.in_world(view.camera).points, body().points, atol=2e-6)
        np.testing.assert_allclose(view.pose2d.points, view.camera.project(view.pose3d.points), atol=1e-3)


def test_clips_that_do_not_belong_together_are_refused():
    view = clips()[0]
    for change, word in (
        (view.pose3d.slice(0, 3), "2D frames"),
        (body(), "world frame"),
        (view.pose3d.resample(25).slice(0, 6), "frames"),
    ):
        with pytest.raises(PoseError, match=word):
            Clip("S1", "Waving", view.camera, view.pose2d, change, "a")


def test_selecting_clips():
    dataset = PoseDataset("mine", tuple(clips() + clips("test", take="b", action="Eating", source="other")))
    assert (len(dataset.train), len(dataset.test), len(dataset.check)) == (4, 4, 0)
    assert dataset.select(action="Eating", camera="55011271").takes == ("b",)
    assert dataset.select(action=["Eating", "Waving"]).frames == 8 * 12
    assert "other" in repr(dataset) and dataset.test.sources == ("other",)
    with pytest.raises(DatasetError, match="Waving"):
        dataset.select(action="Flying")
    with pytest.raises(DatasetError, match="label"):
        dataset.select(colour="red")
    with pytest.raises(DatasetError, match="synthetic"):
        load_dataset("h37m")
    with pytest.raises(DatasetError, match="cpn, sh"):
        load_dataset("synthetic", pose2d="cnp")


def test_detections_of_a_clip_do_not_hang_on_its_neighbours():
    dataset = PoseDataset("mine", tuple(clips() + clips("test", take="b")))
    together, alone = dataset.with_detections("cpn", seed=3), dataset.test.with_detections("cpn", seed=3)
    for a, b in zip(together.test, alone, strict=True):
        np.testing.assert_array_equal(a.pose2d.points, b.pose2d.points)
    assert not np.array_equal(together[0].pose2d.points, dataset.with_detections("cpn", seed=4)[0].pose2d.points)
    assert "simulated cpn" in together.notes[-1]
    with pytest.raises(DatasetError, match="simulated already"):
        together.with_detections("sh")


@pytest.mark.parametrize(
    ("performers", "number"),
    [
        (["cmu-02"] * 3, "1"),
        (["S9", "S11"], "2"),
        (["unknown, one of 3"] * 2, "<=3"),
        (["cmu-02", "unknown, one of 3"], "<=4"),
        (["cmu-02", ""], "?"),
        (["unknown"], "?"),
        (["unknown, one of many"], "?"),
        ([], "?"),
    ],
)
def test_persons_are_counted_by_their_labels(performers, number):
    assert persons(performers) == number


@pytest.mark.parametrize("fps", [1 / 30, 0.99, 0, -30, float("nan"), 1e4, "30"])
def test_rates_are_frames_per_second(fps):
    for make in (lambda: Pose3D(np.zeros((3, 17, 3)), fps=fps), lambda: body().resample(fps)):
        with pytest.raises(PoseError, match=r"frames per second \(30, not 1 / 30\)"):
            make()
