"""A state_dict is found wherever people keep it, and its keys tell who wrote it."""

from __future__ import annotations

import pytest
import torch

from mocap3d.models.poseformerv2 import PoseFormerV2
from mocap3d.models.published import to_published
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.models.state_dicts import Origin, WeightsError, find_prefix, find_state, list_names, recognise
from mocap3d.models.videopose3d import VideoPose3D
from tests.toys import small_motionbert


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["module.a", "module.b"], "module."),
        (["module.a", "b"], ""),
        (["module._orig_mod.a", "module._orig_mod.module"], "module._orig_mod."),
        (["model.module.model.a"], "model.module.model."),
        (["modules.a"], ""),
        ([], ""),
    ],
)
def test_prefix_of_wrappers(keys: list[str], prefix: str) -> None:
    assert find_prefix(keys) == prefix


def test_weights_are_found_beside_settings_of_the_same_name() -> None:
    state, other = {"a": torch.ones(1)}, {"a": torch.zeros(1)}
    for checkpoint in (
        state,
        {"model": state, "step": torch.tensor(1)},
        {"state_dict": {}, "model": {"channels": 8}, "net": state},
        {"model": {"net": state, "scale": torch.tensor(1.0)}},
        {"model_pos": state, "model_traj": other},
    ):
        assert find_state(checkpoint, "file", "pose") == state
    assert find_state({"model_pos": state, "model_traj": {"net": other}}, "file", "trajectory") == other


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (3, "file holds a int"),
        ({"model": {}}, "file holds a dict"),
        ({"model": {"a": 1}}, "not tensors: a"),
        ({"model": {"a": torch.ones(1), 5: torch.ones(1)}}, "not tensors: 5"),
        ({"model": {"model": {"model": {"a": torch.ones(1)}}}}, "not tensors: model"),
    ],
)
def test_what_holds_no_weights(checkpoint: object, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        find_state(checkpoint, "file", "pose")


def test_every_writer_is_recognised() -> None:
    models = SimpleBaseline3D(channels=4), VideoPose3D((3, 3), channels=4), small_motionbert(), PoseFormerV2(channels=8)
    writers = ("weigq", "mocap3d"), ("videopose3d", "mmpose", "mocap3d"), ("motionbert", "mmpose", "mocap3d")
    writers += (("poseformerv2", "mocap3d"),)
    for model, styles in zip(models, writers, strict=True):
        kind = type(model).__name__
        for style in styles:
            state = to_published(model.state_dict(), kind, style)
            shapes = {f"module.{key}": tuple(value.shape) for key, value in state.items()}
            origin = recognise(shapes)
            assert origin == Origin(style, kind, "module.")
            assert [origin.spelled(origin.plain(key)) for key in shapes] == list(shapes)
    assert recognise({"layer1.weight": (3, 3)}) is None and recognise({}) is None


def test_long_lists_end() -> None:
    assert list_names(range(3)) == "0, 1, 2" and list_names(range(14)).endswith("11 and 2 more")
