"""A simulated COCO detector that fails as detectors do in real videos, for many clips at once.

`detect_with_failures` starts from `phone.detect_coco`: noise, short misses, short inversions of both arms or both legs.
It adds the failures that matter outside a laboratory, all with the numbers of `Failures`:

    offset       a joint is found at a constant offset from the true one: programs differ in where a hip is
    out of view  joints beyond an edge of the image, or legs behind a desk: missing, or guessed with low scores
    low scores   joints with low confidence: missing, or left as wrong points, as programs differ
    inversion    all left and right joints are exchanged for 0.5 to 2 s
    gaps         one ear missing for the whole clip; one limb joint missing for 1 to 3 s

What is not simulated: there is no image, so inversions and gaps do not depend on the pose or the view, and nobody else
is in it; the person is never lost as a whole. Confidence is that of detector.py, which knows nothing of offsets and
long inversions. Good results here do not show that a model works on real detections.

Sources:
    COCO keypoint evaluation (pycocotools, cocoeval.py, `kpt_oks_sigmas`): standard deviations of annotators, relative
        to the square root of the person's area in the image.
    MMPose, demo/topdown_demo_with_mmdet.py: the threshold of scores, 0.3.
All other numbers are assumptions; those of inversions and gaps are the ones of phone-v1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mocap3d.data.cameras import clip_starts
from mocap3d.data.detector import DetectorModel, get_detector
from mocap3d.data.phone import detect_coco
from mocap3d.normalise import person_size
from mocap3d.skeleton import COCO17

# COCO: relative to the square root of the area
SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
# Assumption: square root of a standing person's area in the image, relative to `person_size`: 0.5 m^2 of a person
# whose ankles are 1.6 m below the top of the head
SCALE = 0.45
LEAST = 1e-3  # confidence of a joint that is not missing
EARS = COCO17.indices(("left_ear", "right_ear"))
LIMBS = COCO17.indices([f"{side}_{kind}" for kind in ("knee", "ankle", "elbow", "wrist") for side in ("left", "right")])
LEGS, HIPS = LIMBS[:4], COCO17.indices(("left_hip", "right_hip"))


@dataclass(frozen=True)
class Failures:
    """How often and how a detector fails. Shares are of the clips unless said otherwise; (low, high) is uniform.

    Args:
        offset: standard deviation of the constant offset of a joint, x and y each, relative to COCO's annotators: 0.4
            is 3 cm at the hips and 7 mm at the nose of an adult. It is drawn per clip and joint, and grows and shrinks
            with the person's size in the image.
        drift_seconds: correlation time of the slow part of the noise; None keeps the detector's, 0.5 s. The published
            error and acceleration error are met for any value of 0.1 s or more.
        threshold: confidence below which a score is low.
        kept: clips in which joints with low scores are left where they are; in the others they are missing.
        guessed: clips in which joints out of view are guessed, with low scores; in the others they are missing. They
            are among the kept ones.
        inset: guessed joints lie at most so far inside the image's edge, person sizes.
        guess: standard deviation of the constant error of guessed legs behind a desk, x and y each, person sizes.
        inverted: share of the frames with left and right exchanged.
        episode: seconds of an inversion; it may begin before a clip or end after it.
        ear: one ear is missing.
        limb: one knee, ankle, elbow or wrist is missing for some time.
        gap: seconds of that time, or the whole clip if it is shorter.
        never: one joint, any of them, is never reported.
        desk: knees and ankles are never in view.
        desk_hips: of these clips, those in which the hips are not in view either.
    Raises:
        ValueError: for a number out of range.
    Source: own; assumptions, except the threshold (see the module).
    """

    offset: float = 0.4
    drift_seconds: float | None = None
    threshold: float = 0.3
    kept: float = 0.5
    guessed: float = 0.25
    inset: float = 0.05
    guess: float = 0.1
    inverted: float = 0.05
    episode: tuple[float, float] = (0.5, 2.0)
    ear: float = 0.3
    limb: float = 0.2
    gap: tuple[float, float] = (1.0, 3.0)
    never: float = 0.25
    desk: float = 0.15
    desk_hips: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple):
                valid, rule = len(value) == 2 and 0 < value[0] <= value[1], "(shortest, longest) seconds, above 0"
            elif name == "drift_seconds":
                valid, rule = value is None or value > 0, "seconds, above 0, or None"
            else:
                valid, rule = 0 <= value <= 1, "in [0, 1]"
            if not valid:
                raise ValueError(f"{name}={value!r} must be {rule}")
        if not (self.guessed <= self.kept and self.inverted < 1):
            raise ValueError(
                f"guessed={self.guessed!r} must be at most kept={self.kept!r}, and inverted={self.inverted!r} below 1"
            )


@dataclass(frozen=True, eq=False)
class Detections:
    """What the detector reports of N frames.

    Args:
        points: (N, 17, 2) coco17, screen units; NaN where missing.
        confidence: (N, 17) in [0, 1]; 0 where missing, and above 0 elsewhere.
        inverted: (N,) bool: all left and right joints are exchanged.
    """

    points: Tensor
    confidence: Tensor
    inverted: Tensor


@torch.no_grad()
def detect_with_failures(
    h36m: Tensor,
    coco: Tensor,
    clip: Tensor,
    size: Tensor,
    seen: Tensor | None = None,
    fps: float = 50.0,
    detector: str | DetectorModel = "cpn",
    failures: Failures = Failures(),  # noqa: B008, it is frozen
    generator: torch.Generator | None = None,
) -> Detections:
    """Simulate detections on coco17 for the frames of many clips at once, on their device.

    Args:
        h36m, coco: (N, 17, 2) true 2D on the two skeletons, screen units, all clips concatenated; NaN where missing.
        clip: (N,) int64, ascending from 0 without gaps: which clip a frame belongs to.
        size: (K, 2) width and height of each clip's image, any unit, as in `CameraBatch`.
        seen: (N, 17) bool, coco joints inside the image, as from `film_tensor`; None: according to coco and size.
        fps: frames per second.
        detector: "cpn", "sh" or a DetectorModel.
        failures: how often and how the detector fails.
        generator: on any device; the same state gives the same detections. None draws from torch's own.
    Returns:
        Detections on the device of coco.
    Raises:
        ValueError: for wrong shapes or labels, or an unknown detector.
    Source: own.
    """
    start = clip_starts(coco, clip, dimensions=2)
    edge = _edge(h36m, coco, clip, size, seen, len(start))  # (N, 1, 2)
    model = get_detector(detector)
    if failures.drift_seconds is not None:
        model = replace(model, drift_seconds=failures.drift_seconds)
    source = coco.device if generator is None else generator.device
    uniform = torch.rand(10, len(start), generator=generator, device=source).to(coco)
    inset = torch.rand(len(start), 17, 1, generator=generator, device=source).to(coco)
    offset, guess = torch.randn(2, len(start), 17, 2, generator=generator, device=source).to(coco)
    each = torch.rand(3, len(clip), generator=generator, device=source).to(coco)
    generator = _on_device(generator, coco.device)
    points, confidence = detect_coco(h36m, coco, clip, fps, model, generator)

    person = person_size(h36m)[:, None, None]  # (N, 1, 1)
    points += (failures.offset * SCALE * _sigmas(coco) * offset)[clip] * person

    seen = (coco.abs() <= edge).all(-1) if seen is None else seen
    desk = _behind_a_desk(uniform[0], failures)  # (K, 17)
    hidden = desk[clip] | ~seen | (points.abs() > edge).any(-1)
    kept, guessed = ((uniform[1] < share)[clip, None] for share in (failures.kept, failures.guessed))  # (N, 1)
    rows = (hidden & guessed).any(1).nonzero()[:, 0]
    at, wrong = clip[rows], failures.guess * guess * desk[..., None]
    most = (edge[rows] - failures.inset * inset[at] * person[rows]).clamp_min(0)
    guesses = (points[rows] + wrong[at] * person[rows]).minimum(most).maximum(-most)
    points[rows] = torch.where(hidden[rows, :, None], guesses, points[rows])
    scores = failures.threshold * torch.rand(len(clip), 17, generator=generator, device=coco.device)
    confidence = torch.where(hidden, scores.to(confidence), confidence)
    missing = torch.where(hidden, ~guessed, (confidence < failures.threshold) & ~kept)

    inverted = _episodes(clip, start, each, failures, fps)
    rows = inverted.nonzero()[:, 0]
    for values in (points, confidence, missing):
        values[rows] = values[rows][:, list(COCO17.mirror)]
    missing |= _gaps(clip, start, uniform[2:], failures, fps) | ~points.isfinite().all(-1)
    points[missing] = torch.nan
    return Detections(points, confidence.clamp_min(LEAST).masked_fill(missing, 0), inverted)


def _edge(h36m: Tensor, coco: Tensor, clip: Tensor, size: Tensor, seen: Tensor | None, count: int) -> Tensor:
    """(N, 1, 2) corner of each frame's image; checks the shapes."""
    if tuple(coco.shape[1:]) != (len(COCO17), 2) or h36m.shape != coco.shape:
        raise ValueError(
            f"h36m has shape {tuple(h36m.shape)} and coco {tuple(coco.shape)}; give (frames, 17, 2) for both"
        )
    if tuple(size.shape) != (count, 2):
        raise ValueError(f"size has shape {tuple(size.shape)}; give width and height of each clip, ({count}, 2)")
    if seen is not None and (seen.shape != coco.shape[:2] or seen.dtype != torch.bool):
        raise ValueError(f"seen has shape {tuple(seen.shape)} and dtype {seen.dtype}; give (frames, 17) bool")
    return (size / size[:, :1]).to(coco)[clip, None]


