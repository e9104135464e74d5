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

from mocap3d.models import create_model
from mocap3d.models.simple_baseline import NORMALISATION, SimpleBaseline3D
from mocap3d.safe_files import UnsafeFileError
from mocap3d.weights import WeightsError, export_weights, load_weights, read_card, save_weights

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
    return {
        "epoch": 200,
        "iter": 1,
        "cfg": "model = dict(...)",
        "seed": 0,
        "time": "now",
        "dataset_meta": sigmas,
    }


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
    content = {
        "epoch": 199,
        "lr": 1e-3,
        "err": np.float64(45.5),
        "state_dict": state,
        "optimizer": {"state": {}},
    }
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
        assert again.keys() == expected.keys() and all(
            torch.equal(again[key], expected[key]) for key in again
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stages", [0, 1, 3])
def test_export_is_the_inverse(form: str, stages: int, tmp_path: Path, formula) -> None:
    state = published(formula, form, 12, stages)
    model = load_weights(state)
    exported = export_weights(model, form)
    assert exported.keys() == state.keys()
    assert all(
        exported[key].shape == state[key].shape and torch.equal(exported[key], state[key]) for key in state
    )
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


def later(formula) -> dict[str, tuple[str, str, dict]]:
    """Of architectures not built yet: enough of their keys."""
    zeros = torch.zeros
    wide = published(formula, "mmpose", 8)
    wide["backbone.expand_conv.conv.weight"] = zeros(8, 34, 3)
    one = published(formula, "mmpose", 8, stages=4)
    one |= {"head.conv.weight": zeros(51, 8, 1), "head.conv.bias": zeros(51)}
    semi = published(formula, "mmpose", 8)
    semi |= {f"traj_{key}": value for key, value in semi.items()}
    video = {
        "expand_conv.weight": zeros(8, 34, 3),
        "shrink.bias": zeros(51),
        "layers_conv.0.weight": zeros(8, 8, 3),
    }
    motion = {
        "joints_embed.weight": zeros(8, 3),
        "temp_embed": zeros(1, 243, 1, 8),
        "head.weight": zeros(3, 8),
    }
    ported = {f"backbone.{key}": value for key, value in motion.items()}
    return {
        "27 frames": ("VideoPose3D", "mmpose", {"state_dict": wide}),
        "27 frames, 0.x": ("VideoPose3D", "mmpose", {"state_dict": as_mmpose_0(wide)}),
        "1 frame": ("VideoPose3D", "mmpose", {"state_dict": one}),
        "semi": ("VideoPose3D", "mmpose", {"state_dict": semi}),
        "videopose3d": ("VideoPose3D", "videopose3d", {"epoch": 80, "model_pos": video, "model_traj": None}),
        "motionbert": (
            "MotionBERT",
            "motionbert",
            {"model_pos": {f"module.{k}": v for k, v in motion.items()}},
        ),
        "dstformer": ("MotionBERT", "mmpose", {"state_dict": ported}),
    }


@pytest.mark.parametrize(
    "name",
    ["27 frames", "27 frames, 0.x", "1 frame", "semi", "videopose3d", "motionbert", "dstformer"],
)
def test_later_architectures_are_recognised(name: str, tmp_path: Path, formula) -> None:
    architecture, writer, content = later(formula)[name]
    torch.save(content, tmp_path / "model.bin", **LEGACY)
    with pytest.raises(WeightsError, match=f"{architecture} as {writer} writes it.*does not build"):
        load_weights(tmp_path / "model.bin")


def test_what_is_no_weights(tmp_path: Path, formula) -> None:
    for content, words in [
        ({"layer1.0.conv.weight": torch.zeros(1)}, "no model known here.*layer1"),
        ({}, "holds a dict"),
        ([1, 2], "holds a list"),
        ({"state_dict": {"w1.weight": 3}}, "no tensors: w1.weight"),
        ({(1, "Walking"): torch.zeros(3)}, "no tensors: .1, 'Walking'."),
        ({"w1.weight": torch.zeros(())}, "cannot be: channels=0"),
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
    with pytest.raises(WeightsError, match="1 stages of 10,000,000 channels"):  # else 800 TB
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
def test_own_format_keeps_every_bit(
    form: str, dtype: torch.dtype, tmp_path: Path, device: torch.device
) -> None:
    model = fitted(form, dtype).to(device)
    path = save_weights(model, tmp_path / "deep" / "mine.safetensors", CARD)
    back = load_weights(path)
    state = model.state_dict()
    assert back.state_dict().keys() == state.keys() and back.name == model.name and not back.training
    for key, value in back.state_dict().items():
        assert value.dtype == state[key].dtype and torch.equal(value, state[key].cpu())
    for name in NORMALISATION:
        assert torch.equal(getattr(back, name), getattr(model, name).cpu())
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


def test_checkpoint_of_our_training(tmp_path: Path) -> None:
    model = fitted()
    content = {"format": 1, "model": model.state_dict(), "normalisation": model.normalisation, "step": 3}
    torch.save(content, tmp_path / "checkpoint.pt")
    back = load_weights(tmp_path / "checkpoint.pt")
    assert all(map(torch.equal, back.state_dict().values(), model.state_dict().values()))
    assert all(torch.equal(back.normalisation[name], model.normalisation[name]) for name in NORMALISATION)
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
    with pytest.raises(ValueError, match="Linear"):
        save_weights(nn.Linear(2, 2), tmp_path / "mine.safetensors", CARD)


def test_damaged_own_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = save_weights(fitted(), tmp_path / "mine.safetensors", CARD)
    good = path.read_bytes()
    for bad in (
        good[:9],
        good[:500],
        good[:-1],
        good[:8] + b"{" * 50 + good[58:],
        good.replace(b'"F32"', b'"F64"', 1),
    ):
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
        ({"normalisation": {"mean_2d": [1.0]}}, "wrong card.*mean_2d"),
        ({"normalisation": {"mean_2d": ["x"]}}, "wrong card"),
        ({"normalisation": 3}, "wrong card"),
    ]:
        write(**changes)
        with pytest.raises(WeightsError, match=words):
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
