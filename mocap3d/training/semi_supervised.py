"""Semi-supervised training on unlabelled video: a correct pose projects onto the 2D joints it was lifted from.

Source: Pavllo et al. 2019, section 4 and figure 3. Each step uses two half batches. The labelled half supervises the
pose network (MPJPE) and the trajectory network (distance over depth). For the unlabelled half, both are added to
an absolute pose and projected with the camera's intrinsics; the projection must match the 2D input. That alone would
allow any body with the right projection, so the mean bone lengths of the two halves must agree as well. The first part
of a run uses only the labelled half: until poses are roughly right, the other losses are misleading.

    labelled, unlabelled = label_subset(dataset.train, 0.1, subject="S1")
    model = PoseAndTrajectory(create_model("videopose3d_27"))
    run = fit_semi_supervised(model, labelled, unlabelled, "videopose3d_semi", dataset.test)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from mocap3d.arguments import Device, PositiveInt, Seed, check_arguments, rereadable
from mocap3d.camera import Camera
from mocap3d.data.dataset import DatasetError, PoseDataset
from mocap3d.data.endless import InStep, endless_batches
from mocap3d.data.windows import Batch, DeviceDataset, described, to_device
from mocap3d.device import choose_device, unwrapped
from mocap3d.models.videopose3d import PoseAndTrajectory
from mocap3d.poses import Clip, Pose2D, Pose3D
from mocap3d.skeleton import H36M17, ROOT, root_relative
from mocap3d.training.augmentation import TrainingError
from mocap3d.training.fit import fit
from mocap3d.training.losses import bone_length, mpjpe, reprojection, trajectory
from mocap3d.training.recipe import Recipe, RecipeError, get_recipe
from mocap3d.training.run import Run

UNLABELLED_SEED = 2**32  # added to the run's seed: unlabelled frames have their own order
FIELD_OF_VIEW = 60.0  # degrees, horizontal: assumed for video whose camera is unknown


@dataclass(frozen=True)
class SemiSupervised:
    """Settings of a semi-supervised run that are not in its recipe.

    Args:
        trajectory, projection, bones: weight of each loss; the weight of the labelled poses is 1.
        warmup: share of the run, in [0, 1), that uses only labelled poses; published: 5 of 200 epochs.
        linear: project without lens distortion.
        same_source: compare bone lengths only between clips of the same source, for data sets whose skeletons differ.
        batch_size: unlabelled windows per step; None uses as many as labelled ones.
    Raises:
        RecipeError: for an invalid value; the message states the rule.
    Source: Pavllo et al. 2019, section 4; all weights 1.
    """

    trajectory: float = 1.0
    projection: float = 1.0
    bones: float = 1.0
    warmup: float = 0.025
    linear: bool = False
    same_source: bool = False
    batch_size: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_arguments(SemiSupervised, vars(self), RecipeError)
        for name in ("trajectory", "projection", "bones"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise RecipeError(f"SemiSupervised.{name} is {getattr(self, name)!r}; give a weight of 0 or above")
        if not 0 <= self.warmup < 1:
            raise RecipeError(f"SemiSupervised.warmup is {self.warmup!r}; give a share of the run, in [0, 1)")


@dataclass(frozen=True, eq=False)
class VideoBatch:
    """B windows of video: the networks' input, and the projection that their poses must have.

    Args:
        points2d: (B, R, 17, 2) screen units.
        target2d: (B, 1, 17, 2) screen units, the frame that is lifted; NaN where the joint was not detected.
        intrinsics: (B, 9) screen units, of the cameras.
        frames: (B,) int64, rows of the video's data; None if unknown.
    """

    points2d: Tensor
    target2d: Tensor
    intrinsics: Tensor
    frames: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Video:
    """Unlabelled clips on a device.

    Args:
        data: the frames; their pose3d is never used.
        intrinsics: (K, 9) screen units, one row per clip, `Camera.screen_intrinsics()`.
        lens: the distortion model of all clips.
        assumed: number of clips without a camera.
        fov_degrees: field of view assumed for those.
    """

    data: DeviceDataset
    intrinsics: Tensor
    lens: str
    assumed: int = 0
    fov_degrees: float = FIELD_OF_VIEW

    def batches(
        self, first: int, batch_size: int, width: int, *, mirror: bool = False, **options: object
    ) -> Iterator[VideoBatch]:
        """Batches for the steps `first` (from 0), first + 1, ..., without end; each depends only on seed and step.

        Args:
            first: number of the first step; earlier batches are skipped.
            batch_size, width, mirror, options: same as in `windows.batches`.
        """
        causal = options.get("causal", False)
        for batch in endless_batches(self.data, batch_size, first, width=width, mirror=mirror, **options):
            seen = self.data.confidence[batch.frames] > 0  # (B, 17)
            intrinsics = self.intrinsics[self.data.clip[batch.frames]]  # (B, 9)
            if mirror:
                half = len(batch) // 2
                seen = torch.cat([seen[:half, list(H36M17.mirror)], seen[half:]])
                intrinsics = torch.cat([intrinsics[:half] * self._mirror, intrinsics[half:]])
            middle = batch.points2d[:, -1 if causal else width // 2]
            target = torch.where(seen[..., None], middle, torch.nan)
            yield VideoBatch(batch.points2d, target[:, None], intrinsics, batch.frames)

    @property
    def _mirror(self) -> Tensor:
        """(9,) factors that turn intrinsics into those of the mirrored camera."""
        sign = torch.ones_like(self.intrinsics[0])
        sign[2] = -1  # centre x, and the tangential coefficient that belongs to x
        sign[8 if self.lens == "opencv" else 7] = -1
        return sign


def losses(
    model: PoseAndTrajectory,
    labelled: Batch,
    video: VideoBatch | None = None,
    lens: str = "videopose3d",
    linear: bool = False,
    autocast: bool = False,
    groups: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The unweighted terms of one step. Both networks and their batch norms process the two halves as one batch.

    Args:
        model: in training mode.
        labelled: B windows with absolute poses.
        video: B' windows, or None in the warm-up.
        lens, linear: see `losses.reprojection`.
        autocast: run the networks in bfloat16.
        groups: (B,) and (B',), see `losses.bone_length`.
    Returns:
        "pose" (m) and "trajectory" (m per m); with video "projection" (screen units) and "bones" (m).
    """
    lifter = unwrapped(model)
    points2d = labelled.points2d if video is None else torch.cat([labelled.points2d, video.points2d])
    with torch.autocast(points2d.device.type, torch.bfloat16, enabled=autocast):
        output = model(lifter.encode(points2d))
    output = output.float() if autocast else output
    pose, root = lifter.decode(output), lifter.decode_root(output)  # (B + B', 1, 17, 3), (B + B', 1, 1, 3)
    known, target = len(labelled), labelled.pose3d
    terms = {
        "pose": mpjpe(pose[:known], root_relative(target)),
        "trajectory": trajectory(root[:known], target[..., [ROOT], :]),
    }
    if video is not None:
        points = pose[known:] + root[known:]
        terms["projection"] = reprojection(points, video.target2d, video.intrinsics, lens, linear)
        terms["bones"] = bone_length(pose[:known], pose[known:], groups)
    return terms


