"""Weights come in from published files, go out to them, and survive our own format to the last bit."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mocap3d.data.loading import load_dataset
from mocap3d.evaluation.baselines import MeanPose
from mocap3d.evaluation.evaluate import evaluate
from mocap3d.formats.pickles import UnsafeFileError
from mocap3d.models.create import create_model
from mocap3d.models.scaling import STATISTICS
from mocap3d.models.simple_baseline import SimpleBaseline3D
from mocap3d.models.state_dicts import WeightsError
from mocap3d.models.videopose3d import VideoPose3D
from mocap3d.weights import SHIPPED, export_weights, load_shipped, load_weights, read_card, save_weights
from tests.toys import small_motionbert

LEGACY = {"_use_new_zipfile_serialization": False}
FORMS = {"weigq": "simple_baseline", "mmpose": "simple_baseline_mmpose"}
CARD = {
    "fps": 50,
    "training_data": ["open-mocap, training half"],
    "recipe": "simple_baseline",
    "protocol": "simple-baseline",
    "results": {"MPJPE, mm": 61.25},
    "licence": "Apache-2.0",
}


def published(formula, form: str, channels: int, stages: int = 2) -> OrderedDict:
    """A state_dict with the published names and shapes (SPEC, written out here) and the golden numbers."""
    state: OrderedDict[str, torch.Tensor] = OrderedDict()

    def put(name: str, *shape: int, norm: bool = False) -> None:
        state[name] = torch.from_numpy(formula.weight(name, shape, norm)).clone()

    def layer(linear: str, norm: str, channels_in: int) -> None:
        if form == "weigq":
            put(f"{linear}.weight", channels, channels_in)
            put(f"{linear}.bias", channels)
        else:
            put(f"{linear}.weight", channels, channels_in, 1)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            put(f"{norm}.{entry}", channels, norm=True)
        put(f"{norm}.num_batches_tracked")

    if form == "weigq":
        layer("w1", "batch_norm1", 32)
        for n in range(stages):
            for i in (1, 2):
                layer(f"linear_stages.{n}.w{i}", f"linear_stages.{n}.batch_norm{i}", channels)
        put("w2.weight", 48, channels)
        put("w2.bias", 48)
    else:
        layer("backbone.expand_conv.conv", "backbone.expand_conv.bn", 34)
        for n in range(stages):
            for i in (1, 2):
                block = f"backbone.tcn_blocks.{n}.conv{i}.0"
                layer(f"{block}.conv", f"{block}.bn", channels)
        put("head.conv.weight", 48, channels, 1)
        put("head.conv.bias", 48)
    return state


def as_mmpose_0(state: dict) -> OrderedDict:
    return OrderedDict((key.replace("head.", "keypoint_head."), value) for key, value in state.items())


def meta() -> dict:
    """What mmengine writes beside the weights; numpy arrays are what torch.load(weights_only=True) fails on."""
    sigmas = {"sigmas": np.full(17, 0.05), "num_keypoints": np.int64(17)}
    return {"epoch": 200, "iter": 1, "cfg": "model = dict(...)", "seed": 0, "time": "now", "dataset_meta": sigmas}


@pytest.mark.parametrize("case", ["sb_mmpose_64", "sb_mmpose_1024"])
@pytest.mark.parametrize("release", [0, 1])
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "stream"])
def test_mmpose_file_to_golden_output(
    case: str, release: int, options: dict, tmp_path: Path, device: torch.device, golden, formula
) -> None:
    file = golden(case)
    info = json.loads(str(file["meta"]))
    state = published(formula, "mmpose", info["kwargs"]["stem_channels"], info["kwargs"]["num_blocks"])
    if release == 0:
        state = as_mmpose_0(state)
    torch.save({"meta": meta(), "state_dict": state}, tmp_path / "published.pth", **options)
    model = load_weights(tmp_path / "published.pth").to(device)
    assert not model.training and model.card["source"] == "mmpose" and model.name == FORMS["mmpose"]
    x = torch.from_numpy(formula.pose2d(info["input"]["name"], info["input"]["shape"], info["salt"]))
    with torch.no_grad():
        output = model(x.flatten(1).to(device)).cpu().numpy()  # (B, 1, 17, 2) -> (B, 34) -> (B, 48)
    np.testing.assert_allclose(output, file["out64"].reshape(len(x), 48), atol=2e-5)


@pytest.mark.parametrize("case", ["sb_weigq_64", "sb_weigq_48s1"])
def test_weigq_file_to_golden_output(case: str, tmp_path: Path, golden, formula) -> None:
    file = golden(case)
    info = json.loads(str(file["meta"]))
    state = published(formula, "weigq", info["kwargs"]["linear_size"], info["kwargs"]["num_stage"])
    content = {"epoch": 199, "lr": 1e-3, "err": np.float64(45.5), "state_dict": state, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "ckpt_best.pth.tar", **LEGACY)
    model = load_weights(tmp_path / "ckpt_best.pth.tar", dropout=0.25)
    assert model.stem.dropout == 0.25 and model.card["overrides"] == {"dropout": 0.25}
    x = torch.from_numpy(formula.pose2d(info["input"]["name"], info["input"]["shape"], info["salt"]))
    with torch.no_grad():
        output = model(x.flatten(1)).numpy()
    np.testing.assert_allclose(output, file["out64"], atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_every_way_a_state_dict_comes(form: str, formula) -> None:
    state = published(formula, form, 8)
    expected = export_weights(load_weights(state), form)
    spellings = {
        "DataParallel": {f"module.{key}": value for key, value in state.items()},
        "preprocessor": {**state, "data_preprocessor.mean": torch.zeros(3)} if form == "mmpose" else state,
        "before torch 0.4.1": {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
        "mmpose 0.x": as_mmpose_0(state) if form == "mmpose" else state,
        "ours": load_weights(state).state_dict(),
    }
    for spelling in spellings.values():
        seed = torch.random.get_rng_state()
        model = load_weights(spelling)
        assert torch.equal(torch.random.get_rng_state(), seed)
        again = export_weights(model, form)
        assert again.keys() == expected.keys() and all(torch.equal(again[key], expected[key]) for key in again)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stages", [0, 1, 3])
def test_export_is_the_inverse(form: str, stages: int, tmp_path: Path, formula) -> None:
    state = published(formula, form, 12, stages)
    model = load_weights(state)
    exported = export_weights(model, form)
    assert exported.keys() == state.keys()
    assert all(exported[key].shape == state[key].shape and torch.equal(exported[key], state[key]) for key in state)
    assert all(exported[key].dtype == state[key].dtype for key in state)
    exported["w1.weight" if form == "weigq" else "head.conv.weight"].zero_()  # a copy, not the model's own
    assert load_weights(state).state_dict().keys() == model.state_dict().keys()
    assert all(map(torch.equal, model.state_dict().values(), load_weights(state).state_dict().values()))
    other = "mmpose" if form == "weigq" else "weigq"
    with pytest.raises(ValueError, match=f"export it as {form}"):
        export_weights(model, other)
    with pytest.raises(ValueError, match="'videopose3d'.*weigq or mmpose"):
        export_weights(model, "videopose3d")


def test_mismatch_is_told_in_the_publishers_names(formula) -> None:
    state = {f"module.{key}": value for key, value in as_mmpose_0(published(formula, "mmpose", 8)).items()}
    del state["module.backbone.tcn_blocks.1.conv2.0.bn.running_var"]
    state["module.keypoint_head.conv.weight"] = torch.zeros(45, 8, 1)
    state["module.backbone.tcn_blocks.0.extra"] = torch.zeros(1)
    with pytest.raises(WeightsError) as error:
        load_weights(state)
    text = str(error.value)
    assert "missing: module.backbone.tcn_blocks.1.conv2.0.bn.running_var" in text
    assert "unexpected: module.backbone.tcn_blocks.0.extra" in text
    assert "wrong shape: module.keypoint_head.conv.weight has (45, 8, 1), needs (48, 8, 1)" in text
    both = published(formula, "mmpose", 8)
    with pytest.raises(WeightsError, match="of mmpose 0.x and of 1.x"):
        load_weights({**both, **as_mmpose_0(both)})
    weigq = published(formula, "weigq", 8)
    weigq["w1.weight"] = torch.zeros(8, 30)
    with pytest.raises(WeightsError, match=r"w1.weight has \(8, 30\), needs \(8, 32\)"):
        load_weights(weigq)
    with pytest.raises(WeightsError, match=r"needs \(16, 16\)"):
        load_weights(published(formula, "weigq", 8), channels=16)
    with pytest.raises(TypeError, match="causal"):
        load_weights(published(formula, "weigq", 8), causal=True)


def video(
    formula, style: str, widths: tuple[int, ...], channels: int = 8, joints: int = 17, old: bool = False
) -> OrderedDict:
    """A state_dict of VideoPose3D's network as VideoPose3D or MMPose (also 0.x) writes it, as `published`."""
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    two = style == "videopose3d"

    def put(name: str, *shape: int, norm: bool = False) -> None:
        state[name] = torch.from_numpy(formula.weight(name, shape, norm)).clone()

    def layer(conv: str, norm: str, channels_in: int, width: int) -> None:
        put(f"{conv}.weight", channels, channels_in, width)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            put(f"{norm}.{entry}", channels, norm=True)
        put(f"{norm}.num_batches_tracked")

    stem = ("expand_conv", "expand_bn") if two else (f"backbone.expand_conv.{kind}" for kind in ("conv", "bn"))
    layer(*stem, 34, widths[0])
    for n, width in enumerate(widths[1:]):
        for i, kernel in enumerate((width, 1)):
            block = f"backbone.tcn_blocks.{n}.conv{i + 1}.0"
            names = (f"layers_conv.{2 * n + i}", f"layers_bn.{2 * n + i}") if two else (f"{block}.conv", f"{block}.bn")
            layer(*names, channels, kernel)
    head = "shrink" if two else "head.conv"
    put(f"{head}.weight", 3 * joints, channels, 1)
    put(f"{head}.bias", 3 * joints)
    return as_mmpose_0(state) if old else state


