"""SimpleBaseline3D computes the published numbers, in both forms, and speaks screen coordinates and metres."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.models.create import create_model, list_models
from mocap3d.models.simple_baseline import JOINTS_IN, SimpleBaseline3D
from mocap3d.skeleton import H36M17

FORMS = {"weigq": "simple_baseline", "mmpose": "simple_baseline_mmpose"}
GOLDEN = ["sb_weigq_64", "sb_weigq_1024", "sb_weigq_48s1", "sb_mmpose_64", "sb_mmpose_1024"]
PUBLISHED_MODULES = {  # module -> published module, of a one-stage model; written out, not taken from published.py
    "weigq": {
        "stem.linear": "w1",
        "stem.norm": "batch_norm1",
        "stages.0.first.linear": "linear_stages.0.w1",
        "stages.0.first.norm": "linear_stages.0.batch_norm1",
        "stages.0.second.linear": "linear_stages.0.w2",
        "stages.0.second.norm": "linear_stages.0.batch_norm2",
        "head": "w2",
    },
    "mmpose": {
        "stem.linear": "backbone.expand_conv.conv",
        "stem.norm": "backbone.expand_conv.bn",
        "stages.0.first.linear": "backbone.tcn_blocks.0.conv1.0.conv",
        "stages.0.first.norm": "backbone.tcn_blocks.0.conv1.0.bn",
        "stages.0.second.linear": "backbone.tcn_blocks.0.conv2.0.conv",
        "stages.0.second.norm": "backbone.tcn_blocks.0.conv2.0.bn",
        "head": "head.conv",
    },
}


def published_key(form: str, key: str) -> str:
    """Our state_dict key -> the published one, which seeds the golden weights."""
    module, entry = key.rsplit(".", 1)
    parts = module.split(".")
    if parts[0] == "stages":
        stage, parts[1] = parts[1], "0"
        name = PUBLISHED_MODULES[form][".".join(parts)]
        return f"{name.replace('s.0.', f's.{stage}.')}.{entry}"
    return f"{PUBLISHED_MODULES[form][module]}.{entry}"


def filled(formula, form: str, **options) -> SimpleBaseline3D:
    model = SimpleBaseline3D(form, **options)
    return formula.fill(model, rename=lambda key: published_key(form, key))


def random_poses(seed: int, batch: int = 6, frames: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T, 17, 2) screen and (B, T, 17, 3) m, uneven in place and spread from joint to joint."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    points = draw(17, 2) * 0.3 + draw(17, 2).abs() * draw(batch, frames, 17, 2) * 0.2
    pose = draw(17, 3) * 0.4 + draw(17, 3).abs() * draw(batch, frames, 17, 3) * 0.3 + torch.tensor([0.0, 0.0, 4.0])
    return points, pose


def ready(form: str = "weigq", device: torch.device | str = "cpu", **options) -> SimpleBaseline3D:
    model = SimpleBaseline3D(form, **{"channels": 32, **options})
    points, pose = random_poses(seed=1, batch=50)
    model.fit_normalisation(points.flatten(0, 1), pose.flatten(0, 1))
    return model.to(device)


# The published numbers


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_forward(case: str, device: torch.device, golden, formula) -> None:
    file = golden(case)
    meta = json.loads(str(file["meta"]))
    options, form = meta["kwargs"], case.split("_")[1]
    channels = options.get("linear_size", options.get("stem_channels"))
    model = filled(formula, form, channels=channels, stages=options.get("num_stage", options.get("num_blocks")))
    assert sum(parameter.numel() for parameter in model.parameters()) == meta["params"]
    model.to(device).eval()
    x = torch.from_numpy(formula.pose2d(meta["input"]["name"], meta["input"]["shape"])).flatten(1).to(device)
    with torch.no_grad():
        out = model(x).cpu().numpy().reshape(file["out"].shape)
        out64 = model.double()(x.double()).cpu().numpy().reshape(file["out"].shape)
    assert np.abs(out - file["out"]).max() <= 1e-5 * np.abs(file["out"]).max()
    assert np.abs(out64 - file["out64"]).max() <= 1e-9


def test_golden_training(device: torch.device, golden, formula) -> None:
    """Three steps of Adam: losses, gradient norms, and the norm and mean of every tensor afterwards."""
    file = golden("train_weigq")
    names = json.loads(str(file["meta"]))["tensor_names"]
    model = filled(formula, "weigq", channels=64, dropout=0.0).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    log = []
    for step in range(3):
        x = torch.from_numpy(formula.pose2d(f"train/sb2d{step}", (8, 1, 16, 2))).flatten(1).to(device)
        target = torch.from_numpy(formula.pose3d(f"train/sb3d{step}", (8, 1, 16, 3))).flatten(1).to(device)
        loss = F.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        log.append([loss.item(), norm.item()])
    np.testing.assert_allclose(log, file["log"], rtol=1e-5)
    state = {published_key("weigq", key): value.double().cpu() for key, value in model.state_dict().items()}
    assert set(names) == {key for key in state if not key.endswith("num_batches_tracked")}
    # Batch norm cancels the bias before it: its true gradient is 0, and Adam turns rounding noise into
    # steps of up to the learning rate, different on every machine; the running mean of the batch norm follows the bias.
    noisy = {name for name in names if name.endswith((".w1.bias", ".w2.bias", "running_mean"))} | {"w1.bias"}
    for name, norm, mean in zip(names, file["norms"], file["means"], strict=True):
        free = 3 * 1e-3 if name in noisy else 0.0  # three steps
        assert state[name].norm().item() == pytest.approx(norm, rel=1e-5, abs=free * 8), name  # 8 = sqrt(64)
        assert state[name].mean().item() == pytest.approx(mean, rel=1e-4, abs=free or 1e-6), name
    assert len(noisy) == 10 and len(names) == 32


def plain_forward(state: dict[str, torch.Tensor], x: torch.Tensor, stages: int) -> torch.Tensor:
    """The evaluation pass written out from a state_dict, without our modules."""

    def layer(x: torch.Tensor, name: str) -> torch.Tensor:
        x = x @ state[f"{name}.linear.weight"].T + state.get(f"{name}.linear.bias", torch.zeros(()).to(x))
        x = (x - state[f"{name}.norm.running_mean"]) / (state[f"{name}.norm.running_var"] + 1e-5).sqrt()
        return (x * state[f"{name}.norm.weight"] + state[f"{name}.norm.bias"]).clamp(min=0)

    x = layer(x, "stem")
    for n in range(stages):
        x = x + layer(layer(x, f"stages.{n}.first"), f"stages.{n}.second")
    return x @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_follows_every_change_of_weights(form: str, device: torch.device) -> None:
    torch.manual_seed(0)
    model = SimpleBaseline3D(form, channels=24, stages=3).to(device).double()
    x = torch.randn(9, 2 * len(model.joints_in), device=device, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    other = SimpleBaseline3D(form, channels=24, stages=3).double().state_dict()

    def train() -> None:
        model.train()
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def edit_data() -> None:  # as weight averaging does; torch's version counters do not see it
        for parameter in model.parameters():
            parameter.data.mul_(1.1)

    before = None
    for change in (lambda: None, train, lambda: model.load_state_dict(other), edit_data, train):
        change()
        model.eval()
        with torch.no_grad():
            out = model(x)
        torch.testing.assert_close(out, plain_forward(model.state_dict(), x, 3), rtol=1e-9, atol=1e-9)
        assert before is None or not torch.allclose(out, before)
        before = out


def test_all_parameters_learn_with_batch_norm_frozen(device: torch.device) -> None:
    model = SimpleBaseline3D(channels=24).to(device).eval()
    model(torch.randn(5, 32, device=device)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_only_in_training(device: torch.device) -> None:
    model = SimpleBaseline3D(channels=64).to(device)
    x = torch.randn(16, 32, device=device)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("form", FORMS)
def test_initial_weights(form: str) -> None:
    torch.manual_seed(0)
    model = SimpleBaseline3D(form, channels=512)
    fan = 2 * len(model.joints_in) if form == "weigq" else 512
    assert model.stem.linear.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.02)
    assert model.stages[1].second.linear.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    head = math.sqrt(2 / 512) if form == "weigq" else 1 / math.sqrt(3 * 512)
    assert model.head.weight.std().item() == pytest.approx(head, rel=0.02)
    torch.manual_seed(0)
    for ours, again in zip(model.parameters(), SimpleBaseline3D(form, channels=512).parameters(), strict=True):
        assert torch.equal(ours, again)


# Units


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), batch=st.integers(1, 4), frames=st.integers(1, 5))
def test_decoding_inverts_encoding(form: str, seed: int, batch: int, frames: int) -> None:
    model = ready(form)
    _, pose = random_poses(seed, batch, frames)
    decoded = model.decode(model.targets(pose))
    assert decoded.shape == pose.shape
    torch.testing.assert_close(decoded, pose - pose[..., :1, :], rtol=1e-5, atol=1e-5)
    assert torch.equal(decoded[..., 0, :], torch.zeros_like(decoded[..., 0, :]))


@pytest.mark.parametrize("form", FORMS)
def test_training_data_become_zscores(form: str, device: torch.device) -> None:
    model = ready(form, device)
    points, pose = random_poses(seed=1, batch=50)
    for z in (model.encode(points.to(device)), model.targets(pose.to(device))):
        z = z.flatten(0, 1).double()
        torch.testing.assert_close(z.mean(0), torch.zeros_like(z[0]), rtol=0, atol=1e-4)
        torch.testing.assert_close(z.std(0, correction=0), torch.ones_like(z[0]), rtol=1e-4, atol=0)


def test_input_order_is_joint_by_joint(device: torch.device) -> None:
    """Moving one joint moves its x and y inputs alone; the nose is no input of the weigq form."""
    points, _ = random_poses(seed=3)
    points = points.to(device)
    for form in FORMS:
        model = ready(form, device)
        base = model.encode(points)
        names = [H36M17.joints[joint] for joint in JOINTS_IN[form]]
        assert ("nose" in names) == (form == "mmpose") and names[0] == "pelvis"
        for joint in H36M17.joints:
            moved = points.clone()
            moved[..., H36M17.index(joint), :] += 0.5
            changed = (model.encode(moved) != base).any(0).any(0).nonzero().flatten().tolist()
            at = names.index(joint) if joint in names else None
            assert changed == ([] if at is None else [2 * at, 2 * at + 1])


def test_root_is_removed_and_where_it_was_does_not_matter(device: torch.device) -> None:
    model = ready(device=device)
    _, pose = random_poses(seed=4)
    pose = pose.to(device)
    torch.testing.assert_close(model.targets(pose), model.targets(pose + 1.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_lifted_alone(form: str, device: torch.device) -> None:
    model = ready(form, device).eval()
    points, _ = random_poses(seed=5, batch=3, frames=7)
    points = points.to(device)
    together = model.decode(model(model.encode(points)))
    assert together.shape == (3, 7, 17, 3) and model.receptive_field == 1
    for frame in range(7):
        alone = model.decode(model(model.encode(points[:, frame : frame + 1])))
        torch.testing.assert_close(together[:, frame : frame + 1], alone, rtol=1e-4, atol=1e-5)


def test_missing_joint_takes_its_mean_place(device: torch.device) -> None:
    model = ready(device=device)
    points, _ = random_poses(seed=6)
    wrist = H36M17.index("left_wrist")
    at_mean, missing = points.clone().to(device), points.clone().to(device)
    at_mean[..., wrist, :] = model.scaling.mean_2d[JOINTS_IN["weigq"].index(wrist)]
    missing[..., wrist, :] = torch.nan
    torch.testing.assert_close(model.encode(missing), model.encode(at_mean))
    assert torch.isfinite(model(model.encode(missing))).all()


def test_missing_joints_do_not_spoil_the_statistics() -> None:
    points, pose = random_poses(seed=7, batch=40, frames=1)
    points, pose = points[:, 0], pose[:, 0]  # (40, 17, C)
    points[20:, 3] = torch.nan
    pose[:10, 5] = torch.nan
    model = SimpleBaseline3D(channels=8)
    model.fit_normalisation(points, pose.numpy())
    torch.testing.assert_close(model.scaling.mean_2d[3], points[:20, 3].mean(0))
    relative = (pose - pose[:, :1])[10:, 5]
    torch.testing.assert_close(model.scaling.std_3d[4], relative.std(0, correction=0))  # joint 5 is output 4: no pelvis
    assert model.targets(pose[:, None]).isnan().sum() == 10 * 3  # a target that is not known stays unknown
    points[:, 8] = torch.nan
    with pytest.raises(ValueError, match="thorax"):
        model.fit_normalisation(points, pose)


def test_coordinate_that_never_moves() -> None:
    points, pose = random_poses(seed=8, batch=40)
    points[..., 2, 1] = 0.25
    model = SimpleBaseline3D(channels=8)
    model.fit_normalisation(points.flatten(0, 1), pose.flatten(0, 1))
    assert torch.isfinite(model.encode(points)).all()
    torch.testing.assert_close(model.encode(points)[..., 5], torch.zeros(40, 2))


def test_normalisation_is_kept_beside_the_state_dict(device: torch.device) -> None:
    model = ready(device=device)
    statistics = model.normalisation
    assert not any(name in key for key in model.state_dict() for name in statistics)
    other = SimpleBaseline3D(channels=32).to(device)
    assert other.normalisation is None
    other.normalisation = {name: value.numpy() for name, value in statistics.items()}
    points, pose = (tensor.to(device) for tensor in random_poses(seed=9))
    for twin in (other, copy.deepcopy(model)):
        assert torch.equal(twin.encode(points), model.encode(points))
        assert torch.equal(twin.targets(pose), model.targets(pose))
    statistics["mean_2d"] += 1  # a copy: the model is not changed from outside
    assert torch.equal(other.scaling.mean_2d, model.scaling.mean_2d)


# Wrong use


@pytest.mark.parametrize("form", FORMS)
def test_units_need_statistics_first(form: str, device: torch.device) -> None:
    model = SimpleBaseline3D(form, channels=8).to(device)
    points, pose = (tensor.to(device) for tensor in random_poses(seed=0))
    output = model(torch.zeros(2, 2 * len(model.joints_in), device=device))
    for call in (lambda: model.encode(points), lambda: model.targets(pose), lambda: model.decode(output)):
        with pytest.raises(ValueError, match="fit_normalisation"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_2d": np.zeros((17, 2))}, r"mean_2d has shape \(17, 2\).*\(16, 2\)"),
        ({"std_3d": np.zeros((16, 3))}, "std_3d must be finite and above 0"),
        ({"mean_3d": np.full((16, 3), np.nan)}, "mean_3d must be finite"),
    ],
)
def test_bad_statistics(change: dict, message: str) -> None:
    model = ready()
    before = model.normalisation
    with pytest.raises(ValueError, match=message):
        model.normalisation = {**before, **change}
    with pytest.raises(ValueError, match="lacks 'std_3d'"):
        model.normalisation = {name: value for name, value in before.items() if name != "std_3d"}
    assert all(torch.equal(before[name], model.normalisation[name]) for name in before)


def test_bad_shapes(device: torch.device) -> None:
    model = ready(device=device)
    with pytest.raises(ValueError, match=r"\(1, 1, 16, 2\).*17, 2"):
        model.encode(torch.zeros(1, 1, 16, 2, device=device))
    with pytest.raises(ValueError, match="batch first"):
        model.targets(torch.zeros(17, 3, device=device))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "martinez"}, "'weigq' or 'mmpose'"),
        ({"channels": 0}, "channels=0"),
        ({"stages": -1}, "stages=-1"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimpleBaseline3D(**options)


def test_create_model_by_name() -> None:
    for form, name in FORMS.items():
        assert name in list_models()
        model = create_model(name, channels=16, stages=1, dropout=0.1)
        assert (model.name, model.form, model.input_skeleton) == (name, form, "h36m17")
        assert model.stem.linear.out_features == 16 and len(model.stages) == 1 and model.stem.dropout == 0.1
    with pytest.raises(ValueError, match="'resnet'.*simple_baseline"):
        create_model("resnet")
    with pytest.raises(TypeError, match="'chanels'.*channels"):
        create_model("simple_baseline", chanels=16)
