"""`lift`: any length, any known skeleton, the same answer as the evaluation gives."""

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.image_space import screen_targets
from mocap3d.data.phone import coco_from_h36m
from mocap3d.data.synthetic import make_synthetic
from mocap3d.data.windows import to_device
from mocap3d.evaluation.predict import predict
from mocap3d.lifting.lift import BONES_PER_HEIGHT, SHARES, lift
from mocap3d.metrics import bone_lengths
from mocap3d.models.create import create_model
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.poses import Clip, Pose2D, at_positions
from mocap3d.skeleton import COCO17, H36M17, HALPE26, MEDIAPIPE33, Skeleton, SkeletonError, convert
from mocap3d.weights import load_shipped
from tests.toys import Knows, small_motionbert, sticks

HAND = Skeleton("hand", tuple(f"finger_{i}" for i in range(21)), (-1,) + (0,) * 20)


def wide():
    return create_model("videopose3d", filter_widths=(3, 3), channels=16)


@pytest.fixture(scope="module")
def dataset():
    return sticks(takes=2, frames=30, split="test", views=1)


def trained(model, dataset, device):
    data = to_device(dataset, device)
    model.to(device).fit_normalisation(data.points2d, data.pose3d)
    return model, data


@pytest.mark.parametrize("make", [lambda: create_model("simple_baseline", channels=16), wide])
def test_lifting_a_clip_is_what_evaluation_predicts(make, dataset, device):
    model, data = trained(make(), dataset, device)
    model.train()
    expected = predict(model, data)[: len(dataset[0])]
    lifted = lift(dataset[0].pose2d, model)
    np.testing.assert_allclose(lifted.points, expected.cpu().numpy(), atol=1e-5)
    assert (lifted.frame, lifted.root, lifted.fps) == ("camera", "relative", 50)
    assert model.training
    both = predict(model, data, flip_test=True)[: len(dataset[0])].cpu().numpy()
    assert np.abs(both - lifted.points).max() > 1e-3
    np.testing.assert_allclose(lift(dataset[0].pose2d, model, flip_test=True).points, both, atol=1e-5)


def test_one_frame_other_skeletons_and_other_rates(dataset):
    model, _ = trained(create_model("simple_baseline", channels=16), dataset, torch.device("cpu"))
    points = np.random.default_rng(0).uniform(300, 700, size=(1, len(HALPE26), 2)).astype(np.float32)
    lifted = lift(Pose2D(points, skeleton=HALPE26, fps=25, image_size=(1000, 1000)), model)
    same = lift(Pose2D(convert(points, "halpe26"), fps=25, image_size=(1000, 1000)), model)
    assert len(lifted) == 1 and lifted.fps == 25
    np.testing.assert_array_equal(lifted.points, same.points)
    with pytest.raises(SkeletonError, match="no conversion"):
        lift(Pose2D(np.zeros((3, 21, 2)), skeleton=HAND, image_size=(1000, 1000)), model)


def test_missing_joints_are_filled_as_evaluation_fills_them(dataset, device):
    model, _ = trained(create_model("simple_baseline", channels=16), dataset, device)
    clip = dataset[0]
    points = clip.pose2d.points.copy()
    points[3:9, 5:9] = np.nan
    holed = replace(clip, pose2d=Pose2D(points, image_size=clip.pose2d.image_size))
    expected = predict(model, to_device([holed], device)).cpu().numpy()
    np.testing.assert_allclose(lift(holed.pose2d, model).points, expected, atol=1e-5)
    with pytest.raises(TypeError, match="clip.pose2d"):
        lift(clip, model)


@pytest.mark.parametrize("causal", [False, True])
def test_any_length_is_lifted(dataset, causal):
    model = create_model("videopose3d_27", channels=16, causal=causal)
    for frames in (1, 2, 26, 27, 28):
        pose2d = dataset[0].pose2d.slice(0, frames)
        assert len(lift(pose2d, model)) == frames
        if causal:  # what comes later changes nothing
            points = lift(dataset[0].pose2d, model).points[:frames]
            np.testing.assert_allclose(lift(pose2d, model).points, points, atol=1e-5)


# Rates and times


def turning(times: np.ndarray, fps: float, timestamps: np.ndarray | None = None) -> Pose2D:
    """Joints on circles, at any times, once in two seconds."""
    angle = np.pi * times[:, None] + np.linspace(0, 6, 17)
    points = 500 + 100 * np.stack([np.cos(angle), np.sin(angle)], -1)
    return Pose2D(points, None, H36M17, fps, (1000, 1000), timestamps)