def semi_supervised(formula, old: bool, widths: tuple[int, ...] = (3, 3, 3), channels: int = 8) -> dict:
    """MMPose's file of two networks; the golden weights are named by the key without "traj_"."""
    trajectory = video(formula, "mmpose", widths, channels, joints=1)
    return video(formula, "mmpose", widths, channels, old=old) | {f"traj_{k}": v for k, v in trajectory.items()}


def videopose3d_file(formula, widths: tuple[int, ...], channels: int, semi: bool) -> dict:
    """What VideoPose3D's run.py writes: a numpy generator among it, which asks for code."""
    pose = video(formula, "videopose3d", widths, channels)
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)
    adam = torch.optim.Adam([parameter], amsgrad=True)
    adam.step()
    return {
        "epoch": 80,
        "lr": np.float64(1e-3),
        "random_state": np.random.RandomState(1234),  # noqa: NPY002  that is what they write
        "optimizer": adam.state_dict(),
        "model_pos": pose,
        "model_traj": video(formula, "videopose3d", widths, channels, joints=1) if semi else None,
        "random_state_semi": np.random.RandomState(4321) if semi else None,  # noqa: NPY002
    }


def check_golden(model: nn.Module, case: str, golden, formula, device: torch.device) -> None:
    file = golden(case)
    info = json.loads(str(file["meta"]))
    x = torch.from_numpy(formula.pose2d(info["input"]["name"], info["input"]["shape"])).flatten(2)
    with torch.no_grad():
        out = model.to(device)(x.to(device)).cpu().numpy()  # (B, T, 34) -> (B, T - R + 1, 3 J_out)
    np.testing.assert_allclose(out.reshape(file["out64"].shape), file["out64"], atol=1e-5)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "stream"])
