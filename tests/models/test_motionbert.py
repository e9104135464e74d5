"""MotionBERT computes the published numbers, for any size and length, and shows what it attends to."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mocap3d.models import motionbert
from mocap3d.models.create import create_model, list_models
from mocap3d.models.motionbert import MotionBERT, attend
from mocap3d.skeleton import H36M17, flip
from mocap3d.training.losses import pose_loss

TINY = {"channels": 64, "mlp_ratio": 2, "representation": 96, "depth": 2, "heads": 4, "frames": 27}


def published_key(key: str, mmpose: bool) -> str:
    """Our state_dict key -> the published one, which seeds the golden weights; written out, not from published.py."""
    parts = key.split(".")
    if parts[0] in ("st", "ts"):
        stream, depth, over, *rest = parts
        s = {"joints": "s", "frames": "t"}[over]
        name, entry = ".".join(rest[:-1]), rest[-1]
        fc = {"fc1": "0", "fc2": "2"} if mmpose else {"fc1": "fc1", "fc2": "fc2"}
        if name.startswith("attention"):
            name = f"attn_{s}.{rest[1]}"
        elif name in fc:
            name = f"mlp_{s}.{fc[name]}"
        else:
            name = f"{name}_{s}"
        plain = f"blocks_{stream}.{depth}.{name}.{entry}"
    else:
        names = {"embed": "joints_embed", "joint_embedding": "spat_embed" if mmpose else "pos_embed"}
        names |= {"frame_embedding": "temp_embed", "gates": "attn_regress" if mmpose else "ts_attn"}
        names |= {"representation": "pre_logits.fc", "head": "fc" if mmpose else "head"}
        plain = ".".join([names.get(parts[0], parts[0]), *parts[1:]])
    if not mmpose:
        return plain
    return f"{'head' if parts[0] in ('representation', 'head') else 'backbone'}.{plain}"


def filled(formula, model: MotionBERT, mmpose: bool = False) -> MotionBERT:
    """Set the golden weights."""
    state = {
        key: torch.from_numpy(formula.weight(published_key(key, mmpose), tensor.shape, "norm" in key))
        for key, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval()


def small(seed: int = 0, **options) -> MotionBERT:
    """Small and with large weights, so that everything matters; in evaluation mode, float64."""
    torch.manual_seed(seed)
    sizes = {"channels": 16, "mlp_ratio": 2, "representation": 12, "depth": 2, "heads": 4, "frames": 9}
    model = MotionBERT(**{**sizes, **options}).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def clip_of(model: MotionBERT, batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, frames, model.joints, 3, dtype=torch.float64)


def plain_forward(model: MotionBERT, x: torch.Tensor) -> torch.Tensor:
    """The evaluation pass as the paper words it, head by head and token by token: (B, T, J, 3) -> the same."""

    def norm(x: torch.Tensor, layer: nn.LayerNorm) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias

    def attention(x: torch.Tensor, part: nn.Module, over: str) -> torch.Tensor:
        width, out = model.channels // model.heads, []
        q, k, v = (x @ part.qkv.weight.T + part.qkv.bias).split(model.channels, -1)
        for head in range(model.heads):
            a, b, c = (tensor[..., head * width : (head + 1) * width] for tensor in (q, k, v))
            tokens = "btic,btjc->btij" if over == "joints" else "bijc,btjc->bjit"
            weights = (torch.einsum(tokens, a, b) / math.sqrt(width)).softmax(-1)
            back = "btij,btjc->btic" if over == "joints" else "bjit,btjc->bijc"
            out.append(torch.einsum(back, weights, c))
        return torch.cat(out, -1) @ part.proj.weight.T + part.proj.bias

    def layer(x: torch.Tensor, part: nn.Module, over: str) -> torch.Tensor:
        x = x + attention(norm(x, part.norm1), part.attention, over)
        hidden = norm(x, part.norm2) @ part.fc1.weight.T + part.fc1.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return x + hidden @ part.fc2.weight.T + part.fc2.bias

    x = x @ model.embed.weight.T + model.embed.bias + model.joint_embedding
    x = x + model.frame_embedding[:, : x.shape[1]]
    for depth in range(model.depth):
        st, ts = model.st[depth], model.ts[depth]
        a = layer(layer(x, st.joints, "joints"), st.frames, "frames")
        b = layer(layer(x, ts.frames, "frames"), ts.joints, "joints")
        share = a.new_full((*a.shape[:-1], 2), 0.5)
        if model.fuse:
            gate = model.gates[depth]
            share = (torch.cat([a, b], -1) @ gate.weight.T + gate.bias).softmax(-1)
        x = share[..., :1] * a + share[..., 1:] * b
    x = torch.tanh(norm(x, model.norm) @ model.representation.weight.T + model.representation.bias)
    return x @ model.head.weight.T + model.head.bias


# The published numbers


@pytest.fixture(scope="module")
def golden_model(formula):
    """golden_model(case's meta) -> the network with golden weights; filling the large ones takes seconds."""

    @cache
    def make(mmpose: bool, **options) -> MotionBERT:
        with torch.device("meta"):
            plan = MotionBERT(**options)
        return filled(formula, plan.to_empty(device="cpu"), mmpose)

    def of(meta: dict, mmpose: bool) -> MotionBERT:
        names = ("feat_size", "embedding_size", "seq_len") if mmpose else ("dim_feat", "dim_rep", "maxlen")
        channels, representation, frames = (meta["kwargs"][name] for name in names)
        return make(
            mmpose,
            channels=channels,
            representation=representation,
            frames=frames,
            mlp_ratio=meta["kwargs"]["mlp_ratio"],
            depth=meta["kwargs"]["depth"],
            heads=meta["kwargs"]["num_heads"],
            fuse=meta["kwargs"].get("att_fuse", True),
        )

    yield of
    make.cache_clear()


@pytest.mark.parametrize(
    "case",
    [
        "dstformer_tiny_T1",
        "dstformer_tiny_T9",
        "dstformer_tiny_T27",
        "dstformer_tiny_T27_rep",
        "dstformer_tiny_nofuse_T27",
        "mmdst_tiny_T27",
        "dstformer_lite_T27",
        "dstformer_lite_T243",
        "dstformer_base_T27",
        "dstformer_base_T243",
        "mmdst_base_T27",
    ],
)
def test_golden_forward(case: str, device: torch.device, golden, formula, golden_model) -> None:
    file = golden(case)
    meta = json.loads(str(file["meta"]))
    model = golden_model(meta, case.startswith("mmdst")).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == meta.get("params", parameters)
    x = torch.from_numpy(formula.pose2d(meta["input"]["name"], meta["input"]["shape"])).to(device)
    step = x.shape[1] // file["out"].shape[1]  # of the large ones some frames are stored
    run = model.represent if case.endswith("rep") else model
    with torch.no_grad():
        out = run(x)[:, ::step].cpu().numpy()
        assert np.abs(out - file["out"]).max() <= 1e-5 * np.abs(file["out"]).max()
        if x.shape[1] < 243:  # twice the time
            model.double()
            out64 = run(x.double())[:, ::step].cpu().numpy()
            model.float()
            assert np.abs(out64 - file["out64"]).max() <= 1e-9


def test_golden_epsilon_is_1e6(golden, formula, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case computed with torch's default of 1e-5 differs by 7e-6 or more, and is met with that alone."""
    file = golden("dstformer_tiny_eps1e5_T27")
    x = torch.from_numpy(formula.pose2d("dstformer_tiny_eps1e5_T27", (2, 27, 17, 3))).double()
    outs = []
    for eps in (motionbert.EPS, 1e-5):
        monkeypatch.setattr(motionbert, "EPS", eps)
        with torch.no_grad():
            outs.append(filled(formula, MotionBERT(**TINY)).double()(x).numpy())
    assert np.abs(outs[0] - file["out64"]).max() > 1e-6
    assert np.abs(outs[1] - file["out64"]).max() <= 1e-9


def test_golden_flip(device: torch.device, golden, formula) -> None:
    """The mean with the un-mirrored output of the mirrored clip."""
    file = golden("flip_motionbert")
    model = filled(formula, MotionBERT(**TINY)).to(device)
    x = torch.from_numpy(formula.pose2d("flip/mb", (2, 27, 17, 3))).to(device)
    with torch.no_grad():
        mean = (model(x) + flip(model(flip(x, H36M17)), H36M17)) / 2
    assert np.abs(mean.cpu().numpy() - file["out"]).max() <= 1e-5 * np.abs(file["out"]).max()


def test_golden_training(device: torch.device, golden, formula) -> None:
    """Three steps of AdamW: losses, gradient norms, and the norm and mean of every tensor afterwards."""
    file = golden("train_motionbert")
    names = json.loads(str(file["meta"]))["tensor_names"]
    model = filled(formula, MotionBERT(**TINY)).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.01, fused=True)
    log = []
    for step in range(3):
        x = torch.from_numpy(formula.pose2d(f"train/mb2d{step}", (2, 27, 17, 3))).to(device)
        target = torch.from_numpy(formula.pose3d(f"train/mb3d{step}", (2, 27, 17, 3))).to(device)
        target = target - target[:, :, :1]
        loss = pose_loss("mpjpe", model, model(x), target, {"n_mpjpe": 0.5, "velocity": 20.0})
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf)
        optimizer.step()
        log.append([loss.item(), norm.item()])
    np.testing.assert_allclose(log, file["log"], rtol=2e-5)
    state = {published_key(key, False): value.double().cpu() for key, value in model.state_dict().items()}
    assert set(names) == set(state)
    for name, norm, mean in zip(names, file["norms"], file["means"], strict=True):
        # A key's bias moves no softmax: its gradient is rounding noise, which Adam blows up to steps of 2e-4.
        noise = 1e-3 if name.endswith("qkv.bias") else 1e-6
        assert state[name].norm().item() == pytest.approx(norm, rel=1e-5, abs=noise), name
        assert state[name].mean().item() == pytest.approx(mean, rel=1e-4, abs=noise), name


