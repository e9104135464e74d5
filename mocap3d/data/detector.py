"""Simulated 2D detectors: ground-truth pixels in, plausible detections out.

What is simulated: the error *statistics* of two detectors tuned on Human3.6M, a cascaded pyramid network
("cpn") and a stacked hourglass ("sh"). The size of the error, its distribution over joints and its smoothness
in time follow published figures; the rest is assumed. Every figure below has its source, or is marked as an
assumption. Noise is drawn in units of the person's size, so it is the same in pixels and screen units.

What is not simulated: a detector. There is no image, so errors do not depend on occlusion, clothing, blur,
image borders or other people; a joint behind the body is missed no more often than one in front, difficult
poses (sitting down, lying) have the same errors as standing, and there is no constant bias as real detectors
have at hips and ankles. Good results on these detections do not show that a model works on
real ones.

Errors of a joint, drawn anew for every clip:
    noise      slow drift + fast jitter, Gaussian, with a log-normal scale that varies over time: heavy tails
    miss       for a short burst the joint is far away, or on its mirror joint
    inversion  (swap_*) for a short burst both arms or both legs change sides, mostly where left and right overlap
Confidence is the probability that the joint is within 5 % of the person's size of the truth, given what a
detector could know (its present scale, and imperfect evidence of misses and inversions): calibrated on average
by construction.

Sources:
    Zeng et al., SmoothNet, ECCV 2022; README of its repository, table "2D Keypoint Results", rows
        Human3.6M, inputs: error in pixels of the 1000-pixel image, and the error's second difference.
    Chang, Moon, Lee, AbsPoseLifter, arXiv 1910.12029: error mixture of each joint (Gaussian + uniform
        outliers) of an integral-regression network on Human3.6M, as tabulated in Pose2Mesh,
        data/Human36M/noise_stats.py.
    Ronchi and Perona, ICCV 2017: the kinds of error (jitter, inversion, miss). Their rates belong to
        crowded COCO images and are not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from mocap3d.arguments import Seed, check_arguments
from mocap3d.normalise import person_size
from mocap3d.poses import Pose2D
from mocap3d.skeleton import H36M17

# This height in pixels for a person of 1.7 m within 1.5 m of the middle of the H36M room, mean over its 28
# cameras (own, from the public calibration). Assumption: the published pixel errors hold at this size. People bend
# and crouch: over open-mocap's test clips in that room the size averages 310 px, and the error of "cpn" 5.8 px.
REFERENCE_SIZE = 360.0
# A joint counts as found within this fraction of the person's size: 18 px in H36M (own definition, like PCK).
FOUND_WITHIN = 0.05
PART = 2**16  # frames processed at a time: bounds memory, and fits the cache
GROUPS = {"arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "foot")}

# Chang et al.: length of (std x, std y) of the Gaussian part in crop pixels, and share of uniform outliers.
# Averaged over left and right, and over nose and head, which published copies of the table name differently.
SPREAD_AND_OUTLIERS = {
    "pelvis": (2.51, 0.0), "hip": (4.16, 0.0), "knee": (2.66, 0.055), "foot": (2.66, 0.07),
    "spine": (2.21, 0.01), "thorax": (1.65, 0.01), "nose": (1.29, 0.015), "head": (1.29, 0.015),
    "shoulder": (2.87, 0.01), "elbow": (2.52, 0.05), "wrist": (2.97, 0.095),
}  # fmt: skip
# mean error of that mixture; 38.3 px is the mean distance from the middle of a square of 100 px
DIFFICULTY = {kind: (1 - o) * s * math.sqrt(math.pi) / 2 + o * 38.3 for kind, (s, o) in SPREAD_AND_OUTLIERS.items()}
OUTLIERS = {kind: outliers for kind, (_, outliers) in SPREAD_AND_OUTLIERS.items()}

KINDS = tuple(joint.removeprefix("left_").removeprefix("right_") for joint in H36M17.joints)


@dataclass(frozen=True)
class DetectorModel:
    """The figures of one simulated detector: seconds, and fractions of the person's size unless px.

    The published targets determine the noise: its spread, so that the mean error with misses and inversions is
    `pixel_error`; its share of jitter, so that the mean length of the error's second difference is
    `acceleration_error`. `calibration` solves for both.
    """

    name: str
    pixel_error: float  # px at REFERENCE_SIZE, mean over joints and frames (Zeng et al.)
    acceleration_error: float  # px/frame^2 at 50 fps (Zeng et al.)
    difficulty: Mapping[str, float] = field(default_factory=DIFFICULTY.copy)  # relative (Chang et al.)
    outliers: Mapping[str, float] = field(default_factory=OUTLIERS.copy)  # share of frames (Chang et al.)

    # all below: assumptions
    miss_share: float = 0.35  # of the outliers that are misses; the others are covered by the heavy tails
    miss_floor: float = 0.002  # any joint is missed in at least this share of frames
    miss_on_mirror: float = 0.3  # share of the misses of a paired joint that land on its mirror joint
    miss_offset: tuple[float, float] = (0.1, 0.08)  # the others are a + b |n| away, n a normal vector
    miss_seconds: float = 0.2  # mean length of a burst
    swap_close: Mapping[str, float] = field(default_factory=lambda: {"arms": 0.02, "legs": 0.03})
    # ^ share of frames inverted where left and right coincide in the image
    swap_far: float = 0.001  # and where they are far apart
    swap_distance: float = 0.08  # left-right distance at which the excess has fallen to 1/e
    swap_seconds: float = 0.3  # mean length of a burst
    swap_together: float = 0.5  # correlation of the latent causes of arm and leg inversions
    mirror_distance: float = 0.15  # usual distance of paired joints: for the inversions' part of the targets
    drift_seconds: float = 0.5  # correlation time of the slow part (squared exponential)
    jitter_seconds: float = 0.02  # correlation time of the fast part (AR(1): 0.37 between frames at 50 fps)
    tail: float = 0.5  # std of the log of the scale: kurtosis of the noise 3 exp(4 tail^2) = 8.2
    tail_together: float = 0.3  # its correlation between joints: some frames are difficult for all
    tail_seconds: float = 0.5  # its correlation time
    sees_miss: float = 4.0  # d' of the evidence of a miss: mostly noticed, confidence is then near 0
    sees_swap: float = 1.0  # d' of the evidence of an inversion: detectors invert with high confidence

    def __post_init__(self) -> None:
        rates = [*self.miss_rates().tolist(), *self.swap_close.values(), self.swap_far]
        if not all(0 < rate < 0.2 for rate in rates):
            raise ValueError(
                f"detector {self.name!r}: miss and inversion rates are from {min(rates):.3g} to {max(rates):.3g}; "
                "keep them above 0 and below 0.2"
            )
        spread, jitter = self.calibration()
        if not (spread.min() > 0 and 0 <= jitter <= 1):
            raise ValueError(
                f"detector {self.name!r}: no noise meets {self.pixel_error:g} px and {self.acceleration_error:g} "
                "px/frame^2 with these misses and inversions; lower their rates or change the targets"
            )

    def joint_errors(self) -> torch.Tensor:
        """(17,) target mean error of each joint, px at REFERENCE_SIZE, including misses and inversions."""
        difficulty = _per_joint(self.difficulty)
        return self.pixel_error * difficulty / difficulty.mean()

    def miss_rates(self) -> torch.Tensor:
        """(17,) share of frames in which each joint is missed."""
        return self.miss_floor + self.miss_share * _per_joint(self.outliers)

    def swap_rate(self, group: str, distance: torch.Tensor) -> torch.Tensor:
        """Share of frames with "arms" or "legs" inverted, for left and right `distance` apart (person sizes)."""
        excess = self.swap_close[group] - self.swap_far
        return self.swap_far + excess * (-((distance / self.swap_distance) ** 2)).exp()

    def lag1(self, fps: float = 50.0) -> float:
        """Correlation of the noise (without misses and inversions) between neighbouring frames."""
        jitter = self.calibration()[1]
        return jitter * self._fast(fps, 1) + (1 - jitter) * self._slow(fps, 1)

    def calibration(self) -> tuple[torch.Tensor, float]:
        """Noise that meets the targets: spread of joints (17,) in person sizes, jitter's share of variance."""
        miss = self.miss_rates()
        mirrored = miss * self.miss_on_mirror * _paired()
        lost, offset = miss - mirrored, self.miss_offset[0] + self.miss_offset[1] * math.sqrt(math.pi / 2)
        usual = torch.tensor(self.mirror_distance)
        swap = sum(self.swap_rate(group, usual) * _members(group) for group in GROUPS)
        error = self.joint_errors() / REFERENCE_SIZE - lost * offset - (mirrored + swap) * usual
        spread = error / (math.exp(self.tail**2 / 2) * math.sqrt(math.pi / 2))  # mean of log-normal x Rayleigh
        # a burst of L frames, d away, adds 4 d to the second differences: 2 d at its start, 2 d at its end
        bursts = 4 * (lost * offset + mirrored * usual) / (50 * self.miss_seconds)
        bursts = bursts + 4 * swap * usual / (50 * self.swap_seconds)
        rest = float((self.acceleration_error / REFERENCE_SIZE - bursts.mean()) / error.mean())
        # variance of the second difference of a process of unit variance: 6 - 8 lag1 + 2 lag2
        fast, slow = (6 - 8 * lag(50, 1) + 2 * lag(50, 2) for lag in (self._fast, self._slow))
        return spread, (math.copysign(rest**2, rest) - slow) / (fast - slow)

    def _fast(self, fps: float, lag: int) -> float:
        return math.exp(-lag / (fps * self.jitter_seconds))

    def _slow(self, fps: float, lag: int) -> float:
        return math.exp(-0.5 * (lag / (fps * self.drift_seconds)) ** 2)