@pytest.mark.parametrize(
    ("case", "widths", "part", "causal"),
    [
        ("vp3d_strided_27", (3, 3, 3), "pose", False),
        ("vp3d_dilated_27_causal", (3, 3, 3), "pose", True),
        ("vp3d_dilated_27_traj", (3, 3, 3), "trajectory", False),
        ("vp3d_strided_1_111", (1, 1, 1), "pose", False),
    ],
)
def test_videopose3d_file_to_golden_output(
    case, widths, part, causal, options: dict, tmp_path: Path, device: torch.device, golden, formula
) -> None:
    content = videopose3d_file(formula, widths, 64, semi=True)
    torch.save(content, tmp_path / "pretrained.bin", **options)
    model = load_weights(tmp_path / "pretrained.bin", part, causal=causal)
    assert not model.training and model.card["source"] == "videopose3d" and model.causal is causal
    assert model.filter_widths == widths and not model.dense and model.normalisation is None
    check_golden(model, case, golden, formula, device)


def test_dense_file_to_golden_output(device: torch.device, golden, formula) -> None:
    state = video(formula, "videopose3d", (3, 7, 19), 32)
    model = load_weights(state)
    assert model.dense and model.filter_widths == (3, 3, 3) and model.receptive_field == 27
    check_golden(model, "vp3d_dilated_27_dense", golden, formula, device)
    dilated = load_weights(state, dense=False)
    assert not dilated.dense and dilated.filter_widths == (3, 7, 19)
    state = video(formula, "videopose3d", (1, 3, 7))
    assert load_weights(state).receptive_field == 21 and load_weights(state, dense=True).receptive_field == 9


