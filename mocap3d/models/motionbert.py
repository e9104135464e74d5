"""MotionBERT: lift a whole clip, up to 243 frames at once, with attention between joints and between frames.

Source: Zhu, Ma, Liu, Liu, Wu, Wang, "MotionBERT: A Unified Perspective on Learning Human Motion Representations",
ICCV 2023. The network is its DSTFormer, a "dual-stream spatio-temporal transformer".

    2D joints and confidence of T frames: each joint in each frame is one token of 3 numbers
      -> linear to D channels, plus an embedding of the joint, plus an embedding of the frame
      -> `depth` times two streams from the same tokens, mixed for each token by a learned gate:
           st: a layer in which the joints of a frame attend to each other, then one in which the frames of a joint do
           ts: frames first, then joints
      -> layer norm, linear, tanh            = representation, for tasks other than lifting
      -> linear to 3 channels                = 3D joints of every frame, image space

Image space, or 2.5D, is what the network was trained to predict: x and y on the screen, z the depth behind the root in
the same unit. Converting it to metres needs the camera and the root's depth, which an image does not show.

Tokens stay (B, T, J, D) in memory throughout: queries, keys and values are views of their linear layers' outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mocap3d.arguments import check_arguments
from mocap3d.models.cpu import linear, linear_gelu
from mocap3d.models.lifter import Normalise, Space
from mocap3d.models.scaling import Scaling
from mocap3d.skeleton import H36M17, root_relative

# Base and Lite are from the paper; tiny is ours, for CPUs: 417,801 parameters, 8.1 M multiplications per frame.
SIZES = {
    "motionbert": dict(channels=512, mlp_ratio=2, representation=512, depth=5, heads=8, frames=243),
    "motionbert_lite": dict(channels=256, mlp_ratio=4, representation=512, depth=5, heads=8, frames=243),
    "motionbert_tiny": dict(channels=64, mlp_ratio=2, representation=128, depth=3, heads=4, frames=81),
}
EPS = 1e-6  # of the layer norms; torch's default is 1e-5
FEW = 32  # tokens and channels up to which explicit attention is faster on a CPU


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention, by the faster method for this device and size.

    Args:
        q, k, v: (N, H, L, c): for each of N sequences and H heads, L tokens of c channels.
    Returns:
        (N, H, L, c): for each query, the mean of the values, weighted by `attention_weights`.
    Source: Vaswani et al. 2017, section 3.2.1.
    """
    if q.device.type == "cpu" and max(q.shape[2:]) <= FEW:
        return attention_weights(q, k) @ v
    return F.scaled_dot_product_attention(q, k, v)


def attention_weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """How much each query attends to each key: (N, H, L, c) twice -> (N, H, L, L), rows sum to 1."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1)


def drop_path(x: torch.Tensor, probability: float) -> torch.Tensor:
    """(B, T, ...): zero whole frames at random, and scale the others to keep the expected value."""
    if probability == 0:
        return x
    keep = torch.rand(*x.shape[:2], 1, 1, device=x.device) >= probability
    return x * keep / (1 - probability)


class Attention(nn.Module):
    """Multi-head self-attention: `over` the "joints" of each frame, or the "frames" of each joint."""

    def __init__(self, channels: int, heads: int, over: str) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)  # queries, keys, values; in each, head by head
        self.proj = nn.Linear(channels, channels)
        self.heads, self.over = heads, over

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, J, D) -> the same
        x = attend(*self.project(x, 3)).transpose(1, 2).reshape(x.shape)  # (N, H, L, c) -> (B, T, J, D)
        return linear(x, self.proj.weight, self.proj.bias)

    def project(self, x: torch.Tensor, count: int) -> list[torch.Tensor]:
        """The first `count` of queries, keys and values: (B, T, J, D) -> (B T, H, J, c) or (B, J H, T, c)."""
        found = []
        for weight, bias in zip(self.qkv.weight.chunk(3)[:count], self.qkv.bias.chunk(3), strict=False):
            part = linear(x, weight, bias).unflatten(-1, (self.heads, -1))  # (B, T, J, H, c)
            found.append(part.flatten(*(0, 1) if self.over == "joints" else (2, 3)).transpose(1, 2))
        return found

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, J, D) -> (B, T, H, J, J) over joints, (B, J, H, T, T) over frames; the last axis sums to 1."""
        weights = attention_weights(*self.project(x, 2))
        if self.over == "joints":
            return weights.unflatten(0, x.shape[:2])
        return weights.unflatten(1, (x.shape[2], self.heads))


