"""Dropout drops with probability p, scales by 1 / (1 - p), and repeats with torch's seed."""

from __future__ import annotations

import math

import pytest
import torch

from mocap3d.models.cpu import dropout

N = 200_003  # odd: the last random word is used in part


@pytest.mark.parametrize("p", [0.5, 0.25, 3 / 256, 0.1])  # 0.1 is no multiple of 1/256: torch's own dropout
def test_probability_and_scale(p: float, device: torch.device) -> None:
    torch.manual_seed(3)
    out = dropout(torch.ones(N, device=device), p, training=True)
    kept = out != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - p)))
    sigma = math.sqrt(p * (1 - p) / N)
    assert abs((~kept).double().mean().item() - p) < 4 * sigma


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 64])
def test_decisions_do_not_depend_on_neighbours(lag: int, device: torch.device) -> None:
    torch.manual_seed(5)
    kept = (dropout(torch.ones(N, device=device), 0.5, training=True) != 0).double() - 0.5
    correlation = (kept[lag:] * kept[:-lag]).mean().item() / 0.25
    assert abs(correlation) < 4 / math.sqrt(N)


def test_calls_differ_and_seeds_repeat(device: torch.device) -> None:
    x = torch.ones(37, 5, device=device)
    torch.manual_seed(11)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(11)
    again = dropout(x, 0.5, True)
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert first.shape == x.shape and first.dtype == x.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_the_mask(dtype: torch.dtype, device: torch.device) -> None:
    x = torch.full((64, 33), 2.0, dtype=dtype, device=device, requires_grad=True)
    out = dropout(x, 0.25, True)
    out.sum().backward()
    assert out.dtype == dtype
    torch.testing.assert_close(x.grad, out.detach() / 2)


def test_off_in_evaluation_and_at_zero(device: torch.device) -> None:
    x = torch.randn(4, 3, device=device)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_impossible_probability(p: float, device: torch.device) -> None:
    with pytest.raises(ValueError, match="below 1"):
        dropout(torch.ones(3, device=device), p, True)
