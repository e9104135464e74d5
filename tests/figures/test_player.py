"""The player: what a notebook stores, files, bytes, and that nobody is mirrored. tests/test_browser.py plays it."""

from __future__ import annotations

import base64
import io
import re
import sys
import zlib

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

import mocap3d
from mocap3d.camera import Camera
from mocap3d.figures.player import Player, show
from mocap3d.figures.player.drawing import HEAT, THEMES
from mocap3d.figures.player.page import look, viewer
from mocap3d.figures.player.raster import axes
from mocap3d.figures.player.shapes import MISSING
from mocap3d.figures.style import LEFT, RIGHT, FigureError
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17, SKELETONS

# A person who faces +y and raises the left hand, which is at -x; world, z up.
PLACES = {
    "pelvis": (0, 0, 0.95),
    "spine": (0, 0, 1.2),
    "thorax": (0, 0, 1.45),
    "nose": (0, 0.1, 1.55),
    "head": (0, 0, 1.7),
    "hip": (0.13, 0, 0.95),
    "knee": (0.14, 0.02, 0.5),
    "foot": (0.15, 0, 0.08),
    "shoulder": (0.18, 0, 1.42),
    "elbow": (0.4, 0, 1.2),
    "wrist": (0.45, 0.05, 0.95),
    "left_elbow": (-0.42, 0, 1.6),
    "left_wrist": (-0.5, 0.05, 1.95),
}


def waving(frames: int = 10, fps: float = 50.0) -> Pose3D:
    """The raised left hand waves."""
    points = np.zeros((frames, 17, 3))
    for j, joint in enumerate(H36M17.joints):
        side, _, part = joint.partition("_")
        mirror = [-1, 1, 1] if side == "left" and joint not in PLACES else [1, 1, 1]
        points[:, j] = np.array(PLACES.get(joint) or PLACES[part]) * mirror
    points[:, H36M17.index("left_wrist"), 0] += 0.1 * np.sin(np.arange(frames) / 2)
    return Pose3D(points, H36M17, fps)


def walks(seconds: float, count: int, noise: float = 0.0) -> list[Pose3D]:
    rng = np.random.default_rng(0)
    poses = [mocap3d.synthesize(subject, "Walking", seconds=seconds) for subject in ("S1", "S5", "S9")[:count]]
    return [Pose3D(pose.points + noise * rng.normal(size=pose.points.shape), fps=pose.fps) for pose in poses]


def middle_of(image: Image.Image, colour: str, above: float = 0.24, below: float = 1.0, loose: int = 12) -> np.ndarray:
    """Mean (x, y) of the pixels of a colour between two heights, as shares of the picture; the legend is above 0.24."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    y, x = np.nonzero(np.abs(pixels - wanted).sum(-1) < loose)
    height, width = pixels.shape[:2]
    keep = (y > height * above) & (y < height * below)
    return np.array([x[keep].mean() / width, y[keep].mean() / height])


def decoded(scene: dict, axes: int = 3) -> np.ndarray:
    """The coordinates (T, N, P, axes) as viewer.js decodes them."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(scene["data"])), np.uint8).reshape(2, -1).astype(np.int32)
    zigzag = (planes[0] << 8) | planes[1]
    steps = ((zigzag >> 1) ^ -(zigzag & 1)).reshape(-1, scene["frames"])
    whole = np.cumsum(np.cumsum(steps, axis=1, dtype=np.int64), axis=1).astype(np.int16).astype(int).T
    metres = np.where(whole == MISSING, np.nan, (whole + 32_000) * scene["step"])
    return metres.reshape(scene["frames"], len(scene["names"]), scene["points"], axes) + scene["low"]


def test_a_notebook_stores_a_viewer_a_picture_and_a_sentence():
    pose = waving()
    player = show(pose, pose, title="A wave <b> & more")
    assert type(player) is Player
    data, metadata = player._repr_mimebundle_()
    assert list(data) == ["text/html", "image/png", "text/plain"]
    assert data["text/plain"] == repr(player) and "\n" not in repr(player) and "10 frames" in repr(player)
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    size = metadata["image/png"]
    assert picture.size == (2 * size["width"], 2 * size["height"]) and picture.mode == "P"
    html = data["text/html"]
    assert html.index("<img alt=") < html.index("<iframe") and 'sandbox="allow-scripts"' in html
    assert f"data:image/png;base64,{data['image/png']}" in html, "the still is seen without scripts"
    assert "<b>" not in html and not re.findall(r"(?:https?:)?//[\w.]+\.\w+/|\bsrc=(?!.data:)", html)
    assert html.count("</script") == 1