class Objective:
    """Training objective of a semi-supervised run; `fit` calls it with every labelled batch.

    Args:
        video: the unlabelled part.
        semi: the weights.
        seed: of the run.
        labelled: the clips of the batches, in their order; only needed for `semi.same_source`.
    """

    def __init__(self, video: Video, semi: SemiSupervised, seed: int, labelled: Iterable[Clip] = ()) -> None:
        self.video, self.semi, self.seed = video, semi, seed
        parts = (tuple(labelled), video.data.clips) if semi.same_source else ()
        self.sources = source_numbers(*parts, device=video.data.device)
        self._video: InStep | None = None  # batches of the video

    def __call__(self, model: nn.Module, batch: Batch, recipe: Recipe, step: int = 1, steps: int = 1) -> Tensor:
        """The loss of step `step` of `steps`, counted from 1."""
        video = None
        if step > self.semi.warmup * steps:
            if self._video is None:
                self._video = InStep(
                    lambda first: self.video.batches(
                        first,
                        self.semi.batch_size or recipe.batch_size,
                        model.receptive_field,
                        causal=model.causal,
                        seed=self.seed + UNLABELLED_SEED,
                        mirror=recipe.flip,
                        balance=recipe.balance,
                    )
                )
            video = self._video.at(step - 1)
        groups = None
        if video is not None and self.semi.same_source:
            groups = tuple(of[part.frames] for of, part in zip(self.sources, (batch, video), strict=True))
        terms = losses(model, batch, video, self.video.lens, self.semi.linear, recipe.autocast, groups)
        return sum(self._weight(name) * term for name, term in terms.items())

    def _weight(self, term: str) -> float:
        return 1.0 if term == "pose" else getattr(self.semi, term)

    def describe(self) -> dict:
        """All that this adds to what decides a run's numbers, for checkpoint and record."""
        video = self.video
        return {
            "semi_supervised": asdict(self.semi),
            "unlabelled": {
                "name": video.data.name,
                "clips": len(video.data.clips),
                "frames": len(video.data),
                "digest": video.data.digest(),
                "lens": video.lens,
                "intrinsics": video.intrinsics.cpu().double().sum(0).tolist(),
                "camera_assumed": f"{video.fov_degrees:g} degrees horizontal field of view for {video.assumed} clips"
                if video.assumed
                else "none",
            },
        }


