"""PoseFormerV2 computes what a second implementation does, and costs and is named as published."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mocap3d.evaluation.predict import predict_clips
from mocap3d.models.create import create_model
from mocap3d.models.poseformerv2 import PoseFormerV2, cosine_transform
from mocap3d.models.published import from_published, poseformerv2_options, to_published
from mocap3d.models.state_dicts import WeightsError
from mocap3d.training.fit import fit
from mocap3d.training.recipe import Recipe
from mocap3d.weights import export_weights, load_weights, save_weights
from tests.toys import sticks

SIZES = [  # frames, kept, coefficients: three of the published table, and one with an even number of coefficients
    (27, 1, 3),
    (27, 3, 3),
    (81, 9, 9),
    (9, 3, 4),
]


def published_state(
    kept: int = 1, coefficients: int = 3, channels: int = 32, depth: int = 4, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A state_dict with the published names and shapes, and random numbers."""
    generator = torch.Generator().manual_seed(seed)
    state, width = {}, 17 * channels

    def put(name: str, *shape: int, scale: float = 0.2) -> None:
        state[name] = scale * torch.randn(*shape, generator=generator)

    def linear(name: str, size_in: int, size_out: int) -> None:
        put(f"{name}.weight", size_out, size_in, scale=size_in**-0.5)
        put(f"{name}.bias", size_out)

    def norm(name: str, size: int) -> None:
        put(f"{name}.weight", size)
        state[f"{name}.weight"] += 1
        put(f"{name}.bias", size)

    put("Spatial_pos_embed", 1, 17, channels)
    put("Temporal_pos_embed", 1, kept, width)
    put("Temporal_pos_embed_", 1, coefficients, width)
    linear("Joint_embedding", 2, channels)
    linear("Freq_embedding", 34, width)
    for i in range(depth):
        for block, size, mlps in ((f"Spatial_blocks.{i}", channels, ["mlp"]), (f"blocks.{i}", width, ["mlp1", "mlp2"])):
            norm(f"{block}.norm1", size)
            linear(f"{block}.attn.qkv", size, 3 * size)
            linear(f"{block}.attn.proj", size, size)
            for number, mlp in enumerate(mlps, 2):
                norm(f"{block}.norm{number}", size)
                linear(f"{block}.{mlp}.fc1", size, 2 * size)
                linear(f"{block}.{mlp}.fc2", 2 * size, size)
    norm("Spatial_norm", channels)
    norm("Temporal_norm", width)
    for name, count in (("weighted_mean", coefficients), ("weighted_mean_", kept)):
        put(f"{name}.weight", 1, count, 1)
        put(f"{name}.bias", 1)
    norm("head.0", 2 * width)
    linear("head.1", 2 * width, 51)
    return state