@pytest.mark.parametrize(
    ("name", "parameters"), [("motionbert", 42_466_317), ("motionbert_lite", 16_001_549), ("motionbert_tiny", 417_801)]
)
def test_sizes(name: str, parameters: int) -> None:
    assert name in list_models()
    with torch.device("meta"):
        model = create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters and model.name == name
    with torch.device("meta"):
        assert create_model(name, depth=1).name == f"motionbert_1x{model.channels}"


# Any size and length


@settings(max_examples=40, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 4]),
    width=st.integers(2, 9),  # of one channel a layer norm leaves nothing
    ratio=st.integers(1, 3),
    depth=st.integers(1, 3),
    joints=st.integers(1, 20),
    frames=st.integers(1, 40),
    batch=st.integers(1, 3),
    fuse=st.booleans(),
    few=st.sampled_from([0, 12, 100]),
)
def test_evaluation_is_the_papers(
    heads: int, width: int, ratio: int, depth: int, joints: int, frames: int, batch: int, fuse: bool, few: int
) -> None:
    """However attention is computed."""
    model = small(
        channels=heads * width, heads=heads, mlp_ratio=ratio, depth=depth, joints=joints, frames=40, fuse=fuse
    )
    x = clip_of(model, batch, frames)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(motionbert, "FEW", few)
        out = model(x)
        assert out.shape == x.shape
        torch.testing.assert_close(out, plain_forward(model, x), rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(1, 40), channels=st.integers(1, 40), sequences=st.integers(1, 4), seed=st.integers(0, 99))
