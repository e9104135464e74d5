"""Right and wrong answers to the exercises of notebook 06."""

import copy

import torch

import mocap3d

attention = mocap3d.load_shipped("motionbert")
no_clock, no_joints, nothing = (copy.deepcopy(attention) for _ in range(3))
no_clock.frame_embedding.data.zero_()
no_joints.joint_embedding.data.zero_()
for value in nothing.parameters():
    value.data.zero_()

ANSWERS = {
    "06.1": (
        [(4, 153_867_000, 2_601_000_000), (4.0, 3000 * 17**2 + 17 * 3000**2, (3000 * 17) ** 2)],
        [(4.23, 153_867_000, 2_601_000_000), (4, 867_000, 2_601_000_000), (4, 153_867_000, 51_000), 4, None],
    ),
    "06.2": (
        [no_clock],
        [attention, no_joints, nothing, mocap3d.create_model("motionbert_tiny"), torch.zeros(1), None],
    ),
}
