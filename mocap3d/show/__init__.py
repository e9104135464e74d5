"""Interactive figures of poses, cameras, errors and training: plain plotly Figures that need no network.

    show          3D poses that play, alone, over the truth, or side by side
    show_2d       keypoints in their image
    show_cameras  frustums in the world, and the body between them
    show_errors   each joint's error over time
    show_history  loss and validation error of a training run
    live_history  the same while it trains: `fit(..., callback=live_history())`
    show_receptive_field  the frames that one pose of a temporal network is made from
    show_attention  what one joint in one frame attends to, between joints and between frames
    show_gates    which of its two streams a network of attention follows

Left is orange, right is blue, the middle is grey, everywhere.
"""

from mocap3d.show.attention import show_attention, show_gates
from mocap3d.show.cameras import show_cameras
from mocap3d.show.errors import show_errors, show_history
from mocap3d.show.live import live_history
from mocap3d.show.receptive_field import show_receptive_field
from mocap3d.show.skeleton2d import show_2d
from mocap3d.show.skeleton3d import show
from mocap3d.show.style import CENTRE, LEFT, RIGHT, FigureError

__all__ = [
    "CENTRE",
    "LEFT",
    "RIGHT",
    "FigureError",
    "live_history",
    "show",
    "show_2d",
    "show_attention",
    "show_cameras",
    "show_errors",
    "show_gates",
    "show_history",
    "show_receptive_field",
]
