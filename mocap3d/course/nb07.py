"""Checks of the exercises of notebook 07; each returns what is wrong, or None."""

from __future__ import annotations

import torch

from mocap3d.course.check import near
from mocap3d.training.losses import weighted_2d


def by_hand(answer: object) -> str | None:
    """(2D loss of three joints, probability of masked frames)."""
    loss, frames = answer
    off, seen = torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.1, 0.0]]), torch.tensor([0.5, 1.0, 0.0])
    expected = weighted_2d(off, torch.zeros(3, 2), seen).item()
    return near(loss, expected, 0.001, "the 2D loss") or near(frames, 1 - 0.6 / 0.85, 0.002, "probability of frames")


def long_holes(answer: object) -> str | None:
    """long_holes(x, share): (B, T, J, 3) -> the same, joints masked for whole clips."""
    x = torch.rand(600, 9, 17, 3, generator=torch.Generator().manual_seed(0)) + 1  # nowhere zero
    given = x.clone()
    for share in (0.2, 0.5):
        masked = answer(x, share)
        if not torch.equal(x, given):
            return "it changes its input; return a new tensor"
        if masked.shape != x.shape:
            return f"{tuple(x.shape)} becomes {tuple(masked.shape)}"
        gone = (masked == 0).all(-1)  # (B, T, J)
        if not torch.equal(torch.where(gone[..., None], 0, x), masked):
            return "a joint that is not masked must stay as it was, one that is must be three zeros"
        if (gone.any(1) != gone.all(1)).any():
            return "some joints are masked for a part of their clip only: how many draws has a joint of a clip?"
        rate = gone.float().mean().item()
        if abs(rate - share) > 0.03:
            return f"with share={share} {rate:.0%} of all tokens are masked"
        if (gone == gone[:, :, :1]).all() or (gone == gone[:1]).all():
            return "all joints of a clip, or all clips, share one draw; draw for each joint of each clip"
    return None


def head_alone(answer: object) -> str | None:
    """(the pretrained network, a copy of which only the head was trained)."""
    before, after = ({name: value.cpu() for name, value in model.state_dict().items()} for model in answer)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    if not changed:
        return "the two networks are the same: was it the copy that was trained?"
    if others := [name for name in changed if not name.startswith("head.")]:
        return f"{others[0]} changed too; which parameters still take a gradient?"
    return None


CHECKS = {"1": by_hand, "2": long_holes, "4": head_alone}