class Straightforward:
    """The paper's equations with numpy, float64, one window and one token after the other, by published names."""

    def __init__(self, state: dict[str, torch.Tensor], kept: int, coefficients: int, heads: int = 8) -> None:
        self.w = {key: value.double().numpy() for key, value in state.items()}
        self.kept, self.coefficients, self.heads = kept, coefficients, heads
        self.depth = len({key.split(".")[1] for key in state if key.startswith("Spatial_blocks.")})

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.einsum("oi,...i->...o", self.w[f"{name}.weight"], x) + self.w[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray, eps: float = 1e-6) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        hidden = self.linear(f"{name}.fc1", x)
        erf = np.vectorize(math.erf)
        return self.linear(f"{name}.fc2", hidden * 0.5 * (1 + erf(hidden / math.sqrt(2))))

    def attention(self, name: str, tokens: np.ndarray) -> np.ndarray:
        size = tokens.shape[1] // self.heads
        q, k, v = np.split(self.linear(f"{name}.qkv", tokens), 3, axis=-1)
        out = np.zeros_like(tokens)
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(len(tokens)):
                score = np.array([q[i, part] @ k[j, part] / math.sqrt(size) for j in range(len(tokens))])
                weight = np.exp(score - score.max())
                out[i, part] = (weight / weight.sum()) @ v[:, part]
        return self.linear(f"{name}.proj", out)

    @staticmethod
    def dct(series: np.ndarray) -> np.ndarray:
        """(N, ...) -> (N, ...): X_k = 2 sum_n x_n cos(pi k (2 n + 1) / (2 N)), term by term."""
        n = len(series)
        return np.stack(
            [sum(2 * series[t] * math.cos(math.pi * k * (2 * t + 1) / (2 * n)) for t in range(n)) for k in range(n)]
        )

    @staticmethod
    def inverse_dct(spectrum: np.ndarray) -> np.ndarray:
        n = len(spectrum)
        return np.stack(
            [
                spectrum[0] / (2 * n)
                + sum(spectrum[k] / n * math.cos(math.pi * k * (2 * t + 1) / (2 * n)) for k in range(1, n))
                for t in range(n)
            ]
        )

    def __call__(self, window: np.ndarray) -> np.ndarray:
        """(R, 17, 2) -> (17, 3)."""
        middle, tokens = len(window) // 2, []
        for k in range(self.coefficients):
            row = self.dct(window)[k].reshape(-1)
            tokens.append(self.linear("Freq_embedding", row) + self.w["Temporal_pos_embed_"][0, k])
        for number, frame in enumerate(range(middle - self.kept // 2, middle + self.kept // 2 + 1)):
            joints = self.linear("Joint_embedding", window[frame]) + self.w["Spatial_pos_embed"][0]
            for i in range(self.depth):
                name = f"Spatial_blocks.{i}"
                joints = joints + self.attention(f"{name}.attn", self.norm(f"{name}.norm1", joints))
                joints = joints + self.perceptron(f"{name}.mlp", self.norm(f"{name}.norm2", joints))
            joints = self.norm("Spatial_norm", joints)
            tokens.append(joints.reshape(-1) + self.w["Temporal_pos_embed"][0, number])
        tokens = np.stack(tokens)
        for i in range(self.depth):
            name, half = f"blocks.{i}", len(tokens) // 2
            tokens = tokens + self.attention(f"{name}.attn", self.norm(f"{name}.norm1", tokens))
            low, high = tokens[:half], tokens[half:]
            low = low + self.perceptron(f"{name}.mlp1", self.norm(f"{name}.norm2", low))
            spectrum = self.dct(self.norm(f"{name}.norm3", high))
            high = high + self.inverse_dct(self.perceptron(f"{name}.mlp2", spectrum))
            tokens = np.concatenate([low, high])
        tokens = self.norm("Temporal_norm", tokens)
        parts = tokens[: self.coefficients], tokens[self.coefficients :]
        means = [
            np.einsum("l,ld->d", self.w[f"{name}.weight"][0, :, 0], part) + self.w[f"{name}.bias"]
            for name, part in zip(("weighted_mean", "weighted_mean_"), parts, strict=True)
        ]
        pose = self.linear("head.1", self.norm("head.0", np.concatenate(means), eps=1e-5))
        return pose.reshape(17, 3)


@pytest.mark.parametrize(("frames", "kept", "coefficients"), SIZES)
def test_equals_a_second_implementation(frames: int, kept: int, coefficients: int, device: torch.device) -> None:
    state = published_state(kept, coefficients, channels=8, depth=2)
    model = load_weights({f"module.{key}": value for key, value in state.items()}, frames=frames, heads=4)
    model.double().to(device)
    second = Straightforward(state, kept, coefficients, heads=4)
    clip = torch.randn(1, frames + 2, 17, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        poses = model.decode(model(model.encode(clip.to(device)))).cpu().numpy()[0]
    assert poses.shape == (3, 17, 3)
    for start in range(3):
        expected = second(clip[0, start : start + frames].numpy())
        np.testing.assert_allclose(poses[start], expected, rtol=1e-5, atol=1e-6)  # cosines in float32


def test_cosine_transform_is_inverted_and_orthogonal() -> None:
    rows = cosine_transform(5)
    gram = rows @ rows.T
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-5, rtol=0)
    layer = PoseFormerV2(9, 3, 4, channels=8).fusion[0]
    torch.testing.assert_close(layer.to_time @ layer.to_frequency, torch.eye(4), atol=1e-6, rtol=0)
    steady = cosine_transform(27) @ torch.ones(27)
    assert steady[0] == pytest.approx(54) and steady[1:].abs().max() < 1e-4  # what does not move has no frequency


@pytest.mark.parametrize(
    ("frames", "kept", "coefficients", "published"),
    [(27, 1, 3, 77.2), (27, 3, 3, 117.3), (81, 1, 3, 77.2), (81, 9, 9, 351.7), (243, 27, 27, 1054.8)],
)
def test_it_costs_what_is_published(frames: int, kept: int, coefficients: int, published: float) -> None:
    """MFLOPs of one pose; as published, a multiplication and an addition count as two."""
    model = PoseFormerV2(frames, kept, coefficients).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, frames, 17, 2))
    assert counter.get_total_flops() / 1e6 == pytest.approx(published, rel=0.02)


