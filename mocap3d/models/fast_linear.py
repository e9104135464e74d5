"""How a linear layer is computed: the one place that looks at the device.

On a CPU, `torch.nn.functional.linear` hands float32 products to Intel's MKL. On the newest AMD processors MKL leaves
half of the vector width unused, and oneDNN, which torch uses for convolutions, is more than twice as fast: 374 against
165 GFLOP/s was measured for 256 -> 768 channels on two threads of one (its model was not noted, but only Zen 5 is that
fast, so that is where the rule below begins). A linear layer *is* a convolution with a 1x1 kernel over an "image" whose
pixels are the rows, and rows of channels already lie in memory as a channels-last image, so nothing is copied and the
weight stays that of `nn.Linear`.

On an AMD Zen 3 both are equally fast on one thread, and MKL leads by a fifth backward on two. Zen 4, Intel and ARM
were not measured. There, and on GPUs, `F.linear` is used. `python benchmarks/simple_baseline.py` prints both rates.
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
ZEN_5 = 26  # the processor "family" AMD gave Zen 5; Zen 3 and Zen 4 are 25


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
    if x.device.type == "cpu" and x.dtype == torch.float32 and convolution_is_faster():
        if x.numel() >= MIN_ROWS * x.shape[-1]:
            return linear_as_convolution(x, weight, bias)
    return F.linear(x, weight, bias)


def linear_as_convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Apply a linear layer as a 1x1 convolution over an image one pixel high; arguments and result as in `linear`."""
    image = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C_in, 1, N), channels last
    image = F.conv2d(image, weight[:, :, None, None], bias)  # (1, C_out, 1, N)
    return image.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])  # (..., C_out)


@cache
def convolution_is_faster() -> bool:
    """True on processors where MKL is known to fall far behind oneDNN: AMD, Zen 5 or later."""
    backends = torch.backends
    if not (backends.mkl.is_available() and backends.mkldnn.is_available()):
        return False
    return backends.cpu.get_cpu_capability() == "AVX512" and amd_family(_describe_processor()) >= ZEN_5


def amd_family(description: str) -> int:
    """The processor family in the text of /proc/cpuinfo or Windows' platform.processor(); 0 when it is not AMD's."""
    family = re.search(r"family\s*:?\s*(\d+)", description, re.IGNORECASE)
    return int(family[1]) if family and "AuthenticAMD" in description else 0


def _describe_processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")[:4096]
    except OSError:  # not Linux
        return platform.processor()
