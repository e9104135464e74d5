"""One data set, written in every layout and read back: the same poses, pixels and labels everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_scripts.h36m_writers import mmpose, motionbert, videopose3d
from mocap3d.data.dataset import PoseDataset
from mocap3d.data.h36m import own
from mocap3d.data.h36m.facts import H36MError
from mocap3d.data.h36m.load import load_h36m
from mocap3d.data.loading import load_dataset
from tests.toys import sticks

WRITERS = {"videopose3d": videopose3d, "mmpose": mmpose, "motionbert": motionbert}
LABELS = ("subject", "action", "split", "source", "performer", "licence")


def sorted_clips(dataset):
    return sorted(dataset, key=lambda clip: (clip.subject, clip.take, clip.camera.name))


def agree(one, other, metres=1e-5, pixels=0.01):
    """Same clips; poses within 0.01 mm, pixels within 0.01 px."""
    assert len(one) == len(other)
    for a, b in zip(sorted_clips(one), sorted_clips(other), strict=True):
        assert (a.take, a.camera.name) == (b.take, b.camera.name)
        assert [getattr(a, label) for label in LABELS] == [getattr(b, label) for label in LABELS]
        assert np.abs(a.pose3d.points - b.pose3d.points).max() < metres, (a, b)
        assert np.abs(a.pose2d.points - b.pose2d.points).max() < pixels, (a, b)
        np.testing.assert_allclose(a.camera.project(a.pose3d.points), b.pose2d.points, atol=pixels)


def export(dataset, folder):
    """Written and read back, by layout; and each of them once more through our own layout."""
    read = {}
    for name, layout in WRITERS.items():
        layout.write(dataset, folder / name)
        read[name] = load_h36m(folder / name)
    return read


@pytest.fixture(scope="module")
def toys() -> PoseDataset:
    return PoseDataset("sticks", sticks(3, 15).clips + sticks(3, 15, split="test").clips)


def test_the_same_clips_come_out_of_every_layout(toys, tmp_path):
    read = export(toys, tmp_path)
    for name in WRITERS:
        agree(read[name], toys)
    agree(read["mmpose"], read["motionbert"])
    agree(read["videopose3d"], read["motionbert"])


def test_the_same_clips_come_out_of_every_layout_with_real_motion(mocap_root, tmp_path):
    dataset = load_dataset("open-mocap", root=mocap_root)
    takes = [take for source in dataset.sources for take in dataset.select(source=source).takes[:2]]
    dataset = dataset.select(take=takes, split=["train", "test"])
    dataset = replace(dataset, clips=tuple(_shortened(clip) for clip in dataset))
    for read in export(dataset, tmp_path).values():
        agree(read, dataset)


def _shortened(clip, frames=120):
    return replace(clip, pose2d=clip.pose2d.slice(0, frames), pose3d=clip.pose3d.slice(0, frames))


def test_layouts_are_told_apart_and_chained(toys, tmp_path):
    """2 -> 3 -> 4 -> 2: each written from what the one before gave back."""
    dataset, names = toys, []
    for step, name in enumerate(("videopose3d", "mmpose", "motionbert", "videopose3d")):
        names.append(WRITERS[name].write(dataset, tmp_path / str(step)))
        dataset = load_h36m(tmp_path / str(step), pose2d="gt")
    agree(dataset, toys)
    assert names[0] == names[1] == names[2] == names[3]
    own.write(dataset, tmp_path / "own")
    agree(load_h36m(tmp_path / "own"), toys)


def test_detections_are_kept_where_a_layout_has_them(toys, tmp_path):
    noisy = toys.with_detections("cpn", seed=1)
    for name, kind in (("videopose3d", "cpn"), ("mmpose", "cpn"), ("motionbert", "sh")):
        WRITERS[name].write(noisy, tmp_path / name)
        agree(load_h36m(tmp_path / name, pose2d="gt"), toys)
        read = load_h36m(tmp_path / name, pose2d=kind)
        for a, b in zip(sorted_clips(read), sorted_clips(noisy), strict=True):
            np.testing.assert_allclose(a.pose2d.points, b.pose2d.points, atol=0.01)
            if name != "videopose3d":  # which has no place for it
                np.testing.assert_allclose(a.pose2d.confidence, b.pose2d.confidence, atol=1e-6)


def test_what_no_published_code_could_read_is_refused_by_all(toys, tmp_path):
    for layout in WRITERS.values():
        with pytest.raises(H36MError, match="seen by"):
            layout.write(replace(toys, clips=toys.clips[:3]), tmp_path)
        assert not list(tmp_path.iterdir()), "nothing is written of a data set that is refused"