def source_numbers(*parts: Sequence[Clip], device: torch.device | None = None) -> list[Tensor]:
    """The number of every frame's source, (N,) int64 for each part; the same in all parts."""
    names = list(dict.fromkeys(clip.source for part in parts for clip in part))
    found = []
    for part in parts:
        numbers, frames = torch.tensor([(names.index(clip.source), len(clip)) for clip in part]).T
        found.append(numbers.repeat_interleave(frames).to(device))
    return found


def unlabelled_video(
    clips: Iterable[Clip | Pose2D], device: torch.device | str = "cpu", fov_degrees: float = FIELD_OF_VIEW
) -> Video:
    """Move video without labels to a device.

    Args:
        clips: from a Clip, the 2D and the camera's intrinsics are used, never the 3D; for a Pose2D (h36m17 or
            convertible), a camera of `fov_degrees` is assumed, with the centre in the middle and no distortion.
        device: of the tensors.
        fov_degrees: horizontal.
    Raises:
        TrainingError: for fewer than two frames, or cameras with different lens models.
    """
    name, clips, _ = described(clips, "unlabelled")
    assumed = sum(isinstance(clip, Pose2D) for clip in clips)
    clips = unlabelled_clips(clips, fov_degrees)
    if sum(map(len, clips)) < 2:
        raise TrainingError(
            f"the unlabelled part {name!r} holds {sum(map(len, clips))} frames; give video of two frames or more, "
            "or train with `fit`, which needs none"
        )
    lenses = {clip.camera.distortion_model for clip in clips} - {"none"}  # no distortion fits any lens
    if len(lenses) > 1:
        raise TrainingError(
            f"the unlabelled cameras mix the lens models {', '.join(sorted(lenses))}; undistort one kind first "
            "(Camera.undistort), or train on one kind"
        )
    data = replace(to_device(clips, device), name=name)
    intrinsics = np.stack([clip.camera.screen_intrinsics() for clip in clips])
    lens = lenses.pop() if lenses else "none"
    return Video(data, torch.from_numpy(intrinsics).to(device), lens, assumed, fov_degrees)


def unlabelled_clips(clips: Iterable[Clip | Pose2D], fov_degrees: float = FIELD_OF_VIEW) -> list[Clip]:
    """Clips without 3D, made from clips or 2D poses; arguments same as in `unlabelled_video`."""
    return [
        _film_of(clip, i, fov_degrees) if isinstance(clip, Pose2D) else without_labels(clip)
        for i, clip in enumerate(clips)
    ]


def without_labels(clip: Clip) -> Clip:
    """The clip with its 3D removed (NaN)."""
    return replace(clip, pose3d=replace(clip.pose3d, points=np.full_like(clip.pose3d.points, np.nan)))


def _film_of(pose2d: Pose2D, number: int, fov_degrees: float) -> Clip:
    """A clip from 2D whose camera is unknown."""
    pose2d = pose2d.convert("h36m17")
    camera = Camera.phone(fov_degrees, *pose2d.image_size, name=f"assumed {fov_degrees:g} degrees")
    nothing = Pose3D(np.full((*pose2d.points.shape[:2], 3), np.nan), fps=pose2d.fps, frame="camera")
    return Clip("unknown", "unknown", camera, pose2d, nothing, take=f"video-{number}", source="video")