@pytest.mark.parametrize("old", [True, False], ids=["0.x", "1.x"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("case", "widths", "part"),
    [
        ("mmtcn_1_11111", (1, 1, 1, 1, 1), "pose"),
        ("mmtcn_27", (3, 3, 3), "pose"),
        ("mmtcn_27_traj", (3, 3, 3), "trajectory"),
    ],
)
def test_mmpose_videopose3d_file_to_golden_output(
    case, widths, part, prefix: str, old: bool, tmp_path: Path, device: torch.device, golden, formula
) -> None:
    state = {f"{prefix}{key}": value for key, value in semi_supervised(formula, old, widths, 64).items()}
    torch.save({"meta": meta(), "state_dict": state}, tmp_path / "semi.pth", **LEGACY)
    model = load_weights(tmp_path / "semi.pth", part)
    assert model.card["source"] == "mmpose" and model.card["model"] == "videopose3d"
    check_golden(model, case, golden, formula, device)


@pytest.mark.parametrize("style", ["videopose3d", "mmpose"])
@pytest.mark.parametrize("joints", [17, 1])
@pytest.mark.parametrize("widths", [(3,), (1, 1, 1), (3, 5, 3), (3, 3, 3, 3, 3)])
def test_videopose3d_export_is_the_inverse(style: str, joints: int, widths: tuple[int, ...], formula) -> None:
    state = video(formula, style, widths, joints=joints)
    if style == "mmpose" and joints == 1:
        state = {f"traj_{key}": value for key, value in state.items()}
    model = load_weights(state)
    assert (model.filter_widths, model.joints_out) == (widths, joints)
    exported = export_weights(model, style)
    assert exported.keys() == state.keys()
    for key, value in state.items():
        assert (
            exported[key].dtype == value.dtype and torch.equal(exported[key], value) and exported[key].is_contiguous()
        )
    spellings = [
        {f"module.{key}": value for key, value in state.items()},
        {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
        {"model_pos": state},
        model.state_dict(),
    ]
    for spelling in spellings:
        again = load_weights(spelling).state_dict()
        assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())
    exported[next(iter(exported))].zero_()  # a copy, not the model's own
    assert model.stem.weight.abs().sum() > 0
    with pytest.raises(ValueError, match="'weigq'.*videopose3d or mmpose"):
        export_weights(model, "weigq")


def test_parts_of_a_file(tmp_path: Path, formula) -> None:
    pose, both = video(formula, "videopose3d", (3, 3)), semi_supervised(formula, old=False)
    assert load_weights({"model_pos": pose, "model_traj": None}).joints_out == 17
    assert load_weights(both).joints_out == 17 and load_weights(both, "trajectory").joints_out == 1
    trajectory = load_weights(both, part="trajectory")
    assert export_weights(trajectory, "mmpose").keys() == {key for key in both if key.startswith("traj_")}
    own = save_weights(trajectory, tmp_path / "trajectory.safetensors", CARD)
    for file in (own, export_weights(trajectory, "videopose3d")):
        assert load_weights(file, "trajectory").name == load_weights(file).name == "videopose3d_27_trajectory"
    own = save_weights(load_weights(both), tmp_path / "pose.safetensors", CARD)
    for file in ({"model_pos": pose, "model_traj": None}, pose, published(formula, "weigq", 8), own):
        with pytest.raises(WeightsError, match="holds no trajectory model"):
            load_weights(file, "trajectory")
    with pytest.raises(ValueError, match="'pose' or 'trajectory' as part, not 'root'"):
        load_weights(pose, "root")


def test_dense_is_not_exported_to_mmpose(formula) -> None:
    model = VideoPose3D((3, 3), channels=8, dense=True)
    assert torch.equal(load_weights(export_weights(model, "videopose3d")).stem.weight, model.stem.weight)
    with pytest.raises(ValueError, match="dense.*mmpose does not build"):
        export_weights(model, "mmpose")


def test_videopose3d_mismatch_is_told_in_the_publishers_names(formula) -> None:
    both = {f"module.{key}": value for key, value in semi_supervised(formula, old=True).items()}
    del both["module.traj_backbone.tcn_blocks.1.conv2.0.bn.running_var"]
    both["module.traj_head.conv.bias"] = torch.zeros(4)
    assert load_weights(both).receptive_field == 27  # the other half is whole
    with pytest.raises(WeightsError) as error:
        load_weights(both, "trajectory")
    text = str(error.value)
    assert "almost VideoPose3D as mmpose writes it" in text
    assert "missing: module.traj_backbone.tcn_blocks.1.conv2.0.bn.running_var" in text
    assert "module.traj_head.conv.bias has (4,), needs (3,)" in text
    state = video(formula, "videopose3d", (3, 3))
    state["expand_conv.weight"] = torch.zeros(8, 51, 3)
    with pytest.raises(WeightsError, match=r"expand_conv.weight has \(8, 51, 3\), needs \(8, 34, 3\)"):
        load_weights(state)
    state = video(formula, "videopose3d", (3, 3))
    del state["layers_conv.1.weight"]
    with pytest.raises(WeightsError, match="missing: layers_conv.1.weight"):
        load_weights(state)
    with pytest.raises(WeightsError, match="invalid model: filter_widths"):
        load_weights(video(formula, "videopose3d", (3, 4)))
    with pytest.raises(TypeError, match="stages"):
        load_weights(video(formula, "videopose3d", (3, 3)), stages=2)


def bert(formula, style: str, options: dict) -> OrderedDict:
    """A state_dict of MotionBERT's network as MotionBERT or MMPose writes it, as `published`."""
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    two, channels = style == "motionbert", options["channels"]
    inside, fc = ("", ("fc1", "fc2")) if two else ("backbone.", ("0", "2"))

    def put(name: str, *shape: int, norm: bool = False) -> None:
        state[name] = torch.from_numpy(formula.weight(name, shape, norm)).clone()

    def linear(name: str, channels_in: int, channels_out: int) -> None:
        put(f"{name}.weight", channels_out, channels_in)
        put(f"{name}.bias", channels_out)

    def norm(name: str) -> None:
        put(f"{name}.weight", channels, norm=True)
        put(f"{name}.bias", channels, norm=True)

    put(inside + ("pos_embed" if two else "spat_embed"), 1, options["joints"], channels)
    put(f"{inside}temp_embed", 1, options["frames"], 1, channels)
    linear(f"{inside}joints_embed", 3, channels)
    for i in range(options["depth"]):
        for stream in ("st", "ts"):
            for over in ("s", "t"):
                block = f"{inside}blocks_{stream}.{i}"
                norm(f"{block}.norm1_{over}")
                norm(f"{block}.norm2_{over}")
                linear(f"{block}.attn_{over}.qkv", channels, 3 * channels)
                linear(f"{block}.attn_{over}.proj", channels, channels)
                hidden = options["mlp_ratio"] * channels
                linear(f"{block}.mlp_{over}.{fc[0]}", channels, hidden)
                linear(f"{block}.mlp_{over}.{fc[1]}", hidden, channels)
        if options["fuse"]:
            linear(f"{inside}{'ts_attn' if two else 'attn_regress'}.{i}", 2 * channels, 2)
    norm(f"{inside}norm")
    linear("pre_logits.fc" if two else "head.pre_logits.fc", channels, options["representation"])
    linear("head" if two else "head.fc", options["representation"], 3)
    return state


TINY = {"channels": 64, "mlp_ratio": 2, "representation": 96, "depth": 2, "joints": 17, "frames": 27, "fuse": True}
SMALL = {"channels": 8, "mlp_ratio": 3, "representation": 6, "depth": 2, "joints": 5, "frames": 4, "fuse": True}


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "stream"])
@pytest.mark.parametrize(
    ("case", "style", "fuse"),
    [
        ("dstformer_tiny_T27", "motionbert", True),
        ("dstformer_tiny_nofuse_T27", "motionbert", False),
        ("mmdst_tiny_T27", "mmpose", True),
    ],
)
def test_motionbert_file_to_golden_output(
    case, style: str, fuse: bool, options: dict, tmp_path: Path, device: torch.device, golden, formula
) -> None:
    state = bert(formula, style, TINY | {"fuse": fuse})
    if style == "mmpose":
        content = {"meta": meta(), "state_dict": state}
    else:
        state = {f"module.{key}": value for key, value in state.items()}
        content = {"epoch": 59, "lr": 1e-4, "optimizer": {"state": {}}, "model_pos": state}
        content["min_loss"] = np.float64(39.2)
    torch.save(content, tmp_path / "best_epoch.bin", **options)
    model = load_weights(tmp_path / "best_epoch.bin", heads=4)
    assert not model.training and model.card["source"] == style and model.card["overrides"] == {"heads": 4}
    assert {key: model.card["kwargs"][key] for key in TINY} == TINY | {"fuse": fuse}
    file = golden(case)
    info = json.loads(str(file["meta"]))
    x = torch.from_numpy(formula.pose2d(info["input"]["name"], info["input"]["shape"]))
    with torch.no_grad():
        out = model.to(device)(x.to(device)).cpu().numpy()
    assert np.abs(out - file["out64"]).max() <= 1e-5 * np.abs(file["out64"]).max()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    style=st.sampled_from(["motionbert", "mmpose"]),
    size=st.fixed_dictionaries(
        {
            "channels": st.sampled_from([8, 16]),
            "mlp_ratio": st.integers(1, 4),
            "representation": st.integers(1, 9),
            "depth": st.integers(1, 3),
            "joints": st.integers(1, 20),
            "frames": st.integers(1, 30),
            "fuse": st.booleans(),
        }
    ),
    drop_path=st.sampled_from([0.0, 0.1]),
    heads=st.sampled_from([1, 4, 8]),
)
def test_motionbert_files(style, size: dict, drop_path: float, heads: int, tmp_path: Path, formula) -> None:
    """Published in and out, and our own, of any size."""
    state = bert(formula, style, size)
    model = load_weights(state, heads=heads, drop_path=drop_path)
    exported = export_weights(model, style)
    assert exported.keys() == state.keys()
    assert all(torch.equal(exported[key], state[key]) for key in state)
    exported["head.bias" if style == "motionbert" else "head.fc.bias"].zero_()  # a copy, not the model's own
    assert model.head.bias.abs().sum() > 0
    path = save_weights(model, tmp_path / "bert.safetensors", CARD)
    card = read_card(path)
    assert card["kwargs"] == size | {"heads": heads, "drop_path": drop_path, "image_space": True}
    assert card["model"] == "motionbert" and card["receptive_field"] == size["frames"]
    for back in (load_weights(path), load_weights(model.state_dict(), heads=heads, drop_path=drop_path)):
        assert repr(back) == repr(model) and back.heads == heads and back.drop_path == drop_path
        assert all(map(torch.equal, back.state_dict().values(), model.state_dict().values()))