def test_both_ways_of_attention_agree(tokens: int, channels: int, sequences: int, seed: int) -> None:
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, sequences, 2, tokens, channels, dtype=torch.float64, requires_grad=True)
    results = []
    for few in (0, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(motionbert, "FEW", few)
            out = attend(q, k, v)
        results.append([out, *torch.autograd.grad(out.sin().sum(), (q, k, v))])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("frames", [1, 2, 242, 243])
def test_any_length(frames: int, device: torch.device) -> None:
    model = small(channels=8, heads=2, depth=1, frames=243).to(device)
    x = clip_of(model, 2, frames).to(device)
    with torch.no_grad():
        out = model(x)
        assert out.shape == x.shape and torch.isfinite(out).all()
        torch.testing.assert_close(model(x[1:]), out[1:])  # clips do not see each other
        assert model(x[:0]).shape == x[:0].shape


@pytest.mark.parametrize("shape", [(1, 244, 17, 3), (1, 10_000, 17, 3), (1, 0, 17, 3)])
def test_too_long_or_empty(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="with T from 1 to 243: lift longer videos with mocap3d.lift"):
        create_model("motionbert_lite", depth=1, channels=8)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 9, 17, 2), (1, 9, 17, 4), (1, 9, 16, 3), (9, 17, 3), (1, 9, 51)])