RATES = (1, 10, 15, 24, 25, 30000 / 1001, 59.94, 100, 120, 240)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2, 31, 300])
def test_frames_in_are_frames_out(fps, frames):
    if fps == 1:
        frames = min(frames, 31)
    pose2d = turning(np.arange(frames) / fps, fps)
    lifted = lift(pose2d, wide())
    assert (len(lifted), lifted.fps, lifted.timestamps) == (frames, fps, None)
    assert np.isfinite(lifted.points).all() and not lifted.filled.any()
    given = lift(replace(pose2d, timestamps=7 + np.arange(frames) / fps), wide())
    assert len(given) == frames and given.timestamps[0] == 7


class Echo(Knows):
    """Answers with the 2D: what a model of several frames sees, and when."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(1, 17, 3), 27, image_space=False)

    def forward(self, x):
        return torch.nn.functional.pad(x[..., :2], (0, 1))


@pytest.mark.parametrize("fps", RATES)
def test_poses_are_those_of_the_frames(fps):
    """Within what linear interpolation loses, of 0.2, the answer is the one at the time of each frame."""
    for frames in (5, 40):
        pose2d = turning(np.arange(frames) / fps, fps)
        lifted = lift(pose2d, Echo()).points[..., :2]
        np.testing.assert_allclose(lifted, pose2d.points / 500 - 1, atol=2e-3)
        np.testing.assert_allclose(lifted[[0, -1]], pose2d.points[[0, -1]] / 500 - 1, atol=1e-6)


def test_jittered_timestamps_leave_the_speed_right():
    """At a varying rate with dropped frames, the speed is that of the same motion sampled evenly, within 2 %."""
    rng, model = np.random.default_rng(0), load_shipped()
    motion = make_synthetic(seconds=10).test[0].pose2d  # 50 fps
    even = np.arange(295) / 30
    jittered = even + rng.uniform(-0.3, 0.3, len(even)) / 30
    jittered[0] = 0
    jittered = np.delete(jittered, rng.choice(np.arange(1, 294), 20, replace=False))
    speeds = []
    for times in (even, jittered):
        points = at_positions(motion.points, times * 50)
        lifted = lift(Pose2D(points, fps=30, image_size=motion.image_size, timestamps=times), model)
        assert lifted.timestamps is times
        steady = at_positions(lifted.points, np.interp(np.arange(90) / 10, times, np.arange(len(times))))
        speeds.append(np.linalg.norm(np.diff(steady, axis=0), axis=-1).mean())
    assert speeds[1] == pytest.approx(speeds[0], rel=0.02)


def test_filled_joints_are_marked(dataset):
    points = np.random.default_rng(0).uniform(300, 700, size=(17, 2)) + np.arange(60)[:, None, None]
    pose2d = Pose2D(points, None, COCO17, 30, (1000, 1000))
    assert not lift(pose2d, wide()).filled.any()
    points[20:30, COCO17.index("left_hip")] = np.nan
    filled = lift(replace(pose2d, points=points), wide()).filled
    expected = np.zeros((60, 17), bool)
    expected[20:30, H36M17.indices(["left_hip", "pelvis", "spine"])] = True
    np.testing.assert_array_equal(filled, expected)


def test_real_webcams(mocap_root):
    """Of four webcams, the two on their side are named, and legs that are never seen are marked as filled."""
    path = mocap_root / "real" / "webcam_seated.npz"
    if not path.is_file():
        pytest.skip("needs real/webcam_seated.npz in MOCAP3D_DATA")
    with np.load(path) as real:
        clips = list(zip(real["detections"], real["sizes"], real["turn"], strict=True))
        fps = float(real["fps"])
    for points, size, turn in clips:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            lifted = lift(Pose2D(points, None, "mediapipe33", fps, size))
        assert len(lifted) == len(points) and np.isfinite(lifted.points).all()
        sideways = [str(warning.message) for warning in told if "lies on its side" in str(warning.message)]
        assert len(sideways) == bool(turn)
        never = np.isnan(points).all((0, 2))[MEDIAPIPE33.indices(["left_knee", "right_knee", "left_ankle"])]
        assert never.all() == (turn == 0)
        filled = lifted.filled[:, H36M17.indices(["left_knee", "right_knee", "left_foot"])]
        assert filled[:, never].all() and not lifted.filled[:, H36M17.index("left_shoulder")].mean() > 0.05


def test_zeros_and_joints_without_confidence_count_as_missing(dataset):
    """(0, 0) with confidence 0, as detectors write unseen joints, and any place with confidence 0."""
    rng, model = np.random.default_rng(0), trained(wide(), dataset, torch.device("cpu"))[0]
    clip = dataset[0].pose2d
    gone = rng.random(clip.points.shape[:2]) < 0.2
    nan = replace(clip, points=np.where(gone[..., None], np.nan, clip.points))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the predicted bones")  # it knows sticks
        expected = lift(nan, model)
    zeros = replace(clip, points=np.where(gone[..., None], 0, clip.points), confidence=np.where(gone, 0, 1))
    for pose2d in (zeros, replace(zeros, confidence=None)):  # also where nobody says that (0, 0) is no place
        with pytest.warns(UserWarning, match=f"{gone.sum()} of {gone.size} joints are at") as told:
            lifted = lift(pose2d, model)
        assert len(told) == 1
        np.testing.assert_array_equal(lifted.points, expected.points)
        np.testing.assert_array_equal(lifted.filled, gone)


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda c: replace(c, points=c.points / c.image_size), "lie in 0..1: multiply them"),
        (lambda c: replace(c, image_size=(500, 500)), "of the joints lie outside the 500x500 image"),
        (lambda c: replace(c, skeleton="h36m17"), "in the order of coco17, not of h36m17: pass skeleton='coco17'"),
        (lambda c: replace(c, points=c.points * (1, -1) + (0, c.image_size[1])), "y grows upwards"),
    ],
)
def test_wrong_size_unit_or_order(spoil, text):
    clip = make_synthetic(seconds=2).test[0]
    points = clip.camera.project(coco_from_h36m(torch.from_numpy(clip.pose3d.points)).numpy())
    pose2d = Pose2D(points, None, COCO17, 50, clip.pose2d.image_size)
    with pytest.warns(UserWarning) as told:
        lift(spoil(pose2d), wide(), undo_inversions=False)
    assert len(told) == 1 and text in str(told[0].message)


def test_what_looks_wrong_is_said_in_one_warning():
    walk = make_synthetic(seconds=2).test[0].pose2d
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lift(walk, load_shipped("causal"))
    twice = np.repeat(walk.points * (1, -1) + (0, walk.image_size[1]), 2, 0)  # y up, every frame twice
    with pytest.warns(UserWarning) as told:
        lift(replace(walk, points=twice, confidence=None), wide(), undo_inversions=False)
    (warning,) = told
    assert "y grows upwards" in str(warning.message) and "50% of the frames repeat" in str(warning.message)
    assert warning.filename == __file__
    with pytest.warns(UserWarning, match="Nobody is in the clip") as told:
        assert np.isnan(lift(replace(walk, points=walk.points * np.nan), wide()).points).all()
    assert len(told) == 1


def test_a_model_with_a_trajectory_says_where_the_root_is(dataset):
    model = PoseAndTrajectory(wide())
    assert lift(dataset[0].pose2d, model).root == "relative"
    lifted = lift(dataset[0].pose2d, model.absolute())
    assert lifted.root == "estimated" and np.isfinite(lifted.points).all()


AN_HOUR = """
import numpy as np
import mocap3d
model = mocap3d.create_model("videopose3d_243", channels=16)
points = np.random.default_rng(0).uniform(200, 800, size=(180_000, 17, 2)).astype(np.float32)
lifted = mocap3d.lift(mocap3d.Pose2D(points, fps=50, image_size=(1000, 1000)), model)
assert len(lifted) == 180_000
with open("/proc/self/status") as status:  # ru_maxrss would count what the process that forks us holds
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_an_hour_of_video_fits_in_a_gigabyte():
    done = subprocess.run([sys.executable, "-c", AN_HOUR], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1e9


@pytest.mark.parametrize("flip_test", [None, False])
def test_without_a_model_two_of_the_package_lift(dataset, flip_test):
    pose2d = dataset[0].pose2d.slice(0, 90)
    first, second = (load_shipped(kind) for kind in ("motionbert", "causal"))
    both = [lift(pose2d, model, flip_test=flip_test is None).points for model in (first, second)]
    np.testing.assert_allclose(lift(pose2d, flip_test=flip_test).points, (2 * both[0] + both[1]) / 3, atol=1e-5)


# Image space


class Filmed(Knows):
    """Knows the clip's true image space; the frame's number is read off the 2D by nearest neighbour."""

    def __init__(self, clip: Clip, frames: int = 27) -> None:
        targets = screen_targets(clip.pose3d.points.astype(np.float64), clip.camera)
        super().__init__(torch.from_numpy(targets).float(), frames)
        self.seen = to_device([clip]).points2d

    def forward(self, x):
        far = torch.cdist(x[..., :2].flatten(2), self.seen.flatten(1).expand(len(x), -1, -1))
        return self.answers[far.argmin(-1)]


def test_height_gives_the_scale(dataset) -> None:
    """With the true length of the bones as height, and the camera, the truth comes back; without it nearly."""
    clip = dataset[0]
    truth = clip.pose3d.points
    tall = float(np.median(bone_lengths(truth).sum(-1))) / BONES_PER_HEIGHT
    model = Filmed(clip)
    placed = lift(clip.pose2d, model, height=tall, camera=clip.camera)
    assert placed.root == "estimated"
    # bones of the toy change their lengths, and perspective changes those in the picture: a few percent of depth
    assert np.abs(placed.points[:, 0, 2] / truth[:, 0, 2] - 1).max() < 0.08
    relative = placed.points - placed.points[:, :1]
    assert np.linalg.norm(relative - (truth - truth[:, :1]), axis=-1).mean() < 0.03
    far = lift(clip.pose2d, model, height=tall)
    assert far.root == "relative" and (far.points[:, 0] == 0).all()
    assert np.linalg.norm(far.points - (truth - truth[:, :1]), axis=-1).mean() < 0.08
    np.testing.assert_allclose(lift(clip.pose2d, model, height=tall / 2).points, far.points / 2, rtol=1e-5)
    usual = lift(clip.pose2d, model)
    np.testing.assert_allclose(usual.points, far.points * (1.70 / tall), rtol=1e-4, atol=1e-6)


def test_height_scales_models_of_metres(dataset) -> None:
    model = small_motionbert(image_space=False).eval()
    plain = lift(dataset[0].pose2d, model)
    scaled = lift(dataset[0].pose2d, model, height=1.8)
    assert np.median(bone_lengths(scaled.points).sum(-1)) == pytest.approx(BONES_PER_HEIGHT * 1.8, rel=1e-5)
    ratio = scaled.points / plain.points
    assert np.nanstd(ratio) < 1e-3


def test_lift_refuses_heights_and_cameras_that_cannot_be(dataset) -> None:
    pose2d, model = dataset[0].pose2d, small_motionbert()
    for height in (0, 175, -1.7, float("nan")):
        with pytest.raises(ValueError, match="a number of metres, such as 1.75"):
            lift(pose2d, model, height=height)
    with pytest.raises(ValueError, match="cannot use a camera"):
        lift(pose2d, small_motionbert(image_space=False), camera=dataset[0].camera)
    other = replace(dataset[0].camera, width=640, height=480)
    with pytest.raises(ValueError, match="the camera's image is 640x480"):
        lift(pose2d, model, camera=other)


def test_lifting_is_what_evaluation_predicts(dataset, device: torch.device) -> None:
    model = small_motionbert(image_space=False).to(device).eval()
    data = to_device([dataset[0]], device)
    expected = predict(model, data).cpu().numpy()
    np.testing.assert_allclose(lift(dataset[0].pose2d, model).points, expected, atol=1e-5)


def test_a_network_that_is_not_trained_draws_a_warning():
    clip = make_synthetic(seconds=1, subjects="S9", actions=["Walking"])[0]
    torch.manual_seed(0)
    for name in ("videopose3d_27", "motionbert_tiny"):
        with pytest.warns(UserWarning, match=f"in no person's proportions: is {name} trained"):
            lift(clip.pose2d, create_model(name).eval())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("centred", "causal", "motionbert", "pretrained"):
            lift(clip.pose2d, load_shipped(kind))


def test_shares_of_bones_are_those_of_the_built_in_bodies():
    walks = make_synthetic(seconds=1, actions=["Walking"])
    lengths = np.stack([bone_lengths(clip.pose3d.points).mean(0) for clip in walks])
    np.testing.assert_allclose((lengths / lengths.sum(-1, keepdims=True)).mean(0), SHARES, atol=1e-3)
