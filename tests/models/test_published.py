"""Weights and statistics survive the way to the published names and units, and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.camera import pixels_to_screen
from mocap3d.models.motionbert import MotionBERT
from mocap3d.models.published import (
    from_published,
    motionbert_options,
    simple_baseline_normalisation,
    to_published,
    videopose3d_options,
)
from mocap3d.models.simple_baseline import JOINTS_IN, JOINTS_OUT, SimpleBaseline3D
from mocap3d.models.videopose3d import VideoPose3D


@pytest.mark.parametrize("form", ["weigq", "mmpose"])
@pytest.mark.parametrize("stages", [0, 1, 3])
def test_round_trip(form: str, stages: int) -> None:
    model = SimpleBaseline3D(form, channels=12, stages=stages)
    published = to_published(model.state_dict(), "SimpleBaseline3D", form)
    back = from_published(published, "SimpleBaseline3D", form)
    assert back.keys() == model.state_dict().keys()
    SimpleBaseline3D(form, channels=12, stages=stages).load_state_dict(back, strict=True)
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())


def test_weigq_keys_are_the_published_ones(golden) -> None:
    names = json.loads(str(golden("train_weigq")["meta"]))["tensor_names"]
    published = to_published(SimpleBaseline3D(channels=64).state_dict(), "SimpleBaseline3D", "weigq")
    assert {key for key in published if not key.endswith("num_batches_tracked")} == set(names)
    assert published["w1.weight"].shape == (64, 32) and published["w2.weight"].shape == (48, 64)


def test_mmpose_keys_are_the_published_ones() -> None:
    model = SimpleBaseline3D("mmpose", channels=64)
    published = to_published(model.state_dict(), "SimpleBaseline3D", "mmpose")
    shapes = {key: tuple(tensor.shape) for key, tensor in published.items()}
    assert shapes["backbone.expand_conv.conv.weight"] == (64, 34, 1)
    assert shapes["backbone.tcn_blocks.1.conv2.0.conv.weight"] == (64, 64, 1)
    assert shapes["backbone.tcn_blocks.0.conv1.0.bn.running_var"] == (64,)
    assert shapes["head.conv.weight"] == (48, 64, 1) and shapes["head.conv.bias"] == (48,)
    assert len(shapes) == 5 * (1 + 5) + 2  # five layers of a convolution and five batch-norm entries, and the head


@pytest.mark.parametrize("key", ["backbone.tcn_blocks.0.conv9.0.conv.weight", "layers_conv.0.weight", "weight"])
def test_file_of_another_model(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}'.*another model"):
        from_published({key: torch.zeros(2, 2, 1)}, "SimpleBaseline3D", "mmpose")


def test_videopose3d_keys_are_the_published_ones(golden) -> None:
    names = json.loads(str(golden("train_vp3d_strided")["meta"]))["tensor_names"]
    model = VideoPose3D((3, 5, 3), channels=64)
    published = to_published(model.state_dict(), "VideoPose3D", "videopose3d")
    assert {key for key in published if not key.endswith("num_batches_tracked")} == set(names)
    assert published["expand_conv.weight"].shape == (64, 34, 3)
    assert published["layers_conv.0.weight"].shape == (64, 64, 5)
    assert published["layers_conv.1.weight"].shape == (64, 64, 1)
    assert published["shrink.weight"].shape == (51, 64, 1)
    last_frame = model.stem.weight[:, 2]  # (64, 34)
    assert torch.equal(published["expand_conv.weight"][:, :, 2], last_frame)
    published = to_published(model.state_dict(), "VideoPose3D", "mmpose")
    assert published["backbone.tcn_blocks.0.conv1.0.conv.weight"].shape == (64, 64, 5)
    assert published["backbone.tcn_blocks.1.conv2.0.bn.running_var"].shape == (64,)
    assert published["backbone.expand_conv.bn.num_batches_tracked"].shape == ()
    assert published["head.conv.weight"].shape == (51, 64, 1) and len(published) == 5 * (1 + 5) + 2


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=4),
    dense=st.booleans(),
    joints=st.sampled_from([1, 17]),
    style=st.sampled_from(["videopose3d", "mmpose"]),
)
def test_videopose3d_round_trip(widths: list[int], dense: bool, joints: int, style: str) -> None:
    model = VideoPose3D(widths, channels=3, dense=dense, joints_out=joints)
    published = to_published(model.state_dict(), "VideoPose3D", style)
    told = {"filter_widths": widths, "channels": 3, "dense": dense, "joints_out": joints}
    for state, writer in ((published, style), (model.state_dict(), "mocap3d")):
        assert videopose3d_options({key: tuple(t.shape) for key, t in state.items()}, writer, dense) == told
    back = from_published(published, "VideoPose3D", style)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())
    with pytest.raises(ValueError, match="'w1.weight'.*another model"):
        from_published({"w1.weight": torch.zeros(1)}, "VideoPose3D", style)


def test_motionbert_keys_are_the_published_ones(golden) -> None:
    names = json.loads(str(golden("train_motionbert")["meta"]))["tensor_names"]
    size = {"channels": 64, "mlp_ratio": 2, "representation": 96, "depth": 2, "heads": 4, "frames": 27}
    model = MotionBERT(**size)
    published = to_published(model.state_dict(), "MotionBERT", "motionbert")
    assert published.keys() == set(names)
    first = model.ts[1].frames  # the ts stream attends over frames first
    assert torch.equal(published["blocks_ts.1.attn_t.qkv.weight"], first.attention.qkv.weight)
    assert published["pos_embed"].shape == (1, 17, 64) and published["temp_embed"].shape == (1, 27, 1, 64)
    mmpose = to_published(model.state_dict(), "MotionBERT", "mmpose")
    assert len(mmpose) == len(published)
    for key in (
        "backbone.spat_embed",
        "backbone.blocks_st.0.mlp_s.0.weight",
        "backbone.blocks_ts.1.mlp_t.2.bias",
        "backbone.attn_regress.1.weight",
        "backbone.norm.bias",
        "head.pre_logits.fc.weight",
        "head.fc.bias",
    ):
        assert key in mmpose
    told = {key: value for key, value in size.items() if key != "heads"} | {"joints": 17, "fuse": True}
    for state, style in ((published, "motionbert"), (mmpose, "mmpose"), (model.state_dict(), "mocap3d")):
        assert motionbert_options({key: tuple(t.shape) for key, t in state.items()}, style) == told
        if style == "mocap3d":
            continue
        back = from_published(state, "MotionBERT", style)
        assert back.keys() == model.state_dict().keys()
        assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())
        with pytest.raises(ValueError, match="'w1.weight'.*another model"):
            from_published({"w1.weight": torch.zeros(1)}, "MotionBERT", style)


@pytest.mark.parametrize(("form", "metres_per_unit"), [("weigq", 0.001), ("mmpose", 1.0)])
def test_published_statistics_give_the_published_zscores(form: str, metres_per_unit: float) -> None:
    rng = np.random.default_rng(0)
    joints = list(JOINTS_IN[form])
    mean_px, std_px = rng.uniform(300, 700, (len(joints), 2)), rng.uniform(20, 90, (len(joints), 2))
    mean_3d, std_3d = rng.normal(0, 300, (16, 3)), rng.uniform(50, 200, (16, 3))
    pixels, pose = rng.uniform(0, 1000, (4, 1, 17, 2)), rng.normal(0, 300, (4, 1, 17, 3))
    model = SimpleBaseline3D(form, channels=8).double()
    model.normalisation = simple_baseline_normalisation(
        mean_px, std_px, mean_3d, std_3d, width=1000, height=1002, metres_per_unit=metres_per_unit
    )
    x = model.encode(torch.from_numpy(pixels_to_screen(pixels, 1000, 1002)))
    expected = ((pixels[:, :, joints] - mean_px) / std_px).reshape(4, 1, -1)
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-9)
    z = model.targets(torch.from_numpy(pose * metres_per_unit))
    relative = (pose - pose[:, :, :1])[:, :, list(JOINTS_OUT)]
    np.testing.assert_allclose(z.numpy(), ((relative - mean_3d) / std_3d).reshape(4, 1, -1), atol=1e-9)