def test_wrong_channels_or_joints(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs \(B, T, 17, 3\), x, y and confidence"):
        small()(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 10, "heads": 4}, "channels=10, heads=4"),
        ({"depth": 0}, "depth=0"),
        ({"joints": 0}, "joints=0"),
        ({"frames": 0}, "frames=0"),
        ({"drop_path": 1.0}, "drop_path=1.0"),
        ({"drop_path": -0.1}, "drop_path=-0.1"),
    ],
)
def test_options_outside_their_range(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MotionBERT(**{"channels": 16, "heads": 4, "depth": 1, **options})


# Streams, gates, attention


def test_attention_on_request(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights, times the values, are what the layer says; without being asked for they are not computed."""
    model = small().to(device)
    x = clip_of(model, 2, 7).to(device)
    shapes = {"joints": (2, 7, 4, 17, 17), "frames": (2, 17, 4, 7, 7)}
    for over, shape in shapes.items():
        for stream in ("st", "ts"):
            weights = model.attention(x, 1, stream, over)
            assert weights.shape == shape and not weights.requires_grad and (weights >= 0).all()
            torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    attention, norm = model.st[0].joints.attention, model.st[0].joints.norm1
    with torch.no_grad():
        tokens = norm(model.tokens(x))
        values = (tokens @ attention.qkv.weight[32:].T + attention.qkv.bias[32:]).unflatten(-1, (4, 4))
        mixed = torch.einsum("bthij,btjhc->btihc", model.attention(x, 0), values).flatten(-2)
        expected = mixed @ attention.proj.weight.T + attention.proj.bias
        torch.testing.assert_close(attention(tokens), expected, rtol=1e-9, atol=1e-9)
    assert not any(module._forward_hooks for module in model.modules())
    monkeypatch.setattr(motionbert.Attention, "weights", None)
    assert model(x).shape == x.shape
    for wrong in ((2,), (0, "both"), (0, "st", "bones")):
        with pytest.raises(ValueError, match="give 0 to 1, 'st' or 'ts', 'joints' or 'frames'"):
            model.attention(x, *wrong)


def test_shares(device: torch.device) -> None:
    model = small(depth=3).to(device)
    shares = model.shares(clip_of(model, 2, 5).to(device))
    assert shares.shape == (3, 2, 5, 17, 2) and shares.std() > 0.05
    torch.testing.assert_close(shares.sum(-1), torch.ones_like(shares[..., 0]))
    with pytest.raises(ValueError, match="without gates"):
        small(fuse=False).shares(clip_of(model, 1, 2))


def test_gates_choose_the_stream() -> None:
    model = small(depth=1)
    x, outs = clip_of(model, 1, 5), []
    with torch.no_grad():
        model.gates[0].weight.zero_()
        for bias in ([50.0, -50.0], [-50.0, 50.0]):
            model.gates[0].bias.copy_(torch.tensor(bias))
            outs.append(model(x))
        for out, stream in zip(outs, (model.st[0], model.ts[0]), strict=True):
            alone = torch.tanh(model.representation(model.norm(stream(model.tokens(x)))))
            torch.testing.assert_close(out, model.head(alone))


def test_every_token_sees_every_other_and_places_matter(device: torch.device) -> None:
    model = small(depth=1).to(device)
    x = clip_of(model, 1, 5).to(device).requires_grad_()
    model(x)[0, 2, 3].square().sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).all()
    with torch.no_grad():
        still = x[:, :1].expand(-1, 5, -1, -1)
        assert (model(still)[:, 0] - model(still)[:, 4]).abs().max() > 1e-3  # which frame
        assert (model(x[:, :, [1, 0, *range(2, 17)]])[:, :, 1] - model(x)[:, :, 0]).abs().max() > 1e-3  # which joint


# Training


def test_initial_weights_are_motionberts() -> None:
    torch.manual_seed(0)
    model = MotionBERT(channels=128, depth=1, representation=64, mlp_ratio=2)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        elif name.startswith("gates"):
            assert (parameter == (0 if name.endswith("weight") else 0.5)).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
    shares = model.shares(torch.rand(1, 3, 17, 3))
    assert (shares == 0.5).all()


def test_gradients_reach_everything(device: torch.device) -> None:
    model = small().to(device).train()
    x = clip_of(model, 2, 6).to(device)
    model(x).square().mean().backward()
    unused = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert not unused
    least = small(depth=1, channels=4, heads=2, joints=3).to(device)
    assert torch.autograd.gradcheck(least, clip_of(least, 1, 2).to(device).requires_grad_())


def test_drop_path(device: torch.device) -> None:
    """Frames are left out whole, more in later depths, not in evaluation, and the mean stays."""
    model = small(depth=3, drop_path=0.5).to(device)
    assert [layer.joints.drop_path for layer in model.st] == [0.0, 0.25, 0.5]
    assert [layer.frames.drop_path for layer in model.ts] == [0.0, 0.25, 0.5]
    layer, x = model.ts[2].frames.train(), torch.ones(400, 50, 3, 4, device=device)
    torch.manual_seed(0)
    kept = layer.drop(x)
    assert (kept.amin((2, 3)) == kept.amax((2, 3))).all() and set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.03)
    assert layer.eval().drop(x) is x
    clip = clip_of(model, 1, 9).to(device)
    assert not torch.equal(model.train()(clip), model(clip))
    assert torch.equal(model.eval()(clip), model(clip))


def test_bfloat16_keeps_the_head_precise(device: torch.device) -> None:
    model = create_model("motionbert_tiny").to(device).eval()
    x = torch.rand(2, 81, 17, 3, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        out = model(x)
    assert out.dtype == torch.float32
    with torch.no_grad():
        expected = model(x)
    assert 0 < (out - expected).abs().max() < 0.02 * expected.abs().max()


# Input and output


def test_encode_2d(device: torch.device) -> None:
    """A missing joint is three zeros, and what it holds beside that does not matter."""
    model = small(frames=243).to(device)
    points = torch.rand(2, 6, 17, 2, dtype=torch.float64, device=device)
    seen = torch.rand(2, 6, 17, dtype=torch.float64, device=device)
    x = model.encode(points, seen)
    assert torch.equal(x[..., :2], points) and torch.equal(x[..., 2], seen)
    assert (model.encode(points)[..., 2] == 1).all()
    seen[0, 3] = 0  # a whole frame nobody is sure of keeps its places
    x = model.encode(points, seen)
    assert torch.equal(x[0, 3, :, :2], points[0, 3]) and torch.isfinite(model(x)).all()
    points[1, 2, 5] = torch.nan
    points[1, 4] = torch.nan
    points[0, 0, 0, 1] = torch.nan
    for confidence in (None, seen):
        x = model.encode(points, confidence)
        assert (x[1, 2, 5] == 0).all() and (x[1, 4] == 0).all() and (x[0, 0, 0] == 0).all()
        assert torch.isfinite(x).all() and torch.isfinite(model(x)).all()
        assert model.encode(points.float(), confidence).dtype == torch.float32


def test_encode_2d_refuses_other_shapes() -> None:
    model = small()
    for shape in ((2, 6, 17, 3), (6, 17, 2), (2, 6, 16, 2), (2, 6, 34)):
        with pytest.raises(ValueError, match=r"needs \(B, T, 17, 2\) in h36m17"):
            model.encode(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"confidence has shape \(2, 6\)"):
        model.encode(torch.zeros(2, 6, 17, 2), torch.zeros(2, 6))


def test_the_space_of_the_poses_is_declared() -> None:
    model = create_model("motionbert_tiny", depth=1, channels=8)
    assert model.space == "image" and model.normalisation is None
    metric = create_model("motionbert_tiny", depth=1, channels=8, image_space=False)
    pose = torch.randn(1, 2, 17, 3)
    assert metric.space == "metric" and torch.equal(metric.targets(pose), pose - pose[:, :, :1])
    assert torch.equal(metric.decode(pose), pose)


def test_both_initialisations() -> None:
    torch.manual_seed(0)
    for init, linear_std, joint_std in (("published", 0.02, 0.02), ("fan_in", 64**-0.5, 1.0)):
        model = create_model("motionbert_tiny", init=init)
        layer = model.st[0].joints
        assert layer.attention.qkv.weight.std().item() == pytest.approx(linear_std, rel=0.05)
        assert model.joint_embedding.std().item() == pytest.approx(joint_std, rel=0.1)
        assert not layer.fc1.bias.any() and (model.shares(torch.rand(1, 2, 17, 3)) == 0.5).all()
    with pytest.raises(ValueError, match="init='kaiming': give 'published' or 'fan_in'"):
        create_model("motionbert_tiny", init="kaiming")
