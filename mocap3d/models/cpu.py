"""Faster linear layers and dropout on CPUs: the only code that depends on the processor (a sealed room).

Promise: `linear`, `linear_gelu` and `dropout` compute what torch's own compute, up to float32 rounding (dropout:
with the same probability, from torch's generator), and equal runs on the same machine stay equal bit for bit.

Linear. On a CPU, `torch.nn.functional.linear` computes float32 products with Intel's MKL, which does not reach full
speed on AMD processors with AVX-512. oneDNN, also part of torch, does. GFLOP/s:

    Zen 4, one thread, 256 -> 768 channels:     MKL 98, oneDNN 105
    Zen 5, one thread, 1024 to 2048 channels:   MKL 97 to 102, oneDNN 220 to 228
    Zen 5, two threads, 1024 to 2048 channels:  MKL 207, oneDNN 451

oneDNN's own linear layer, with GELU in the same call, is what torch.compile uses. It has no gradient of its own and no
documented name, so it is used after one check that it exists and computes correctly. `OneDNNLinear` gives it a
gradient: both products of the backward pass are linear layers, too.

On AMD's Zen 3 both are equally fast on one thread; on two, MKL is a fifth faster in the backward pass. On a fifth
generation Intel Xeon (AVX-512, one thread) both reach 138 to 157 for the layers of MotionBERT. Followed by GELU, MKL
reaches 100 and 128 (512 and 256 -> 1024), oneDNN with fused GELU 139 and 125, and a whole forward pass of
MotionBERT-Lite takes 12 % less: there, oneDNN is used for that pair only. ARM was not measured. There, and on GPUs,
`F.linear` is used. `python benchmarks/simple_baseline.py` prints the rates. The choice depends on machine, data type
and shapes, never on a timing, so equal runs stay equal bit for bit.

Dropout. Each kept-or-dropped decision of `torch.nn.functional.dropout` costs about 20 ns of one CPU thread (it
draws 53 bits for each), which adds up to a quarter of a training step of SimpleBaseline3D. One random byte is
enough: when 256 p is a whole number, exactly 256 p of the 256 equally likely bytes mean "drop", so the probability
is exactly p. The bytes come from torch's own generator: `torch.manual_seed` makes them repeatable.
"""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.autograd.function import FunctionCtx, once_differentiable

MIN_ROWS = 256  # for fewer, rearranging the weight for oneDNN costs as much as it gains (estimated, not measured)
ZEN_4 = 25  # AMD's processor "family" number; Zen 3 is 25 too, but has no AVX-512


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Apply a linear layer, x @ weight.T + bias, with the fastest implementation known for this device.

    Args:
        x: (..., C_in), no unit.
        weight: (C_out, C_in), as in `nn.Linear`.
        bias: (C_out,) or None.
    Returns:
        (..., C_out), equal to `F.linear` up to float32 rounding.
    Source: own.
    """
    if _has_a_choice(x) and onednn_is_faster():
        product = linear_by_onednn if _needs_no_gradient(x, weight, bias) else OneDNNLinear.apply
        return product(x, weight, bias)
    return F.linear(x, weight, bias)


def linear_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`linear`, then the exact (erf) GELU; fused where that is known to be faster."""
    if _has_a_choice(x) and onednn_works() and _needs_no_gradient(x, weight, bias):
        return linear_by_onednn(x, weight, bias, gelu=True)
    return F.gelu(linear(x, weight, bias))


def _has_a_choice(x: torch.Tensor) -> bool:
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != torch.float32:
        return False  # torch.compile chooses for itself
    return x.numel() >= MIN_ROWS * x.shape[-1] and not torch.is_autocast_enabled("cpu")


def _needs_no_gradient(*tensors: torch.Tensor | None) -> bool:
    return not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in tensors)


def linear_by_onednn(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, gelu: bool = False
) -> torch.Tensor:
    """Apply a linear layer, and optionally GELU, in one oneDNN call; no gradient. Arguments as in `linear`."""
    after = ("gelu", [], "none") if gelu else ("none", [], "")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *after)


class OneDNNLinear(torch.autograd.Function):
    """`linear_by_onednn` with a gradient, by the same product."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:  # (..., C_in), (C_out, C_in), (C_out,) -> (..., C_out)
        ctx.save_for_backward(x, weight)
        return linear_by_onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # (..., C_out)
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows, upstream_rows = x.flatten(0, -2), upstream.flatten(0, -2)  # (N, C_in), (N, C_out)
        return (
            linear_by_onednn(upstream, weight.T) if needs_x else None,  # (..., C_in)
            linear_by_onednn(upstream_rows.T, rows.T) if needs_weight else None,  # (C_out, C_in)
            upstream_rows.sum(0) if needs_bias else None,
        )


@cache
def onednn_is_faster() -> bool:
    """True on AMD processors with AVX-512, if this version of torch has oneDNN's linear layer as called here."""
    return onednn_works() and amd_family(_describe_processor()) >= ZEN_4


@cache
def onednn_works() -> bool:
    """True on processors with AVX-512, if this version of torch has oneDNN's linear layer as called here."""
    if not _has_avx512():
        return False
    x, weight, bias = torch.linspace(-1, 1, 6).view(2, 3), torch.linspace(-1, 2, 12).view(4, 3), torch.ones(4)
    try:
        with torch.no_grad():
            found = [linear_by_onednn(x, weight, bias, gelu) for gelu in (False, True)]
    except (AttributeError, RuntimeError, TypeError):  # missing, or with another signature, in other versions of torch
        return False
    plain = F.linear(x, weight, bias)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, (plain, F.gelu(plain)), strict=True))


def _has_avx512() -> bool:
    """True if the processor has AVX-512, and torch has both MKL and oneDNN."""
    backends = torch.backends
    if not (backends.mkl.is_available() and backends.mkldnn.is_available()):
        return False
    return backends.cpu.get_cpu_capability() == "AVX512"


def amd_family(description: str) -> int:
    """The processor family in the text of /proc/cpuinfo or Windows' platform.processor(); 0 if it is not from AMD."""
    family = re.search(r"family\s*:?\s*(\d+)", description, re.IGNORECASE)
    return int(family[1]) if family and "AuthenticAMD" in description else 0


def _describe_processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")[:4096]
    except OSError:  # not Linux
        return platform.processor()


def dropout(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p); in evaluation, return x unchanged.

    Args:
        x: any shape, no unit.
        p: probability of dropping, 0 <= p < 1.
        training: False turns dropout off.
    Returns:
        the same shape.
    Raises:
        ValueError: for a probability outside [0, 1).
    Source: Srivastava et al. 2014, with the usual scaling during training instead of testing. The mask is our own.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"p={p}: a probability of dropping must be at least 0 and below 1")
    if not training or p == 0.0:
        return x
    threshold = 256 * p
    if x.device.type != "cpu" or not threshold.is_integer() or torch.compiler.is_compiling():
        return F.dropout(x, p)
    # random_ fills all 64 bits of an integer only if its range starts at the lowest one
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.uint8)[: x.numel()].to(x.dtype).ge_(threshold)  # 1.0 or 0.0
    return x * keep.mul_(1.0 / (1.0 - p)).view(x.shape)
