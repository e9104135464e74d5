"""Procedural motion: the embedded default data set, without files, the same bits for the same seed.

Seven subjects named as in Human3.6M (train S1 S5 S6 S7 S8, test S9 S11), its fifteen action names, 50 fps, the four
cameras of each subject. Bodies have anthropometric bone lengths and joint limits (`body`, `limbs`); actions are recipes
(`actions`) made of gait on published joint-angle curves (`gait`), postures (`postures`) joined by steps and jumps
(`stance`), and minimum-jerk reaching (`reach`).

What it can stand for: the geometry of lifting. Bones of constant length, joints within their limits, feet that stay
where they are planted, every heading, the capture area, the cameras and their lenses, coordinates and units, left and
right. Code, notebooks and tests run on it; a lifter trained on it alone lifts real motion to a useful degree.

What it cannot stand for: people. Nobody was recorded. There is no dynamics: balance, momentum and effort are only
suggested, arms may pass through legs or each other, shoulders and spines are simplified, feet have no toes, and
habits, fine timing and the link between what hands do and what the rest does are missing. Actions are caricatures of
their names: an error "on Phoning" says nothing about real phoning. The poses are drawn broadly, with more lunges, jumps
and stretched arms than Human3.6M has, so that motion outside offices is covered. Numbers measured on it are not
comparable with numbers on Human3.6M, and a method that wins here must be shown to win on real motion.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset, film
from mocap3d.data.synthetic.actions import ACTIONS, RECIPES, perform
from mocap3d.data.synthetic.body import SUBJECTS, pose_body, settle, subject_body
from mocap3d.data.synthetic.primitives import FPS
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17

__all__ = ["ACTIONS", "RECIPES", "SUBJECTS", "TEST_SUBJECTS", "make_synthetic", "synthesize"]

TEST_SUBJECTS = ("S9", "S11")
AREA = np.array([[-0.9, -0.8], [1.6, 2.6]])  # m, where all four cameras see a whole body
MARGIN = 6.0  # px
ATTEMPTS = 12


def synthesize(subject: str, action: str, seed: int = 0, seconds: float = 8.0, take: int = 0) -> Pose3D:
    """Make one take of motion, placed where all four of the subject's cameras see every joint in every frame.

    Args:
        subject: one of "S1", "S5", "S6", "S7", "S8", "S9", "S11". action: one of `ACTIONS`.
        seed: the same seed gives the same bits. seconds: length, at 50 fps. take: another take of the same.
    Returns:
        Pose3D on h36m17 in the world frame (z up, metres), root absolute.
    Raises:
        ValueError: for an unknown subject or action, or a length under 0.1 s or over 10 minutes.
    Source: own.
    """
    if not 0.1 <= seconds <= 600:
        raise ValueError(f"seconds={seconds} is outside 0.1 to 600: give the length of one take in seconds.")
    body, cameras = subject_body(subject), h36m_cameras(subject)
    time = np.arange(round(seconds * FPS)) / FPS
    for attempt in range(ATTEMPTS):
        key = (seed, take, attempt, zlib.crc32(f"{subject}/{action}".encode()))
        rng = np.random.default_rng(key)
        points = pose_body(body, settle(body, perform(rng, body, action, time)))
        placed = _place(rng, points, cameras)
        if placed is not None:
            return Pose3D(placed, skeleton=H36M17, fps=FPS, frame="world", root="absolute")
    raise ValueError(f"{subject} {action} of {seconds:g} s leaves the cameras' view: shorten it, or change the seed.")


def make_synthetic(
    seed: int = 0,
    seconds: float = 8.0,
    subjects: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
    takes: int = 1,
) -> PoseDataset:
    """Build the synthetic data set: every subject does every action before four cameras.

    Args:
        seed: the same seed gives the same bits. seconds: length of a take. subjects, actions: all by default.
        takes: takes of each action by each subject.
    Returns:
        PoseDataset "synthetic" with ground-truth 2D; train S1 S5 S6 S7 S8, test S9 S11.
    Raises:
        ValueError: as `synthesize`.
    Source: own.
    """
    clips = []
    for subject in subjects or SUBJECTS:
        for action in actions or ACTIONS:
            for take in range(takes):
                clips += film(
                    synthesize(subject, action, seed, seconds, take),
                    h36m_cameras(subject),
                    subject=subject,
                    action=action,
                    take=f"synthetic/{subject}/{action}/{take}",
                    source="synthetic",
                    split="test" if subject in TEST_SUBJECTS else "train",
                    performer=f"synthetic {subject}",
                    licence="as mocap3d",
                )
    note = f"Procedural motion, seed {seed}: nobody was recorded; not comparable with Human3.6M."
    return PoseDataset("synthetic", tuple(clips), (note,))


def _place(rng: np.random.Generator, points: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray | None:
    """Turn and shift (T, 17, 3) motion to a random place inside all images; None if none of 24 places fits."""
    low, high = points[..., :2].min((0, 1)), points[..., :2].max((0, 1))
    points = points - np.append((low + high) / 2, 0.0)
    sparse = points[::8]
    middle, half = AREA.mean(0), (AREA[1] - AREA[0]) / 2
    for attempt in range(24):
        yaw = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        extent = np.abs(sparse[..., :2] @ turn.T).max((0, 1))
        room = np.maximum(half - extent + 0.5, 0.05) * (1 - attempt / 24)
        shift = middle + rng.uniform(-1, 1, 2) * room
        for part in (sparse, points):
            placed = part.copy()
            placed[..., :2] = part[..., :2] @ turn.T + shift
            if not all(camera.sees(placed, MARGIN).all() for camera in cameras):
                break
        else:
            return placed.astype(np.float32)
    return None