def _on_device(generator: torch.Generator | None, device: torch.device) -> torch.Generator | None:
    """The generator, or one on this device with a seed drawn from it."""
    if generator is None or generator.device == device:
        return generator
    seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
    return torch.Generator(device).manual_seed(int(seed))


def _sigmas(like: Tensor) -> Tensor:
    """(17, 1) COCO's standard deviations."""
    return like.new_tensor([[SIGMAS[name.rpartition("_")[2]]] for name in COCO17.joints])


def _episodes(clip: Tensor, start: Tensor, uniform: Tensor, failures: Failures, fps: float) -> Tensor:
    """(N,) bool, from uniform (3, N): as likely in every frame; some episodes begin before a clip's first frame."""
    (low, high), share = failures.episode, failures.inverted
    frames = torch.arange(len(clip), device=clip.device)
    seconds = low + (high - low) * uniform[1]
    chance = torch.full_like(seconds, 1 - (1 - share) ** (2 / (fps * (low + high))))  # of beginning in a frame
    chance[start] = share  # an episode of that frame is more likely a long one, and partly over
    seconds[start] = uniform[2, start] * (low**2 + (high**2 - low**2) * uniform[1, start]).sqrt()
    ends = frames + (seconds * fps).round().long().clamp_min(1)
    next_clip = torch.cat([start[1:], start.new_tensor([len(clip)])])[clip]
    ends = torch.where(uniform[0] < chance, ends, 0).minimum(next_clip)
    return ends.cummax(0).values > frames


