"""Dropout whose random mask is cheap on a CPU.

Each kept-or-dropped decision of `torch.nn.functional.dropout` costs about 20 ns of one CPU thread (it draws 53 bits
for each), which adds up to a quarter of a training step of SimpleBaseline3D. One random byte decides as well: when
256 p is a whole number, exactly 256 p of the 256 equally likely bytes mean "drop", so the probability is exactly p.
The bytes come from torch's own generator: `torch.manual_seed` makes them repeatable.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


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
    Source: Srivastava et al. 2014, with the usual scaling during training instead of testing. The mask is own work.
    """
    if not 0.0 <= p < 1.0:
        raise ValueError(f"p={p}: a probability of dropping must be at least 0 and below 1")
    if not training or p == 0.0:
        return x
    threshold = 256 * p
    if x.device.type != "cpu" or not threshold.is_integer() or torch.compiler.is_compiling():
        return F.dropout(x, p)
    # random_ fills all 64 bits of an integer only when told to start at the lowest one
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.uint8)[: x.numel()].to(x.dtype).ge_(threshold)  # 1.0 or 0.0
    return x * keep.mul_(1.0 / (1.0 - p)).view(x.shape)
