"""Right answers to all parts of the assignments: the source of cells; numbers are computed from the task."""

ANSWERS = {}

ANSWERS[1] = """
def to_camera(points, axes, position):
    return (points - position) @ axes.T

def project(points, focal, centre):
    z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    return focal * points[..., :2] / z + centre

def flip_pose(pixels, width):
    joints = mocap3d.H36M17.joints
    other = {"left": "right", "right": "left"}
    order = [joints.index("_".join([other.get(word, word) for word in name.split("_")])) for name in joints]
    flipped = pixels[..., order, :].copy()
    flipped[..., 0] = width - flipped[..., 0]
    return flipped

def two_ends(start, ray, length):
    ray = ray / np.linalg.norm(ray)
    middle = start @ ray
    square = length**2 - (start @ start - middle**2)
    if square < 0:
        return np.full((2, 3), np.nan)
    return np.outer([middle - square**0.5, middle + square**0.5], ray)

depth = task.camera.focal[0] * task.bone / task.pixels
"""

ANSWERS[2] = """
def mpjpe(prediction, truth):
    return np.nanmean(np.linalg.norm(prediction - truth, axis=-1))

def align(p, t):
    a, b = p - p.mean(0), t - t.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    d = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (s * d).sum() / (a**2).sum() * a @ (u * d) @ vt + t.mean(0)

def p_mpjpe(prediction, truth):
    return np.mean([mpjpe(align(p, t), t) for p, t in zip(prediction, truth)])

def diagnose(prediction, truth):
    if mpjpe(prediction, truth) < 0.03:
        return "fine"
    if mpjpe(prediction - (prediction - truth).mean((0, 1)), truth) < 0.03:
        return "shifted"
    if mpjpe(prediction * [-1, 1, 1], truth) < 0.03:
        return "mirrored"
    factor = (prediction * truth).sum() / (prediction**2).sum()
    return "scaled" if mpjpe(factor * prediction, truth) < 0.05 else "shuffled"

def grouped(column):
    groups = {}
    for row in task.table:
        groups.setdefault(row[column], []).append(row)
    return np.mean([sum(r[2] * r[3] for r in rows) / sum(r[2] for r in rows) for rows in groups.values()])

means = [sum(r[2] * r[3] for r in task.table) / sum(r[2] for r in task.table), grouped(1), grouped(0)]
"""

ANSWERS[3] = """
import numpy as np


def receptive_field(widths, dilations):
    return 1 + sum((width - 1) * step for width, step in zip(widths, dilations))

def measured_field(model, frames):
    x = torch.zeros(1, frames, 3, requires_grad=True)
    model(x)[0, 0].sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0]
    return int(seen[-1] - seen[0]) + 1

def train(model, x, y, epochs, batch, rate, seed):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            loss = (model(x[rows]) - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    model.eval()
    return losses

widths = [task.widest]
while np.prod(widths) < task.seconds * task.fps:
    widths.append(task.widest)

def padded(points, field):
    return np.pad(points, ((field // 2, field // 2), (0, 0), (0, 0)), mode="edge")
"""
