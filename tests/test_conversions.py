"""Names of motion files lead to the right joints of h36m17."""

from __future__ import annotations

import pytest

from mocap3d.skeleton import H36M17, Skeleton, SkeletonError, convert, provenance

SIDES = ("left", "right")
FILES = {
    "smpl": (
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot "
        "right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist",
        {"left_foot": "left_ankle", "spine": "spine2, approximated", "thorax": "neck"},
    ),
    "smpl short": (
        "Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar R_Collar "
        "Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist L_Hand R_Hand",
        {"left_foot": "L_Ankle", "left_wrist": "L_Wrist", "head": "+2 Head -1 Neck, approximated"},
    ),
    "mpii": (
        "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top right_wrist "
        "right_elbow right_shoulder left_shoulder left_elbow left_wrist",
        {"thorax": "thorax", "nose": "upper_neck, approximated", "head": "head_top", "left_foot": "left_ankle"},
    ),
    "cgspeed": (
        "Hips LHipJoint LeftUpLeg LeftLeg LeftFoot LeftToeBase RHipJoint RightUpLeg RightLeg RightFoot RightToeBase "
        "LowerBack Spine Spine1 Neck Neck1 Head LeftShoulder LeftArm LeftForeArm LeftHand LeftFingerBase LThumb "
        "RightShoulder RightArm RightForeArm RightHand RightFingerBase RThumb",
        {"spine": "Spine, approximated", "nose": "Neck1, approximated", "left_shoulder": "LeftArm"},
    ),
    "rokoko": (
        "Hips Spine Spine1 Spine2 Neck Head Head_end LeftShoulder LeftArm LeftForeArm LeftHand RightShoulder RightArm "
        "RightForeArm RightHand LeftThigh LeftShin LeftFoot LeftToe RightThigh RightShin RightFoot RightToe",
        {"left_hip": "LeftThigh", "right_knee": "RightShin", "head": "Head_end", "spine": "Spine1, approximated"},
    ),
    "mixamo": (
        "mixamorig:Hips mixamorig:Spine mixamorig:Spine1 mixamorig:Spine2 mixamorig:Neck mixamorig:Head "
        "mixamorig:HeadTop_End " + " ".join(f"mixamorig:{s}{j}" for s in ("Left", "Right") for j in (
            "Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase")),
        {"head": "mixamorig:HeadTop_End", "right_elbow": "mixamorig:RightForeArm", "left_foot": "mixamorig:LeftFoot"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_usual_names(name):
    joints, expected = tuple(FILES[name][0].split()), FILES[name][1]
    found = provenance(Skeleton(name, joints, (-1, *range(len(joints) - 1))))
    assert set(found) == set(H36M17.joints)
    assert {joint: found[joint] for joint in expected} == expected
    for joint in H36M17.joints:  # nothing crosses over
        words = found[joint].lower()
        for side, other in (SIDES, SIDES[::-1]):
            if joint.startswith(side):
                assert other not in words and f" {other[0]}_" not in f" {words}"


def test_a_skeleton_with_the_names_of_the_target_is_copied():
    joints = (*reversed(H36M17.joints), "tail")
    found = provenance(Skeleton("mine", joints, (-1,) * len(joints)))
    assert found == {joint: joint for joint in H36M17.joints}


def test_too_few_joints_are_refused():
    with pytest.raises(SkeletonError, match="mapping="):
        convert([[0.0, 0, 0]] * 3, Skeleton("arm", ("LeftArm", "LeftForeArm", "LeftHand"), (-1, 0, 1)))