def _behind_a_desk(uniform: Tensor, failures: Failures) -> Tensor:
    """(K, 17) bool: joints that are never in view."""
    behind = torch.zeros(len(uniform), len(COCO17), dtype=torch.bool, device=uniform.device)
    behind[:, LEGS] = (uniform < failures.desk)[:, None]
    behind[:, HIPS] = (uniform < failures.desk * failures.desk_hips)[:, None]
    return behind


def _gaps(clip: Tensor, start: Tensor, uniform: Tensor, failures: Failures, fps: float) -> Tensor:
    """(N, 17) bool, from uniform (8, K): joints missing in whole clips, and limb joints missing for some time."""
    has_ear, which_ear, has_limb, which_limb, duration, place, has_none, which_none = uniform
    joints = torch.arange(len(COCO17), device=clip.device)

    def pick(among: list[int], happens: Tensor, which: Tensor) -> Tensor:
        index = (which * len(among)).long().clamp_max(len(among) - 1)
        return happens[:, None] & (clip.new_tensor(among)[index][:, None] == joints)  # (K, 17)

    whole = pick(EARS, has_ear < failures.ear, which_ear)
    whole |= pick(list(range(len(COCO17))), has_none < failures.never, which_none)
    limbs = pick(LIMBS, has_limb < failures.limb, which_limb)
    length = torch.bincount(clip)
    low, high = failures.gap
    count = ((low + (high - low) * duration) * fps).round().long().minimum(length)
    first = start + (place * (length - count + 1)).long().minimum(length - count)  # (K,)
    frames = torch.arange(len(clip), device=clip.device)
    within = (frames >= first[clip]) & (frames < (first + count)[clip])
    return whole[clip] | (within[:, None] & limbs[clip])
