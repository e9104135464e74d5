"""Small stand-ins: models that satisfy the model contract, and a data set of waving sticks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from torch import nn

from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.models.motionbert import MotionBERT
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17


class ToyLifter(nn.Module):
    """Two linear layers with a norm and dropout, on z-scored screen points, to a z-scored pose."""

    name, receptive_field, input_skeleton, space, normalise = "toy", 1, "h36m17", "metric", "published"
    clipwise = causal = checkpointing = False

    def __init__(self, hidden: int = 32, dropout: float = 0.1, norm: type = nn.BatchNorm1d) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(34, hidden), norm(hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 51)
        )
        for key, size in (("mean2d", 34), ("std2d", 34), ("mean3d", 51), ("std3d", 51)):
            self.register_buffer(key, torch.full((size,), torch.nan), persistent=False)

    @property
    def normalisation(self):
        keys = ("mean2d", "std2d", "mean3d", "std3d")
        return None if self.mean2d.isnan().any() else {key: getattr(self, key).clone() for key in keys}

    @normalisation.setter
    def normalisation(self, statistics):
        for key, value in statistics.items():
            getattr(self, key).copy_(value)

    def fit_normalisation(self, points2d, pose3d):
        flat2d, flat3d = points2d.flatten(1), (pose3d - pose3d[:, :1]).flatten(1)
        self.mean2d.copy_(flat2d.mean(0)), self.std2d.copy_(flat2d.std(0) + 1e-3)
        self.mean3d.copy_(flat3d.nanmean(0)), self.std3d.copy_(flat3d.nan_to_num().std(0) + 1e-3)

    def encode(self, points2d, confidence=None):
        return (points2d.flatten(1) - self.mean2d) / self.std2d

    def targets(self, pose3d):
        return ((pose3d - pose3d[:, :, :1]).flatten(1) - self.mean3d) / self.std3d

    def decode(self, output):
        return (output * self.std3d + self.mean3d).view(-1, 1, 17, 3)

    def forward(self, x):
        return self.layers(x)


class Oracle(nn.Module):
    """Answers with fixed poses, in order of the frames asked: for tests of what is measured, not of what is learnt."""

    name, receptive_field, input_skeleton, space, normalise = "oracle", 1, "h36m17", "metric", "published"
    clipwise = causal = checkpointing = False
    normalisation = None

    def __init__(self, answers) -> None:
        super().__init__()
        self.register_buffer("answers", torch.as_tensor(np.asarray(answers, dtype=np.float32)))
        self.asked = 0

    def encode(self, points2d, confidence=None):
        return points2d

    targets = fit_normalisation = None  # never asked

    def forward(self, x):
        rows = (self.asked + torch.arange(len(x), device=x.device)) % len(self.answers)
        self.asked += len(x)
        return self.answers[rows, None]

    def decode(self, output):
        return output


def small_motionbert(image_space: bool = True, frames: int = 9, seed: int = 0, **options) -> MotionBERT:
    """Two layers of 32 channels, for clips of 9 frames."""
    torch.manual_seed(seed)
    sizes = {"channels": 32, "mlp_ratio": 2, "representation": 32, "depth": 2, "heads": 4}
    return MotionBERT(**{**sizes, "frames": frames, **options}, image_space=image_space)


class Knows(nn.Module):
    """Says what it was told of each frame: x of the first joint of the input is the frame's number over 1e4."""

    name, clipwise, input_skeleton, normalise = "knows", True, "h36m17", "published"
    causal = checkpointing = False
    normalisation = None

    def __init__(self, answers: torch.Tensor, frames: int, image_space: bool = True, edge: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("answers", answers)
        self.receptive_field, self.edge = frames, edge
        self.space = "image" if image_space else "metric"

    def encode(self, points2d, confidence=None):
        return torch.cat([points2d, torch.ones_like(points2d[..., :1])], -1)

    def decode(self, output):
        return output

    targets = fit_normalisation = None  # never asked

    def forward(self, x):
        said = self.answers[(x[:, :, 0, 0] * 1e4).round().long()]
        if self.edge:  # wrong at the ends of a clip
            said = said.clone()
            said[:, 0] += self.edge
            said[:, -1] += self.edge
        return said


def body(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 17, 3) world metres: a figure of human size that turns, walks a little and moves all joints."""
    rng = np.random.default_rng(seed)
    height = {"hip": 0.9, "knee": 0.5, "foot": 0.1, "spine": 1.15, "thorax": 1.4, "nose": 1.5, "head": 1.65}
    rest = np.zeros((17, 3))
    for joint, name in enumerate(H36M17.joints):
        part, side = name.split("_")[-1], {"left": 0.2, "right": -0.2}.get(name.split("_")[0], 0.0)
        rest[joint] = [
            0.0,
            side * (1 if part in ("hip", "knee", "foot") else 1.6),
            height.get(part, 1.0 if name == "pelvis" else 1.3),
        ]
    time = np.arange(frames)[:, None, None] / 50
    sway = 0.12 * np.sin(2 * np.pi * (rng.uniform(0.2, 1.0, (17, 3)) * time + rng.uniform(size=(17, 3))))
    points = rest + sway
    angle = rng.uniform(0, 6.28) + 0.8 * time[:, 0, 0]
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    points[..., :2] = np.einsum("tij,tkj->tki", turn, points[..., :2]) + 0.3 * np.sin(time)
    return points.astype(np.float32)


def sticks(
    takes: int = 3, frames: int = 40, seed: int = 0, split: str = "train", views: int = 4, sources: int = 1
) -> PoseDataset:
    """A data set of some takes of `body`, each seen by some of the cameras of S1 (train) or S9 (test)."""
    subject = "S1" if split == "train" else "S9"
    clips = []
    for take in range(takes):
        motion = Pose3D(body(frames + 3 * take, seed=100 * seed + take), H36M17, 50, "world", "absolute")
        labels = {
            "subject": subject,
            "action": ("Wave", "Turn")[take % 2],
            "take": f"{split}-{seed}-{take}",
            "split": split,
        }
        clips += film(motion, h36m_cameras(subject)[:views], source=f"source-{take % sources}", **labels)
    return PoseDataset("sticks", tuple(clips))


@contextmanager
def local_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """A web server on this machine that answers while the block runs."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()
