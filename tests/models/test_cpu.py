"""Both ways to compute a linear layer agree, and the choice between them is the documented one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mocap3d.models import cpu
from mocap3d.models.cpu import OneDNNLinear, amd_family, linear, linear_by_onednn, linear_gelu
from mocap3d.models.create import create_model

WINDOWS_ZEN5 = "AMD64 Family 26 Model 68 Stepping 0, AuthenticAMD"
LINUX = "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 1\n"


ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(not ONEDNN, reason="this torch has no oneDNN linear layer, or another name for it")


@needs_onednn
@settings(max_examples=30, deadline=None)
@given(
    leading=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bias=st.booleans(),
    gelu=st.booleans(),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_onednn_equals_linear(
    leading: list[int], channels: tuple[int, int], bias: bool, gelu: bool, turned: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x, weight = torch.randn(*leading, channels[0]), torch.randn(channels[1], channels[0])
    if turned:  # rows that are not contiguous
        x = torch.randn(channels[0], *leading).movedim(0, -1)
    offset = torch.randn(channels[1]) if bias else None
    expected = F.linear(x, weight, offset)
    out = linear_by_onednn(x, weight, offset, gelu)
    assert out.is_contiguous()
    torch.testing.assert_close(out, F.gelu(expected) if gelu else expected, rtol=1e-5, atol=2e-5)


@needs_onednn
@settings(max_examples=30, deadline=None)
@given(
    leading=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bias=st.booleans(),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_its_gradient_equals_that_of_linear(
    leading: list[int], channels: tuple[int, int], bias: bool, turned: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x, weight = torch.randn(*leading, channels[0]), torch.randn(channels[1], channels[0])
    upstream = torch.randn(*leading, channels[1])
    if turned:  # rows that are not contiguous
        x = torch.randn(channels[0], *leading).movedim(0, -1)
        upstream = torch.randn(channels[1], *leading).movedim(0, -1)
    given_tensors, ways = [x, weight, *[torch.randn(channels[1])] * bias], []
    for way in (F.linear, OneDNNLinear.apply):
        leaves = [tensor.clone().requires_grad_() for tensor in given_tensors]
        out = way(*leaves) if bias else way(*leaves, None)
        out.backward(upstream)
        ways.append([out, *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(ways[0], ways[1], rtol=1e-5, atol=2e-5)


@needs_onednn
def test_it_computes_only_the_gradients_that_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(cpu, "linear_by_onednn", lambda *args: calls.append(args) or linear_by_onednn(*args))
    x, weight = torch.randn(300, 32), torch.randn(64, 32, requires_grad=True)
    OneDNNLinear.apply(x, weight, None).sum().backward()
    assert len(calls) == 2  # forward, and the gradient of the weight
    assert OneDNNLinear.apply(x, weight, None).is_contiguous()  # else every elementwise step after it would be slow


@needs_onednn
@pytest.mark.parametrize("way", [True, False])
def test_choice(way: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(cpu, "onednn_is_faster", lambda: way)
    monkeypatch.setattr(cpu, "linear_by_onednn", lambda *args: calls.append(args) or linear_by_onednn(*args))
    many, few = torch.randn(2, 400, 32, device=device), torch.randn(8, 32, device=device)
    weight = torch.randn(48, 32, device=device)
    for x in (many, few, many[:0], many.double()):
        out = linear(x, weight.to(x.dtype))
        torch.testing.assert_close(out, F.linear(x, weight.to(x.dtype)), rtol=1e-4, atol=1e-4)
    assert len(calls) == (1 if way and device.type == "cpu" else 0)  # the many float32 rows alone


@needs_onednn
def test_gelu_is_fused_only_without_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spy(*args, **options):
        calls.append(options.get("gelu", False))
        return linear_by_onednn(*args, **options)

    faster = [True]
    monkeypatch.setattr(cpu, "onednn_is_faster", lambda: faster[0])
    monkeypatch.setattr(cpu, "onednn_works", lambda: True)
    monkeypatch.setattr(cpu, "linear_by_onednn", spy)
    x, weight, bias = torch.randn(400, 32), torch.randn(48, 32), torch.randn(48)

    def count(x: torch.Tensor = x, weight: torch.Tensor = weight) -> int:
        calls.clear()
        out = linear(x, weight, bias), linear_gelu(x, weight, bias)
        expected = F.linear(x, weight, bias)
        close = {"rtol": 1e-4, "atol": 1e-4} if out[0].dtype != torch.bfloat16 else {"rtol": 0.1, "atol": 0.1}
        torch.testing.assert_close(out, (expected, F.gelu(expected)), **close)
        assert out[0].requires_grad == expected.requires_grad
        return len(calls)

    assert count() == 2
    assert count(x[:8]) == 0  # too few rows
    for leaf in (x, weight):
        leaf.requires_grad_()
        assert count() == 2 and calls == [False, False]
        with torch.no_grad():
            assert count() == 2 and calls == [False, True]
        leaf.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        assert count() == 0
    faster[0] = False  # as on Intel: for the pair with GELU alone
    assert count() == 1


def test_onednn_is_looked_at_before_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of torch may have lost it, or mean something else by it."""
    monkeypatch.setattr(cpu, "_has_avx512", lambda: True)

    def right(x, weight, bias=None, gelu=False):
        return F.gelu(F.linear(x, weight, bias)) if gelu else F.linear(x, weight, bias)

    def without_gelu(x, weight, bias=None, gelu=False):
        return F.linear(x, weight, bias)

    def gone(*_):
        raise AttributeError("_linear_pointwise")

    for way, verdict in ((right, True), (without_gelu, False), (gone, False)):
        monkeypatch.setattr(cpu, "linear_by_onednn", way)
        assert cpu.onednn_works.__wrapped__() is verdict
        for amd in (True, False):
            monkeypatch.setattr(cpu, "_describe_processor", lambda amd=amd: WINDOWS_ZEN5 if amd else "arm")
            monkeypatch.setattr(cpu, "onednn_works", cpu.onednn_works.__wrapped__)
            assert cpu.onednn_is_faster.__wrapped__() is (verdict and amd)
            monkeypatch.undo()
            monkeypatch.setattr(cpu, "_has_avx512", lambda: True)
            monkeypatch.setattr(cpu, "linear_by_onednn", way)
    monkeypatch.setattr(cpu, "_has_avx512", lambda: False)
    monkeypatch.setattr(cpu, "linear_by_onednn", right)
    assert not cpu.onednn_works.__wrapped__()


