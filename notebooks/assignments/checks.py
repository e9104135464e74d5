"""What the answers to the assignments must fulfil, tried on numbers that are drawn from a student's seed.

    task, check = checks.assignment(1, SEED)   # in a notebook: your numbers, and check("1.1", to_camera)

The checks try properties, and compare with values they compute; nothing is stored. Students get a copy of this file to
check themselves. `grade.py` uses its own: whatever is changed in the copy changes no mark.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
import zlib
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from mocap3d import H36M17, Camera, metrics, synthesize
from mocap3d.course.check import near

ACTIONS = ("Walking", "Greeting", "Phoning", "Discussion", "Directions", "Purchases")
KINDS = ("fine", "shifted", "scaled", "mirrored", "shuffled")
quiet = False  # set by grade.py while it runs a notebook: it checks afterwards, one answer at a time


def seed_of(student: str, course: str = "") -> int:
    """The seed of a student's numbers; another course (a year, say) gives the same name other numbers."""
    return zlib.crc32(unicodedata.normalize("NFC", f"{course}/{student}").encode())  # macOS may take an é apart


def assignment(number: int, seed: int) -> tuple[SimpleNamespace, object]:
    """The numbers of one student, and check(name, answer), which prints what is wrong with an answer.

    Args:
        number: 1, 2 or 3. seed: see `seed_of`.
    """
    task = TASKS[number](seed)

    def check(name: str, answer: object) -> None:
        if not quiet:
            said = judge(name, answer, task)
            print(f"{name}: right ({CHECKS[name][1]} points)" if said is None else f"{name}: not yet. {said}")

    return task, check


def judge(name: str, answer: object, task: SimpleNamespace) -> str | None:
    """What is wrong with an answer to part `name`, such as "1.1"; None if it is right."""
    if answer is ...:
        return "not answered"
    try:
        return CHECKS[name][2](answer, task)
    except Exception as error:  # whatever an answer raises is what is wrong with it
        return f"it raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def differs(answer: object, expected: np.ndarray, what: str, within: float = 1e-6) -> str | None:
    """What is wrong with an array: its shape, where it is NaN, or its values."""
    answer = np.asarray(answer, dtype=float)
    if answer.shape != expected.shape:
        return f"{what}: the shape is {answer.shape} instead of {expected.shape}"
    if (np.isnan(answer) != np.isnan(expected)).any():
        return f"{what}: NaN where there should be a number, or a number where there should be NaN"
    gap = np.nanmax(abs(answer - expected), initial=0)
    return f"{what}: off by up to {gap:.3g}" if gap > within else None


# 1 Projection and flips


def person(seed: int) -> SimpleNamespace:
    """Somebody in one moment; a camera, and its axes; the length of a thigh in metres, and of its picture in pixels."""
    rng = np.random.default_rng(seed)
    action, moment = str(rng.choice(ACTIONS)), int(rng.integers(50))
    pose = synthesize("S1", action, seed=int(rng.integers(1000)), seconds=1).slice(moment, moment + 1)
    pelvis, angle = pose.points[0, 0], rng.uniform(0, 2 * math.pi)
    eye = pelvis + rng.uniform(4, 6) * np.array([math.cos(angle), math.sin(angle), rng.uniform(0, 0.4)])
    camera = Camera.look_at(eye, pelvis, fov_degrees=rng.uniform(50, 70), width=int(rng.integers(90, 160)) * 10)
    axes = camera.camera_to_world_direction(np.eye(3))  # rows: right, down, forward of the camera, in the world
    hip, knee = pose.points[0, H36M17.indices(["left_hip", "left_knee"])]
    bone, pixels = float(np.linalg.norm(hip - knee)), int(rng.integers(60, 90))
    return SimpleNamespace(seed=seed, action=action, pose=pose, camera=camera, axes=axes, bone=bone, pixels=pixels)


def to_camera(answer, task) -> str | None:
    rng = np.random.default_rng(task.seed)
    axes, eye = task.axes, np.array(task.camera.translation)
    local = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2.0]])
    wrong = differs(answer(eye + local @ axes, axes, eye), local, "points on the camera's own axes")
    points = rng.normal(size=(2, 5, 3))
    moved = np.asarray(answer(points.copy(), axes, eye), dtype=float)
    if wrong or moved.shape != points.shape:
        return wrong or f"points of shape {points.shape} become {moved.shape}"
    lengths = [np.linalg.norm(p[0] - p[1], axis=-1) for p in (points, moved)]
    return differs(lengths[1], lengths[0], "distances between points")