class Layer(nn.Module):
    """A transformer layer: attention, then a perceptron of two linear layers for each token, each added to its input.

    In training, `drop_path` is the probability that a frame skips an addition.
    """

    def __init__(self, channels: int, heads: int, mlp_ratio: int, drop_path: float, over: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attention = Attention(channels, heads, over)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.fc1 = nn.Linear(channels, mlp_ratio * channels)
        self.fc2 = nn.Linear(mlp_ratio * channels, channels)
        self.drop_path = drop_path

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, T, J, D) -> the same
        x = x + self.drop(self.attention(self.norm1(x)))
        hidden = linear_gelu(self.norm2(x), self.fc1.weight, self.fc1.bias)  # (B, T, J, r D)
        return x + self.drop(linear(hidden, self.fc2.weight, self.fc2.bias))

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """In training, zero whole frames at random."""
        return drop_path(x, self.drop_path if self.training else 0.0)


class Gate(nn.Linear):
    """How much each stream contributes, for each token: (B, T, J, D) twice -> (B, T, J, 2)."""

    def forward(self, st: torch.Tensor, ts: torch.Tensor) -> torch.Tensor:
        of_st, of_ts = self.weight.chunk(2, 1)  # the same as concatenating both streams, without a copy
        return (F.linear(st, of_st) + F.linear(ts, of_ts, self.bias)).softmax(-1).to(st.dtype)