def states(formula) -> dict[str, OrderedDict]:
    """A state_dict of each architecture and code base."""
    return {
        "weigq": published(formula, "weigq", 8),
        "mmpose, one frame": published(formula, "mmpose", 8),
        "videopose3d": video(formula, "videopose3d", (3, 3)),
        "mmpose, windows": video(formula, "mmpose", (3, 3)),
        "motionbert": bert(formula, "motionbert", SMALL | {"channels": 16}),
        "mmpose, motionbert": bert(formula, "mmpose", SMALL | {"channels": 16}),
        **{
            f"ours, {model.name}": model.state_dict()
            for model in (SimpleBaseline3D(channels=8), VideoPose3D((3, 3), channels=8), small_motionbert())
        },
    }


KINDS = (
    "weigq",
    "mmpose, one frame",
    "videopose3d",
    "mmpose, windows",
    "motionbert",
    "mmpose, motionbert",
    "ours, simple_baseline",
    "ours, videopose3d_9",
    "ours, motionbert_2x32",
)


def same_weights(model: nn.Module, expected: nn.Module) -> bool:
    one, other = model.state_dict(), expected.state_dict()
    return repr(model) == repr(expected) and all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "net", "model_pos"])
def test_every_container_of_weights(kind: str, name: str, tmp_path: Path, formula) -> None:
    state = states(formula)[kind]
    expected, path = load_weights(state), tmp_path / "checkpoint.pth"
    contents = [
        {"epoch": 3, "loss": torch.tensor(0.5), name: state},
        {name: {"state_dict": state, "step": torch.tensor(1)}, "optimizer": {"state": {}}},
        {"state_dict": {name: state}},
        {name: state, **{other: {"channels": 8} for other in ("model", "net") if other != name}},
    ]
    for content in contents:
        torch.save(content, path)
        assert same_weights(load_weights(path), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "module.module.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod."],
)
def test_every_wrapper_of_weights(kind: str, prefix: str, formula) -> None:
    state = states(formula)[kind]
    wrapped = {prefix + key: value for key, value in state.items()}
    for content in (wrapped, {"model": {"state_dict": wrapped}}):
        assert same_weights(load_weights(content), load_weights(state))
    missing = next(key for key in reversed(wrapped) if key.endswith("bias"))
    del wrapped[missing]
    with pytest.raises(WeightsError, match=f"missing: {missing}"):
        load_weights(wrapped)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model._orig_mod."])
def test_both_parts_of_a_wrapped_file(prefix: str, formula) -> None:
    plain = semi_supervised(formula, old=True)
    ours = {f"pose.{k}": v for k, v in VideoPose3D((3, 3), channels=8).state_dict().items()}
    ours |= {f"trajectory.{k}": v for k, v in VideoPose3D((3, 3), channels=8, joints_out=1).state_dict().items()}
    for state in (plain, ours):
        wrapped = {"model": {prefix + key: value for key, value in state.items()}}
        for part in ("pose", "trajectory"):
            assert same_weights(load_weights(wrapped, part), load_weights(state, part))


def test_wrapped_models_load(tmp_path: Path) -> None:
    """What torch itself writes for them."""
    model = VideoPose3D((3, 3), channels=8)
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        torch.save({"model": wrapped.state_dict()}, tmp_path / "checkpoint.pt")
        assert same_weights(load_weights(tmp_path / "checkpoint.pt"), model)


def test_checkpoint_of_a_compiled_model_says_its_options() -> None:
    for told, check in [
        ({"_orig_mod.heads": 2, "_orig_mod.image_space": False}, lambda model: not model.image_space),
        ({"heads": 2, "image_space": True, "causal": False}, lambda model: model.image_space),
    ]:
        state = small_motionbert(heads=2).state_dict()
        content = {"model": {f"_orig_mod.{key}": value for key, value in state.items()}, "normalisation": None}
        model = load_weights({**content, "fingerprint": {"model": {"settings": told}}})
        assert model.heads == 2 and check(model)


def test_motionbert_checkpoint_says_its_heads(tmp_path: Path) -> None:
    model = create_model("motionbert_tiny", channels=8, heads=2, depth=1, frames=3)
    content = {"model": model.state_dict(), "normalisation": None}
    content["fingerprint"] = {"model": {"settings": {"heads": 2, "fuse": True}}}
    torch.save(content, tmp_path / "checkpoint.pt")
    assert load_weights(tmp_path / "checkpoint.pt").heads == 2
    assert load_weights(model.state_dict()).heads == 8  # the tensors alone do not say