def _per_joint(values: Mapping[str, float]) -> torch.Tensor:
    missing = [kind for kind in dict.fromkeys(KINDS) if kind not in values]
    if missing:
        raise ValueError(f"no figure for {', '.join(missing)}; give one for every kind of joint of h36m17")
    return torch.tensor([values[kind] for kind in KINDS], dtype=torch.float32)


def _paired() -> torch.Tensor:
    return torch.tensor([float(mirror != joint) for joint, mirror in enumerate(H36M17.mirror)])


def _members(group: str) -> torch.Tensor:
    return torch.tensor([float(kind in GROUPS[group]) for kind in KINDS])


DETECTORS = {
    # 6.67 px, 2.91 px/frame^2: Zeng et al., row CPN
    "cpn": DetectorModel("cpn", pixel_error=6.67, acceleration_error=2.91),
    # 9.42 px, 1.54 px/frame^2: Zeng et al., row Hourglass. Larger yet smoother than cpn, hence, as assumptions,
    # half again as many misses and inversions (as the error is half again as large), in longer bursts
    "sh": DetectorModel(
        "sh",
        pixel_error=9.42,
        acceleration_error=1.54,
        miss_share=0.5,
        miss_floor=0.003,
        miss_seconds=0.5,
        swap_close={"arms": 0.03, "legs": 0.045},
        swap_far=0.0015,
        swap_seconds=0.6,
    ),  # fmt: skip
}


