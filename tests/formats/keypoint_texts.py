"""The same motion as each program writes it: texts and bytes of keypoint files, for the tests of the reader."""

from __future__ import annotations

import io
import json

import numpy as np

FRAMES = 6
SIZE = (1920, 1080)


def motion(joints: int, frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """(T, J, 3) pixels and confidence in [0.7, 1): a body of random joints that moves to the right."""
    rng = np.random.default_rng(seed)
    body = rng.uniform((300, 200), (700, 900), (joints, 2))
    points = body + np.arange(frames)[:, None, None] * (8, 1)
    return np.concatenate([points, rng.uniform(0.7, 0.99, (frames, joints, 1))], -1).round(3)


def alphapose(clip: np.ndarray, ids=False) -> bytes:
    rows = [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": frame.ravel().tolist(), "score": 2.9,
         "box": [1.0, 2.0, 3.0, 4.0], "idx": [1.0] if ids else 0.0}
        for t, frame in enumerate(clip)
    ]  # fmt: skip
    return json.dumps(rows).encode()


def alphapose_by_picture(clip: np.ndarray, key="bodies", inside="joints") -> bytes:
    found = {
        f"{t}.jpg": {"version": "AlphaPose v0.3", key: [{inside: frame.ravel().tolist()}]}
        for t, frame in enumerate(clip)
    }
    return json.dumps(found).encode()


def openpose(frame: np.ndarray | None) -> bytes:
    people = [] if frame is None else [{"person_id": [-1], "pose_keypoints_2d": frame.ravel().tolist(),
                                        "face_keypoints_2d": [], "hand_left_keypoints_2d": []}]  # fmt: skip
    return json.dumps({"version": 1.3, "people": people}).encode()


def mmpose_instance(frame: np.ndarray) -> dict:
    return {
        "keypoints": frame[:, :2].tolist(), "keypoint_scores": frame[:, 2].tolist(),
        "bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_score": 0.9,
    }  # fmt: skip


def mmpose(clip: np.ndarray, meta: dict | None = None, first=1) -> bytes:
    frames = [{"frame_id": t + first, "instances": [mmpose_instance(frame)]} for t, frame in enumerate(clip)]
    return json.dumps(frames if meta is None else {"meta_info": meta, "instance_info": frames}).encode()


def rtmlib(clip: np.ndarray) -> bytes:
    frames = [{"keypoints": [frame[:, :2].tolist()], "scores": [frame[:, 2].tolist()]} for frame in clip]
    return json.dumps({"fps": 30, "image_size": SIZE, "frames": frames}).encode()


def rtmlib_whole(clip: np.ndarray) -> bytes:
    found = {"keypoints": [[f[:, :2].tolist()] for f in clip], "scores": [[f[:, 2].tolist()] for f in clip]}
    return json.dumps(found).encode()


def coco(clip: np.ndarray, first=1) -> bytes:
    rows = [
        {"image_id": t + first, "category_id": 1, "keypoints": frame.ravel().tolist(), "score": 0.24}
        for t, frame in enumerate(clip)
    ]
    return json.dumps(rows).encode()


def ultralytics_person(frame: np.ndarray) -> dict:
    x, y, visible = frame.T.tolist()
    return {
        "name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0},
        "keypoints": {"x": x, "y": y, "visible": visible},
    }  # fmt: skip


def ultralytics(clip: np.ndarray) -> bytes:
    return json.dumps([[ultralytics_person(frame)] for frame in clip]).encode()


def ultralytics_lines(clip: np.ndarray) -> bytes:
    return b"\n".join(json.dumps([ultralytics_person(frame)]).encode() for frame in clip)


def landmarks(frame: np.ndarray, scale=(1, 1)) -> list[dict]:
    return [{"x": x / scale[0], "y": y / scale[1], "z": -0.1, "visibility": v} for x, y, v in frame.tolist()]


def mediapipe(clip: np.ndarray, scale=SIZE, step=1 / 30) -> bytes:
    """The results of the PoseLandmarker, one per frame, with its timestamps in milliseconds."""
    frames = [
        {"timestamp_ms": round(t * step * 1000), "pose_landmarks": [landmarks(frame, scale)],
         "pose_world_landmarks": [landmarks(frame * 0)]}
        for t, frame in enumerate(clip)
    ]  # fmt: skip
    return json.dumps(frames).encode()


def mediapipe_legacy(clip: np.ndarray) -> bytes:
    return json.dumps([{"landmark": landmarks(frame, SIZE)} for frame in clip]).encode()


def mediapipe_bare(clip: np.ndarray) -> bytes:
    return json.dumps([landmarks(frame) for frame in clip]).encode()


def videopose3d(clip: np.ndarray, videos=("dance.mp4",)) -> bytes:
    file = io.BytesIO()
    metadata = {
        "layout_name": "coco", "num_joints": 17, "keypoints_symmetry": [[1, 3], [2, 4]],
        "video_metadata": {name: {"w": SIZE[0], "h": SIZE[1]} for name in videos},
    }  # fmt: skip
    positions = {name: {"custom": [clip[..., :2].astype(np.float32)]} for name in videos}
    np.savez_compressed(file, positions_2d=np.array(positions, object), metadata=np.array(metadata, object))
    return file.getvalue()


def deeplabcut(clip: np.ndarray, names: list[str]) -> bytes:
    rows = [
        ["scorer", *["DLC_resnet50_walkMay1shuffle1_100000"] * (3 * len(names))],
        ["bodyparts", *[name for name in names for _ in range(3)]],
        ["coords", *["x", "y", "likelihood"] * len(names)],
        *[[t, *frame.ravel().tolist()] for t, frame in enumerate(clip)],
    ]
    return "\n".join(",".join(map(str, row)) for row in rows).encode()


def sports2d(clip: np.ndarray, names: list[str], fps=30) -> bytes:
    width = 3 * len(names)
    rows = [
        ["scorer", *["DavidPagnon"] * (width + 1)],
        ["individuals", *["person0"] * (width + 1)],
        ["bodyparts", "Time", *[name for name in names for _ in range(3)]],
        ["coords", "seconds", *["x", "y", "likelihood"] * len(names)],
        *[[t, t / fps, *frame.ravel().tolist()] for t, frame in enumerate(clip)],
    ]
    return "\n".join(",".join(map(str, row)) for row in rows).encode()


def table(clip: np.ndarray, names: list[str], fps=30) -> bytes:
    rows = [
        ["frame", "time", *[f"{name}_{axis}" for name in names for axis in ("x", "y", "score")]],
        *[[t, t / fps, *frame.ravel().tolist()] for t, frame in enumerate(clip)],
    ]
    return "\n".join(",".join(map(str, row)) for row in rows).encode()


def arrays(clip: np.ndarray, **more) -> bytes:
    file = io.BytesIO()
    np.savez(file, points=clip[..., :2], confidence=clip[..., 2], **more)
    return file.getvalue()
