"""Right and wrong answers to the exercises of notebook 10."""

import torch
from torch import nn

from mocap3d import H36M17


class Net(nn.Module):
    def __init__(self, mean_over=None, shape=(17, 3), blind=False):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(34, 64), nn.ReLU(), nn.Linear(64, 51))
        self.mean_over, self.shape, self.blind = mean_over, shape, blind

    def forward(self, x):  # (B, T, 17, 2)
        if self.mean_over is not None:
            x = x - x.mean(self.mean_over, keepdim=True)
        x = x.flatten(-2)
        return self.net(torch.zeros_like(x) if self.blind else x).unflatten(-1, self.shape)


class AboutThePelvis(Net):
    def forward(self, x):
        return super().forward(x - x[:, :, :1])


def chain(bones):
    joints = torch.zeros_like(bones)
    for joint, parent in enumerate(H36M17.parents):
        if parent >= 0:
            joints[..., joint, :] = joints[..., parent, :] + bones[..., joint, :]
    return joints


def product(bones):
    rows = torch.zeros(17, 17)
    for joint in range(17):
        at = joint
        while at != 0:
            rows[joint, at] = 1
            at = H36M17.parents[at]
    return rows @ bones


def one_bone(bones):
    return bones * (torch.arange(17) > 0)[:, None]


ANSWERS = {
    "10.1": (
        [Net(mean_over=2), Net(mean_over=-2), AboutThePelvis()],
        # no mean; the mean over clips, clips and joints, joints and axes; not a pose; no input; no network
        [Net(), Net(mean_over=0), Net(mean_over=(0, 2)), Net(mean_over=(2, 3)), Net(mean_over=2, shape=(51,))]
        + [Net(mean_over=2, blind=True), Net, None, 3],
    ),
    "10.2": ([chain, product], [one_bone, lambda bones: chain(bones) + 1, lambda bones: bones[..., 0], None, 3]),
}