def get_detector(detector: str | DetectorModel) -> DetectorModel:
    """The DetectorModel of this name; a DetectorModel is returned as it is. ValueError for an unknown name."""
    if not isinstance(detector, DetectorModel) and detector not in DETECTORS:
        raise ValueError(f"detector is {detector!r}; give one of {', '.join(DETECTORS)}, or a DetectorModel")
    return detector if isinstance(detector, DetectorModel) else DETECTORS[detector]


def detect(pose2d: Pose2D, detector: str | DetectorModel = "cpn", seed: Seed = 0) -> Pose2D:
    """Replace ground-truth joints by simulated detections.

    Args:
        pose2d: on h36m17, pixels; missing joints (NaN) stay missing.
        detector: "cpn", "sh" or a DetectorModel.
        seed: the same seed gives the same noise for every clip of equal length: give each clip its own.
    Returns:
        Pose2D on the same skeleton, rate and image; confidence is the probability that a joint is within 5 % of the
        person's size of the truth. Joints may leave the image.
    Raises:
        ValueError: for another skeleton or an unknown detector.
    Source: own; figures as in the module docstring.
    """
    check_arguments(detect, locals())
    if pose2d.skeleton.joints != H36M17.joints:
        raise ValueError(
            f"pose2d is on skeleton {pose2d.skeleton.name!r}; simulated detectors support h36m17 only: "
            "use pose2d.convert('h36m17')"
        )
    generator = torch.Generator().manual_seed(seed)
    noisy, confidence = detect_tensor(torch.tensor(pose2d.points), None, pose2d.fps, detector, generator)
    return replace(pose2d, points=noisy.numpy(), confidence=confidence.numpy())


