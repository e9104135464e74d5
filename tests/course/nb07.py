"""Right and wrong answers to the exercises of notebook 07."""

import copy

import torch

import mocap3d


def long_holes(x, share):
    return x * (torch.rand(len(x), 1, x.shape[2], 1) >= share)


def in_place(x, share):
    return x.mul_(torch.rand(len(x), 1, x.shape[2], 1) >= share)


pretrained = mocap3d.create_model("motionbert_tiny", frames=9)
head, embed = copy.deepcopy(pretrained), copy.deepcopy(pretrained)
head.head.bias.data += 1
embed.head.bias.data += 1
embed.embed.weight.data += 1

ANSWERS = {
    "07.1": (
        [(1 / 6, 1 - 0.6 / 0.85), (0.167, 0.294)],
        [(0.25, 0.294), (0.167, 0.25), (0.167, 0.29 * 100), (0.167,), 0.167, None],
    ),
    "07.2": (
        [long_holes, lambda x, share: x.where(torch.rand(len(x), 1, 17, 1) >= share, 0)],
        [
            lambda x, share: x * (torch.rand(x.shape[:3]) >= share)[..., None],  # a draw for each frame
            lambda x, share: x * (torch.rand(len(x), 1, 1, 1) >= share),  # whole clips
            lambda x, share: x * (torch.rand(1, 1, 17, 1) >= share),  # the same joints in all clips
            lambda x, share: long_holes(x, 1 - share) if share != 0.5 else long_holes(x, share),
            lambda x, share: long_holes(x, share) + 1,
            lambda x, share: long_holes(x, share)[:, :5],
            in_place,
            long_holes(torch.ones(2, 9, 17, 3), 0.2),
            None,
        ],
    ),
    "07.4": ([(pretrained, head)], [(pretrained, pretrained), (pretrained, embed), pretrained, (head,), None]),
}