def test_the_same_poses_give_the_same_bytes():
    assert show(waving())._repr_mimebundle_() == show(waving())._repr_mimebundle_()


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_small(theme):
    poses = walks(2, 3, noise=0.01)
    for given in (poses[0], dict(zip("abc", poses, strict=True)), {str(i): poses[0] for i in range(8)}):
        for truth in (None, poses[1]):
            player = show(given, truth, theme=theme)
            data, metadata = player._repr_mimebundle_()
            assert len(base64.b64decode(data["image/png"])) <= 40_000
            assert metadata["image/png"]["width"] >= 500


def test_coordinates_are_small_and_exact_to_a_millimetre():
    long = show(dict(zip("abc", walks(60, 3, noise=0.005), strict=True)))
    assert len(long.scene()["data"]) < 600_000
    pair = walks(6, 2, noise=0.005)
    player = show(pair[0], pair[1])
    assert len(player.scene()["data"]) < 60_000
    given = np.stack([pose.points for pose in pair], axis=1)
    assert player.scene()["frames"] == 300
    assert np.abs(decoded(player.scene())[:, :, :17] - given).max() < 0.0006
    flat = show(pair[0], pair[1], pose2d=filmed(pair[0])).scene()
    assert len(flat["data"]) + len(flat["flat"]["data"]) < 60_000


def test_gaps_and_long_ways_survive_the_encoding():
    points = waving(50).points.copy()
    points[3] = np.nan
    points[10:, 5] = np.nan
    points[:, :, 0] += np.linspace(0, 900, 50)[:, None]  # 900 m: steps of more than a millimetre
    scene = show(Pose3D(points)).scene()
    found = decoded(scene)[:, 0, :17]
    assert np.array_equal(np.isnan(found), np.isnan(points))
    assert np.nanmax(np.abs(found - points)) <= 0.51 * scene["step"] < 0.01
    assert np.isfinite(decoded(scene)[:, :, -1]).all(), "the camera follows through gaps"