class MotionBERT(nn.Module):
    """The network, for clips of 1 to `frames` frames.

    Args:
        channels: D, the channels of every token; a multiple of `heads`.
        mlp_ratio: hidden channels of a layer's perceptron, as a multiple of D.
        representation: output channels of `represent`.
        depth: number of repetitions of the two streams.
        heads: of every attention. Cannot be inferred from the weights.
        joints: tokens per frame. `encode` supports 17, h36m17.
        frames: of the longest clip; there is an embedding for each.
        fuse: whether gates are learned; otherwise the streams are averaged.
        drop_path: probability of skipping an addition in the last depth; it grows linearly from 0 in the first.
        image_space: whether poses are predicted in image space, as published, or in metres relative to the root, like
            the other models here. Cannot be inferred from the weights.
        init: of new weights, "published" or "fan_in"; see `initialise`.
        normalise: how its 2D joints are given to it, see `Lifter`; all but "published" need image_space=False, and
            input and output are then z-scores.
    Raises:
        ValueError: for an argument outside its range.
    Source: Zhu et al. 2023, section 3.2; MotionBERT's code for details the paper omits.
    """

    input_skeleton = "h36m17"
    clipwise, causal = True, False

    def __init__(
        self,
        channels: int = 512,
        mlp_ratio: int = 2,
        representation: int = 512,
        depth: int = 5,
        heads: int = 8,
        joints: int = len(H36M17),
        frames: int = 243,
        fuse: bool = True,
        drop_path: float = 0.0,
        image_space: bool = True,
        init: str = "published",
        normalise: Normalise = "published",
    ) -> None:
        check_arguments(MotionBERT.__init__, locals())
        super().__init__()
        sizes = dict(
            channels=channels,
            mlp_ratio=mlp_ratio,
            representation=representation,
            depth=depth,
            heads=heads,
            frames=frames,
        )
        for name, size in [*sizes.items(), ("joints", joints)]:
            if size < 1:
                raise ValueError(f"{name}={size}: need at least 1")
        if channels % heads:
            raise ValueError(f"channels={channels}, heads={heads}: channels not divisible by heads; give other heads")
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path={drop_path}: a probability must be at least 0 and below 1")
        if init not in ("published", "fan_in"):
            raise ValueError(f"init={init!r}: give 'published' or 'fan_in'")
        if image_space and normalise != "published":
            raise ValueError(f"normalise={normalise!r} loses the place in the image; give image_space=False as well")
        self.normalise = normalise
        self.scaling = None if normalise == "published" else Scaling()
        self.name = next((name for name, known in SIZES.items() if known == sizes), f"motionbert_{depth}x{channels}")
        self.channels, self.mlp_ratio, self.depth, self.heads = channels, mlp_ratio, depth, heads
        self.joints, self.fuse, self.drop_path = joints, bool(fuse), drop_path
        self.image_space = bool(image_space)
        self.checkpointing = False  # in training, store only the inputs of layers, and recompute the rest
        self.receptive_field = frames  # at most
        self.embed = nn.Linear(3, channels)
        self.joint_embedding = nn.Parameter(torch.empty(1, joints, channels))
        self.frame_embedding = nn.Parameter(torch.empty(1, frames, 1, channels))

        def layers(depth: int, *order: str) -> nn.Sequential:
            options = channels, heads, mlp_ratio, rates[depth]
            return nn.Sequential(OrderedDict((over, Layer(*options, over)) for over in order))

        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.st = nn.ModuleList(layers(i, "joints", "frames") for i in range(depth))
        self.ts = nn.ModuleList(layers(i, "frames", "joints") for i in range(depth))
        self.gates = nn.ModuleList(Gate(2 * channels, 2) for _ in range(depth if fuse else 0))
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.representation = nn.Linear(channels, representation)
        self.head = nn.Linear(representation, 3)
        self.initialise(init)

    def initialise(self, scheme: str = "published") -> None:
        """Draw new weights; the gates start at one half.

        Args:
            scheme: "published": a standard deviation of 0.02 everywhere, as MotionBERT does. MMPose intends the same,
                but also draws the gates and keeps torch's default biases of linear layers. "fan_in": 1 / sqrt(inputs)
                for linear layers and 1 for the joint embedding (own), with which a small network knows from the first
                steps on which joint is which.
        """
        published = scheme == "published"
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02 if published else module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.joint_embedding, std=0.02)
        if not published:
            nn.init.normal_(self.joint_embedding)
        nn.init.trunc_normal_(self.frame_embedding, std=0.02)
        for gate in self.gates:
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The published network: (B, T, J, 3) screen x, y and confidence -> (B, T, J, 3) image space; 1 <= T <= R."""
        x = self.represent(x)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round the pose
            return linear(x, self.head.weight, self.head.bias)

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        """The representation of each joint in each frame: (B, T, J, 3) -> (B, T, J, representation), in [-1, 1]."""
        x = self.tokens(x)
        for depth in range(self.depth):
            if self.checkpointing and self.training:
                st, ts = (_checkpointed(stream[depth], x) for stream in (self.st, self.ts))
            else:
                st, ts = self.st[depth](x), self.ts[depth](x)
            share = self.gates[depth](st, ts)[..., :1] if self.fuse else 0.5
            x = torch.lerp(ts, st, share)  # share * st + (1 - share) * ts
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(linear(self.norm(x), self.representation.weight, self.representation.bias))

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """The input of the first layers: (B, T, J, 3) -> (B, T, J, D)."""
        if x.ndim != 4 or x.shape[2:] != (self.joints, 3) or not 1 <= x.shape[1] <= self.receptive_field:
            raise ValueError(
                f"got shape {tuple(x.shape)}; {self.name} needs (B, T, {self.joints}, 3), x, y and confidence, with T "
                f"from 1 to {self.receptive_field}: lift longer videos with mocap3d.lift"
            )
        x = F.linear(x, self.embed.weight, self.embed.bias) + self.joint_embedding
        return x + self.frame_embedding[:, : x.shape[1]]

    @torch.no_grad()
    def attention(self, x: torch.Tensor, depth: int, stream: str = "st", over: str = "joints") -> torch.Tensor:
        """The attention weights of one layer; they are computed only by this method, and not stored.

        Args:
            x: (B, T, J, 3), same as in `forward`.
            depth: 0 is the first.
            stream: "st" or "ts".
            over: "joints" or "frames".
        Returns:
            (B, T, H, J, J) over joints, (B, J, H, T, T) over frames: query, then key; rows sum to 1.
        """
        if not 0 <= depth < self.depth or stream not in ("st", "ts") or over not in ("joints", "frames"):
            raise ValueError(
                f"depth={depth}, stream={stream!r}, over={over!r}: give 0 to {self.depth - 1}, 'st' or 'ts', "
                "'joints' or 'frames'"
            )
        layer = getattr(getattr(self, stream)[depth], over)
        return self._listen(x, [layer.attention], lambda attention, inputs, _: attention.weights(*inputs))[0]

    @torch.no_grad()
    def shares(self, x: torch.Tensor) -> torch.Tensor:
        """The gates' weight for each stream: (B, T, J, 3) -> (depth, B, T, J, 2), st then ts, sums to 1."""
        if not self.fuse:
            raise ValueError(f"this {self.name} averages its streams: it was made without gates (fuse=False)")
        return torch.stack(self._listen(x, self.gates, lambda gate, inputs, share: share))

    def _listen(self, x: torch.Tensor, modules: Iterable[nn.Module], ask: Callable) -> list[torch.Tensor]:
        """Run the network and collect ask(module, inputs, output) for each module."""
        heard: list[torch.Tensor] = []
        hooks = [module.register_forward_hook(lambda *call: heard.append(ask(*call))) for module in modules]
        try:
            self.represent(x)
        finally:
            for hook in hooks:
                hook.remove()
        return heard

    def encode(self, points2d: torch.Tensor, confidence: torch.Tensor | None = None) -> torch.Tensor:
        """Turn 2D joints into the network's input.

        Args:
            points2d: (B, T, 17, 2), h36m17, as `normalise` says. A missing joint (NaN) is encoded as three zeros, the
                same as a masked joint in pretraining.
            confidence: (B, T, 17) in [0, 1], of the detector. By default 1 for every joint that is present.
        Returns:
            (B, T, 17, 3).
        """
        if points2d.ndim != 4 or points2d.shape[-2:] != (self.joints, 2):
            raise ValueError(
                f"got shape {tuple(points2d.shape)}; needs (B, T, {self.joints}, 2) in {self.input_skeleton}: "
                "convert with mocap3d.skeleton.convert"
            )
        if confidence is None:
            confidence = torch.ones_like(points2d[..., 0])
        elif confidence.shape != points2d.shape[:-1]:
            raise ValueError(
                f"confidence has shape {tuple(confidence.shape)}; points2d of shape {tuple(points2d.shape)} need "
                f"{tuple(points2d.shape[:-1])}"
            )
        if self.scaling:
            points2d = self.scaling.encode(points2d)
        x = torch.cat([points2d, confidence[..., None].to(points2d.dtype)], -1)  # (B, T, J, 3)
        return torch.where(torch.isnan(x).any(-1, keepdim=True), 0.0, x)

    @property
    def space(self) -> Space:
        """Of its poses: "image", or "metric" if made with image_space=False."""
        return "image" if self.image_space else "metric"

    def targets(self, pose3d: torch.Tensor) -> torch.Tensor:
        """Turn poses into targets: (B, T, 17, 3) in the model's space -> the same, relative to the root."""
        return self.scaling.targets(pose3d) if self.scaling else root_relative(pose3d)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """Turn network output into poses: (B, T, 17, 3), in the model's space; not re-centred."""
        return self.scaling.decode(output.flatten(-2)) if self.scaling else output

    def fit_normalisation(self, points2d: torch.Tensor, pose3d: torch.Tensor) -> None:
        """Compute the statistics of (N, 17, 2) points and (N, 17, 3) poses, unless published, which has none."""
        if self.scaling:
            self.scaling.fit(points2d, pose3d)

    @property
    def normalisation(self) -> dict[str, torch.Tensor] | None:
        """Statistics for a checkpoint, see `Scaling.statistics`."""
        return self.scaling.statistics if self.scaling else None

    @normalisation.setter
    def normalisation(self, statistics: Mapping[str, torch.Tensor]) -> None:
        self.scaling.statistics = statistics


def _checkpointed(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Apply the layers; activations are recomputed in the backward pass instead of stored."""
    for layer in layers:
        x = checkpoint(layer, x, use_reentrant=False)
    return x
