"""MotionBERT in use: trained, evaluated, lifted, in image space and in metres, clips of any length, without seams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mocap3d.camera import h36m_cameras
from mocap3d.data.image_space import denormalise, scale_by_factor, screen_targets
from mocap3d.data.windows import cut_pieces, in_image_space, to_device
from mocap3d.evaluation import (
    OVERLAP,
    PROTOCOLS,
    evaluate,
    overlapping_pieces,
    predict,
    predict_clips,
    predict_pieces,
    say_metres,
)
from mocap3d.lifting import BONES_PER_HEIGHT, lift
from mocap3d.metrics import bone_lengths
from mocap3d.models import create_model
from mocap3d.models.motionbert import MotionBERT
from mocap3d.models.published import motionbert_from_published, motionbert_to_published
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.protocol import CLIPS_WHOLE, METRIC, ROOT_DEPTH
from mocap3d.skeleton import H36M17, flip
from mocap3d.training.fit import fit, train_step, validation_error
from mocap3d.training.recipe import Recipe, make_optimizer
from mocap3d.training.run import Job
from mocap3d.training.step import epoch_batches, hidden
from mocap3d.weights import load_weights, save_weights
from tests.toys import sticks

RECIPE = Recipe(
    "clips", "adamw", 3e-3, "cosine", warmup=0.1, batch_size=8, steps=30, loss="mpjpe",
    terms={"n_mpjpe": 0.5, "velocity": 20.0}, gradient_clip=1.0, flip=True,
)  # fmt: skip


def tiny(image_space: bool = True, frames: int = 9, seed: int = 0, **options) -> MotionBERT:
    torch.manual_seed(seed)
    sizes = {"channels": 32, "mlp_ratio": 2, "representation": 32, "depth": 2, "heads": 4}
    return MotionBERT(**{**sizes, "frames": frames, **options}, image_space=image_space)


@pytest.fixture(scope="module")
def train():
    return sticks(4, frames=40)


@pytest.fixture(scope="module")
def test():
    return sticks(2, frames=40, split="test")


def quiet(*args, **options):
    return fit(*args, progress=False, **options)


class Knows(nn.Module):
    """Says what it was told of each frame: x of the first joint of the input is the frame's number over 1e4."""

    name, clipwise, input_skeleton = "knows", True, "h36m17"

    def __init__(
        self, answers: torch.Tensor, frames: int, image_space: bool = True, edge: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("answers", answers)
        self.receptive_field, self.image_space, self.edge = frames, image_space, edge

    def encode_2d(self, points, confidence=None):
        return torch.cat([points, torch.ones_like(points[..., :1])], -1)

    def decode_3d(self, output):
        return output

    def forward(self, x):
        said = self.answers[(x[:, :, 0, 0] * 1e4).round().long()]
        if self.edge:  # wrong at the ends of a clip
            said = said.clone()
            said[:, 0] += self.edge
            said[:, -1] += self.edge
        return said


def numbered(frames: int) -> torch.Tensor:
    points = torch.rand(frames, 17, 2)
    points[:, 0, 0] = torch.arange(frames) / 1e4
    return points


# Clips of any length


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 2000), frames=st.integers(1, 243), overlap=st.integers(0, 100))
def test_pieces_cover_every_frame_and_overlap(length: int, frames: int, overlap: int) -> None:
    pieces = overlapping_pieces(length, frames, overlap)
    assert pieces[0].start == 0 and pieces[-1].stop == length
    assert all(len(piece) == min(length, frames) for piece in pieces)
    for a, b in zip(pieces, pieces[1:], strict=False):
        assert a.stop - b.start >= min(overlap, frames // 2) and a.start < b.start


@pytest.mark.parametrize("length", [1, 2, 242, 243, 244, 486, 10_000])
def test_any_length_is_predicted_frame_for_frame(length: int, device: torch.device) -> None:
    """Whatever is cut where, a model that knows each frame's pose is repeated exactly, and in its place."""
    torch.manual_seed(length)
    answers, points = torch.randn(length, 17, 3), numbered(length)
    model = Knows(answers, 243).to(device)
    said = predict_clips(model, points.to(device), torch.tensor([length], device=device))
    torch.testing.assert_close(said.cpu(), answers, rtol=1e-5, atol=1e-5)


def test_clips_do_not_see_each_other(device: torch.device) -> None:
    model = tiny().to(device).eval()
    points = torch.rand(60, 17, 2, device=device)
    together = predict_clips(model, points, torch.tensor([25, 5, 9, 21], device=device))
    apart = [
        predict_clips(model, part, torch.tensor([len(part)], device=device))
        for part in points.split([25, 5, 9, 21])
    ]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)
    few = predict_clips(model, points, torch.tensor([25, 5, 9, 21], device=device), batch_size=9)
    torch.testing.assert_close(together, few, rtol=1e-4, atol=1e-5)


