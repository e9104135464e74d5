"""What a folder of Human3.6M is taken for, what is said of it, and the facts that all layouts share."""

from __future__ import annotations

import pytest

import mocap3d
from data_scripts.h36m_writers import videopose3d
from mocap3d.camera import h36m_cameras
from mocap3d.data.dataset import DatasetError, PoseDataset, film
from mocap3d.data.h36m import facts, own
from mocap3d.data.h36m.facts import EXCLUSIONS, H36MError
from mocap3d.data.h36m.load import LAYOUTS, load_h36m, recognise
from mocap3d.data.loading import load_dataset
from mocap3d.poses import Pose3D
from tests.toys import body, sticks


@pytest.fixture
def folder(tmp_path):
    videopose3d.write(PoseDataset("sticks", sticks(1, 5).clips + sticks(1, 5, split="test").clips), tmp_path)
    return tmp_path


def test_an_empty_folder_says_what_would_do_and_where_it_comes_from(tmp_path):
    found = recognise(tmp_path)
    assert not found.files and not found.missing
    text = str(found)
    for layout in LAYOUTS.values():
        assert layout.title in text and layout.origin in text and layout.licence in text
    with pytest.raises(H36MError, match="no layout that can be loaded(.|\n)*vision.imar.ro"):
        load_h36m(tmp_path)
    with pytest.raises(H36MError, match="not a folder"):
        recognise(tmp_path / "nowhere")


def test_found_and_missing(folder):
    found = recognise(folder)
    assert list(found.files) == ["videopose3d"]
    assert [name for name, _ in found.missing["videopose3d"]] == ["data_2d_h36m_cpn_ft_h36m_dbb.npz"]
    text = str(found)
    assert "missing: data_2d_h36m_cpn_ft_h36m_dbb.npz" in text and "CC BY-NC 4.0" in text
    (folder / "data_3d_h36m.npz").unlink()
    found = recognise(folder)
    assert not found.files and "data_3d_h36m.npz" in dict(found.missing["videopose3d"])
    assert "in part: VideoPose3D" in str(found)


def test_the_data_folder_of_the_published_code_is_found_too(folder, tmp_path):
    (tmp_path / "code").mkdir()
    inside = tmp_path / "code" / "data"
    inside.mkdir()
    for path in list(folder.glob("*.*")):
        path.rename(inside / path.name)
    assert "videopose3d" in recognise(tmp_path / "code").files
    assert [name for name, _ in recognise(tmp_path / "code").missing["videopose3d"]] == [
        "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    ]
    assert len(load_h36m(tmp_path / "code")) == 8


def test_of_several_layouts_ours_comes_first_and_the_others_are_named(folder):
    own.write(load_h36m(folder), folder)
    dataset = load_h36m(folder)
    assert "mocap3d's own layout" in dataset.notes[0] and "also there: videopose3d" in dataset.notes[0]
    assert "VideoPose3D" in load_h36m(folder, layout="videopose3d").notes[0]
    with pytest.raises(H36MError, match="not the layout 'official'"):
        load_h36m(folder, layout="official")
    with pytest.raises(H36MError, match="no layout 'coco'"):
        load_h36m(folder, layout="coco")


def test_load_dataset_knows_h36m(folder, monkeypatch):
    dataset = load_dataset("h36m", folder, subjects="S9")
    assert dataset.name == "h36m" and dataset.subjects == ("S9",) and len(dataset.test) == 4
    monkeypatch.setenv("MOCAP3D_H36M", str(folder))
    assert len(mocap3d.load_dataset("h36m")) == 8
    monkeypatch.delenv("MOCAP3D_H36M")
    with pytest.raises(DatasetError, match="MOCAP3D_H36M"):
        load_dataset("h36m")


def test_foreign_index_files_are_not_ours(tmp_path):
    (tmp_path / "mocap3d.json").write_text("{}")
    assert own.find(tmp_path) is None
    (tmp_path / "mocap3d.json").write_bytes(b"\xff\xfe" * 200)
    assert own.find(tmp_path) is None


# --- facts


def test_names_and_numbers():
    assert facts.SUBJECTS == ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
    assert facts.CAMERAS == tuple(camera.name for camera in h36m_cameras("S1"))
    assert facts.KEPT_JOINTS == (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
    assert len(facts.ACTIONS) == 15 and facts.ACTIONS[5] == "Greeting" and facts.ACTIONS[16] == "WalkTogether"


@pytest.mark.parametrize(
    ("stem", "canonical", "action"),
    [
        ("TakingPhoto 1", "Photo 1", "Photo"),
        ("TakingPhoto", "Photo", "Photo"),
        ("Photo 2", "Photo 2", "Photo"),
        ("WalkingDog_1", "WalkDog 1", "WalkDog"),
        ("WalkTogether", "WalkTogether", "WalkTogether"),
        ("WalkingTogether 1", "WalkTogether 1", "WalkTogether"),
        ("Walking", "Walking", "Walking"),
        ("SittingDown 2", "SittingDown 2", "SittingDown"),
        ("Sitting", "Sitting", "Sitting"),
    ],
)
def test_aliases(stem, canonical, action):
    assert facts.canonical_stem(stem) == canonical and facts.action_of(stem) == action


def test_exclusions_are_switches_with_reasons(tmp_path):
    stems = {
        "S9": ("Greeting", "Greeting 1", "SittingDown", "SittingDown 1", "Waiting", "Waiting 1"),
        "S11": ("Directions", "Directions 1", "Greeting"),
        "S1": ("Directions", "Greeting"),
    }
    clips = []
    for subject, names in stems.items():
        for stem in names:
            clips += film(
                Pose3D(body(2)),
                h36m_cameras(subject),
                subject=subject,
                action=stem.split()[0],
                take=f"{subject}/{stem}",
                split=facts.split_of(subject),
            )
    videopose3d.write(PoseDataset("h36m", tuple(clips)), tmp_path)
    (tmp_path / "takes.json").unlink()
    everything = set(load_h36m(tmp_path).takes)
    assert everything == {f"{subject}/{stem}" for subject, names in stems.items() for stem in names}
    without = lambda *names: everything - set(load_h36m(tmp_path, exclusions=names).takes)  # noqa: E731
    assert without("videopose3d") == {"S11/Directions"}
    assert without("motionbert") == {"S9/Greeting", "S9/SittingDown 1", "S9/Waiting 1"}
    assert without("mmpose-motionbert") == {"S9/Greeting", "S9/SittingDown", "S9/Waiting 1"}
    assert len(without("videopose3d", "motionbert")) == 4
    note = load_h36m(tmp_path, exclusions="videopose3d").notes[-1]
    assert "S11/Directions" in note and EXCLUSIONS["videopose3d"].reason in note
    with pytest.raises(H36MError, match="no exclusion 'mine'; there are: videopose3d"):
        load_h36m(tmp_path, exclusions=["mine"])