def test_motionbert_mismatch_is_told_in_the_publishers_names(tmp_path: Path, formula) -> None:
    state = {f"module.{key}": value for key, value in bert(formula, "motionbert", SMALL).items()}
    for key in ("blocks_st.0.mlp_s.fc1.bias", "blocks_ts.1.norm2_t.weight"):
        del state[f"module.{key}"]
    state["module.head.bias"] = torch.zeros(4)
    state["module.blocks_st.0.extra"] = torch.zeros(1)
    with pytest.raises(WeightsError) as error:
        load_weights(state)
    text = str(error.value)
    assert "almost MotionBERT as motionbert writes it" in text
    assert "missing: module.blocks_st.0.mlp_s.fc1.bias, module.blocks_ts.1.norm2_t.weight" in text
    assert "unexpected: module.blocks_st.0.extra" in text and "module.head.bias has (4,), needs (3,)" in text
    state = bert(formula, "mmpose", SMALL)
    del state["backbone.blocks_st.0.mlp_s.0.weight"]
    with pytest.raises(WeightsError, match=r"missing: backbone.blocks_st.0.mlp_s.0.weight"):
        load_weights(state)
    with pytest.raises(WeightsError, match="invalid model: channels=8, heads=3.*give other heads"):
        load_weights(state, heads=3)
    with pytest.raises(TypeError, match="causal"):
        load_weights(bert(formula, "mmpose", SMALL), causal=True)
    model = load_weights(bert(formula, "mmpose", SMALL))
    with pytest.raises(ValueError, match="'videopose3d'.*motionbert or mmpose"):
        export_weights(model, "videopose3d")
    with pytest.raises(WeightsError, match="holds no trajectory model"):
        load_weights(bert(formula, "mmpose", SMALL), "trajectory")
    with pytest.raises(WeightsError, match="MotionBERT as motionbert.*missing: module.pos_embed"):
        load_weights({"module.joints_embed.weight": torch.zeros(8, 3), "module.temp_embed": torch.zeros(1, 1)})
    path = save_weights(model, tmp_path / "mine.safetensors", CARD)
    state, card = model.state_dict(), read_card(path)
    from safetensors.torch import save_file

    for change, words in [
        ({"frames": 5}, "its weights have"),
        ({"fuse": False}, "its weights have"),
        ({"heads": 3}, "invalid model"),
        ({"heads": "many"}, "wrong card"),
        ({"drop_path": "much"}, "wrong card"),
        ({"window": 3}, "wrong card.*window"),
    ]:
        text = json.dumps({**card, "kwargs": {**card["kwargs"], **change}})
        save_file(state, path, metadata={"card": text})
        with pytest.raises(WeightsError, match=words):
            load_weights(path)


def test_what_is_no_weights(tmp_path: Path, formula) -> None:
    for content, words in [
        ({"layer1.0.conv.weight": torch.zeros(1)}, "no model known here.*layer1"),
        ({}, "holds a dict"),
        ([1, 2], "holds a list"),
        ({"state_dict": {"w1.weight": 3}}, "not tensors: w1.weight"),
        ({(1, "Walking"): torch.zeros(3)}, "not tensors: .1, 'Walking'."),
        ({"w1.weight": torch.zeros(())}, "invalid model: channels=0"),
    ]:
        torch.save(content, tmp_path / "file.pth")
        with pytest.raises(WeightsError, match=words):
            load_weights(tmp_path / "file.pth")
    torch.save(create_model("simple_baseline", channels=8), tmp_path / "file.pth")
    with pytest.raises(UnsafeFileError, match="SimpleBaseline3D"):
        load_weights(tmp_path / "file.pth")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "nowhere.pth")


def test_wild_claims_cost_no_memory() -> None:
    state = {"w1.weight": torch.zeros(1).expand(10_000_000, 32), "linear_stages.7.w1.bias": torch.ones(1)}
    with pytest.raises(WeightsError, match="is for 200,000,950,000,051 numbers.*10000000"):  # else 800 TB
        load_weights(state)
    state = {"expand_conv.weight": torch.zeros(1).expand(10**7, 34, 3), "layers_conv.0.weight": torch.ones(1)}
    with pytest.raises(WeightsError, match="is for 200,001,\\d+,\\d+,\\d+ numbers"):
        load_weights(state)
    state = {"expand_conv.weight": torch.zeros(1).expand(10**11, 34, 3), "layers_conv.0.weight": torch.ones(1)}
    with pytest.raises(WeightsError, match="invalid model"):  # more numbers than torch can count
        load_weights(state)
    state = {"joints_embed.weight": torch.zeros(1).expand(10**6, 3), "blocks_st.0.norm1_s.bias": torch.ones(1)}
    with pytest.raises(WeightsError, match="is for 24,000,049,000,007 numbers"):
        load_weights(state)


# Our own format


def fitted(form: str = "weigq", dtype: torch.dtype = torch.float32) -> SimpleBaseline3D:
    torch.manual_seed(0)
    model = create_model(FORMS[form], channels=12, stages=1, dropout=0.125).to(dtype)
    rng = np.random.default_rng(0)
    model.fit_normalisation(rng.normal(size=(50, 17, 2)), rng.normal(size=(50, 17, 3)))
    model(torch.randn(9, 32 if form == "weigq" else 34, dtype=dtype))  # the batch norms have seen something
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_own_format_keeps_every_bit(form: str, dtype: torch.dtype, tmp_path: Path, device: torch.device) -> None:
    model = fitted(form, dtype).to(device)
    path = save_weights(model, tmp_path / "deep" / "mine.safetensors", CARD)
    back = load_weights(path)
    state = model.state_dict()
    assert back.state_dict().keys() == state.keys() and back.name == model.name and not back.training
    for key, value in back.state_dict().items():
        assert value.dtype == state[key].dtype and torch.equal(value, state[key].cpu())
    for name in STATISTICS:
        assert torch.equal(getattr(back.scaling, name), getattr(model.scaling, name).cpu())
    assert back.stem.dropout == 0.125
    again = save_weights(back, tmp_path / "again.safetensors", CARD)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_card(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Recipe:
        epochs: int = 3

    path = save_weights(fitted(), tmp_path / "mine.safetensors", {**CARD, "recipe": Recipe(), "note": "é"})
    card = read_card(path)
    assert card == json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert card["recipe"] == {"epochs": 3} and card["note"] == "é" and card["fps"] == 50
    assert card["model"] == "simple_baseline" and card["skeleton"] == "h36m17" and card["causal"] is False
    assert card["kwargs"] == {"channels": 12, "stages": 1, "dropout": 0.125} and card["receptive_field"] == 1
    plain = load_weights(path, dropout=0)
    assert plain.card["overrides"] == {"dropout": 0}
    assert load_weights(save_weights(plain, tmp_path / "plain.safetensors", CARD)).stem.dropout == 0
    assert load_weights(path).card["results"] == CARD["results"]
    bare = save_weights(create_model("simple_baseline", channels=4), tmp_path / "bare.safetensors", CARD)
    assert load_weights(bare).normalisation is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    widths=st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=4),
    causal=st.booleans(),
    dense=st.booleans(),
    joints=st.sampled_from([1, 17]),
    dropout=st.sampled_from([0.0, 0.25, 0.1]),
)
def test_own_videopose3d_files(widths, causal, dense, joints, dropout, tmp_path: Path) -> None:
    options = dict(filter_widths=widths, channels=4, dropout=dropout, causal=causal, dense=dense, joints_out=joints)
    model = create_model("videopose3d", **options)
    path = save_weights(model, tmp_path / "video.safetensors", CARD)
    card = read_card(path)
    assert card["model"] == "videopose3d" and card["kwargs"] == options and card["causal"] is causal
    assert card["receptive_field"] == model.receptive_field and card["normalisation"] is None
    back = load_weights(path)
    assert (
        repr(back) == repr(model) and back.name == model.name and back.state_dict().keys() == model.state_dict().keys()
    )
    assert all(map(torch.equal, back.state_dict().values(), model.state_dict().values()))
    assert load_weights(path, causal=not causal, dropout=0.5).causal is not causal