def project(answer, task) -> str | None:
    focal, centre = np.array(task.camera.focal) * [1, 1.1], np.array(task.camera.centre) + [3, -7]
    points = np.random.default_rng(task.seed).uniform([-1, -1, 2], [1, 1, 6], (4, 6, 3))
    said = np.asarray(answer(points.copy(), focal, centre), dtype=float)
    wrong = differs(answer(np.array([[0, 0, 3.0]]), focal, centre), centre[None], "a point on the axis, in pixels")
    wrong = wrong or differs(answer(2.5 * points, focal, centre), said, "points further out on the same rays")
    wrong = wrong or differs(answer(points, 2 * focal, centre) - centre, 2 * (said - centre), "a lens twice as long")
    at = np.array([[1.0, 0, 2], [0, 1, 2]])
    wrong = wrong or differs(answer(at, focal, centre), centre + np.diag(focal) / 2, "a metre right, a metre down")
    behind = np.array([[0.1, 0.1, -2.0], [0.1, 0.1, 0.0]])
    return wrong or differs(answer(behind, focal, centre), np.full((2, 2), np.nan), "not before the camera")


def flip_pose(answer, task) -> str | None:
    width = task.camera.width
    pixels = np.random.default_rng(task.seed).uniform(0, width, (3, 17, 2))
    pixels[1, 4] = np.nan
    given = pixels.copy()
    flipped = np.asarray(answer(given, width), dtype=float)
    if wrong := differs(given, pixels, "the array that it was given was changed"):
        return wrong
    for name, other in (("pelvis", "pelvis"), ("left_wrist", "right_wrist"), ("right_knee", "left_knee")):
        here, there = flipped[:, H36M17.index(name)], pixels[:, H36M17.index(other)]
        expected = np.stack([width - there[:, 0], there[:, 1]], -1)
        if wrong := differs(here, expected, f"{name}, in pixels"):
            return wrong
    return differs(answer(flipped.copy(), width), pixels, "flipped twice")


def two_ends(answer, task) -> str | None:
    rng = np.random.default_rng(task.seed)
    for _ in range(20):
        start = rng.uniform([-1, -1, 3], [1, 1, 5])
        end = start + task.bone * (direction := rng.normal(size=3)) / np.linalg.norm(direction)
        ends = np.asarray(answer(start.copy(), end * rng.uniform(0.5, 2), task.bone), dtype=float)
        if ends.shape != (2, 3) or not np.isfinite(ends).all():
            return f"give two points, (2, 3), all finite: this ray meets the sphere; got shape {ends.shape}"
        off = np.linalg.norm(np.cross(ends, end), axis=-1) / np.linalg.norm(end)
        if wrong := differs(off, np.zeros(2), "distance of the ends from the ray, metres"):
            return wrong
        if wrong := differs(np.linalg.norm(ends - start, axis=-1), np.full(2, task.bone), "length of the bone, metres"):
            return wrong
        if ends[0] @ end > ends[1] @ end or min(np.linalg.norm(ends - end, axis=-1)) > 1e-6:
            return "the nearer end comes first, and one of the two is the true one"
    missed = answer(np.array([0, 0, 4.0]), np.array([0, 1.0, 1.0]), 0.3)
    return differs(missed, np.full((2, 3), np.nan), "a ray that passes by too far away")


def depth(answer, task) -> str | None:
    return near(answer, task.camera.focal[0] * task.bone / task.pixels, 0.01, "metres")


# 2 Metrics and protocols


def results(seed: int) -> SimpleNamespace:
    """A short motion, (20, 17, 3) metres, root-relative; a table of (source, action, frames, mm)."""
    rng = np.random.default_rng(seed)
    motion = synthesize("S5", str(rng.choice(ACTIONS)), seed=int(rng.integers(1000)), seconds=2).points[::5]
    cells = [(source, action) for source in ("office", "street") for action in ("sitting", "walking", "waving")]
    cells.pop(rng.integers(6))
    table = [(*cell, int(rng.integers(1, 40)) * 50, float(rng.integers(40, 120))) for cell in cells]
    return SimpleNamespace(seed=seed, truth=motion - motion[:, :1], table=table)


def mpjpe(answer, task) -> str | None:
    truth, noise = task.truth, np.random.default_rng(task.seed).normal(size=task.truth.shape) * 0.05
    moved = truth.copy()
    moved[3, 5] += [0.3, 0, 0.4]
    wrong = near(float(answer(moved, truth)), 0.5 / truth[..., 0].size, 1e-9, "metres, one joint once 0.5 m off")
    known = truth.copy()
    known[2:9, 7] = np.nan
    for what, reference in (("all joints off", truth), ("some joints of the truth missing", known)):
        expected = metrics.mpjpe(truth + noise, reference)
        wrong = wrong or near(float(answer(truth + noise, reference.copy())), expected, 1e-6, f"metres, {what}")
    return wrong


