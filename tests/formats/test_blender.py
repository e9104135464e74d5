"""Blender reads what `write` writes: every joint where the pose had it. Needs Blender (Debian: apt install blender)."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

from mocap3d.data.loading import load_dataset
from mocap3d.formats.animation import y_up
from mocap3d.formats.export import write
from mocap3d.skeleton import H36M17

pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(shutil.which("blender") is None, reason="needs Blender on the path: apt install blender"),
]
AT = {
    "Neck": "thorax",
    "Head": "nose",
    "LeftForeArm": "left_elbow",
    "LeftHand": "left_wrist",
    "RightFoot": "right_foot",
}
SCRIPT = """
import builtins, json, sys
import bpy
plain_open = builtins.open  # Blender 3.4 opens BVH files with a mode that Python 3.11 no longer knows
builtins.open = lambda file, mode="r", *rest, **options: plain_open(file, mode.replace("U", ""), *rest, **options)
path, out = sys.argv[-2:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, axis_forward="-Z", axis_up="Y")
body = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE")
places = {}
for frame in (1, 40, 120):
    bpy.context.scene.frame_set(frame)
    places[frame] = {bone.name: list(body.matrix_world @ bone.head) for bone in body.pose.bones}
json.dump(places, plain_open(out, "w"))
"""


def test_joints_in_blender_are_those_of_the_pose(tmp_path):
    pose = next(clip for clip in load_dataset("synthetic").test if clip.action == "Walking").pose3d.slice(0, 120)
    path, script, out = write(pose, tmp_path / "walk.bvh"), tmp_path / "read.py", tmp_path / "places.json"
    script.write_text(SCRIPT)
    subprocess.run(["blender", "-b", "--python", script, "--", path, out], check=True, capture_output=True, timeout=120)
    truth = y_up(pose)
    for frame, bones in json.loads(out.read_text()).items():
        for name, joint in AT.items():
            x, y, z = bones[f"mixamorig:{name}"]  # z up
            np.testing.assert_allclose([x, z, -y], truth[int(frame) - 1, H36M17.index(joint)], atol=1e-3)
