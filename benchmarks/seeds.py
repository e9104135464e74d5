"""Numbers of several seeds, in print."""

from __future__ import annotations

import numpy as np


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds where there are several: "92.9 ± 2.6"."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")
