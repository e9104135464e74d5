"""2D joints as a network reads them: the `normalise` of a model.

"published"  screen units, unchanged: what the published networks read, each with its own scaling
"root"       relative to the pelvis, divided by the body's size in the image: the network does not see where the person
             is in the image, nor how far away
"ray"        the same in a virtual camera that looks at the pelvis. A person at the edge of an image is seen from
             another side than one in its middle: the network predicts in the virtual camera; its pose is rotated back

The size is the median of `person_size` over the frames of the receptive field (past frames only if the model is
causal), so that it does not depend on the pose of one frame. These frames extend beyond the window that a network
gets; hence whole clips are normalised, before windows are gathered from them, and not by the models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mocap3d.camera import Camera
from mocap3d.skeleton import H36M17, ROOT

FOV = 65.0  # degrees along the longer side of the image, where nothing is known: the median of phones (data.cameras)
SAMPLES = 27  # frames of the receptive field, evenly spaced, over which the median is taken
NEAREST = 0.05  # least depth of a joint in the virtual camera, relative to that of the pelvis
# A standing person's height, head to ankles, is 0.4 of the total length of the 16 bones in any upright view (own).
HEIGHT_PER_BONES = 0.4


def normalise_points(
    points2d: Tensor,
    lengths: Tensor,
    normalise: str,
    width: int = 1,
    causal: bool = False,
    intrinsics: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Normalise the points of concatenated clips.

    Args:
        points2d: (N, 17, 2) screen units, no NaN.
        lengths: (K,) int64, of the clips, in frames.
        normalise: "published", "root" or "ray".
        width, causal: of the model's receptive field.
        intrinsics: (K, 4) focal lengths and principal point in screen units, for "ray"; by default
            `assumed_intrinsics` of a landscape image.
    Returns:
        (N, 17, 2) points. With "ray" also (N, 3, 3), the axes of each frame's virtual camera as rows, in the camera
        frame: `pose @ rotation` converts poses to the camera frame. Otherwise None.
    Source: own; the virtual camera follows Yu et al. 2021 (PCLs), without resampling an image.
    """
    if normalise == "published":
        return points2d, None
    if intrinsics is not None:
        intrinsics = intrinsics.expand(len(lengths), 4).repeat_interleave(lengths, 0)  # (N, 4)
    points, rotation = centred_points(points2d, normalise, intrinsics)
    size = rolling_median(person_size(points), lengths, width, causal)
    return scaled_points(points, size), rotation


def centred_points(points2d: Tensor, normalise: str, intrinsics: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The first step of `normalise_points`, frame by frame, intrinsics (N, 4): points around the pelvis, not scaled."""
    if normalise == "root":
        return points2d - points2d[:, [ROOT]], None
    if intrinsics is None:
        intrinsics = points2d.new_tensor([assumed_intrinsics(1, 1)])
    focal, centre = intrinsics[:, None].split(2, -1)  # (N, 1, 2)
    return view_from_ray((points2d - centre) / focal)


def scaled_points(points: Tensor, size: Tensor) -> Tensor:
    """The second step: (N, 17, 2) divided by the size of each frame, (N,)."""
    return points / size[:, None, None]


def assumed_intrinsics(width: float, height: float, fov: float = FOV) -> tuple[float, float, float, float]:
    """Focal lengths and principal point in screen units, for a field of view in degrees along the longer side."""
    focal = max(width, height) / width / math.tan(math.radians(fov / 2))
    return focal, focal, 0.0, 0.0


def known_intrinsics(
    image_size: tuple[int, int], camera: Camera | None = None, fov: float | None = None
) -> tuple[float, ...]:
    """Focal lengths and principal point in screen units: of the camera, or for a field of view, or assumed.

    Raises:
        ValueError: for a camera of another image size, an impossible field of view, or both at once.
    """
    if fov is not None and camera is not None:
        raise ValueError(f"fov={fov!r}: only in place of a camera; leave it out")
    if fov is not None and not 5 <= fov <= 170:
        raise ValueError(f"fov={fov!r}: give degrees along the longer side of the image, from 5 to 170, such as 65")
    if camera is None:
        return assumed_intrinsics(*image_size, FOV if fov is None else fov)
    if (camera.width, camera.height) != tuple(image_size):
        size = "x".join(map(str, image_size))
        raise ValueError(f"the camera's image is {camera.width}x{camera.height}, not {size}; give the one that filmed")
    return tuple(camera.screen_intrinsics()[:4].tolist())


def view_from_ray(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points at depth 1 in a camera, (N, 17, 2) -> the same in virtual cameras that look at the pelvis, and these.

    Returns:
        (N, 17, 2), pelvis at 0; (N, 3, 3) rows right, down and forward of the virtual cameras, in the camera frame,
        determinant +1. They are rotated sideways, then up or down: `right` stays horizontal in the camera frame.
    """
    ones = torch.ones_like(points[..., :1])
    forward = torch.nn.functional.normalize(torch.cat([points[:, ROOT], ones[:, ROOT]], -1), dim=-1)  # (N, 3)
    x, _, z = forward.unbind(-1)
    right = torch.nn.functional.normalize(torch.stack([z, torch.zeros_like(x), -x], -1), dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)  # (N, 3, 3)
    rays = torch.cat([points, ones], -1) @ rotation.mT  # (N, 17, 3)
    nearest = NEAREST * rays[:, [ROOT], 2:]
    return rays[..., :2] / rays[..., 2:].maximum(nearest), rotation


def person_size(points: Tensor) -> Tensor:
    """Height in the image that the person would have when standing: 0.4 of the total length of the bones.

    Args:
        points: (N, 17, 2) h36m17, any unit; bones with a missing end count as average ones.
    Returns:
        (N,) in the input's unit; 0 where no bone is present.
    Source: own. It depends less on the pose than a box around the joints.
    """
    parents, children = (list(ends) for ends in zip(*H36M17.bones, strict=True))
    bones = (points[:, children] - points[:, parents]).norm(dim=-1)  # (N, 16)
    return HEIGHT_PER_BONES * len(parents) * bones.nanmean(dim=1).nan_to_num()


def sampled_frames(width: int, causal: bool) -> Tensor:
    """Offsets of the frames, relative to the present one, over which the size is taken: (at most `SAMPLES`,) int64."""
    before = width - 1 if causal else width // 2
    return torch.linspace(-before, width - 1 - before, min(width, SAMPLES)).round().long()


def rolling_median(values: Tensor, lengths: Tensor, width: int, causal: bool = False) -> Tensor:
    """`usual_size` over `sampled_frames` around each frame of concatenated clips, (N,) -> (N,); end frames repeat."""
    if width == 1:
        return usual_size(values[:, None])
    stop = lengths.cumsum(0)
    first, last = (end.repeat_interleave(lengths)[:, None] for end in (stop - lengths, stop - 1))  # (N, 1)
    frames = torch.arange(len(values), device=values.device)[:, None]
    rows = (frames + sampled_frames(width, causal).to(values.device)).clamp(first, last)  # (N, samples)
    return usual_size(values[rows])


def usual_size(sizes: Tensor) -> Tensor:
    """Median over the last axis of (N, samples) -> (N,); sizes of 0, of nobody, are ignored; 1 if there is no other."""
    return torch.where(sizes > 0, sizes, torch.nan).nanmedian(1).values.nan_to_num(nan=1.0)