@pytest.mark.parametrize(("name", "options"), [("simple_baseline", {"channels": 64}), ("motionbert_tiny", {})])
def test_model_does_not_depend_on_the_way(
    name: str, options: dict, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = create_model(name, **options).to(device).eval()
    points = torch.randn(*((400, 32) if name == "simple_baseline" else (1, 81, 17, 3)), device=device)
    out = []
    for way in (False, ONEDNN):
        for choice in ("onednn_is_faster", "onednn_works"):
            monkeypatch.setattr(cpu, choice, lambda way=way: way)
        with torch.no_grad():
            out.append([model(points)])
        model.zero_grad()
        pose = model(points)  # with gradients
        pose.square().mean().backward()
        out[-1] += [pose.detach(), *(parameter.grad.clone() for parameter in model.parameters())]
    torch.testing.assert_close(out[0], out[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("description", "family"),
    [
        (LINUX.format(vendor="AuthenticAMD", family=26), 26),
        (LINUX.format(vendor="AuthenticAMD", family=25), 25),
        (LINUX.format(vendor="GenuineIntel", family=6), 0),
        (WINDOWS_ZEN5, 26),
        ("Intel64 Family 6 Model 183 Stepping 1, GenuineIntel", 0),
        ("arm", 0),
        ("", 0),
    ],
)
def test_amd_family(description: str, family: int) -> None:
    assert amd_family(description) == family


@needs_onednn
def test_rule_wants_amd_with_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(processor: str, capability: str) -> bool:
        monkeypatch.setattr(cpu, "_describe_processor", lambda: processor)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        monkeypatch.setattr(cpu, "onednn_works", works)
        return cpu.onednn_is_faster.__wrapped__()

    works = cpu.onednn_works.__wrapped__
    assert verdict(WINDOWS_ZEN5, "AVX512")
    assert not verdict(WINDOWS_ZEN5, "AVX2")
    assert not verdict(LINUX.format(vendor="GenuineIntel", family=26), "AVX512")
    assert verdict(LINUX.format(vendor="AuthenticAMD", family=25), "AVX512")
    assert not verdict(LINUX.format(vendor="AuthenticAMD", family=25), "AVX2")  # Zen 3
