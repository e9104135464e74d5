"""Made-up motion for the tests of cameras and bodies: people who walk about and wave their limbs."""

from __future__ import annotations

import torch

from mocap3d.skeleton import H36M17

# facing +y, arms a little forward, knees bent: (right, front, up) in metres
STANDING = {
    "pelvis": (0, 0, 0.93),
    "spine": (0, -0.02, 1.17),
    "thorax": (0, -0.02, 1.42),
    "nose": (0, 0.07, 1.53),
    "head": (0, 0.03, 1.63),
    "hip": (0.13, 0, 0.93),
    "knee": (0.14, 0.12, 0.50),
    "foot": (0.15, -0.02, 0.06),
    "shoulder": (0.16, 0, 1.38),
    "elbow": (0.24, -0.05, 1.10),
    "wrist": (0.22, 0.1, 0.87),
}


def standing() -> torch.Tensor:
    """(17, 3) a body that faces world +y, metres, float64."""
    rows = []
    for joint in H36M17.joints:
        x, y, z = STANDING[joint.removeprefix("left_").removeprefix("right_")]
        rows.append((-x if H36M17.side(joint) == "left" else x, y, z))
    return torch.tensor(rows, dtype=torch.float64)


def people(lengths=(30, 45, 60), seed: int = 0, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Walkers of different sizes and headings: (N, 17, 3) world metres, and (N,) which clip a frame belongs to."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.rand(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    clips = []
    for length in lengths:
        time = torch.arange(length, dtype=torch.float64)[:, None, None] / 50
        body = standing() * (0.85 + 0.3 * draw(1))
        wave = 0.08 * (2 * torch.pi * (draw(17, 3) * 1.5 * time + draw(17, 3))).sin()
        wave[:, H36M17.indices(["pelvis", "left_hip", "right_hip"])] *= 0.1
        angle = 2 * torch.pi * draw(1)
        turn = torch.tensor([[angle.cos(), angle.sin(), 0], [-angle.sin(), angle.cos(), 0], [0, 0, 1]]).double()
        walked = torch.cat([2 * draw(2) - 1, torch.zeros(1)]).double() * time
        clips.append((body + wave) @ turn + walked + torch.cat([4 * draw(2) - 2, torch.zeros(1)]))
    clip = torch.repeat_interleave(torch.tensor(lengths))
    return torch.cat(clips).to(dtype), clip