def test_published_names(tmp_path) -> None:
    state = published_state()
    checkpoint = {
        "epoch": 200,
        "lr": 1.3e-5,
        "random_state": np.random.RandomState(0),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "model_pos": {f"module.{key}": value for key, value in state.items()},
    }
    path = tmp_path / "27_1_48.7.bin"
    torch.save(checkpoint, path)
    with pytest.raises(WeightsError, match="how many frames.*frames=27"):
        load_weights(path)
    model = load_weights(path, frames=27)
    assert model.name == "poseformerv2_27" and model.card["source"] == "poseformerv2" and not model.training
    told = {"kept": 1, "coefficients": 3, "channels": 32, "depth": 4}
    assert {key: model.card["kwargs"][key] for key in told} == told
    back = export_weights(model, "poseformerv2")
    assert back.keys() == state.keys() and all(torch.equal(back[key], value) for key, value in state.items())
    assert (
        back.keys() == to_published(create_model("poseformerv2_27").state_dict(), "PoseFormerV2", "poseformerv2").keys()
    )
    for key in ("blocks.3.mlp2.fc2.bias", "weighted_mean_.weight", "Spatial_pos_embed"):
        without = {name: value for name, value in state.items() if name != key}
        with pytest.raises(WeightsError, match=f"missing: {key}"):
            load_weights(without, frames=27)
    with pytest.raises(WeightsError, match="unexpected: blocks.0.extra.weight"):
        load_weights(state | {"blocks.0.extra.weight": torch.zeros(1)}, frames=27)
    with pytest.raises(ValueError, match="'w1.weight'.*another model"):
        from_published({"w1.weight": torch.zeros(1)}, "PoseFormerV2", "poseformerv2")


def test_own_files_keep_all(tmp_path) -> None:
    model = PoseFormerV2(9, 3, 4, channels=4, depth=1, heads=2, drop_path=0.2, normalise="ray")
    model.fit_normalisation(torch.randn(50, 17, 2), torch.randn(50, 17, 3))
    card = dict.fromkeys(("fps", "training_data", "recipe", "protocol", "results", "licence"), "unknown")
    back = load_weights(save_weights(model, tmp_path / "own.safetensors", card))
    assert repr(back) == repr(model) and back.normalise == "ray" and back.drop_path == 0.2
    x = torch.randn(2, 9, 17, 2)
    with torch.no_grad():
        assert torch.equal(back.decode(back(back.encode(x))), model.eval().decode(model(model.encode(x))))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert poseformerv2_options(shapes, "mocap3d") == {"kept": 3, "coefficients": 4, "channels": 4, "depth": 1}


def test_it_learns_and_lifts_whole_clips(device: torch.device) -> None:
    data = sticks(takes=2, frames=30)
    torch.manual_seed(0)
    model = PoseFormerV2(9, 1, 3, channels=4, depth=2, heads=2, normalise="root")
    recipe = Recipe("toy", "adamw", 3e-3, batch_size=64, steps=60, loss="mpjpe", flip=True)
    run = fit(model, data, recipe, device=device, progress=False)
    assert run.history[-1]["train_loss"] < 0.5 * run.history[0]["train_loss"]
    lengths = torch.tensor([20, 5], device=device)
    points = torch.rand(25, 17, 2, device=device)
    poses = predict_clips(model, points, lengths)
    alone = predict_clips(model, points[20:], lengths[1:])
    assert poses.shape == (25, 17, 3)
    torch.testing.assert_close(poses[20:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 26}, "frames=26.*odd"),
        ({"kept": 2}, "kept=2.*odd"),
        ({"frames": 3, "kept": 5}, "kept <= frames"),
        ({"coefficients": 28}, "coefficients=28.*1 to 27"),
        ({"channels": 30}, "channels=30, heads=8"),
        ({"drop_path": 1.0}, "drop_path=1.0"),
        ({"normalise": "none"}, "as normalise, not 'none'"),
    ],
)
def test_wrong_options(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_model("poseformerv2_27", **options)


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"\(1, 20, 17, 2\).*T at least 27"):
        create_model("poseformerv2_27", channels=8)(torch.zeros(1, 20, 17, 2))
