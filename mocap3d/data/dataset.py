"""Data sets: clips by subject, action, camera and source."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mocap3d.arguments import Seed, check_arguments
from mocap3d.camera import Camera
from mocap3d.poses import Clip, Pose3D, persons

SIMULATED = "2D: simulated"  # first words of the note on such 2D


class DatasetError(ValueError):
    """A data set that is unknown, absent, or does not match its name."""


def names_of(value: str | Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    """One name or several as a tuple; None, for all of them, as it is.

    Raises:
        DatasetError: for an empty list.
    """
    if value is None:
        return None
    if not (names := (value,) if isinstance(value, str) else tuple(value)):
        raise DatasetError(f"{what} is empty, so nothing would be loaded; leave it out for all of them")
    return names


@dataclass(frozen=True, eq=False)
class PoseDataset:
    """Clips, with notes about them.

    Args:
        name: e.g. "synthetic".
        clips: every camera view of every recording.
        notes: sentences for the user: what was left out, sources, licences.
    """

    name: str
    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]

    @property
    def train(self) -> PoseDataset:
        """Clips to train on."""
        return self.select(split="train")

    @property
    def test(self) -> PoseDataset:
        """Clips to evaluate on; `.sources` names the separate test sets among them."""
        return self.select(split="test")

    @property
    def check(self) -> PoseDataset:
        """Clips for neither training nor test: the same captures as others, in another format."""
        return self.select(split="check")

    @property
    def known(self) -> PoseDataset:
        """Recordings of known motion that were held out of training: `load_dataset(..., hold_out="recordings")`."""
        return self.select(split="known")

    @property
    def left_out(self) -> PoseDataset:
        """Training clips of the skeleton that `load_dataset(..., hold_out=...)` left out."""
        return self.select(split="left-out")

    @property
    def frames(self) -> int:
        """Poses over all clips and cameras."""
        return sum(len(clip) for clip in self.clips)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(clip.subject for clip in self.clips))

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(clip.action for clip in self.clips))

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(clip.source for clip in self.clips))

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(clip.take for clip in self.clips))

    def select(self, **labels: str | Sequence[str]) -> PoseDataset:
        """The clips with these labels: subject, action, source, split, take, performer or camera (its name).

        A label takes one value or several. A value that no clip has raises DatasetError, which lists the valid ones.
        """
        check_arguments(PoseDataset.select, locals())
        clips = self.clips
        for label, wanted in labels.items():
            if label not in ("subject", "action", "source", "split", "take", "performer", "camera"):
                raise DatasetError(
                    f"clips have no label {label!r}; "
                    "select by subject, action, source, split, take, performer or camera"
                )
            values = {_label(clip, label) for clip in self.clips}
            wanted = {wanted} if isinstance(wanted, str) else set(wanted)
            if unknown := wanted - values - {"train", "test", "check"}:
                raise DatasetError(f"{self.name} has no {label} {sorted(unknown)}; it has {sorted(values)}")
            clips = tuple(clip for clip in clips if _label(clip, label) in wanted)
        return replace(self, clips=clips)

    def with_detections(self, detector: str = "cpn", seed: Seed = 0) -> PoseDataset:
        """The same clips with simulated 2D detections (see `data.detector`).

        Args:
            detector: "cpn" or "sh".
            seed: of the noise; a clip's noise depends only on the seed, its recording and its camera.
        Raises:
            DatasetError: if the 2D is already simulated: noise on top of noise matches no detector.
        """
        check_arguments(PoseDataset.with_detections, locals())
        if any(note.startswith(SIMULATED) for note in self.notes):
            raise DatasetError(
                f"the 2D of {self.name} is simulated already; call with_detections on the data set with true 2D"
            )
        from mocap3d.data.detector import detect

        clips = tuple(
            replace(clip, pose2d=detect(clip.pose2d, detector, seed=_clip_seed(clip, seed))) for clip in self.clips
        )
        return replace(self, clips=clips, notes=(*self.notes, f"{SIMULATED} {detector} detections, seed {seed}"))

    def table(self) -> list[dict[str, object]]:
        """One row per split and source: clips, recordings, frames, minutes of motion, actions, persons."""
        rows = []
        for split, source in dict.fromkeys((clip.split, clip.source) for clip in self.clips):
            clips = [clip for clip in self.clips if (clip.split, clip.source) == (split, source)]
            takes = {clip.take: clip.pose3d.seconds for clip in clips}
            rows.append(
                {
                    "split": split,
                    "source": source,
                    "clips": len(clips),
                    "takes": len(takes),
                    "frames": sum(map(len, clips)),
                    "minutes": round(sum(takes.values()) / 60, 1),
                    "actions": len({clip.action for clip in clips}),
                    "persons": persons(clip.performer for clip in clips),
                }
            )
        return rows

    def __repr__(self) -> str:
        head = f"PoseDataset {self.name}: {len(self)} clips, {self.frames:,} poses"
        if not self.clips:
            return head
        rows = self.table()
        keys = [key for key in rows[0] if key != "persons" or len(self.sources) > 1]  # they tell sources apart
        widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in keys}
        lines = ["  ".join(key.ljust(width) for key, width in widths.items())]
        lines += ["  ".join(str(row[key]).ljust(width) for key, width in widths.items()) for row in rows]
        return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _label(clip: Clip, label: str) -> str:
    return clip.camera.name if label == "camera" else getattr(clip, label)


def _clip_seed(clip: Clip, seed: int) -> int:
    return zlib.crc32(f"{seed}/{clip.take}/{clip.camera.name}".encode())


def film(pose3d: Pose3D, cameras: Sequence[Camera], **labels: str) -> list[Clip]:
    """Film one recording with several cameras: one clip each, 2D by exact projection.

    Args:
        pose3d: world frame, metres, absolute.
        cameras: e.g. `h36m_cameras("S9")`.
        labels: the Clip's subject, action, take, split, source, ...
    Returns:
        one Clip per camera.
    """
    check_arguments(film, locals())
    clips = []
    for camera in cameras:
        seen = pose3d.in_camera(camera)
        clips.append(Clip(camera=camera, pose2d=seen.project(camera), pose3d=seen, **labels))
    return clips
