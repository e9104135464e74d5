"""Motion written for other programs says the same as the pose: read back by our reader and by others'."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from mocap3d.data.loading import load_dataset
from mocap3d.formats.animation import y_up
from mocap3d.formats.animation_files import joint_angles
from mocap3d.formats.bvh import parse_bvh, read_bvh
from mocap3d.formats.export import ExportError, write
from mocap3d.formats.motion_file import forward_kinematics
from mocap3d.lifting.cleanup import constant_bones
from mocap3d.poses import Pose2D, Pose3D
from mocap3d.skeleton import H36M17


@pytest.fixture(scope="module")
def pose():
    clip = next(clip for clip in load_dataset("synthetic").test if clip.action == "Walking")
    return clip.pose3d.slice(0, 120)


@pytest.mark.parametrize("names", ["mixamo", "lafan1"])
def test_bvh_comes_back_within_a_millimetre(pose, names, tmp_path):
    found = read_bvh(write(pose, tmp_path / "walk.bvh", names=names))
    assert ("mixamorig:Hips" in found.skeleton.joints) == (names == "mixamo")
    assert found.fps == pose.fps and len(found) == len(pose)
    assert np.abs(y_up(found.convert("h36m17")) - y_up(pose)).max() < 1e-3


def turn_about(axis, degrees):
    """4x4, of a column vector."""
    matrix, (a, b) = np.eye(4), {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
    matrix[a, a] = matrix[b, b] = math.cos(math.radians(degrees))
    matrix[b, a], matrix[a, b] = math.sin(math.radians(degrees)), -math.sin(math.radians(degrees))
    return matrix


def read_by_definition(path):
    """{joint: (T, 3) centimetres} of a BVH file, from the definition of the format alone, with nothing of ours."""
    lines = [line.split() for line in path.read_text().splitlines()]
    start, joints, above = lines.index(["MOTION"]), [], []
    for words in lines[:start]:
        match words:
            case ["ROOT" | "JOINT", name]:
                joints.append({"name": name, "above": above[-1] if above else None, "channels": []})
            case ["End", "Site"]:
                joints.append({"name": f"{above[-1]['name']} end", "above": above[-1], "channels": []})
            case ["OFFSET", *numbers]:
                joints[-1]["offset"] = [float(number) for number in numbers]
            case ["CHANNELS", _, *channels]:
                joints[-1]["channels"] = channels
            case ["{"]:
                above.append(joints[-1])
            case ["}"]:
                above.pop()
    places = {joint["name"]: [] for joint in joints}
    for row in lines[start + 3 :]:
        values = iter(float(word) for word in row)
        for joint in joints:  # in the order of the file, in which parents come first
            local = np.eye(4)
            local[:3, 3] = joint["offset"]
            for channel in joint["channels"]:
                axis, value = channel[0], next(values)
                if channel.endswith("position"):
                    local["XYZ".index(axis), 3] += value
                else:
                    local = local @ turn_about(axis, value)
            joint["world"] = local if joint["above"] is None else joint["above"]["world"] @ local
            places[joint["name"]].append(joint["world"][:3, 3])
        assert next(values, None) is None
    return {name: np.array(place) for name, place in places.items()}


@pytest.mark.parametrize("noise", [0, 0.03])
def test_bvh_holds_the_pose_for_a_reader_that_is_not_ours(pose, noise, tmp_path):
    moved = pose.points + np.random.default_rng(0).normal(0, noise, pose.points.shape)  # as no body moves
    pose = constant_bones(replace(pose, points=moved))
    found, truth = read_by_definition(write(pose, tmp_path / "clip.bvh", names="lafan1")), y_up(pose)
    at = {"Neck": "thorax", "Head": "nose", "Head end": "head", "Spine1": "spine", "Hips": "pelvis"}
    for side in ("Left", "Right"):
        ours = {"Arm": "shoulder", "ForeArm": "elbow", "Hand": "wrist", "UpLeg": "hip", "Leg": "knee", "Foot": "foot"}
        at |= {side + theirs: f"{side.lower()}_{joint}" for theirs, joint in ours.items()}
    assert sorted(at.values()) == sorted(H36M17.joints)
    for name, joint in at.items():
        error = np.linalg.norm(found[name] / 100 - truth[:, H36M17.index(joint)], axis=-1)
        assert error.max() < 1e-3, (name, error.max())


def test_bvh_angles_do_not_wrap(tmp_path):
    """A person who turns round three times."""
    angle = np.linspace(0, 6 * np.pi, 200)
    body = load_dataset("synthetic").test[0].pose3d.points[0].astype(float)
    body -= body[:1]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    points = np.stack(
        [cos * body[:, 0] + sin * body[:, 2], body[:, 1] + 0 * cos, cos * body[:, 2] - sin * body[:, 0]], -1
    )
    bvh = parse_bvh(write(Pose3D(points, frame="camera"), tmp_path / "spin.bvh"))
    assert np.abs(np.diff(bvh.values[:, 3:], axis=0)).max() < 30
    assert np.ptp(bvh.values[:, 5]) == pytest.approx(3 * 360, abs=1)


def test_glb_holds_the_body(pose, tmp_path):
    gltf = pytest.importorskip("pygltflib", reason='needs pygltflib: pip install "mocap3d[video]"')
    file = gltf.GLTF2().load(str(write(pose, tmp_path / "walk.glb")))
    blob = file.binary_blob()

    def values(number):
        accessor = file.accessors[number]
        view = file.bufferViews[accessor.bufferView]
        kind = np.uint16 if accessor.componentType == gltf.UNSIGNED_SHORT else np.float32
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        flat = np.frombuffer(blob, kind, accessor.count * width, view.byteOffset)
        return flat.reshape(accessor.count, width)

    joints = [node for node in file.nodes if node.mesh is None]
    parents = [next((i for i, p in enumerate(joints) if k in p.children), -1) for k in range(len(joints))]
    tracks = {(c.target.node, c.target.path): values(file.animations[0].samplers[c.sampler].output)
              for c in file.animations[0].channels}  # fmt: skip
    x, y, z, w = np.stack([tracks[k, "rotation"] for k in range(len(joints))], 1).astype(float).transpose(2, 0, 1)
    rotations = np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1).reshape(*x.shape, 3, 3)  # fmt: skip
    offsets = np.repeat(np.array([node.translation for node in joints])[None], len(pose), 0)
    offsets[:, 0] = tracks[0, "translation"]
    points = forward_kinematics(tuple(parents), rotations, offsets)[0]
    wrist = points[:, [node.name for node in joints].index("mixamorig:LeftHand")]
    assert np.abs(wrist - y_up(pose)[:, H36M17.index("left_wrist")]).max() < 1e-3
    times = values(file.animations[0].samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, np.arange(len(pose)) / pose.fps, atol=1e-5)
    assert len(file.meshes) == 20
    for mesh in file.meshes:  # capsules that face outwards
        primitive = mesh.primitives[0]
        corners, normals = values(primitive.attributes.POSITION), values(primitive.attributes.NORMAL)
        a, b, c = (corners[values(primitive.indices)[k::3, 0]] for k in range(3))
        face = np.cross(b - a, c - a)
        whole = np.linalg.norm(face, axis=-1) > 1e-9  # triangles at the poles have no area
        assert ((face * normals[values(primitive.indices)[::3, 0]]).sum(-1)[whole] > 0).all()


def test_glb_without_its_package_says_what_to_install(pose, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygltflib", None)
    with pytest.raises(ImportError, match=r"mocap3d\[video\]"):
        write(pose, tmp_path / "walk.glb")
    assert list(tmp_path.iterdir()) == []


def test_trc_is_what_opensim_reads(pose, tmp_path):
    points = pose.points.copy()
    points[3, H36M17.index("head")] = np.nan
    lines = write(replace(pose, points=points), tmp_path / "walk.trc").read_text().split("\n")
    assert lines[2].split("\t")[:5] == ["50", "50", "120", "17", "m"]
    names = [name for name in lines[3].split("\t")[2:] if name]
    assert names == list(H36M17.joints) and lines[4].split("\t")[2:5] == ["X1", "Y1", "Z1"]
    rows = [line.split("\t") for line in lines[6:] if line]
    assert rows[3][2 + 3 * H36M17.index("head")] == "" and float(rows[50][1]) == 1.0
    knee = np.array([row[2 + 3 * H36M17.index("left_knee") :][:3] for row in rows], float)
    np.testing.assert_allclose(knee, y_up(pose)[:, H36M17.index("left_knee")], atol=1e-5)


def standing(**moved):
    """One frame, y up, facing +z; some joints elsewhere."""
    points = {joint: (0.0, 0.0, 0.0) for joint in H36M17.joints}
    points |= {"spine": (0, 0.25, 0), "thorax": (0, 0.5, 0), "nose": (0, 0.6, 0), "head": (0, 0.75, 0)}
    for side, sign in (("left", 1), ("right", -1)):
        points |= {f"{side}_{joint}": (sign * x, y, 0.0) for joint, x, y in (
            ("hip", 0.1, 0), ("knee", 0.1, -0.4), ("foot", 0.1, -0.8),
            ("shoulder", 0.2, 0.5), ("elbow", 0.2, 0.2), ("wrist", 0.2, -0.05))}  # fmt: skip
    x, y, z = np.array([(points | moved)[joint] for joint in H36M17.joints]).T
    return Pose3D(np.stack([x, -y, -z], -1)[None], frame="camera")


def test_angles_of_known_poses():
    still = joint_angles(standing())
    assert all(abs(value[0]) < 1e-6 for value in still.values()) and len(still) == 14
    kick = joint_angles(standing(left_knee=(0.1, 0, 0.4), left_foot=(0.1, -0.4, 0.4)))
    assert kick["left_hip_flexion"][0] == pytest.approx(90) and kick["left_knee_flexion"][0] == pytest.approx(90)
    assert kick["right_hip_flexion"][0] == pytest.approx(0)
    wide = joint_angles(standing(left_elbow=(0.5, 0.5, 0), left_wrist=(0.75, 0.5, 0)))
    assert wide["left_shoulder_abduction"][0] == pytest.approx(90)
    assert joint_angles(standing(right_elbow=(-0.5, 0.5, 0)))["right_shoulder_abduction"][0] == pytest.approx(90)
    bow = joint_angles(standing(thorax=(0, 0.5 * np.cos(0.5), 0.5 * np.sin(0.5))))
    assert bow["trunk_forward"][0] == pytest.approx(np.degrees(0.5))
    lean = joint_angles(standing(thorax=(0.5 * np.sin(0.3), 0.5 * np.cos(0.3), 0)))
    assert lean["trunk_left"][0] == pytest.approx(np.degrees(0.3))


def test_the_table_of_angles(pose, tmp_path):
    with open(write(pose, tmp_path / "walk.angles.csv"), newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("right_knee_flexion_deg")
    np.testing.assert_allclose(
        [float(row[column]) for row in rows[1:]], joint_angles(pose)["right_knee_flexion"], atol=1e-3
    )


def test_what_cannot_be_written_is_refused(pose, tmp_path):
    flat = Pose2D(np.full((2, 17, 2), 5.0), image_size=(100, 100))
    with pytest.raises(ExportError, match="lift it first"):
        write(flat, tmp_path / "walk.bvh")
    with pytest.raises(ExportError, match="names='maya'"):
        write(pose, tmp_path / "walk.bvh", names="maya")
    with pytest.raises(ExportError, match=r"\.angles\.csv"):
        write(pose, tmp_path / "walk.fbx")
