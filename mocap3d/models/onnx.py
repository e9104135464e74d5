"""A trained model as an ONNX file, for programs without Python or torch."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from mocap3d.files import write_whole
from mocap3d.models.lifter import JOINTS, Lifter

LONGEST, LARGEST = 1_000_000, 65_536  # frames and clips at once, of which the graph knows


class _FromPointsToPoses(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, points2d: Tensor, confidence: Tensor) -> Tensor:
        return self.model.decode(self.model(self.model.encode(points2d, confidence)))


def export_onnx(model: Lifter, path: str | os.PathLike) -> Path:
    """Write a model with everything from 2D joints to poses, for batches and clips of any length.

    The graph has the inputs `points2d` (B, T, 17, 2), h36m17, as the model's `normalise` says (screen units for
    "published", see `camera.pixels_to_screen`; else see `normalise.normalised`), without NaN, and `confidence`
    (B, T, 17), which most models ignore; and the output `poses` (B, T', 17, 3) in the model's space, not re-centred
    on the root. A clipwise model takes 1 to R frames and gives as many poses; any other takes more than R (the
    receptive field) and gives T - R + 1, so repeat the first and last frame; a single-frame model takes one.

    Args:
        model: fulfils `Lifter`, on the CPU.
        path: an existing file is replaced, once the new one is complete.
    Returns:
        the path.
    Raises:
        ImportError: without onnx and onnxscript (mocap3d[video]).
    Source: own; torch.onnx.
    """
    try:
        import onnxscript  # noqa: F401  torch.onnx imports it late, and says less
    except ImportError:
        raise ImportError('exporting to ONNX needs onnx and onnxscript: pip install "mocap3d[video]"') from None
    field, training = model.receptive_field, model.training
    frames = 1 if field == 1 else 2 if model.clipwise else field + 2
    shape = {0: torch.export.Dim("batch", max=LARGEST)}
    if field > 1:
        shortest, longest = (1, field) if model.clipwise else (field + 1, LONGEST)
        shape[1] = torch.export.Dim("frames", min=shortest, max=longest)
    example = torch.rand(2, frames, JOINTS, 2), torch.ones(2, frames, JOINTS)
    try:
        graph = torch.onnx.export(
            _FromPointsToPoses(model).eval(), example, dynamo=True, dynamic_shapes=(shape, shape), verbose=False,
            input_names=["points2d", "confidence"], output_names=["poses"],
        )  # fmt: skip
    finally:
        model.train(training)
    return write_whole(Path(path), lambda temporary: graph.save(str(temporary)))