def test_the_screen_is_a_rotation():
    for view in ((0.3, 0.2), (2.0, 1.5), (-1.0, -0.3)):
        rows = axes(view)
        assert np.allclose(rows @ rows.T, np.eye(3)) and np.linalg.det(rows) == pytest.approx(1)
    assert np.allclose(axes((-np.pi / 2, 0))[:2], [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("frame", ["world", "camera"])
def test_the_left_hand_is_the_left_hand_in_png_and_gif(frame, theme, tmp_path):
    """Whoever faces us has the left hand on our right, and it is raised: above the head there is only orange."""
    pose = waving()
    if frame == "camera":
        pose = pose.in_camera(Camera.look_at((0.0, 4.0, 1.2), (0.0, 0.0, 1.0)))
    player = show(pose, view="front", theme=theme)
    left, right = (THEMES[theme][side] for side in ("left", "right"))
    for name in ("wave.png", "wave.gif"):
        image = Image.open(player.save(tmp_path / name))
        assert middle_of(image, left)[0] > 0.52 and middle_of(image, right)[0] < 0.48, name
        hand = middle_of(image, left, below=0.33)
        assert hand[0] > 0.52 and hand[1] < middle_of(image, right)[1] - 0.2, f"{name}: the raised hand"
        back = Image.open(show(pose, view="side", theme=theme).save(tmp_path / f"side_{name}"))
        assert middle_of(back, left).size == 2
    assert (LEFT, RIGHT) == (THEMES["light"]["left"], THEMES["light"]["right"])


def filmed(pose: Pose3D) -> Pose2D:
    """The wave as a camera before the person sees it."""
    return pose.project(Camera.look_at((0.0, 4.0, 1.2), (0.0, 0.0, 1.0)))


def beside(image: Image.Image, scene: dict) -> Image.Image:
    """The 2D view in a still."""
    left, top, right, bottom = scene["flat"]["crop"]
    share = min(0.12 + 0.24 * (right - left) / (bottom - top), 0.45)
    return image.convert("RGB").crop((round(image.width * (1 - share)), 0, image.width, image.height))


@pytest.mark.parametrize("filled", [False, True], ids=["no images", "a video frame"])
@pytest.mark.parametrize("theme", THEMES)
def test_the_left_hand_is_the_left_hand_in_the_2d_view(theme, filled, tmp_path):
    pose = waving()
    pose2d = filmed(pose)
    film = np.full((*pose2d.image_size[::-1], 3), 90, np.uint8) if filled else None
    player = show(pose, pose2d=pose2d, images=film, view="side", theme=theme)
    left, right = (THEMES[theme][side] for side in ("left", "right"))
    for name in ("wave.png", "wave.gif"):
        image = beside(Image.open(player.save(tmp_path / name)), player.scene())
        loose = 40 if filled else 12
        places = {colour: middle_of(image, colour, above=0.3, loose=loose) for colour in (left, right)}
        assert places[left][0] > places[right][0] + 0.05 and places[left][1] < places[right][1] - 0.02, name


def test_the_2d_view_is_the_pose_in_step():
    pose = waving(40)
    pose2d = filmed(pose)
    film = [np.full((50, 50 * pose2d.image_size[0] // pose2d.image_size[1], 3), t, np.uint8) for t in range(40)]
    scene = show(pose, pose2d=pose2d, images=film, max_frames=20).scene()
    flat = scene["flat"]
    assert scene["frames"] == 20 and len(flat["images"]) == 20 and flat["every"] == 1
    found = decoded(flat | {"frames": 20, "names": ["2D"]}, axes=2)[:, 0, :17]
    assert np.abs(found - pose2d.points[::2]).max() <= 0.51 * flat["step"] < 0.2
    stored = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))).mean() for image in flat["images"]]
    assert np.abs(np.array(stored) - np.arange(0, 40, 2)).max() < 2
    long = waving(600)
    assert len(show(long, pose2d=filmed(long), images=film * 15).scene()["flat"]["images"]) == 150
    one = show(pose, pose2d=pose2d, images=film[0]).scene()["flat"]
    assert len(one["images"]) == 1 and one["every"] == 40
    coco = pose2d.__class__(
        np.random.default_rng(0).uniform(100, 400, (40, 17, 2)), skeleton="coco17", fps=50, image_size=(640, 480)
    )
    assert show(pose, pose2d=coco).scene()["flat"]["labels"][1] == "left eye"


def test_errors_are_coloured_joint_by_joint(tmp_path):
    truth = waving()
    points = truth.points.copy()
    points[:, H36M17.index("left_wrist"), 2] += 0.1
    player = show(Pose3D(points), truth, view="front", colour="error")
    assert player.scene()["most"] == 100 and player.scene()["colour"] == "error"
    image = Image.open(player.save(tmp_path / "errors.png"))
    worst, least = (middle_of(image, colour, loose=40) for colour in (HEAT[-1], HEAT[0]))
    assert worst[0] > 0.52 and worst[1] < least[1] - 0.1, "the raised left wrist alone is wrong"
    shown = {tuple(colour) for colour in np.asarray(image.convert("RGB"))[300:].reshape(-1, 3)}
    assert not shown & {tuple(bytes.fromhex(side[1:])) for side in (LEFT, RIGHT)}, "no side is coloured"
    assert show(waving(), truth).scene()["most"] == 1


def test_path_trails_and_cameras():
    walk, wave = walks(6, 1)[0], waving()
    assert show(wave).scene()["path"] is None and show(walk.root_relative()).scene()["path"] is None
    assert show(walk).scene()["path"] == H36M17.index("pelvis")
    ends = [H36M17.joints[joint] for joint, _ in show(wave).scene()["tips"]]
    assert ends == ["right_foot", "left_foot", "head", "left_wrist", "right_wrist"]
    camera = Camera.look_at((0.0, 4.0, 1.2), (0.0, 0.0, 1.0))
    (drawn,) = show(wave, cameras=camera).scene()["cameras"]
    corners = np.concatenate(drawn["lines"])
    assert np.isfinite(corners).all() and np.allclose(corners[0], camera.translation, atol=1e-3)
    assert corners[:, 1].min() == pytest.approx(3.5, abs=0.05), "it looks towards the person, half a metre deep"
    assert len(show(wave, cameras=camera)._repr_mimebundle_()[0]["image/png"]) > 1000


def test_views():
    front, side, given = (show(waving(), view=view).scene()["view"] for view in ("front", "side", (180, 10)))
    assert front[0] == pytest.approx(np.pi / 2, abs=0.01) and side[0] == pytest.approx(np.pi, abs=0.01)
    assert given == pytest.approx([np.pi, np.deg2rad(10)], abs=1e-3)


def test_a_moving_image_moves_in_real_time(tmp_path):
    image = Image.open(show(waving(100, fps=50)).save(tmp_path / "wave.gif"))
    assert image.n_frames == 50 and image.info["duration"] == 40 and image.info["loop"] == 0
    first = np.asarray(image.convert("RGB"))
    image.seek(3)
    assert (np.asarray(image.convert("RGB")) != first).any()


def test_files_by_suffix(tmp_path, monkeypatch):
    player = show(waving())
    page = player.save(tmp_path / "pose.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<noscript><img" in page
    with pytest.raises(FigureError, match=r"\.html, \.png, \.gif or \.mp4"):
        player.save(tmp_path / "pose.jpg")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(FigureError, match="imageio-ffmpeg"):
        player.save(tmp_path / "pose.mp4")


def test_the_plotly_figure_is_of_the_same_poses():
    pose = waving(400)
    figure = show(pose, pose, title="Both").figure()
    assert type(figure) is go.Figure and len(figure.frames) == 134 and "Both" in figure.layout.title.text
    assert len(show(pose, max_frames=40).figure().frames) == 40 == show(pose, max_frames=40).scene()["frames"]


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_known_skeleton_is_drawn(skeleton):
    points = np.random.default_rng(0).normal(0, 0.4, (3, len(skeleton), 3))
    scene = show(Pose3D(points, skeleton)).scene()
    drawn = {point for part in scene["parts"] for point in part[:2]}
    assert drawn >= set(range(len(skeleton)))
    head = decoded(scene)[:, 0, len(skeleton)]
    assert np.isfinite(head).all()
    show(Pose3D(points, skeleton))._repr_mimebundle_()


def test_what_cannot_be_drawn_is_refused_in_one_sentence():
    pose = waving()
    empty = waving()
    object.__setattr__(empty, "points", np.zeros((0, 17, 3), np.float32))
    with pytest.raises(FigureError, match="0 frames"):
        show(empty)
    with pytest.raises(FigureError, match="view is 'back'"):
        show(pose, view="back")
    with pytest.raises(FigureError, match="view is"):
        show(pose, view=(1, 2, 3))
    with pytest.raises(FigureError, match="theme is 'blue'"):
        show(pose, theme="blue")
    with pytest.raises(TypeError, match="array of shape"):
        show(pose.points)
    with pytest.raises(FigureError, match="colour is 'joint'"):
        show(pose, pose, colour="joint")
    with pytest.raises(FigureError, match='"error" needs the truth'):
        show(pose, colour="error")
    pose2d, image = filmed(pose), np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(FigureError, match="give it too"):
        show(pose, images=image)
    with pytest.raises(FigureError, match="pose2d has 10 frames.*20 frames"):
        show(waving(20), pose2d=pose2d)
    with pytest.raises(TypeError, match="as pose2d, not a Pose3D"):
        show(pose, pose2d=pose)
    with pytest.raises(FigureError, match="2 images for 10 frames"):
        show(pose, pose2d=pose2d, images=[image, image])
    with pytest.raises(FigureError, match="aspect ratio"):
        show(pose, pose2d=pose2d, images=image[:30])
    with pytest.raises(FigureError, match=r"shape \(50, 50\).*uint8"):
        show(pose, pose2d=pose2d, images=[image[..., 0]] * 10)
    camera = Camera.look_at((0.0, 4.0, 1.2), (0.0, 0.0, 1.0))
    with pytest.raises(FigureError, match="camera frame; use pose3d.in_world"):
        show(pose.in_camera(camera), cameras=camera)
    with pytest.raises(TypeError, match="Cameras as cameras, not 'front'"):
        show(pose, cameras="front")


def test_the_viewer_is_small_and_alone():
    source = viewer()
    assert len(source.encode()) < 25_000 and len(look()) < 3_500
    assert "import " not in source and "http" not in source and "<" + "/script" not in source


def test_the_widget_is_driven_from_python():
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    pose = waving()
    widget = show(pose).widget()
    assert widget.frame == show(pose).scene()["still"] and not widget.playing
    before = widget.scene["data"]
    short = show(pose, title="A wave", max_frames=5).widget()
    short.draw(pose)
    assert short.scene["lines"][0] == "A wave" and short.scene["frames"] == 5
    short.draw(pose, title="Another")
    assert short.scene["lines"][0] == "Another"
    widget.draw(Pose3D(pose.points + [0, 0, 0.1 * np.sin(np.arange(17))[:, None].mean()]), pose)
    assert widget.scene["data"] != before and widget.scene["names"] == ["prediction", "truth"]
    with pytest.raises(FigureError, match="lengths differ"):
        widget.draw(pose, waving(20))
    assert widget.scene["frames"] == 10
    widget.close()
    short.close()