def test_checkpoint_says_whether_it_is_causal(tmp_path: Path) -> None:
    model = VideoPose3D((3, 3), channels=8, causal=True)
    fingerprint = {"model": {"name": model.name, "settings": {"causal": True, "dense": False, "stem.dropout": 0.25}}}
    content = {"format": 1, "model": model.state_dict(), "normalisation": None, "fingerprint": fingerprint}
    torch.save(content, tmp_path / "checkpoint.pt")
    assert load_weights(tmp_path / "checkpoint.pt").causal
    assert not load_weights(tmp_path / "checkpoint.pt", causal=False).causal
    both = nn.ModuleDict({"pose": model, "trajectory": VideoPose3D((3, 3), channels=8, joints_out=1)})
    torch.save({**content, "model": both.state_dict()}, tmp_path / "semi.pt")
    for part, net in both.items():
        back = load_weights(tmp_path / "semi.pt", part)
        assert back.causal and torch.equal(back.head.weight, net.head.weight)
    torch.save({**content, "fingerprint": {"model": [1]}}, tmp_path / "checkpoint.pt")
    assert not load_weights(tmp_path / "checkpoint.pt").causal


def test_checkpoint_of_our_training(tmp_path: Path) -> None:
    model = fitted()
    content = {"format": 1, "model": model.state_dict(), "normalisation": model.normalisation, "step": 3}
    torch.save(content, tmp_path / "checkpoint.pt")
    back = load_weights(tmp_path / "checkpoint.pt")
    assert all(map(torch.equal, back.state_dict().values(), model.state_dict().values()))
    assert all(torch.equal(back.normalisation[name], model.normalisation[name]) for name in STATISTICS)
    content["normalisation"] = {"mean_2d": torch.zeros(1)}
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match="wrong normalisation"):
        load_weights(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": None}, "lacks licence"),
        ({"fps": None, "results": None}, "lacks fps, results"),
        ({"causal": True}, "sets causal"),
        ({"results": {"MPJPE": float("nan")}}, "'results' cannot be written"),
        ({"recipe": object()}, "'recipe' cannot be written"),
    ],
)
def test_bad_cards(change: dict, words: str, tmp_path: Path) -> None:
    card = {key: value for key, value in {**CARD, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        save_weights(fitted(), tmp_path / "mine.safetensors", card)
    assert not list(tmp_path.iterdir())


def test_other_modules_are_not_written(tmp_path: Path) -> None:
    class Mine(VideoPose3D):
        """It may compute anything, and would come back as a VideoPose3D."""

    model = VideoPose3D((3, 3), channels=4)
    for other in (nn.Linear(2, 2), Mine((3,))):
        words = f"got a {type(other).__name__}; .*VideoPose3D.*torch.save.model.state_dict"
        with pytest.raises(ValueError, match=words):
            save_weights(other, tmp_path / "mine.safetensors", CARD)
    assert not list(tmp_path.iterdir())
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        loaded = load_weights(save_weights(wrapped, tmp_path / "inside.safetensors", CARD))
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_digest_tells_changed_numbers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = fitted()
    path = save_weights(model, tmp_path / "mine.safetensors", CARD)
    card, state = read_card(path), model.state_dict()
    changed = {**state, "head.bias": state["head.bias"] + torch.eye(48)[3]}
    save_file(changed, path, metadata={"card": json.dumps(card)})
    for read in (load_weights, read_card):
        with pytest.raises(WeightsError, match="mine.safetensors does not hold the numbers that were saved"):
            read(path)
    del card["digest"]  # as files were written before there was one
    save_file(changed, path, metadata={"card": json.dumps(card)})
    assert torch.equal(load_weights(path).head.bias, changed["head.bias"])
    with pytest.raises(ValueError, match="sets digest"):
        save_weights(model, path, {**CARD, "digest": "0"})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_named(kind: str, bad: float, tmp_path: Path, formula) -> None:
    from safetensors.torch import save_file

    state = {f"module.{key}": value.clone() for key, value in states(formula)[kind].items()}
    model = load_weights(state)
    name = [key for key in state if key.endswith("weight")][2]
    state[name].view(-1)[1] = bad
    with pytest.raises(WeightsError, match=f"NaN or infinite numbers in {name}: .*earlier checkpoint"):
        load_weights(state)
    own = next(key for key in model.state_dict() if key.endswith("weight"))
    path = save_weights(model, tmp_path / "good.safetensors", CARD)
    model.get_parameter(own).data.view(-1)[0] = bad
    with pytest.raises(WeightsError, match=f"this {model.name} has NaN or infinite numbers in {own}:"):
        save_weights(model, tmp_path / "bad.safetensors", CARD)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["good.json", "good.safetensors"]
    card = {key: value for key, value in read_card(path).items() if key != "digest"}
    save_file(model.state_dict(), path, metadata={"card": json.dumps(card)})
    with pytest.raises(WeightsError, match=f"good.safetensors has NaN or infinite numbers in {own}:"):
        load_weights(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n", "it is a Git LFS pointer"),
        (b"", "it is empty"),
    ],
)
def test_what_is_downloaded_by_mistake_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(UnsafeFileError, match=f"file.pth: {words}.*download it again"):
        load_weights(tmp_path / "file.pth")


def test_damaged_own_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = save_weights(fitted(), tmp_path / "mine.safetensors", CARD)
    good = path.read_bytes()
    for bad in (good[:9], good[:500], good[:-1], good[:8] + b"{" * 50 + good[58:], good.replace(b'"F32"', b'"F64"', 1)):
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match="damaged"):
            load_weights(path)
    state, card = fitted().state_dict(), read_card(save_weights(fitted(), path, CARD))

    def write(**changes: object) -> None:
        save_file(state, path, metadata={"card": json.dumps({**card, **changes})})

    save_file(state, path)
    with pytest.raises(WeightsError, match="no card"):
        load_weights(path)
    for changes, words in [
        ({"format": 9}, "format 9"),
        ({"kwargs": {"channels": 10**9, "stages": 10**9}}, "its weights have"),
        ({"model": "hrnet"}, "'hrnet'"),
        ({"model": "simple_baseline_mmpose"}, "unexpected: .*stem.linear.bias"),
        ({"model": [1]}, "holds"),
        ({"kwargs": [1]}, "no card"),
        ({"kwargs": {**card["kwargs"], "window": 3}}, "wrong card.*window"),
        ({"kwargs": {**card["kwargs"], "dropout": "much"}}, "wrong card"),
        ({"normalisation": {"mean_2d": [1.0]}}, "wrong normalisation.*mean_2d"),
        ({"normalisation": {"mean_2d": ["x"]}}, "wrong normalisation"),
        ({"normalisation": 3}, "wrong normalisation"),
    ]:
        write(**changes)
        with pytest.raises(WeightsError, match=words):
            load_weights(path)