@torch.no_grad()
def detect_tensor(
    points: torch.Tensor,
    clips: torch.Tensor | None = None,
    fps: float = 50.0,
    detector: str | DetectorModel = "cpn",
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulate detections for the frames of many clips at once, on their device: new noise for each epoch.

    Args:
        points: (N, 17, 2) h36m17, pixels or screen units, all clips concatenated; NaN where missing.
        clips: (N,) labels, the same within a clip; noise does not carry over between clips. None: one clip.
        fps: frames per second.
        detector: "cpn", "sh" or a DetectorModel.
        generator: on the device of points; None draws from torch's own.
    Returns:
        noisy (N, 17, 2) in the input's unit; confidence (N, 17) in [0, 1], 0 where missing.
    Raises:
        ValueError: for a wrong shape, rate or detector.
    Source: own.
    """
    model = _checked(points, clips, fps, detector)
    sizes = _parts(len(points), clips)
    labels = [None] * len(sizes) if clips is None else clips.split(sizes)
    parts = [_detect_part(*part, fps, model, generator) for part in zip(points.split(sizes), labels, strict=True)]
    noisy, confidence = zip(*parts, strict=True)
    return torch.cat(noisy), torch.cat(confidence)


def _detect_part(points, clips, fps: float, model: DetectorModel, generator) -> tuple[torch.Tensor, torch.Tensor]:
    memory = max(model.drift_seconds, model.tail_seconds, model.miss_seconds, model.swap_seconds)
    frames, length = _timeline(points, clips, math.ceil(4 * fps * memory))

    def draw(channels: int, spectrum: Callable) -> torch.Tensor:
        series = _process(channels, spectrum, length, points.device, generator)
        return series.index_select(1, frames)  # (channels, N)

    track = points.permute(2, 1, 0).contiguous()  # (2, J, N): time last, as the draws come
    mirror = track[:, list(H36M17.mirror)]
    size = person_size(points)  # (N,)
    apart = torch.hypot(*(mirror - track)) / size  # (J, N), NaN where either is missing
    spread, jitter = model.calibration()

    joints, smooth, shared = len(KINDS), _squared_exponential(fps * model.tail_seconds), model.tail_together
    log_scale = (1 - shared) ** 0.5 * draw(joints, smooth) + shared**0.5 * draw(1, smooth)
    scale = spread.to(points.device)[:, None] * (model.tail * log_scale).exp()  # (J, N)

    drift = draw(2 * joints, _squared_exponential(fps * model.drift_seconds))
    fast = draw(2 * joints, _autoregressive(fps * model.jitter_seconds))
    drift, fast = drift.unflatten(0, (2, joints)), fast.unflatten(0, (2, joints))  # (2, J, N)
    error = scale * ((1 - jitter) ** 0.5 * drift + jitter**0.5 * fast)

    lost, mirrored, not_lost, is_mirrored = _misses(model, fps, draw, apart)
    far, farther = model.miss_offset
    error = error + lost * (far / torch.hypot(*drift).clamp_min(1e-6) + farther) * drift  # along the drift
    swapped, not_swapped = _swaps(model, fps, draw, apart)
    noisy = torch.where(mirrored | swapped, mirror, track) + size * error

    confidence = _confidence(scale, apart, not_lost, (1 - is_mirrored) * not_swapped)
    confidence = torch.where(track.isfinite().all(0), confidence, 0)
    return noisy.permute(2, 1, 0).contiguous(), confidence.T.contiguous()  # (N, J, 2), (N, J)


def _misses(model: DetectorModel, fps: float, draw: Callable, apart: torch.Tensor):
    """Bursts of misses, (J, N): lost, mirrored; given the evidence, probabilities of not lost, mirrored if not lost."""
    rate = model.miss_rates().to(apart.device)[:, None]  # (J, 1)
    on_mirror = rate * model.miss_on_mirror * _paired().to(apart.device)[:, None]
    possible = apart.isfinite()  # the mirror joint is present
    # one latent cause per joint: in its upper tail the joint is lost, in its lower tail it is on the mirror joint
    cause = draw(len(KINDS), _squared_exponential(fps * _burst_scale(rate[:, 0], model.miss_seconds)))
    lost = cause > -torch.special.ndtri(rate - on_mirror)
    mirrored = possible & (cause < torch.special.ndtri(on_mirror))
    evidence = draw(len(KINDS), _squared_exponential(fps * model.miss_seconds / 2))
    ratio = _likelihood_ratio(evidence, lost | mirrored, model.sees_miss)
    is_mirrored = on_mirror * possible  # Bayes, the three cases weighted by the evidence
    in_place = 1 - (rate - on_mirror) - is_mirrored
    is_lost, is_mirrored = (rate - on_mirror) * ratio, is_mirrored * ratio
    not_lost = in_place + is_mirrored
    return lost, mirrored, not_lost / (not_lost + is_lost), is_mirrored / not_lost


def _swaps(model: DetectorModel, fps: float, draw: Callable, apart: torch.Tensor):
    """Bursts of left/right inversions, (J, N): inverted, and the probability of no inversion given the evidence."""
    swapped, not_swapped = torch.zeros_like(apart, dtype=torch.bool), torch.ones_like(apart)
    usual = torch.tensor(max(model.swap_close.values()), device=apart.device)
    smooth = _squared_exponential(fps * _burst_scale(usual, model.swap_seconds))
    common = draw(1, smooth)[0]
    for group in GROUPS:
        members = _members(group).bool().to(apart.device)
        rate = model.swap_rate(group, apart[members].nanmean(0).nan_to_num(nan=10.0))  # (N,)
        own = draw(1, smooth)[0]
        cause = model.swap_together**0.5 * common + (1 - model.swap_together) ** 0.5 * own
        happens = cause > -torch.special.ndtri(rate)
        evidence = draw(1, _squared_exponential(fps * model.swap_seconds / 2))[0]
        ratio = _likelihood_ratio(evidence, happens, model.sees_swap)
        possible = members[:, None] & apart.isfinite()
        swapped |= possible & happens
        not_swapped = torch.where(possible, (1 - rate) / (1 - rate + rate * ratio), not_swapped)
    return swapped, not_swapped


def _likelihood_ratio(noise: torch.Tensor, happens: torch.Tensor, separation: float) -> torch.Tensor:
    """Likelihood ratio of the evidence with and without the event, which raises it by `separation`."""
    evidence = noise + separation * happens
    return (separation * evidence - separation**2 / 2).clamp_max(60).exp()


def _confidence(scale, apart, not_lost, in_place) -> torch.Tensor:
    """Probability that a joint is found: in place or on its mirror joint, and near the truth there; 0 when lost."""
    near = 1 - (-0.5 * (FOUND_WITHIN / scale) ** 2).exp()  # the length of a 2D Gaussian is Rayleigh
    # on the mirror joint the noise must bridge the distance: approximated by its radial part, exact at 0
    bridged = torch.special.ndtr((FOUND_WITHIN - apart.nan_to_num()) / scale)
    near_from_mirror = torch.minimum(near, bridged)
    return not_lost * (in_place * near + (1 - in_place) * near_from_mirror)


def _checked(points, clips, fps: float, detector: str | DetectorModel) -> DetectorModel:
    if points.ndim != 3 or tuple(points.shape[1:]) != (len(KINDS), 2) or len(points) == 0:
        raise ValueError(f"points have shape {tuple(points.shape)}; give (frames, {len(KINDS)}, 2), frames > 0")
    if not points.is_floating_point():
        raise ValueError(f"points have dtype {points.dtype}; give floating point numbers")
    if clips is not None and tuple(clips.shape) != (len(points),):
        raise ValueError(f"clips have shape {tuple(clips.shape)}; give one label per frame, ({len(points)},)")
    if not 0 < fps < 10_000:
        raise ValueError(f"fps is {fps!r}; give frames per second, above 0 and below 10000")
    return get_detector(detector)


def _parts(count: int, clips: torch.Tensor | None) -> list[int]:
    """Split `count` frames into parts of PART frames or slightly more, without cutting a clip; returns their sizes."""
    if clips is None or count <= PART:
        return [count]
    starts = (clips[1:] != clips[:-1]).nonzero()[:, 0].cpu() + 1
    ends = torch.cat([starts, torch.tensor([count])])
    cuts = ends[torch.searchsorted(ends, torch.arange(PART, count, PART))].unique()
    return torch.cat([cuts, torch.tensor([count])]).unique().diff(prepend=torch.tensor([0])).tolist()


def _timeline(points: torch.Tensor, clips: torch.Tensor | None, gap: int) -> tuple[torch.Tensor, int]:
    """Positions (N,) of frames on one time line, with a gap after each clip, and its length, which is even."""
    frames = torch.arange(len(points), device=points.device)
    if clips is not None:
        frames[1:] += gap * (clips[1:] != clips[:-1]).cumsum(0).to(frames)
    needed = int(frames[-1]) + 1 + gap  # the transform is periodic: the last gap separates end and start
    power = 2 ** max(needed.bit_length() - 1, 6)
    return frames, next(power * step // 8 for step in (8, 9, 10, 12, 15, 16) if power * step // 8 >= needed)


def _process(channels: int, spectrum: Callable, length: int, device, generator) -> torch.Tensor:
    """(channels, length) stationary Gaussian series of unit variance with this power spectrum, by one FFT."""
    frequency = torch.arange(length // 2 + 1, device=device) / length  # cycles per frame
    power = spectrum(frequency)  # (F,) or (channels, F)
    power[..., 1:-1] *= 2  # these bins also represent their negative frequencies
    power /= power.sum(-1, keepdim=True)
    # smooth series need only a few bins
    bins = int((power > 1e-9 * power.max()).reshape(-1, len(frequency)).any(0).sum())
    white = torch.randn(channels, bins, 2, device=device, generator=generator)
    white[:, 1:] *= 0.5  # real and imaginary part, each counted twice by the transform, except at the ends
    if bins == len(frequency):
        white[:, -1] *= 2
    return torch.fft.irfft(torch.view_as_complex(white) * power[..., :bins].sqrt() * length, n=length)


def _squared_exponential(frames: float | torch.Tensor) -> Callable:
    """Spectrum of a series with autocorrelation exp(-lag^2 / 2 frames^2); frames: a number or (channels,)."""

    def spectrum(frequency: torch.Tensor) -> torch.Tensor:
        width = torch.as_tensor(frames, device=frequency.device)[..., None]
        return (-0.5 * (2 * math.pi * frequency * width) ** 2).exp()

    return spectrum


def _autoregressive(frames: float) -> Callable:
    """Spectrum of a series with autocorrelation exp(-lag / frames): AR(1)."""
    lag1 = math.exp(-1 / frames)
    return lambda frequency: 1 / (1 - 2 * lag1 * (2 * math.pi * frequency).cos() + lag1**2)


def _burst_scale(rate: torch.Tensor, seconds: float) -> torch.Tensor:
    """Correlation time with which excursions of this rate last `seconds` on average (Rice's formula)."""
    return seconds / (2 * math.pi * rate * (0.5 * torch.special.ndtri(rate) ** 2).exp())
