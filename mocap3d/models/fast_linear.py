"""How a linear layer is computed: the one place that looks at the device.

On a CPU, `torch.nn.functional.linear` hands float32 products to Intel's MKL, which AMD's processors with AVX-512 do
not run at full speed. oneDNN, which torch has inside as well, does. GFLOP/s of 256 -> 768 channels, 4131 rows:

    Zen 4, one thread:                  MKL 98,  1x1 convolution 98,  oneDNN's linear 105
    Zen 5 (probably), two threads:      MKL 165, 1x1 convolution 374, oneDNN's linear 368

oneDNN's own linear layer, with GELU in the same call, is what torch.compile uses. It has no gradient and no documented
name, so it serves where no gradient is asked for, after one look whether it is there and right. With gradients Zen 5
gets the convolution: a linear layer *is* a convolution with a 1x1 kernel over an "image" whose pixels are the rows, and
rows of channels already lie in memory as a channels-last image, so nothing is copied. Weights stay those of
`nn.Linear` either way.

On an AMD Zen 3 all are equally fast on one thread, and MKL leads by a fifth backward on two. On an Intel Xeon of the
fifth generation (AVX-512, one thread) all three reach 138 to 157 for the layers of MotionBERT, but with GELU after it
MKL reaches 100 and 128 (512 and 256 -> 1024), oneDNN with GELU inside 139 and 125, and a whole forward pass of
MotionBERT-Lite takes 12 % less: there oneDNN serves for that pair alone. ARM was not measured. There, and on GPUs,
`F.linear` is used. `python benchmarks/simple_baseline.py` prints the rates.
The choice depends on machine, data type and shapes, never on a timing: equal runs stay equal bit for bit.
"""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

MIN_ROWS = (
    256  # for fewer, rearranging the weight for oneDNN costs as much as it gains (estimated, not measured)
)
ZEN_4, ZEN_5 = 25, 26  # the processor "family" AMD gave them; Zen 3 is 25 too, without AVX-512


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Apply a linear layer, x @ weight.T + bias, in the fastest way known for this device.

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
    """`linear`, then the exact (erf) GELU; in one go where that is known to be faster."""
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
    """Apply a linear layer, and GELU if wanted, by one call of oneDNN; without gradient. Arguments as in `linear`."""
    after = ("gelu", [], "none") if gelu else ("none", [], "")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *after)


def linear_as_convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Apply a linear layer as a 1x1 convolution over an image one pixel high; arguments and result as in `linear`."""
    image = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C_in, 1, N), channels last
    image = F.conv2d(image, weight[:, :, None, None], bias)  # (1, C_out, 1, N)
    return image.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])  # (..., C_out)


@cache
def onednn_is_faster() -> bool:
    """True on AMD's processors with AVX-512, if this torch has oneDNN's linear layer as it is called here."""
    return _is_amd_with_avx512(ZEN_4) and onednn_works()


@cache
def onednn_works() -> bool:
    """True on processors with AVX-512, if this torch has oneDNN's linear layer as it is called here."""
    if not _has_avx512():
        return False
    x, weight, bias = torch.linspace(-1, 1, 6).view(2, 3), torch.linspace(-1, 2, 12).view(4, 3), torch.ones(4)
    try:
        with torch.no_grad():
            found = [linear_by_onednn(x, weight, bias, gelu) for gelu in (False, True)]
    except (
        AttributeError,
        RuntimeError,
        TypeError,
    ):  # gone, or called otherwise, in another version of torch
        return False
    plain = F.linear(x, weight, bias)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, (plain, F.gelu(plain)), strict=True))


@cache
def convolution_is_faster() -> bool:
    """True on processors where MKL is known to fall far behind oneDNN: AMD, Zen 5 or later."""
    return _is_amd_with_avx512(ZEN_5)


def _has_avx512() -> bool:
    """And torch both MKL and oneDNN."""
    backends = torch.backends
    if not (backends.mkl.is_available() and backends.mkldnn.is_available()):
        return False
    return backends.cpu.get_cpu_capability() == "AVX512"


def _is_amd_with_avx512(family: int) -> bool:
    return _has_avx512() and amd_family(_describe_processor()) >= family


def amd_family(description: str) -> int:
    """The processor family in the text of /proc/cpuinfo or Windows' platform.processor(); 0 when it is not AMD's."""
    family = re.search(r"family\s*:?\s*(\d+)", description, re.IGNORECASE)
    return int(family[1]) if family and "AuthenticAMD" in description else 0


def _describe_processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")[:4096]
    except OSError:  # not Linux
        return platform.processor()