def test_there_is_no_seam() -> None:
    """A model that is off at the ends of its clips: blended, neighbours differ by a small part of that."""
    frames, length = 81, 400
    model = Knows(torch.zeros(length, 17, 3), frames, edge=1.0)
    said = predict_clips(model, numbered(length), torch.tensor([length]))[:, 5, 0]
    inner = said[1:-1]
    assert inner.abs().max() <= 1.01 / (OVERLAP + 1) and said[0] == 1  # the end of the video has no neighbour
    butted = torch.cat(
        [model(torch.cat([part, part[..., :1]], -1)[None])[0] for part in numbered(length).split(frames)]
    )
    assert butted[1:-1, 5, 0].abs().max() == 1


def test_flip_test_mirrors_confidence_too(device: torch.device) -> None:
    model = tiny().to(device).eval()
    points, seen = torch.rand(9, 17, 2, device=device), torch.rand(9, 17, device=device)
    lengths = torch.tensor([9], device=device)
    x = torch.cat([points, seen[..., None]], -1)[None]
    with torch.no_grad():
        expected = (model(x) + flip(model(flip(x, H36M17)), H36M17))[0] / 2
    said = predict_clips(model, points, lengths, confidence=seen, flip_test=True)
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-6)
    plain = predict_clips(model, points, lengths, confidence=seen)
    unsure = predict_clips(model, points, lengths, confidence=seen / 2)
    assert (plain - said).abs().max() > 1e-5 and (plain - unsure).abs().max() > 1e-6


def test_a_frame_nobody_is_sure_of_and_missing_joints(train) -> None:
    model = tiny().eval()
    clip = train[0]
    points, seen = clip.pose2d.points.copy(), clip.pose2d.confidence.copy()
    points[5:8, 3], seen[12] = np.nan, 0
    holed = lift(Pose2D(points, seen, image_size=clip.pose2d.image_size), model)
    assert np.isfinite(holed.points).all()
    nothing = Pose2D(np.full_like(points, np.nan), image_size=clip.pose2d.image_size)
    assert np.isfinite(lift(nothing, model).points).all()


# Metres


def test_the_truth_in_image_space_comes_back_in_metres(test, device: torch.device) -> None:
    data = to_device(test, device)
    targets = in_image_space(data).pose3d
    assert (targets[:, 0] == 0).all()
    clip = test[0]
    by_hand = screen_targets(clip.pose3d.points.astype(np.float64), clip.camera)
    np.testing.assert_allclose(targets[: len(clip)].cpu().numpy(), by_hand, atol=1e-6)
    rows = torch.arange(len(data), device=device)
    metres = say_metres(Knows(targets, 9), targets, data, rows)
    torch.testing.assert_close(metres, data.pose3d - data.pose3d[:, :1], rtol=0, atol=2e-5)
    assert say_metres(Knows(targets, 9, image_space=False), targets, data, rows) is targets


@pytest.mark.parametrize("name", ["videopose3d", "open-mocap", "mmpose"])
def test_metric_protocols_say_that_the_roots_place_was_given(test, name: str) -> None:
    clips = [
        replace(c, pose2d=replace(c.pose2d, points=_number(c.pose2d.points, k))) for k, c in enumerate(test)
    ]
    data = to_device(clips)
    answers = in_image_space(data).pose3d
    model = Knows(answers, 27)
    model.encode_2d = lambda points, confidence=None: torch.cat(
        [_rows(points, data)[..., None, None].expand(*points.shape[:-1], 1), points], -1
    )  # noqa: E501
    report = evaluate(model, clips, replace(PROTOCOLS[name], flip_test=False))
    assert (
        report.mpjpe_mm < 0.1 and report.protocol.factor == ROOT_DEPTH and ROOT_DEPTH in str(report.protocol)
    )
    assert report.protocol.space == METRIC and report.protocol.reasons["factor"]
    metric = evaluate(tiny(image_space=False), test, replace(PROTOCOLS[name], flip_test=False))
    assert metric.protocol.factor == "none"


