"""Motion filmed anew: seeded, exact where it claims to be, and what training sees is what `lift` gives a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mocap3d.data.filming import CALIBRATED, COCO, film_anew, motion_on_device
from mocap3d.data.synthetic import make_synthetic
from mocap3d.data.windows import normalised
from mocap3d.models.create import create_model
from mocap3d.normalise import assumed_intrinsics
from mocap3d.skeleton import root_relative
from mocap3d.training.augmentation import TrainingError, film_for
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe, RecipeError
from tests.toys import small_motionbert

RECIPE = Recipe("filmed", steps=4, batch_size=128, loss="mpjpe", cameras="phones", bodies=True, detector="coco")


@pytest.fixture(scope="module")
def clips():
    return make_synthetic(seconds=3).train.select(subject=["S1", "S5"])


@pytest.fixture(scope="module")
def motion(clips):
    return motion_on_device(clips)


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("videopose3d_27", channels=8, normalise="ray", confidence=True)


def test_every_recording_is_filmed_once(clips, motion) -> None:
    data = film_anew(motion)
    assert len(motion.clips) == len({clip.take for clip in clips}) == len(clips) / 4
    assert [len(clip) for clip in motion.clips] == (data.stop - data.start).tolist()
    assert torch.equal(data.clip, torch.repeat_interleave(data.stop - data.start))
    truth = torch.from_numpy(np.concatenate([root_relative(clip.pose3d.points) for clip in motion.clips]))
    lengths = [pose.norm(dim=-1) for pose in (root_relative(data.pose3d), truth)]
    torch.testing.assert_close(*lengths, rtol=0, atol=1e-4)  # the same bodies from elsewhere


def test_true_2d_is_the_projection_where_the_lens_is_straight(motion) -> None:
    data = film_anew(motion, seed=3)
    focal, centre = data.intrinsics[data.clip][:, None].split(2, -1)
    ideal = focal * data.pose3d[..., :2] / data.pose3d[..., 2:] + centre
    near = (ideal - centre).norm(dim=-1) < 0.3  # (N, 17); distortion grows from the middle outwards
    assert near.any() and (data.points2d - ideal)[near].abs().max() < 0.02
    assert (data.confidence == 1).all()


def test_a_number_decides_everything(motion) -> None:
    one, same, other, seeded = (
        film_anew(motion, "coco", True, *numbers) for numbers in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert one.digest() == same.digest() and len({one.digest(), other.digest(), seeded.digest()}) == 3


@pytest.mark.parametrize("detector", ["cpn", "coco"])
def test_detections_are_finite_with_scores(motion, detector: str) -> None:
    data = film_anew(motion, detector)
    truth = film_anew(motion)
    assert data.points2d.isfinite().all() and ((0 <= data.confidence) & (data.confidence <= 1)).all()
    error = (data.points2d - truth.points2d).norm(dim=-1).median()
    assert 0.001 < error < 0.05
    assert ((data.confidence == 0).float().mean() > 0.005) == (detector == "coco")  # missing joints, filled


def test_shares_of_clips() -> None:
    motion = motion_on_device(make_synthetic(seconds=1).train)
    assumed, converted, silent = [], [], []
    for number in range(1, 21):
        data = film_anew(motion, "coco", number=number)
        guess = torch.tensor([assumed_intrinsics(*size) for size in ((16, 9), (9, 16), (1, 1), (4, 3), (3, 4))])
        assumed += (data.intrinsics[:, None] - guess).abs().amax(-1).amin(-1).lt(1e-5).tolist()
        for first, last in zip(data.start.tolist(), data.stop.tolist(), strict=True):
            pelvis, hips = data.points2d[first:last, 0], data.points2d[first:last, [1, 4]].mean(1)
            converted.append(bool(torch.allclose(pelvis, hips, atol=1e-5)))
            scores = data.confidence[first:last]
            silent.append(bool(((scores == 0) | (scores == 1)).all()))
    for found, expected in ((assumed, 1 - CALIBRATED), (converted, COCO), (silent, 0.3)):
        assert abs(np.mean(found) - expected) < 4 * (expected * (1 - expected) / len(found)) ** 0.5


def test_training_sees_what_lift_feeds(motion) -> None:
    """The pelvis of converted clips is the middle of the hips, spine and thorax as `convert` makes them."""
    data = film_anew(motion, "coco", number=5)
    names = {"hips": [1, 4], "shoulders": [11, 14]}
    middle = {key: data.points2d[:, rows].mean(1) for key, rows in names.items()}
    converted = (data.points2d[:, 0] - middle["hips"]).norm(dim=-1) < 1e-5
    assert 0.1 < converted.float().mean() < 0.9
    rows = converted & (data.confidence > 0).all(1)
    torch.testing.assert_close(data.points2d[rows, 8], middle["shoulders"][rows], rtol=0, atol=1e-5)


def test_each_epoch_is_another_film_and_the_recipe_decides_how_long(motion) -> None:
    recipe = replace(RECIPE, refilm=3)
    films = [film_for(recipe, motion, 0, epoch).digest() for epoch in (1, 2, 3, 4)]
    assert films[0] == films[1] == films[2] != films[3]


def test_training_resumes_to_the_same_bits(clips, tmp_path) -> None:
    """Across a change of film: stopped after four steps, and gone on with to the end."""
    frames = sum(len(clip) for clip in motion_on_device(clips).clips)
    recipe = replace(RECIPE, steps=2 * (frames // 128) + 3)
    whole, stopped = small(), small()
    options = {"progress": False, "keep": "last"}
    run = fit(whole, clips, recipe, **options)

    def stop(entry: dict) -> None:
        if entry["step"] > 4:
            raise KeyboardInterrupt

    assert fit(stopped, clips, recipe, out=tmp_path, callback=stop, **options).interrupted
    again = fit(small(), clips, recipe, out=tmp_path, **options)
    assert again.history[-1]["train_loss"] == run.history[-1]["train_loss"]
    for a, b in zip(whole.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_clips_of_frames_apart(clips) -> None:
    torch.manual_seed(0)
    model = small_motionbert(False, frames=27)
    recipe = replace(RECIPE, batch_size=4, clip_frames=9, clip_step=3, clip_stride=9, bodies=False)
    run = fit(model, clips, recipe, progress=False)
    assert run.history and np.isfinite(run.history[-1]["train_loss"])
    data = normalised(film_anew(motion_on_device(clips)), model)
    assert data.points2d.shape[1:] == (17, 2)


def test_image_space_is_refused(clips) -> None:
    with pytest.raises(TrainingError, match="image_space=False"):
        fit(small_motionbert(), clips, RECIPE, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": None}, "detector is 'coco'"),
        ({"cameras": None, "detector": None}, "bodies is True"),
        ({"cameras": "h36m"}, "cameras is 'h36m'"),
        ({"refilm": 0}, "1 or more as refilm, not 0"),
        ({"clip_step": 0}, "1 or more as clip_step, not 0"),
        ({"clip_frames": 2.5}, "as clip_frames, not 2.5"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(RECIPE, **change)
