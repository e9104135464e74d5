"""VideoPose3D computes the published numbers, dilated and strided, centred and causal, in evaluation and training."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d import metrics
from mocap3d.models import videopose3d
from mocap3d.models.create import create_model, list_models
from mocap3d.models.videopose3d import VideoPose3D
from mocap3d.skeleton import H36M17
from mocap3d.training.recipe import Recipe, batch_norms, momentum_of_step, momentum_restored

DILATED = [
    "1_111",
    "1_11111",
    "27",
    "27_causal",
    "27_dense",
    "27_traj",
    "45_353_causal",
    "63_337",
    "81",
    "243",
    "243_causal",
    "243_full1024",
]
STRIDED = ["1_111", "27", "27_causal", "27_traj", "81", "243", "243_full1024"]
MMPOSE = [
    "1_11111",
    "27",
    "27_nostride",
    "27_causal_stride",
    "27_causal_nostride",
    "27_traj",
    "81",
    "243",
    "243_full1024",
]
CASES = [f"vp3d_dilated_{case}" for case in DILATED] + [f"vp3d_strided_{case}" for case in STRIDED]
CASES += [f"mmtcn_{case}" for case in MMPOSE]
WIDTHS = st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=4)


def published_key(key: str, mmpose: bool) -> str:
    """Our state_dict key -> the published one, which seeds the golden weights; written out, not from published.py."""
    module, _, entry = key.rpartition(".")
    block, layer = (int(part) if part.isdigit() else part for part in (module.split(".") + [""] * 3)[1:3])
    norm = module.endswith(".norm")
    if module == "head":
        return f"{'head.conv' if mmpose else 'shrink'}.{entry}"
    if module.startswith("stem"):
        names = ("backbone.expand_conv.bn", "backbone.expand_conv.conv") if mmpose else ("expand_bn", "expand_conv")
    else:
        second = layer == "second"
        part = f"backbone.tcn_blocks.{block}.conv{1 + second}.0"
        number = 2 * block + second
        names = (f"{part}.bn", f"{part}.conv") if mmpose else (f"layers_bn.{number}", f"layers_conv.{number}")
    return f"{names[0] if norm else names[1]}.{entry}"


def filled(formula, model: VideoPose3D, mmpose: bool = False) -> VideoPose3D:
    """Set the golden weights; published kernels are (C_out, C_in, w)."""
    state = {}
    for key, tensor in model.state_dict().items():
        shape = tensor.shape[:1] + tensor.shape[:0:-1] if tensor.ndim == 3 else tensor.shape
        shape = (*shape, 1) if key == "head.weight" else shape
        value = torch.from_numpy(formula.weight(published_key(key, mmpose), shape, ".norm." in key))
        state[key] = value.transpose(1, 2) if tensor.ndim == 3 else value.reshape(tensor.shape)
    model.load_state_dict(state)
    return model


def settled(device: torch.device | str = "cpu", seed: int = 0, **options) -> VideoPose3D:
    """A model whose batch norms have seen something, in evaluation mode, float64."""
    torch.manual_seed(seed)
    model = VideoPose3D(**{"channels": 12, **options}).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.3)
    return model.to(device).eval()


def plain_forward(model: VideoPose3D, x: torch.Tensor) -> torch.Tensor:
    """The evaluation pass as the paper words it, with torch's convolutions: (B, T, 34) -> (B, T - R + 1, 3 J)."""
    state = model.state_dict()

    def layer(x: torch.Tensor, name: str, dilation: int = 1) -> torch.Tensor:
        x = F.conv1d(x, state[f"{name}.weight"].transpose(1, 2), dilation=dilation)
        norm = [state[f"{name}.norm.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm).clamp(min=0)

    x = layer(x.transpose(1, 2), "stem")
    dilation = model.filter_widths[0]
    for n, width in enumerate(model.filter_widths[1:]):
        lost = (width - 1) * dilation
        before = lost if model.causal else lost // 2
        kept = x[:, :, before : x.shape[2] - lost + before]
        x = kept + layer(layer(x, f"blocks.{n}.first", 1 if model.dense else dilation), f"blocks.{n}.second")
        dilation *= width
    return F.conv1d(x, state["head.weight"][:, :, None], state["head.bias"]).transpose(1, 2)


# The published numbers


@pytest.mark.parametrize("case", CASES)
def test_golden_forward(case: str, device: torch.device, golden, formula) -> None:
    file = golden(case)
    meta = json.loads(str(file["meta"]))
    options, mmpose = meta["kwargs"], case.startswith("mmtcn")
    model = VideoPose3D(
        options["kernel_sizes" if mmpose else "filter_widths"],
        options["stem_channels" if mmpose else "channels"],
        causal=options.get("causal", False),
        dense=options.get("dense", False),
        joints_out=options["num_joints" if mmpose else "num_joints_out"],
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == meta["params"]
    filled(formula, model, mmpose).to(device).eval()
    x = torch.from_numpy(formula.pose2d(meta["input"]["name"], meta["input"]["shape"])).flatten(2).to(device)
    strided = "strided" in case or options.get("use_stride_conv", False)
    with torch.no_grad():
        out = model.run(x, strided).cpu().numpy().reshape(file["out"].shape)
        out64 = model.double().run(x.double(), strided).cpu().numpy().reshape(file["out"].shape)
        chosen = model(x.double()).cpu().numpy().reshape(file["out"].shape)
    assert np.abs(out - file["out"]).max() <= 1e-5 * np.abs(file["out"]).max()
    assert np.abs(out64 - file["out64"]).max() <= 1e-9
    assert np.abs(chosen - file["out64"]).max() <= 1e-9


def test_golden_training(device: torch.device, golden, formula) -> None:
    """Three steps of Adam with amsgrad: losses, gradient norms, and the norm and mean of every tensor afterwards."""
    file = golden("train_vp3d_strided")
    names = json.loads(str(file["meta"]))["tensor_names"]
    model = filled(formula, VideoPose3D((3, 3, 3), channels=64, dropout=0.0)).to(device).train()
    for norm in batch_norms(model).values():
        norm.momentum = 0.07
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True, fused=True)
    log = []
    for step in range(3):
        points = torch.from_numpy(formula.pose2d(f"train/vp2d{step}", (8, 27, 17, 2))).to(device)
        target = torch.from_numpy(formula.pose3d(f"train/vp3d{step}", (8, 1, 17, 3))).to(device)
        target[:, :, 0] = 0
        loss = metrics.mpjpe(model.decode(model(model.encode(points))), target)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)
        optimizer.step()
        log.append([loss.item(), norm.item()])
    np.testing.assert_allclose(log, file["log"], rtol=1e-5)
    state = {published_key(key, False): value.double().cpu() for key, value in model.state_dict().items()}
    assert set(names) == {key for key in state if not key.endswith("num_batches_tracked")}
    for name, norm, mean in zip(names, file["norms"], file["means"], strict=True):
        assert state[name].norm().item() == pytest.approx(norm, rel=1e-5), name
        assert state[name].mean().item() == pytest.approx(mean, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("videopose3d", {"filter_widths": (1, 1, 1)}, 4_291_635),
        ("videopose3d_1", {}, 8_494_131),
        ("videopose3d_27", {}, 8_555_571),
        ("videopose3d_27", {"joints_out": 1}, 8_506_371),
        ("videopose3d_27", {"dense": True}, 29_527_091),
        ("videopose3d_81", {}, 12_753_971),
        ("videopose3d_243", {"causal": True}, 16_952_371),
    ],
)
def test_published_sizes(name: str, options: dict, parameters: int) -> None:
    assert name in list_models()
    with torch.device("meta"):
        model = create_model(name, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert not any("bias" in key for key, _ in model.named_parameters() if "norm" not in key and "head" not in key)


# Windows


@settings(max_examples=40, deadline=None)
@given(widths=WIDTHS, causal=st.booleans(), windows=st.integers(1, 3), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_strided_equals_dilated(widths: list[int], causal: bool, windows: int, batch: int, seed: int) -> None:
    model = settled(filter_widths=widths, causal=causal, seed=seed)
    frames = model.receptive_field
    x = torch.randn(batch, windows * frames, 34, dtype=torch.float64)
    with torch.no_grad():
        together = model.run(x, strided=True)  # windows side by side
        alone = [model.run(x[:, n * frames : (n + 1) * frames], strided=False) for n in range(windows)]
        torch.testing.assert_close(together, torch.cat(alone, 1), rtol=1e-10, atol=1e-10)
        single, scale = model.float(), together.abs().max().item()
        strided, dilated = (single.run(x[:, :frames].float(), way) for way in (True, False))
        assert (strided - dilated).abs().max().item() <= 2e-6 * max(scale, 1)


@settings(max_examples=40, deadline=None)
@given(widths=WIDTHS, causal=st.booleans(), dense=st.booleans(), frames=st.integers(0, 40), piece=st.integers(1, 50))
def test_evaluation_is_the_papers(widths: list[int], causal: bool, dense: bool, frames: int, piece: int) -> None:
    """Against torch's convolutions, however a block divides the frames."""
    model = settled(filter_widths=widths, causal=causal, dense=dense)
    x = torch.randn(2, model.receptive_field + frames, 34, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(videopose3d, "CHUNK", piece)
        out = model.run(x, strided=False)
        torch.testing.assert_close(out, plain_forward(model, x), rtol=1e-10, atol=1e-10)
        assert out.shape == (2, frames + 1, 51)
        torch.testing.assert_close(model(x), out, rtol=1e-10, atol=1e-10)


def test_evaluation_follows_every_change_of_weights(device: torch.device) -> None:
    model = settled(device, filter_widths=(3, 3), dropout=0.0)
    x = torch.randn(4, 15, 34, dtype=torch.float64, device=device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    other = settled(device, filter_widths=(3, 3), seed=1).state_dict()

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        model(x[:, :9]).square().mean().backward()
        optimizer.step()

    before = None
    for change in (lambda: None, train, lambda: model.load_state_dict(other), train):
        change()
        model.eval()
        with torch.no_grad():
            out = model(x)
        torch.testing.assert_close(out, plain_forward(model, x), rtol=1e-9, atol=1e-9)
        assert before is None or not torch.allclose(out, before)
        before = out


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_receptive_field(causal: bool, dense: bool, device: torch.device) -> None:
    """A pose is moved by its R frames and no other; without its convolutions a block carries one frame on."""
    model = settled(device, filter_widths=(3, 5, 3), causal=causal, dense=dense, channels=32)
    x = torch.randn(1, 50, 34, dtype=torch.float64, device=device, requires_grad=True)
    model(x)[0, 2].square().sum().backward()
    moving = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert moving == list(range(2, 2 + 45)) and model.receptive_field == 45
    for block in model.blocks:
        block.second.norm.weight.data.zero_()
    x.grad = None
    model(x)[0, 2].square().sum().backward()
    last = 46 if causal else 2 + 22 + 1  # of the three that the first layer sees
    assert x.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [last - 2, last - 1, last]


# Training


def test_all_parameters_learn(device: torch.device) -> None:
    for model in (VideoPose3D(channels=16, dropout=0.0).train(), VideoPose3D(channels=16).eval()):
        model.to(device)(torch.randn(6, 27, 34, device=device)).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_only_in_training(device: torch.device) -> None:
    model = VideoPose3D(channels=32).to(device)
    x = torch.randn(4, 27, 34, device=device)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_batch_norm_momentum(device: torch.device) -> None:
    model = VideoPose3D((3, 3), channels=8, dropout=0.0).to(device).train()
    x = torch.randn(5, 9, 34, device=device)
    norms = batch_norms(model).values()
    with momentum_restored(model):
        with momentum_of_step(model, Recipe("r", steps=10, norm_momentum=(0.001, 0.001)), 1, 10, 10):
            model(x)
            assert len(norms) == 3 and all(norm.momentum == 0.001 for norm in norms)
        with momentum_of_step(model, Recipe("r", steps=10, norm_momentum=(0.1, 0.001)), 6, 10, 10):
            assert all(norm.momentum == pytest.approx(0.01) for norm in norms)
    assert all(norm.momentum == 0.1 for norm in norms)
    seen = x.unflatten(1, (3, 3)).flatten(2) @ model.stem.weight.flatten(1).T  # (5, 3, 8)
    torch.testing.assert_close(model.stem.norm.running_mean, 0.001 * seen.mean((0, 1)))
    torch.testing.assert_close(model.stem.norm.running_var, 0.999 + 0.001 * seen.flatten(0, 1).var(0))


def test_initial_weights() -> None:
    """Uniform up to 1 / sqrt(fan in), as torch draws its convolutions."""
    torch.manual_seed(0)
    model = VideoPose3D((3, 5), channels=64)
    for weight, fan in (
        (model.stem.weight, 34 * 3),
        (model.blocks[0].first.weight, 64 * 5),
        (model.blocks[0].second.weight, 64),
        (model.head.weight, 64),
    ):
        bound = 1 / math.sqrt(fan)
        assert weight.abs().max().item() <= bound and weight.std().item() == pytest.approx(
            bound / math.sqrt(3), rel=0.03
        )
    torch.manual_seed(0)
    assert all(map(torch.equal, model.parameters(), VideoPose3D((3, 5), channels=64).parameters()))


def test_poses_stay_float32_under_autocast(device: torch.device) -> None:
    model = VideoPose3D((3, 3), channels=32).to(device)
    x = torch.randn(3, 9, 34, device=device)
    for mode in (model.train, model.eval):
        mode()
        with torch.autocast(device.type, torch.bfloat16):
            out = model(x)
        assert out.dtype == torch.float32 and not torch.equal(out, out.bfloat16().float())
    with torch.no_grad():
        torch.testing.assert_close(out, model(x), rtol=0, atol=0.05)


# Units


def random_poses(seed: int, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(2, frames, 17, 3, generator=generator) + torch.tensor([0.0, 0.0, 4.0])
    return torch.rand(2, frames, 17, 2, generator=generator) * 2 - 1, pose


@pytest.mark.parametrize("joints_out", [17, 1])
def test_units(joints_out: int, device: torch.device) -> None:
    model = VideoPose3D(channels=8, joints_out=joints_out).to(device)
    points, pose = (tensor.to(device) for tensor in random_poses(seed=1))
    x = model.encode(points)
    assert x.shape == (2, 3, 34) and torch.equal(x[0, 1, 2 * 9 + 1], points[0, 1, 9, 1])  # joint by joint
    decoded = model.decode(model.targets(pose))
    expected = pose[..., :1, :] if joints_out == 1 else pose - pose[..., :1, :]
    torch.testing.assert_close(decoded, expected, rtol=0, atol=0)
    pose[0, 0, 5] = torch.nan
    assert model.targets(pose).isnan().sum() == (3 if joints_out == 17 else 0)
    model.fit_normalisation(points, pose)
    assert model.normalisation is None and model.input_skeleton == H36M17.name


# Wrong use


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_widths": ()}, "odd numbers of frames"),
        ({"filter_widths": (3, 2)}, r"\(3, 2\).*odd"),
        ({"filter_widths": (3, -1)}, "odd"),
        ({"channels": 0}, "channels=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"joints_out": 16}, "joints_out=16: 17 for poses"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoPose3D(**options)


def test_bad_shapes(device: torch.device) -> None:
    model = create_model("videopose3d_27", channels=8).to(device)
    with pytest.raises(ValueError, match=r"\(1, 26, 34\).*at least 27: repeat"):
        model(torch.zeros(1, 26, 34, device=device))
    with pytest.raises(ValueError, match=r"\(27, 34\)"):
        model(torch.zeros(27, 34, device=device))
    for points in (torch.zeros(27, 17, 2), torch.zeros(1, 27, 16, 2), torch.zeros(1, 27, 17, 3)):
        with pytest.raises(ValueError, match="needs .B, T, 17, 2."):
            model.encode(points.to(device))


def test_names() -> None:
    names = {1: (1, 1, 1, 1, 1), 27: (3, 3, 3), 81: (3, 3, 3, 3), 243: (3, 3, 3, 3, 3)}
    for frames, widths in names.items():
        model = create_model(f"videopose3d_{frames}", channels=4)
        assert (model.name, model.filter_widths, model.receptive_field) == (f"videopose3d_{frames}", widths, frames)
    assert VideoPose3D(channels=4, causal=True, joints_out=1).name == "videopose3d_27_causal_trajectory"
    with pytest.raises(TypeError, match="'filter_widths'"):
        create_model("videopose3d_27", filter_widths=(3, 3))
