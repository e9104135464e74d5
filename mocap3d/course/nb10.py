"""Checks of the exercises of notebook 10; each returns what is wrong, or None."""

from __future__ import annotations

import torch
from torch import nn

from mocap3d.skeleton import H36M17


def repaired(answer: object) -> str | None:
    """A module: (B, T, 17, 2) -> (B, T, 17, 3), of joints about the mean of the joints of their own frame."""
    if not isinstance(answer, nn.Module):
        return f"give the network itself, not {type(answer).__name__}"
    x = torch.rand(4, 1, len(H36M17), 2, generator=torch.Generator().manual_seed(0))
    aside = torch.tensor([0.3, -0.2])
    answer = answer.eval()
    with torch.no_grad():
        output, alone, moved, shifted = answer(x), answer(x[1:2]), answer(2 * x), answer(x + aside)
    if tuple(output.shape) != (4, 1, len(H36M17), 3):
        return f"of an input {tuple(x.shape)} it makes {tuple(output.shape)}"
    if not torch.allclose(output[1:2], alone, atol=1e-5):
        return "the pose of a clip changes with the other clips in its batch: which axis does the sum run over?"
    if torch.allclose(output, moved):
        return "its pose does not depend on where the joints are"
    if not torch.allclose(output, shifted, atol=1e-4):
        return "its pose changes if the whole body moves in the picture: subtract the mean of its joints, in x and in y"
    return None


def summed(answer: object) -> str | None:
    """joints_from_bones(bones): (..., 17, 3) vectors from each joint's parent -> (..., 17, 3), pelvis at the origin."""
    bones = torch.randn(2, 5, len(H36M17), 3, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(bones)
    for parent, child in H36M17.bones:  # from the root outwards
        expected[..., child, :] = expected[..., parent, :] + bones[..., child, :]
    found = answer(bones.clone())
    if not isinstance(found, torch.Tensor) or found.shape != bones.shape:
        return f"of a tensor {tuple(bones.shape)} it makes {tuple(getattr(found, 'shape', ())) or type(found).__name__}"
    off = (found - expected).norm(dim=-1).amax((0, 1))  # (17,)
    if off[H36M17.index("pelvis")] > 1e-5:
        return "the pelvis is not at the origin"
    if off.max() > 1e-4:
        names = [name for name, wrong in zip(H36M17.joints, off.tolist(), strict=True) if wrong > 1e-4]
        return f"wrong at {', '.join(names)}: add up every bone between the pelvis and the joint"
    return None


CHECKS = {"1": repaired, "2": summed}
