"""Faster linear layers and dropout on CPUs: the only code that depends on the processor (a sealed room).

Promise: `linear`, `linear_gelu` and `dropout` compute what torch's own compute, up to float32 rounding (dropout:
with the same probability, from torch's generator), and equal runs on the same machine stay equal bit for bit.

Linear. On a CPU, `torch.nn.functional.linear` computes float32 products with Intel's MKL, which does not reach full
speed on AMD processors with AVX-512. oneDNN, also part of torch, does. GFLOP/s for 256 -> 768 channels and 4131
rows:

    Zen 4, one thread:                  MKL 98,  1x1 convolution 98,  oneDNN's linear 105
    Zen 5 (probably), two threads:      MKL 165, 1x1 convolution 374, oneDNN's linear 368

oneDNN's own linear layer, with GELU in the same call, is what torch.compile uses. It has no gradient and no
documented name, so it is used where no gradient is needed, after one check that it exists and computes correctly. With
gradients, Zen 5 uses the convolution: a linear layer *is* a convolution with a 1x1 kernel over an "image" whose
pixels are the rows, and rows of channels already have the memory layout of a channels-last image, so nothing is
copied. The weights are those of `nn.Linear` either way.

On AMD's Zen 3 all are equally fast on one thread; on two, MKL is a fifth faster in the backward pass. On a fifth
generation Intel Xeon (AVX-512, one thread) all three reach 138 to 157 for the layers of MotionBERT. Followed by
GELU, MKL reaches 100 and 128 (512 and 256 -> 1024), oneDNN with fused GELU 139 and 125, and a whole forward
pass of MotionBERT-Lite takes 12 % less: there, oneDNN is used for that pair only. ARM was not measured. There, and
on GPUs, `F.linear` is used. `python benchmarks/simple_baseline.py` prints the rates. The choice depends on machine,
data type and shapes, never on a timing, so equal runs stay equal bit for bit.

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

MIN_ROWS = 256  # for fewer, rearranging the weight for oneDNN costs as much as it gains (estimated, not measured)
ZEN_4, ZEN_5 = 25, 26  # AMD's processor "family" numbers; Zen 3 is 25 too, but has no AVX-512


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
    if _has_a_choice(x):
        if onednn_is_faster() and _needs_no_gradient(x, weight, bias):
            return linear_by_onednn(x, weight, bias)
        if convolution_is_faster():
            return linear_as_convolution(x, weight, bias)
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


def linear_as_convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Apply a linear layer as a 1x1 convolution over an image one pixel high; arguments and result as in `linear`."""
    image = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C_in, 1, N), channels last
    image = F.conv2d(image, weight[:, :, None, None], bias)  # (1, C_out, 1, N)
    return image.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])  # (..., C_out)


@cache
def onednn_is_faster() -> bool:
    """True on AMD processors with AVX-512, if this version of torch has oneDNN's linear layer as called here."""
    return _is_amd_with_avx512(ZEN_4) and onednn_works()


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


@cache
def convolution_is_faster() -> bool:
    """True on processors where MKL is known to be much slower than oneDNN: AMD Zen 5 or later."""
    return _is_amd_with_avx512(ZEN_5)


def _has_avx512() -> bool:
    """True if the processor has AVX-512, and torch has both MKL and oneDNN."""
    backends = torch.backends
    if not (backends.mkl.is_available() and backends.mkldnn.is_available()):
        return False
    return backends.cpu.get_cpu_capability() == "AVX512"


def _is_amd_with_avx512(family: int) -> bool:
    return _has_avx512() and amd_family(_describe_processor()) >= family


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
