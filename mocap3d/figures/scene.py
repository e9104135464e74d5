"""The scene of every 3D figure: fixed equal axes, a floor, and the viewpoint."""

from __future__ import annotations

import numpy as np

from mocap3d.figures import style
from mocap3d.figures.body import coordinates, some_frames


def scene_box(clouds: list[np.ndarray], floor: float) -> np.ndarray:
    """Fixed ranges (3, 2) in metres around everything in all frames (clouds (..., 3), upright) and the floor."""
    low = np.min([np.nanmin(cloud.reshape(-1, 3), axis=0) for cloud in clouds], axis=0)
    high = np.max([np.nanmax(cloud.reshape(-1, 3), axis=0) for cloud in clouds], axis=0)
    half = np.maximum((high - low) / 2 + 0.25, 0.75)  # a floor of at least 1.5 m by 1.5 m
    box = np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)
    box[2] = [min(floor, low[2]) - 0.02, high[2] + 0.15]
    return np.round(box, 2)


def grid_step(box: np.ndarray) -> float:
    """Metres between floor lines: half a metre, or one if the floor is long."""
    return 0.5 if (box[:2, 1] - box[:2, 0]).max() < 5 else 1.0


def floor_height(points: np.ndarray, standing: bool) -> float:
    """Height of the floor under a body (T, J, 3): 0 in a world if the lowest joints are near it, or below them."""
    lowest = float(np.percentile(np.nanmin(some_frames(points)[..., 2], axis=1), 2))
    ankle = 0.05  # the lowest joint is an ankle, not a sole
    return 0.0 if standing and -0.1 < lowest < 0.3 else lowest - ankle


def floor_traces(box: np.ndarray, floor: float) -> list[dict]:
    """A pale plane with a thin grid at height `floor`."""
    (x0, x1), (y0, y1) = box[:2]
    step = grid_step(box)
    plate = {
        "type": "mesh3d",
        "x": [x0, x1, x1, x0],
        "y": [y0, y0, y1, y1],
        "z": [round(floor - 0.006, 4)] * 4,
        "i": [0, 0],
        "j": [1, 2],
        "k": [2, 3],
        "color": style.FLOOR,
        "hoverinfo": "skip",
        "showlegend": False,
        "lighting": {"ambient": 1, "diffuse": 0, "specular": 0},
    }
    gap = (np.nan,) * 3
    rows = [[(x, y0, floor), (x, y1, floor), gap] for x in _multiples(x0, x1, step)]
    rows += [[(x0, y, floor), (x1, y, floor), gap] for y in _multiples(y0, y1, step)]
    grid = {
        "type": "scatter3d",
        "mode": "lines",
        **coordinates(style.compact(np.array(rows).reshape(-1, 3))),
        "line": {"width": 1.5, "color": style.HAIR},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [plate, grid]


def _multiples(low: float, high: float, step: float) -> np.ndarray:
    return np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step + 0.0  # no -0


def scene_layout(
    box: np.ndarray, clouds: list[np.ndarray], floor: float, eye: np.ndarray, titles, rise: float = 0.34
) -> dict:
    """The 3D scene: equal axes of fixed range, no walls, discreet ticks, viewed from direction (eye x, eye y, rise)."""
    extent = box[:, 1] - box[:, 0]
    step = grid_step(box)
    axes = {}
    for name, (low, high), text in zip("xyz", box, titles, strict=True):
        ticks = _multiples(low if name != "z" else floor + 0.3, high, step)
        axes[f"{name}axis"] = {
            "range": [float(low), float(high)],
            "autorange": False,
            "tickvals": ticks.tolist(),
            "ticktext": [f"{tick:g}".replace("-", "−") for tick in ticks],
            "title": {"text": text, "font": {"size": 11, "color": style.FAINT}},
            "tickfont": {"size": 10, "color": "#8C959F"},
            "showbackground": False,
            "showgrid": False,
            "zeroline": False,
            "showline": False,
            "showspikes": False,
            "ticks": "",
        }
    corners = np.array([(x, y, floor) for x in box[0] for y in box[1]])
    corners += 0.12 * (corners - corners.mean(0)) - [0, 0, 0.09 * extent.max()]  # room for ticks and axis titles
    shown = np.concatenate([corners, *(cloud.reshape(-1, 3) + [0, 0, 0.1] for cloud in clouds)])
    shown = (shown[np.isfinite(shown).all(-1)] - box.mean(1)) / extent.max()
    position, centre = fit_camera(shown, np.array([*eye, rise]))
    return axes | {
        "aspectmode": "manual",
        "uirevision": "keep",
        "dragmode": "turntable",
        "aspectratio": {axis: round(float(size / extent.max()), 4) for axis, size in zip("xyz", extent, strict=True)},
        "camera": {
            "eye": {axis: round(float(v), 4) for axis, v in zip("xyz", position, strict=True)},
            "center": {"x": 0, "y": 0, "z": round(centre, 4)},
            "up": {"x": 0, "y": 0, "z": 1},
        },
    }


def fit_camera(points: np.ndarray, direction: np.ndarray, aspect: float = 1.9) -> tuple[np.ndarray, float]:
    """Eye position, and height of its target point, such that points (N, 3) just fill plotly's 45 degree view.

    Args:
        points: in scene units, relative to the middle of the box.
        direction: from the scene to the eye, any length.
        aspect: width over height of the drawing.
    """
    back = direction / np.linalg.norm(direction)
    right = np.cross([0, 0, 1], back) / np.linalg.norm(back[:2])
    reach = np.tan(np.deg2rad(22.5)) * 0.95
    best = (np.inf, 0.0, 0.0)
    for height in np.linspace(points[:, 2].min(), points[:, 2].max(), 41):
        offset = points - [0, 0, height]
        deep, up = offset @ back, offset @ np.cross(back, right) / reach
        distance = float((np.maximum(np.abs(up), np.abs(offset @ right) / (reach * aspect)) + deep).max())
        seen = up / (distance - deep)  # -1 lower edge, 1 upper edge
        cost = distance * (1 + 0.1 * abs(seen.max() + seen.min()))  # near, and with equal margins above and below
        best = min(best, (round(cost, 6), distance, float(height)))
    _, distance, height = best
    return back * distance + [0, 0, height], height
