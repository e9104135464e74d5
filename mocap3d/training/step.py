"""One step of training, and the batches that an epoch's steps see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _BatchNorm

from mocap3d.data.detector import detect_tensor
from mocap3d.data.windows import Batch, DeviceDataset, batches
from mocap3d.models.videopose3d import set_batch_norm_momentum
from mocap3d.skeleton import ROOT
from mocap3d.training.distributed import Workers
from mocap3d.training.losses import pose_loss
from mocap3d.training.recipe import Recipe, norm_momentum
from mocap3d.training.run import Job, Progress

ALONE = Workers()


def supervised(model: nn.Module, batch: Batch, recipe: Recipe, step: int = 1, steps: int = 1) -> Tensor:
    """The recipe's loss on one batch: what a step descends on, unless `fit` is given another objective.

    Args:
        model: in training mode.
        batch: B windows.
        recipe: says loss and precision.
        step, steps: where the run stands, from 1; not looked at here.
    Returns:
        scalar.
    """
    return pose_loss(recipe.loss, model, forward(model, batch, recipe), batch.pose3d, recipe.terms)


def forward(model: nn.Module, batch: Batch, recipe: Recipe) -> Tensor:
    """What the network says of a batch, with what the recipe hides hidden, in the recipe's precision; float32."""
    x = hidden(network_input(model, batch), recipe)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.autocast):
        output = model(x)
    return output.float() if recipe.autocast else output


def network_input(model: nn.Module, batch: Batch) -> Tensor:
    """What the network reads of a batch: the 2D, and how sure the detector was if the model asks for that."""
    if batch.confidence is None:
        return model.encode_2d(batch.points2d)
    return model.encode_2d(batch.points2d, batch.confidence)


def hidden(x: Tensor, recipe: Recipe) -> Tensor:
    """Network input with some joints and some whole frames replaced by zeros: (B, T, J, 3) -> the same.

    Source: Zhu et al. 2023, section 3.3; there one draw of frames serves the whole batch, here each clip has its own.
    """
    for share, axes in ((recipe.mask_joints, 3), (recipe.mask_frames, 2)):
        if share:
            kept = torch.rand(x.shape[:axes], device=x.device) >= share
            x = x * kept[(...,) + (None,) * (x.ndim - axes)]
    return x


def train_step(
    model: nn.Module, optimizer: optim.Optimizer, batch: Batch, recipe: Recipe, rate: float,
    objective: Callable = supervised, workers: Workers = ALONE,
) -> Tensor:  # fmt: skip
    """One step of gradient descent on one batch: the heart of training.

    Args:
        model: in training mode.
        optimizer: over the model's parameters; its learning rate is set here.
        batch: B windows.
        recipe: says loss, clipping, precision, and how many parts the batch goes through in.
        rate: learning rate of this step.
        objective: gives the loss of (model, batch, recipe).
        workers: those who share the batch.
    Returns:
        the loss, a scalar on the device; with several workers, their mean is.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total, parts = 0.0, _parts(model, batch, recipe, workers)
    for left, (part, weight) in zip(reversed(range(len(parts))), parts, strict=True):
        apart = (
            getattr(model, "no_sync", nullcontext) if left else nullcontext
        )  # workers meet at the last part
        with apart():
            loss = weight * objective(model, part, recipe)
            loss.backward()  # gradients add up
        total = total + loss.detach()
    if recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    return total


def _parts(
    model: nn.Module, batch: Batch, recipe: Recipe, workers: Workers
) -> list[tuple[Batch, float | Tensor]]:
    """This process's parts of a batch, with weights that turn their mean losses into the mean over the whole batch."""
    mine = workers.share(batch)
    count = max(min(recipe.accumulate, len(mine) // 2), 1)
    if mine is batch and count == 1:
        return [(batch, 1.0)]

    def known(some: Batch) -> Tensor:  # what the loss counts: unknown joints are NaN
        if recipe.loss == "mse" and not getattr(model, "image_space", False):
            return (~torch.isnan(model.encode_3d(some.pose3d))).sum()
        return (~torch.isnan(some.pose3d - some.pose3d[..., ROOT : ROOT + 1, :]).any(-1)).sum()

    of = known(batch).clamp_min(1)
    if mine is not batch:
        of = of / workers.count  # whose gradients are averaged
    parts = [mine[k::count] for k in range(count)]  # so that each holds some of the mirrored windows
    return [(part, known(part) / of) for part in parts]


def epoch_batches(job: Job, epoch: int, first: int = 0) -> Iterator[Batch]:
    """The batches of an epoch, from the one numbered `first` on."""
    model, recipe = job.model, job.recipe
    data = as_seen(job.train, recipe, job.seed, epoch)
    options = {"seed": job.seed, "epoch": epoch, "first": first, "mirror": recipe.flip}
    if job.pieces is not None:
        return batches(data, recipe.batch_size, pieces=job.pieces, confidence=True, **options)
    return batches(
        data,
        recipe.batch_size,
        width=model.receptive_field,
        causal=getattr(model, "causal", False),
        **options,
    )


def as_seen(data: DeviceDataset, recipe: Recipe, seed: int, epoch: int) -> DeviceDataset:
    """The data as one epoch sees them: with the recipe's detector, noise that no other epoch repeats."""
    if recipe.detector is None:
        return data
    generator = torch.Generator(data.device).manual_seed(1_000_003 * seed + epoch)
    fps = data.clips[0].pose2d.fps
    points, confidence = detect_tensor(data.points2d, data.clip, fps, recipe.detector, generator)
    confidence = confidence.where(data.confidence > 0, 0)  # a joint that was filled in stays unseen
    return replace(data, points2d=points, confidence=confidence)


@contextmanager
def momentum_of_step(job: Job, state: Progress) -> Iterator[None]:
    """The recipe's momentum of batch norm for one step."""
    recipe, model = job.recipe, job.model
    if recipe.norm_momentum is None:
        yield
        return
    momentum = norm_momentum(recipe, state.step, state.total_steps, state.steps_per_epoch)
    if not recipe.compile:
        set_batch_norm_momentum(model, momentum)
        yield
        return
    # another momentum would have to be compiled anew: the change that the model's own one makes is scaled instead
    norms = [
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    yield
    for norm, (mean, var) in zip(norms, before, strict=True):
        norm.running_mean.copy_(mean.lerp(norm.running_mean, momentum / norm.momentum))
        norm.running_var.copy_(var.lerp(norm.running_var, momentum / norm.momentum))


@contextmanager
def thrift(model: nn.Module, recipe: Recipe) -> Iterator[None]:
    """Training with activation checkpointing, if the recipe says so; afterwards the model is as it was."""
    if not recipe.checkpointing:
        yield
        return
    before, model.checkpointing = model.checkpointing, True
    try:
        yield
    finally:
        model.checkpointing = before


def as_trained(job: Job, say: Callable) -> nn.Module:
    """The model as training calls it: replicated over workers, compiled if the recipe says so."""
    network = job.workers.replicate(job.model)
    if job.recipe.compile:
        try:
            probe = torch.ones(2, device=job.workers.device)
            torch.compile(torch.sin)(probe)  # fails here, not in the first step
            network = torch.compile(network)
        except Exception as error:  # of many kinds, from no compiler to no Triton
            reason = f"{type(error).__name__}: {str(error).strip()}".split("\n")[0][:200]
            say(f"torch.compile does not work here ({reason}); training goes on without it")
    return network
