"""`what_if`: damage what a model sees, and watch its prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mocap3d import metrics
from mocap3d.arguments import check_arguments
from mocap3d.figures import style
from mocap3d.figures.explore_models import errors, predicted
from mocap3d.figures.explorer import Explorer, choice, slider, switch
from mocap3d.figures.notebook import chart
from mocap3d.figures.player import show
from mocap3d.figures.receptive_field import FPS
from mocap3d.inversions import exchange_sides, find_inversions
from mocap3d.missing import fill_missing
from mocap3d.models.lifter import Lifter
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import ROOT

GONE = {
    "nothing": (),
    "left arm": ("left_elbow", "left_wrist"),
    "legs": ("left_knee", "left_foot", "right_knee", "right_foot"),
    "head": ("nose", "head"),
}
SOME = {  # what is shown without a kernel: name -> damage
    "as given": {},
    "noise 5 px": {"noise": 5},
    "noise 20 px": {"noise": 20},
    "30 % of joints missing": {"missing": 30},
    "left arm missing": {"gone": "left arm"},
    "legs missing": {"gone": "legs"},
    "20 % of frames inverted": {"inverted": 20},
    "... and undone": {"inverted": 20, "undo": True},
    "10 fps, known": {"fps": 10},
    "10 fps, taken for 50": {"fps": 10, "stated": False},
    "pitch 30°": {"pitch": 30},
    "roll 30°": {"roll": 30},
    "focal length × 0.5": {"focal": 0.5},
    "focal length × 2": {"focal": 2.0},
    "1 frame seen": {"frames": 1},
}


def what_if(model: Lifter, clip: Clip) -> Explorer:
    """Damage what a model sees and watch its prediction: it answers to every step of a slider.

    noise: normal, in pixels, new in each frame. missing: joints, drawn anew in each frame, or some throughout.
    left/right inverted: all joints, in the middle of the clip. frame rate: of the video; models expect 50 fps, and are
    given frames interpolated at that rate or, if the rate is not known, the frames as they are. camera pitch, roll: the
    camera moves around the person, upwards if above 0, or turns clockwise. focal length: enlarges the image about its
    centre. frames seen: so many successive frames are lifted together.

    Args:
        model: trained.
        clip: 2D, true or detected, and 3D, at 50 fps on h36m17. All of it is lifted at each step: keep it short.
    Returns:
        An Explorer; without a kernel, a chart of the errors for some settings.
    Raises:
        FigureError: for a clip at another rate.
        ImportError: without the packages of the extra "course".
    Source: own.
    """
    check_arguments(what_if, locals())
    if clip.pose3d.fps != FPS:
        raise style.FigureError(f"what_if(): the clip has {clip.pose3d.fps:g} fps; .resample({FPS:g}) its poses first")
    frames = len(clip)

    def answer(frames: int = frames, **damage: object) -> tuple[Pose3D, Clip]:
        changed = damaged(clip, **damage)
        return predicted(model, changed, frames), changed

    def draw(**damage: object) -> str:
        prediction, changed = answer(**damage)
        truth = changed.pose3d.root_relative()
        player.draw(prediction, truth, pose2d=changed.pose2d)
        return errors({"as given": (clean, clip.pose3d.root_relative()), "now": (prediction, truth)})

    controls = {
        "noise": slider("noise", 0, 0, 40, 1, "px"),
        "missing": slider("missing joints", 0, 0, 90, 1, "%"),
        "gone": choice("missing throughout", list(GONE)),
        "inverted": slider("inverted", 0, 0, 100, 1, "%"),
        "undo": switch("undo inversions, as lift() does"),
        "fps": slider("frame rate", 50, 5, 50, 1, "fps"),
        "stated": switch("the frame rate is known", True),
        "pitch": slider("camera pitch", 0, -60, 60, 1, "°"),
        "roll": slider("camera roll", 0, -90, 90, 1, "°"),
        "focal": slider("focal length", 1.0, 0.3, 3.0, 0.05, "×"),
        "frames": slider("frames seen", frames, 1, frames, 1),
    }
    clean, _ = answer()
    title = f"{model.name}: {clip.action}"
    player = show(clean, clip.pose3d.root_relative(), pose2d=clip.pose2d, title=title).widget()
    still = chart(f"What if? {model.name}, {clip.action}", "", "mm MPJPE", margin_b=150)
    values = []
    for damage in SOME.values():
        prediction, changed = answer(**damage)
        values.append(round(1000 * metrics.mpjpe(prediction.points, changed.pose3d.root_relative().points), 1))
    colours = [style.CENTRE] + [style.OTHER_COLOURS[0]] * (len(SOME) - 1)
    still.add_bar(x=[*SOME], y=values, marker_color=colours, text=[f"{value:.0f}" for value in values])
    alt = f"Bar chart: errors of {model.name} for one clip as given and with {len(SOME) - 1} kinds of damage."
    return Explorer(controls, player, draw, still, alt)


def damaged(
    clip: Clip,
    noise: float = 0,
    missing: float = 0,
    gone: str = "nothing",
    inverted: float = 0,
    undo: bool = False,
    fps: float = FPS,
    stated: bool = True,
    pitch: float = 0,
    roll: float = 0,
    focal: float = 1.0,
) -> Clip:
    """A clip as another camera and a worse detector see it; the arguments are the controls of `what_if`.

    Returns:
        The clip at 50 fps, or labelled so if the rate is not known; joints are missing where they are not detected.
    """
    pose2d, pose3d, camera = clip.pose2d, clip.pose3d, clip.camera
    if pitch or roll:
        turned = replace(pose3d, points=_around(pose3d.points, pitch, roll))
        moved = turned.project(camera).points - pose3d.project(camera).points
        pose2d, pose3d = replace(pose2d, points=pose2d.points + moved), turned
    if focal != 1:
        centre = np.array(camera.centre, dtype=np.float32)
        pose2d = replace(pose2d, points=(pose2d.points - centre) * np.float32(focal) + centre)
        camera = replace(camera, focal=tuple(focal * length for length in camera.focal))
    if fps != FPS:
        pose2d = pose2d.resample(fps)
    pose2d = _detected(pose2d, noise, missing, gone, inverted)
    if undo:
        pose2d = exchange_sides(pose2d, find_inversions(pose2d)[0])
    if fps != FPS and stated:  # as `lift` does: fill, then interpolate
        pose2d = replace(pose2d, points=fill_missing(pose2d.points, pose2d.skeleton, fps)).resample(FPS)
        pose3d = pose3d.slice(0, len(pose2d))
    elif fps != FPS:
        pose3d = replace(pose3d.resample(fps), fps=FPS)
        pose2d = replace(pose2d, fps=FPS)
    return replace(clip, pose2d=pose2d, pose3d=pose3d, camera=camera)


def _around(points: np.ndarray, pitch: float, roll: float) -> np.ndarray:
    """Points (T, J, 3) in the frame of a camera that was moved around the person by so many degrees."""
    middle = np.nanmean(points[:, ROOT], axis=0)
    (cp, cr), (sp, sr) = np.cos(np.radians([pitch, roll])), np.sin(np.radians([pitch, roll]))
    up = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    clockwise = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return ((points - middle) @ (clockwise @ up).T + middle).astype(np.float32)


def _detected(pose2d: Pose2D, noise: float, missing: float, gone: str, inverted: float) -> Pose2D:
    """A pose with noise (px), missing joints (percent, or a key of GONE) and inverted frames (percent, in the middle).

    The random numbers are the same in every call, so that a slider changes only what it is for.
    """
    rng, size = np.random.default_rng(0), pose2d.points.shape[:2]
    points = pose2d.points + noise * rng.normal(size=(*size, 2)).astype(np.float32)
    lost = rng.uniform(0, 100, size) < missing
    lost[:, pose2d.skeleton.indices(GONE[gone])] = True
    pose2d = replace(
        pose2d,
        points=np.where(lost[..., None], np.nan, points).astype(np.float32),
        confidence=np.where(lost, 0, pose2d.confidence).astype(np.float32),
    )
    count = round(size[0] * inverted / 100)
    middle = np.zeros(size, dtype=bool)
    middle[(size[0] - count) // 2 :][:count] = True
    return exchange_sides(pose2d, middle)