def _number(points: np.ndarray, clip: int) -> np.ndarray:
    """Pixels from which `_rows` can tell clip and frame."""
    points = points.copy()
    points[:, 1, 0] = clip
    points[:, 2, 0] = np.arange(len(points))
    return points


def _rows(points: torch.Tensor, data) -> torch.Tensor:
    """(B, T, J, 2) screen -> (B, T) rows of the data over 1e4."""
    pixels = ((points[..., 1:3, 0] + 1) / 2 * data.clips[0].pose2d.image_size[0]).round().long()  # (B, T, 2)
    return (data.start[pixels[..., 0]] + pixels[..., 1]) / 1e4


def test_the_published_slicing_is_what_the_network_sees(golden, formula) -> None:
    """MotionBERT's own evaluation of a small network: our input, flip and slicing give its results."""
    case = golden("eval_motionbert")
    n, lengths = 120, (60, 27, 33)
    places = (0, 1, 3)
    cameras = [h36m_cameras("S9")[place] for place in places]
    pixels = (500 + 300 * formula.motion("ev/2d", (1, n, 17, 2))[0]).astype(np.float32)
    seen = formula.u("ev/c", n * 17).reshape(n, 17).astype(np.float32)
    nothing = np.full((n, 17, 3), np.nan, np.float32)
    ends, clips = np.cumsum((0, *lengths)), []
    for k, camera in enumerate(cameras):
        rows = slice(ends[k], ends[k + 1])
        seen2d = Pose2D(pixels[rows], seen[rows], image_size=(camera.width, camera.height))
        clips.append(Clip("S9", "x", camera, seen2d, Pose3D(nothing[rows], frame="camera"), take=f"take {k}"))
    data = to_device(clips)
    with torch.device("meta"):
        plan = MotionBERT(channels=32, mlp_ratio=2, representation=32, depth=1, heads=2, frames=27)
    model = plan.to_empty(device="cpu").eval()
    shapes = motionbert_to_published(model.state_dict(), "motionbert")
    weights = {
        key: torch.from_numpy(formula.weight(key, tuple(x.shape), "norm" in key)) for key, x in shapes.items()
    }
    model.load_state_dict(motionbert_from_published(weights, "motionbert"))
    pieces = torch.from_numpy(case["clip_ids"])
    x = model.encode_2d(data.points2d[pieces], data.confidence[pieces])
    np.testing.assert_allclose(x.numpy(), case["net_input"], atol=1e-6)
    said = predict_pieces(model, data, pieces, flip_test=True).numpy().astype(np.float64)
    said[:, :, 0] = 0  # as published: "rootrel"
    factor = 3.5 + formula.u("ev/f", n)
    for k, (rows, result) in enumerate(zip(case["clip_ids"], case["results"], strict=True)):
        camera = cameras[(0, 0, 1, 2)[k]]
        image = denormalise(said[k], camera.width, camera.height)
        found = scale_by_factor(image, factor[rows] if k != 2 else np.full(27, 1.0)) * 1000
        expected = result - result[:, :1]
        assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_protocols_that_cut_clips_show_the_network_those(test) -> None:
    asked = []

    class Listens(MotionBERT):
        def forward(self, x):
            asked.append(tuple(x.shape))
            return super().forward(x)

    torch.manual_seed(0)
    model = Listens(channels=8, mlp_ratio=1, representation=8, depth=1, heads=2, frames=27)
    cut = replace(PROTOCOLS["motionbert"], piece=27, flip_test=False, exclusions=())
    report = evaluate(model, test, cut)
    assert asked == [(8, 27, 17, 3)] and report.protocol.factor != ROOT_DEPTH
    asked.clear()
    evaluate(model, test, replace(cut, frames=CLIPS_WHOLE))
    assert asked == [(8, 27, 17, 3)]
    asked.clear()
    evaluate(model, test, "open-mocap")
    assert {shape[1] for shape in asked} == {27} and sum(
        shape[0] for shape in asked
    ) == 20  # two of 40 frames, three of 43
    asked.clear()
    evaluate(model, test, replace(cut, piece=36))  # longer than the network's
    assert {shape[1] for shape in asked} == {27}