def p_mpjpe(answer, task) -> str | None:
    rng, truth = np.random.default_rng(task.seed), task.truth
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    sizes = rng.uniform(0.5, 2, (len(truth), 1, 1))
    noisy = truth + 0.05 * rng.normal(size=truth.shape)
    cases = {
        "each frame turned, scaled and moved": sizes * truth @ turn + rng.normal(size=(len(truth), 1, 3)),
        "all joints off": noisy,
        "mirrored": noisy * [-1, 1, 1],
    }
    for what, guess in cases.items():
        if wrong := near(float(answer(guess, truth)), metrics.p_mpjpe(guess, truth), 1e-6, f"metres, {what}"):
            return wrong
    return None


def corrupted(rng: np.random.Generator, truth: np.ndarray, kind: str) -> np.ndarray:
    """The truth, 10 mm off in every coordinate, and wrong as a whole in one of KINDS."""
    guess = truth + 0.01 * rng.normal(size=truth.shape)
    if kind == "shifted":
        way = rng.normal(size=3)
        guess += rng.uniform(0.15, 0.5) * way / np.linalg.norm(way)
    if kind == "scaled":
        guess *= rng.choice([rng.uniform(0.6, 0.8), rng.uniform(1.25, 1.6)])
    if kind == "mirrored":
        guess *= [-1, 1, 1]
    if kind == "shuffled":
        some = rng.choice([1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16], 8, replace=False)
        guess[:, some] = guess[:, np.roll(some, 1)]
    return guess


def diagnose(answer, task) -> str | None:
    rng = np.random.default_rng(task.seed)
    for kind in rng.permutation(KINDS * 5).tolist():
        said = answer(corrupted(rng, task.truth, kind), task.truth.copy())
        if said != kind:
            return f"a {kind} prediction is called {said!r}"
    return None


def means(answer, task) -> str | None:
    keys = {"frames": lambda row: "all", "actions": lambda row: row[1], "sources": lambda row: row[0]}
    for said, (what, key) in zip(answer, keys.items(), strict=True):
        groups = {}
        for row in task.table:
            groups.setdefault(key(row), []).append(row)
        by_group = [np.average([r[3] for r in g], weights=[r[2] for r in g]) for g in groups.values()]
        if wrong := near(said, float(np.mean(by_group)), 0.05, f"mm, mean over {what}"):
            return wrong
    return None


# 3 A training loop and a receptive field


def network(seed: int) -> SimpleNamespace:
    """Seconds that a network is to see at fps frames a second, with filters of at most `widest` frames."""
    rng = np.random.default_rng(seed)
    seconds, fps = float(rng.integers(2, 9)), int(rng.choice([25, 30, 50, 60]))
    return SimpleNamespace(seed=seed, seconds=seconds, fps=fps, widest=int(rng.choice([3, 5, 7])))