def test_damaged_videopose3d_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = VideoPose3D((3, 3), channels=4)
    path = save_weights(model, tmp_path / "mine.safetensors", CARD)
    state, card = model.state_dict(), read_card(path)
    for change, words in [
        ({"filter_widths": [3, 5]}, "its weights have"),
        ({"filter_widths": 3}, "its weights have"),
        ({"channels": 10**9}, "its weights have"),
        ({"dense": True}, "almost VideoPose3D"),
        ({"joints_out": 1}, "its weights have"),
        ({"causal": "yes"}, "wrong card"),
        ({"dropout": "much"}, "wrong card"),
        ({"dropout": 2.0}, "invalid model"),
        ({"window": 3}, "wrong card.*window"),
    ]:
        text = json.dumps({**card, "kwargs": {**card["kwargs"], **change}})
        save_file(state, path, metadata={"card": text})
        with pytest.raises(WeightsError, match=words):
            load_weights(path)
    for name in ("simple_baseline", "videopose3d_27"):
        save_file(state, path, metadata={"card": json.dumps({**card, "model": name})})
        with pytest.raises(WeightsError, match="wrong card"):
            load_weights(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(8, 1400), new=st.binary(max_size=3), old=st.integers(0, 3))
def test_changed_own_files_load_or_are_refused(at: int, new: bytes, old: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    good = save_weights(fitted(), path, CARD).read_bytes()
    path.write_bytes(good[:at] + new + good[at + old :])
    try:
        load_weights(path)
    except (WeightsError, UnsafeFileError):
        pass


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_models_are_small_lift_better_than_the_mean_pose_and_say_where_they_come_from(kind):
    model = load_shipped(kind)
    assert SHIPPED[kind].stat().st_size < 4e6 and not model.training
    assert model.card["causal"] == (kind == "causal") and model.receptive_field == (81 if kind == "pretrained" else 27)
    assert "synthetic" in model.card["training_data"] and "cmu" in model.card["training_data"]
    assert "bandai" not in model.card["training_data"]  # its licence would not allow it
    columns = {"true 2D", "simulated CPN-like 2D"} if kind == "pretrained" else {"phone-v1, all", "phone-v1, hard"}
    assert columns <= {*model.card["results"]}
    dataset = load_dataset("synthetic", seconds=2.0)
    lazy = MeanPose().fit(dataset.train)
    errors = [evaluate(m, dataset.test, "videopose3d").mpjpe_mm for m in (model, lazy)]
    assert errors[0] < 0.5 * errors[1]


def test_another_shipped_model_is_refused():
    with pytest.raises(ValueError, match="kind='big': the package holds centred, causal, motionbert, pretrained"):
        load_shipped("big")


def test_the_card_tells_image_space_from_metres(tmp_path) -> None:
    for image_space in (True, False):
        path = save_weights(small_motionbert(image_space), tmp_path / "m.safetensors", CARD)
        assert load_weights(path).image_space is image_space


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on file sizes are POSIX")
    model = create_model("simple_baseline", channels=16)
    path = save_weights(model, tmp_path / "mine.safetensors", CARD)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (300, path.with_suffix(".json").stat().st_size - 1):
        for name in ("mine", "new"):
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
                with pytest.raises(WeightsError, match=f"{name}.safetensors could not be written"):
                    save_weights(create_model("simple_baseline", channels=16), tmp_path / f"{name}.safetensors", CARD)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
