"""Checks of the exercises of notebook 06; each returns what is wrong, or None."""

from __future__ import annotations

import torch

from mocap3d.course.check import near
from mocap3d.weights import load_shipped


def by_hand(answer: object) -> str | None:
    """(answer of the query, number of weights split, and all together) for a minute at 50 frames a second."""
    looked_up, split, together = answer
    query, keys = torch.tensor([2.0, 1.0]).log(), torch.tensor([[2**0.5, 0], [0, 5], [0, 0]])
    expected = (keys @ query / 2**0.5).softmax(0) @ torch.tensor([4.0, 0, 8])
    frames, joints = 60 * 50, 17
    return (
        near(looked_up, expected.item(), 0.01, "the answer of the query")
        or near(split, frames * joints * (frames + joints), 0, "weights of a minute, split")
        or near(together, (frames * joints) ** 2, 0, "weights of a minute, all together")
    )


def without_clock(answer: object) -> str | None:
    """The package's network with its frame embedding set to zero."""
    shipped = load_shipped("motionbert").state_dict()
    values = {name: value.cpu() for name, value in answer.state_dict().items()}
    if changed := [
        name for name in shipped if name != "frame_embedding" and not torch.equal(shipped[name], values[name])
    ]:
        return f"{changed[0]} differs from the network of the package; change a copy, and its frame embedding alone"
    generator = torch.Generator().manual_seed(0)
    x, order = torch.randn(1, 27, 17, 3, generator=generator), torch.randperm(27, generator=generator)
    x = x.to(answer.frame_embedding.device)
    with torch.no_grad():
        gap = (answer(x[:, order]) - answer(x)[:, order]).abs().max()
    return None if gap < 1e-3 else f"shuffled frames change the poses by up to {gap:.2f}: what tells it their order?"


CHECKS = {"1": by_hand, "2": without_clock}