class Convolutions(nn.Module):
    """(1, T, 3) -> (1, T - field + 1, 2): linear convolutions over time, whose weights are all positive."""

    def __init__(self, widths, dilations) -> None:
        super().__init__()
        channels = [3] + [4] * (len(widths) - 1) + [2]
        kinds = zip(itertools.pairwise(channels), widths, dilations, strict=True)
        self.layers = nn.Sequential(*(nn.Conv1d(*c, width, dilation=step) for c, width, step in kinds))
        for value in self.parameters():
            nn.init.uniform_(value, 0.5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


def filters(task) -> list[tuple[list[int], list[int]]]:
    """Widths and dilations, also such as leave frames out."""
    rng = np.random.default_rng(task.seed)
    drawn = [(rng.integers(1, 6, n).tolist(), rng.integers(1, 7, n).tolist()) for n in (1, 2, 3, 4)]
    return [([3], [3]), ([3, 3, 3], [1, 3, 9]), ([1], [1]), *drawn]


def receptive_field(answer, task) -> str | None:
    for widths, dilations in filters(task):
        length = 200
        expected = length - Convolutions(widths, dilations)(torch.zeros(1, length, 3)).shape[1] + 1
        if wrong := near(answer(widths, dilations), expected, 0, f"frames, widths {widths}, dilations {dilations}"):
            return wrong
    return None


def measured_field(answer, task) -> str | None:
    for widths, dilations in filters(task):
        length = 100
        model = Convolutions(widths, dilations).eval()
        expected = length - model(torch.zeros(1, length, 3)).shape[1] + 1
        if wrong := near(answer(model, length), expected, 0, f"frames, of a network with {widths}, {dilations}"):
            return wrong
    return None


class Spy(nn.Module):
    """A linear map that notes which rows it was trained on, in which mode, and whether gradients were fresh."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.linear, self.rows, self.modes, self.fresh, self.stale = nn.Linear(4, 2), [], set(), [], False
        self.linear.weight.register_hook(lambda gradient: self.fresh.append(gradient.clone()))
        self.linear.weight.register_post_accumulate_grad_hook(self._accumulated)

    def _accumulated(self, weight) -> None:
        self.stale |= not torch.equal(weight.grad, self.fresh[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            self.rows.append(x[:, 0].detach().clone())
            self.modes.add(self.training)
        return self.linear(x)


def train(answer, task) -> str | None:
    generator = torch.Generator().manual_seed(task.seed)
    x = torch.randn(50, 4, generator=generator)
    x[:, 0] = torch.linspace(-1, 1, 50)  # tells the rows apart
    y = x @ torch.randn(4, 2, generator=generator)
    epochs, batch, steps = 12, 8, 7  # 7 batches an epoch, the last of 2 rows

    def trained(seed):
        spy = Spy().eval()
        return spy, answer(spy, x.clone(), y.clone(), epochs=epochs, batch=batch, rate=0.05, seed=seed)

    spy, losses = trained(1)
    if not isinstance(losses, list) or len(losses) != epochs * steps or not all(isinstance(v, float) for v in losses):
        return f"it returns a list of floats, one loss a step: {epochs * steps} for 50 rows in batches of {batch}"
    if len(spy.rows) != epochs * steps or [len(rows) for rows in spy.rows[:steps]] != [8] * 6 + [2]:
        return "50 rows in batches of 8 are six batches of 8 and one of 2, in every epoch"
    orders = torch.cat(spy.rows).view(epochs, 50)
    if not torch.equal(orders.sort(1).values, x[:, 0].expand(epochs, 50)):
        return "in every epoch each row is seen exactly once"
    if torch.equal(orders[0], x[:, 0]) or torch.equal(orders[0], orders[1]):
        return "every epoch has another order"
    if spy.modes != {True} or spy.training:
        return "the network is in training mode while it learns, and in evaluation mode when it is returned"
    if spy.stale:
        return "a gradient still holds that of the step before"
    rows = torch.searchsorted(x[:, 0].contiguous(), spy.rows[0])
    expected = (Spy().linear(x[rows]) - y[rows]).square().mean().item()
    wrong = near(losses[0], expected, 1e-5, "the first loss, mean squared error of its batch")
    if wrong or not sum(losses[-steps:]) < 0.2 * sum(losses[:steps]):
        return wrong or "after 12 epochs with Adam at a rate of 0.05 the loss has hardly fallen"
    if trained(1)[1] != losses or trained(2)[1] == losses:
        return "one seed gives the same losses twice, another seed gives others"
    return None


def widths(answer, task) -> str | None:
    needed = task.seconds * task.fps
    chosen = [int(width) for width in answer]
    if not chosen or any(width % 2 == 0 or not 3 <= width <= task.widest for width in chosen):
        return f"give odd widths from 3 to {task.widest}"
    if math.prod(chosen) < needed:
        return f"{math.prod(chosen)} frames at {task.fps} fps are less than {task.seconds:g} s"
    return "fewer layers would do" if task.widest ** (len(chosen) - 1) >= needed else None


def padded(answer, task) -> str | None:
    points = np.random.default_rng(task.seed).normal(size=(12, 17, 2))
    for field in (1, 9, 27):
        side = field // 2
        rows = np.clip(np.arange(-side, 12 + side), 0, 11)
        if wrong := differs(answer(points.copy(), field), points[rows], f"12 frames for a field of {field}"):
            return wrong
    return None


TASKS = {1: person, 2: results, 3: network}
NOTEBOOKS = {1: "1_projection_and_flips.ipynb", 2: "2_metrics_and_protocols.ipynb", 3: "3_training_and_time.ipynb"}
# part -> the name that the notebook gives to the answer, its points, and what is wrong with an answer
CHECKS = {
    "1.1": ("to_camera", 2, to_camera),
    "1.2": ("project", 2, project),
    "1.3": ("flip_pose", 2, flip_pose),
    "1.4": ("two_ends", 3, two_ends),
    "1.5": ("depth", 1, depth),
    "2.1": ("mpjpe", 2, mpjpe),
    "2.2": ("p_mpjpe", 3, p_mpjpe),
    "2.3": ("diagnose", 4, diagnose),
    "2.4": ("means", 1, means),
    "3.1": ("receptive_field", 2, receptive_field),
    "3.2": ("measured_field", 2, measured_field),
    "3.3": ("train", 4, train),
    "3.4": ("widths", 1, widths),
    "3.5": ("padded", 1, padded),
}