# Lifting


class Filmed(Knows):
    """Knows the clip's true image space; the frame's number is read off the 2D by nearest neighbour."""

    def __init__(self, clip: Clip, frames: int = 27) -> None:
        targets = screen_targets(clip.pose3d.points.astype(np.float64), clip.camera)
        super().__init__(torch.from_numpy(targets).float(), frames)
        self.seen = to_device([clip]).points2d

    def forward(self, x):
        far = torch.cdist(x[..., :2].flatten(2), self.seen.flatten(1).expand(len(x), -1, -1))
        return self.answers[far.argmin(-1)]


def test_height_gives_the_scale(test) -> None:
    """With the true length of the bones as height, and the camera, the truth comes back; without it nearly."""
    clip = test[0]
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


def test_height_scales_models_of_metres(test) -> None:
    model = tiny(image_space=False).eval()
    plain = lift(test[0].pose2d, model)
    scaled = lift(test[0].pose2d, model, height=1.8)
    assert np.median(bone_lengths(scaled.points).sum(-1)) == pytest.approx(BONES_PER_HEIGHT * 1.8, rel=1e-5)
    ratio = scaled.points / plain.points
    assert np.nanstd(ratio) < 1e-3


def test_lift_refuses_heights_and_cameras_that_cannot_be(test) -> None:
    pose2d, model = test[0].pose2d, tiny()
    for height in (0, 175, -1.7, float("nan")):
        with pytest.raises(ValueError, match="give metres, such as 1.75"):
            lift(pose2d, model, height=height)
    with pytest.raises(ValueError, match="cannot use a camera"):
        lift(pose2d, tiny(image_space=False), camera=test[0].camera)
    other = replace(test[0].camera, width=640, height=480)
    with pytest.raises(ValueError, match="the camera's image is 640x480"):
        lift(pose2d, model, camera=other)


def test_lifting_is_what_evaluation_predicts(test, device: torch.device) -> None:
    model = tiny(image_space=False).to(device).eval()
    data = to_device([test[0]], device)
    expected = predict(model, data).cpu().numpy()
    np.testing.assert_allclose(lift(test[0].pose2d, model).points, expected, atol=1e-5)


# Training


@pytest.mark.parametrize("image_space", [True, False])
def test_it_learns(train, test, device: torch.device, image_space: bool) -> None:
    model = tiny(image_space).to(device)
    before = evaluate(model, test, "open-mocap").mpjpe_mm
    run = quiet(model, train, RECIPE, test, device=device)
    assert evaluate(model, test, "open-mocap").mpjpe_mm < 0.9 * before
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.record["validation"]["used"].startswith("332 of 332")


def test_validation_is_the_metric_error(train, test) -> None:
    """In mm, of pieces that do not overlap, whatever the model says."""
    data = to_device(test)
    model = tiny(False).eval()
    pieces = cut_pieces(data, 9, 9)
    said = predict_pieces(model, data, pieces)
    truth = data.pose3d[pieces] - data.pose3d[pieces][..., :1, :]
    assert validation_error(model, data) == pytest.approx(
        1000 * (said - truth).norm(dim=-1).mean().item(), rel=1e-5
    )
    perfect = Knows(in_image_space(data).pose3d, 9)
    perfect.encode_2d = lambda points, confidence=None: _index(points, data)
    assert validation_error(perfect, data) < 0.1


def _index(points: torch.Tensor, data) -> torch.Tensor:
    rows = torch.cdist(points.flatten(2), data.points2d.flatten(1).expand(len(points), -1, -1)).argmin(-1)
    return (rows / 1e4)[..., None, None].expand(*points.shape[:3], 3)