def fit_semi_supervised(
    model: PoseAndTrajectory,
    labelled: Iterable[Clip],
    unlabelled: Iterable[Clip | Pose2D],
    recipe: Recipe | str = "videopose3d_semi",
    validation: Iterable[Clip] | None = None,
    semi: SemiSupervised = SemiSupervised(),  # noqa: B008  frozen
    *,
    device: Device | None = None,
    seed: Seed = 0,
    fov_degrees: float = FIELD_OF_VIEW,
    **options: object,
) -> Run:
    """Train pose and trajectory networks together, on labelled clips and unlabelled video.

    Args:
        model: both networks; trained in place.
        labelled: clips with 3D, absolute in their camera's frame. Their number determines the length of an epoch.
        unlabelled: video; see `unlabelled_video`. The 3D of these clips is not used.
        recipe: same as in `fit`, with the loss "mpjpe". `batch_size` counts the labelled windows of a step.
        validation: same as in `fit`.
        semi: weights of the losses, and the warm-up.
        device, seed: same as in `fit`.
        fov_degrees: of unknown cameras; the run's record states their number.
        options: out, resume, progress, keep, callback, ... same as in `fit`.
    Returns:
        Run, same as in `fit`; `run.record["unlabelled"]` names the video.
    Raises:
        TrainingError, CheckpointError, RecipeError: same as in `fit`, and for unlabelled video that cannot be used.
    Source: Pavllo et al. 2019, section 4.
    """
    labelled = rereadable(labelled)
    check_arguments(fit_semi_supervised, locals() | {"model": unwrapped(model)})
    lifter, recipe = unwrapped(model), get_recipe(recipe)
    if lifter.space != "metric":
        raise TrainingError(
            f"semi-supervised training needs both networks in one model: give PoseAndTrajectory(pose_model), "
            f"not {lifter.name} or the view .absolute() of one"
        )
    if recipe.loss != "mpjpe" or recipe.detector is not None:
        raise RecipeError(
            f"recipe {recipe.name!r}: loss {recipe.loss!r}, detector {recipe.detector!r}; semi-supervised training "
            "takes loss='mpjpe', and the 2D as given (dataset.with_detections simulates detections beforehand)"
        )
    device = choose_device(device)
    video = unlabelled_video(unlabelled, device, fov_degrees)
    name, labelled, notes = described(labelled)
    labelled = PoseDataset(name, labelled, notes)
    objective = Objective(video, semi, seed, labelled)
    return fit(model, labelled, recipe, validation, device, seed=seed, objective=objective, **options)


def label_subset(
    dataset: PoseDataset, fraction: float, seed: Seed = 0, **labels: str | Sequence[str]
) -> tuple[PoseDataset, PoseDataset]:
    """Keep the labels of part of a data set, and remove those of the rest.

    Args:
        dataset: e.g. `load_dataset("open-mocap").train`.
        fraction: of each recording, in (0, 1], rounded to whole frames: one chunk at a random position, the same
            for all cameras that filmed it.
        seed: of the positions; each depends only on the seed and the recording's name, not on other recordings.
        labels: what may be labelled, see `PoseDataset.select`: subject="S1", source=("a", "b"), ...; default all.
    Returns:
        the labelled clips, and everything else without 3D: other clips as a whole, and the frames before and after the
        labelled chunks.
    Raises:
        DatasetError: if nothing is selected.
    Source: Pavllo et al. 2019, section 6.3, where the rest of the labelled recordings is left out.
    """
    check_arguments(label_subset, locals())
    if not 0 < fraction <= 1:
        raise DatasetError(f"fraction={fraction!r}: give a share of the frames, above 0 and up to 1")
    chosen = {id(clip) for clip in dataset.select(**labels)}
    known, unknown = [], []
    for clip in dataset:
        length = round(fraction * len(clip)) if id(clip) in chosen else 0
        generator = np.random.default_rng([seed, zlib.crc32(clip.take.encode())])
        start = int(generator.integers(len(clip) - length + 1))
        known += [_chunk(clip, start, start + length)] if length else []
        rest = [(0, start), (start + length, len(clip))] if length else [(0, len(clip))]
        unknown += [without_labels(_chunk(clip, *ends)) for ends in rest if ends[0] < ends[1]]
    if not known:
        longest = max((len(clip) for clip in dataset if id(clip) in chosen), default=0)
        raise DatasetError(
            f"fraction={fraction:g} of {dataset.name} labels no frame: its longest recording has {longest} frames "
            f"{labels or ''}; give {0.5 / max(longest, 1):.2g} or more".replace(" ;", ";")
        )
    share = f"{100 * fraction:g} % of the frames of {labels or 'all takes'} (seed {seed})"
    return (
        replace(dataset, clips=tuple(known), notes=(*dataset.notes, f"labelled: {share}")),
        replace(dataset, clips=tuple(unknown), notes=(*dataset.notes, f"3D forgotten: all but {share}")),
    )


def _chunk(clip: Clip, start: int, stop: int) -> Clip:
    """Frames start .. stop - 1 of a clip, with the range in its name."""
    if (start, stop) == (0, len(clip)):
        return clip
    take = f"{clip.take}{'/' if ':' in clip.take else ':'}{start}-{stop}"
    return replace(clip.slice(start, stop), take=take)
