"""Find the people's keypoints in a video, for `mocap3d lift`: RTMPose by rtmlib, on this machine.

    pip install -c constraints.txt -e ".[detect]"
    python data_scripts/detect_2d.py clip.mp4
    mocap3d lift clip.json --out pose.html

Writes clip.json: for each frame its time in seconds and everybody's 26 joints (halpe26), as `mocap3d.read_keypoints`
reads it. The rotation that a phone notes in the file is applied; --rotate turns what lies on its side in spite of it.
Stop it whenever you like: the same command carries on where it stopped (from clip.json.part).

rtmlib (Apache-2.0) downloads its networks from download.openmmlab.com on first use, 50 to 450 MB by mode.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from mocap3d.files import write_whole

MODES = ("lightweight", "balanced", "performance")
# An image (H, W, 3), BGR -> joints (N, 26, 2) in pixels and scores (N, 26) of N people
Detector = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class DetectError(Exception):
    """Something that stops the detection, in words for the person who runs it."""


class Video(NamedTuple):
    """A video that is being read; `frames` yields seconds and the upright image of each frame from `start` on."""

    fps: float
    count: int | None
    frames: Callable[[int], Iterator[tuple[float, np.ndarray]]]


def open_video(path: Path, turn: int = 0) -> Video:
    """Open a video with OpenCV.

    Args:
        path: any file that OpenCV reads.
        turn: degrees clockwise, 0, 90, 180 or 270, in addition to the rotation in the file.
    Raises:
        DetectError: if there is no such file, or no frame in it can be read.
    """
    try:
        import cv2
    except ImportError:
        raise DetectError('opencv is not installed: pip install -e ".[detect]"') from None
    if not path.is_file():
        raise DetectError(f"{path}: no such file")
    about = cv2.VideoCapture(str(path))
    fps, count, readable = about.get(cv2.CAP_PROP_FPS), int(about.get(cv2.CAP_PROP_FRAME_COUNT)), about.grab()
    about.release()
    if not readable:
        raise DetectError(f"{path}: no video that OpenCV can read; convert it with `ffmpeg -i {path.name} clip.mp4`")

    def frames(start: int) -> Iterator[tuple[float, np.ndarray]]:
        video = cv2.VideoCapture(str(path))
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        number = 0
        while video.grab():  # decoded one after the other: seeking is inexact in many files
            if number >= start:
                seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
                _, image = video.retrieve()
                yield seconds, np.ascontiguousarray(np.rot90(image, -turn // 90))
            number += 1
        video.release()

    return Video(fps, count if count > 0 else None, frames)


def rtmpose(mode: str, device: str) -> Detector:
    """RTMPose on 26 joints, body and feet, in every box in which YOLOX finds a person.

    Raises:
        DetectError: if rtmlib is not installed, or its networks cannot be downloaded.
    """
    try:
        from rtmlib import BodyWithFeet
    except ImportError:
        raise DetectError('rtmlib is not installed: pip install -e ".[detect]"') from None
    try:
        model = BodyWithFeet(mode=mode, backend="onnxruntime", device=device)
    except Exception as error:  # rtmlib raises what its downloads and ONNX Runtime raise
        raise DetectError(f"rtmlib cannot load its networks ({error}); is there a network connection?") from None

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = model.det_model(image)
        if not len(boxes):  # the pose network would take the whole image for a person
            return np.zeros((0, 26, 2)), np.zeros((0, 26))
        return model.pose_model(image, bboxes=boxes)

    return detect


def detect_video(video: Video, detect: Detector, out: Path, progress: bool = True) -> int:
    """Run a detector on every frame, and write its keypoints as JSON.

    Args:
        video: what is read.
        detect: the detector.
        out: the file. While the detector runs, finished frames are in `out` + ".part"; a later call carries on there.
        progress: show a progress bar.
    Returns:
        the number of frames.
    Raises:
        DetectError: if frames in the .part file are of another video.
    """
    part = out.with_name(out.name + ".part")
    lines = part.read_text(encoding="utf-8").splitlines(keepends=True) if part.exists() else []
    lines = [line for line in lines if line.endswith("}\n")]  # the last one may have been cut off
    part.write_text("".join(lines), encoding="utf-8")
    with (
        open(part, "a", encoding="utf-8") as file,
        tqdm(total=video.count, initial=len(lines), unit="frame", disable=not progress) as bar,
    ):
        for seconds, image in video.frames(len(lines)):
            joints, scores = detect(image)
            size = [image.shape[1], image.shape[0]]
            frame = {"timestamp": round(seconds, 6), "image_size": size, "keypoints": np.round(joints, 2).tolist(),
                     "scores": np.round(scores, 4).tolist()}  # fmt: skip
            lines.append(json.dumps(frame) + "\n")
            file.write(lines[-1])
            file.flush()
            bar.update()
    frames = [json.loads(line) for line in lines]
    if len(sizes := {tuple(frame.pop("image_size")) for frame in frames}) > 1:
        raise DetectError(f"{part} has frames of several sizes, {sorted(sizes)}: remove it and start again")
    about = {"fps": video.fps, "image_size": sizes.pop(), "skeleton": "halpe26"}
    if not (np.diff([frame["timestamp"] for frame in frames]) > 0).all():
        print("the video's timestamps do not rise; its steady rate is taken", file=sys.stderr)
        frames = [{key: value for key, value in frame.items() if key != "timestamp"} for frame in frames]
    write_whole(out, lambda path: path.write_text(json.dumps(about | {"frames": frames}), encoding="utf-8"))
    part.unlink()
    return len(frames)


def main(arguments: list[str] | None = None, detector: Callable[[str, str], Detector] = rtmpose) -> int:
    """Run the command line; the exit status is 0 when the file is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, help="the file to write (default: beside the video, .json)")
    parser.add_argument("--mode", choices=MODES, default="balanced", help="size of the networks (default: balanced)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--rotate", type=int, choices=(0, 90, 180, 270), default=0, help="degrees clockwise")
    options = parser.parse_args(arguments)
    out = options.out or options.video.with_suffix(".json")
    try:
        video = open_video(options.video, options.rotate)
        frames = detect_video(video, detector(options.mode, options.device), out)
    except (DetectError, OSError) as error:
        print(f"Stopped. {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped by you; the same command carries on from here.", file=sys.stderr)
        return 130
    print(f"{out}: {frames:,} frames; lift it with `mocap3d lift {out} --out pose.html`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