def test_a_loop_written_by_hand_gives_the_same_numbers(train) -> None:
    model, twin = tiny(), tiny()
    recipe = replace(RECIPE, steps=5, mask_joints=0.1, mask_frames=0.2, clip_stride=4)
    run = quiet(model, train, recipe, device="cpu", keep="last", seed=3)
    data = in_image_space(to_device(train))
    job = Job(twin, data, None, recipe, 3, "last", cut_pieces(data, 9, 4))
    optimizer, losses = make_optimizer(twin, recipe), []
    torch.manual_seed(3)
    twin.train()
    for step, batch in zip(range(1, 6), epoch_batches(job, 1), strict=False):
        assert batch.points2d.shape == (8, 9, 17, 2) and batch.confidence.shape == (8, 9, 17)
        rate = 3e-3 * (step / 0.5 if step < 0.5 else 0.5 * (1 + np.cos(np.pi * (step - 0.5) / 5.5)))
        losses.append(train_step(twin, optimizer, batch, recipe, rate).item())
    assert run.history[-1]["train_loss"] == pytest.approx(losses[-1], rel=1e-6)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("change", [{}, {"detector": "sh", "mask_joints": 0.1, "mask_frames": 0.1}])
def test_resuming_within_an_epoch_gives_the_same_bits(train, tmp_path, change) -> None:
    recipe = replace(RECIPE, steps=12, **change)
    whole = quiet(tiny(), train, recipe, device="cpu", keep="last", out=tmp_path / "a")

    def stop(entry):
        if entry["step"] >= 4:
            raise KeyboardInterrupt

    half = quiet(tiny(), train, recipe, device="cpu", keep="last", out=tmp_path / "b", callback=stop)
    assert half.interrupted and half.history[-1]["step"] < 12
    again = quiet(tiny(), train, recipe, device="cpu", keep="last", out=tmp_path / "b")
    assert all(
        torch.equal(a, b) for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True)
    )


def test_thrift_changes_no_number(train) -> None:
    plain = quiet(tiny(drop_path=0.2), train, replace(RECIPE, steps=3), device="cpu")
    model = tiny(drop_path=0.2)
    thrifty = quiet(model, train, replace(RECIPE, steps=3, checkpointing=True), device="cpu")
    for a, b in zip(plain.model.parameters(), thrifty.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not model.checkpointing


def test_thrift_keeps_less() -> None:
    def kept(checkpointing: bool) -> int:
        model, sizes = tiny(frames=27).train(), []
        model.checkpointing = checkpointing

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.rand(2, 27, 17, 3))
        return sum(sizes)

    assert kept(True) < kept(False) / 3


def test_parts_of_a_batch_add_up_to_it(train) -> None:
    whole, parts = tiny(), tiny()
    recipe = replace(RECIPE, steps=2, terms=None)
    quiet(whole, train, recipe, device="cpu")
    quiet(parts, train, replace(recipe, accumulate=4), device="cpu")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_hidden_joints_and_frames(device: torch.device) -> None:
    torch.manual_seed(0)
    x = torch.ones(40, 50, 17, 3, device=device)
    seen = hidden(x, replace(RECIPE, mask_joints=0.05, mask_frames=0.1))
    kept = seen.any(-1)
    assert (seen.amin(-1) == seen.amax(-1)).all()  # a joint is hidden whole
    frames = kept.any(-1).float().mean().item()
    assert frames == pytest.approx(0.9, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.9 * 0.95, abs=0.02)
    assert hidden(x, RECIPE) is x


@pytest.mark.parametrize("change", [{"mask_joints": 0.1}, {"mask_frames": 0.1}, {"checkpointing": True}])
def test_what_other_models_do_not_know_is_refused(train, change) -> None:
    ((wanted, _),) = change.items()
    with pytest.raises(RuntimeError, match=f"{wanted}=.*MotionBERT does"):
        quiet(
            create_model("videopose3d_27", channels=8),
            train,
            replace(RECIPE, terms=None, **change),
            device="cpu",
        )


def test_too_little_to_cut_is_refused() -> None:
    with pytest.raises(RuntimeError, match="a single piece of 81 frames"):
        quiet(tiny(frames=81), sticks(1, frames=40, views=1), RECIPE, device="cpu")


def test_a_loss_that_is_no_number_names_clips(train) -> None:
    model = tiny()
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="The batch held 72 frames of"):
        quiet(model, train, RECIPE, device="cpu")


def test_its_card_says_what_it_says(tmp_path) -> None:
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    for image_space in (True, False):
        path = save_weights(tiny(image_space), tmp_path / "m.safetensors", card)
        assert load_weights(path).image_space is image_space
