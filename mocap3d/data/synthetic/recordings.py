"""Recordings of procedural motion: one, or a data set of all subjects and actions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from mocap3d.arguments import Positive, Seed, check_arguments
from mocap3d.camera import Camera, h36m_cameras
from mocap3d.data.dataset import PoseDataset, film, names_of
from mocap3d.data.synthetic.actions import ACTIONS, perform
from mocap3d.data.synthetic.body import SUBJECTS, pose_body, settle, subject_body
from mocap3d.data.synthetic.primitives import FPS
from mocap3d.data.synthetic.wide import WIDE
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17

GROUPS = {"h36m": ACTIONS, "wide": WIDE, "all": ACTIONS + WIDE}
TEST_SUBJECTS = ("S9", "S11")
AREA = np.array([[-0.9, -0.8], [1.6, 2.6]])  # m, where all four cameras see a whole body
MARGIN = 6.0  # px
ATTEMPTS = 12


def synthesize(subject: str, action: str, seed: Seed = 0, seconds: Positive = 8.0, take: Seed = 0) -> Pose3D:
    """Make one recording of motion, placed where all four of the subject's cameras see every joint in every frame.

    Args:
        subject: one of "S1", "S5", "S6", "S7", "S8", "S9", "S11".
        action: one of `ACTIONS`, or "SittingAtDesk", "SittingOnFloor", "Balancing", "Reaching", "Lunging", "Squatting",
            "TurningBent", "LyingDown" or "Crawling".
        seed: the same seed gives the same bits. seconds: length, at 50 fps. take: another recording of the same.
    Returns:
        Pose3D on h36m17 in the world frame (z up, metres), root absolute.
    Raises:
        ValueError: for an unknown subject or action, or a length under 0.1 s or over 10 minutes.
    Source: own.
    """
    check_arguments(synthesize, locals())
    if not 0.1 <= seconds <= 600:
        raise ValueError(f"seconds={seconds} is outside 0.1 to 600: give the length of one recording in seconds.")
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
    seed: Seed = 0,
    seconds: Positive = 8.0,
    subjects: Sequence[str] | str | None = None,
    actions: Sequence[str] | str | None = None,
    takes: int = 1,
) -> PoseDataset:
    """Build the synthetic data set: every subject does every action before four cameras.

    Args:
        seed: the same seed gives the same bits. seconds: length of a recording. subjects: all seven by default.
        actions: names, or a group of names: "h36m" (the fifteen of Human3.6M, the default), "wide" (nine more: on one
            leg, on the floor, on hands and knees, at a desk, bent, low and high) or "all".
        takes: recordings of each action by each subject.
    Returns:
        PoseDataset "synthetic" with ground-truth 2D; train S1 S5 S6 S7 S8, test S9 S11.
    Raises:
        ValueError: as `synthesize`, or for an unknown group of actions.
        DatasetError: for no subjects or actions at all.
    Source: own.
    """
    check_arguments(make_synthetic, locals())
    subjects = names_of(subjects, "subjects") or SUBJECTS
    actions = "h36m" if actions is None else actions
    if isinstance(actions, str):
        if actions not in GROUPS:
            raise ValueError(
                f"actions={actions!r} is not one of {', '.join(GROUPS)}: choose one of these, or give a list of names."
            )
        actions = GROUPS[actions]
    clips = []
    for subject in subjects:
        for action in names_of(actions, "actions"):
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
