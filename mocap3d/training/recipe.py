"""A recipe: every setting of a training run except the model, the data and the seed.

Published recipes have their own names and numbers; our own are marked as ours. To change one:

    dataclasses.replace(RECIPES["simple_baseline"], name="shorter", epochs=20)

The length of training is given in one of three ways. `epochs` and `steps` are reproducible. `minutes` is converted to
steps by timing the machine before the run starts; to get the same bits again, pass the printed number of steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn, optim
from torch.nn.modules.batchnorm import _BatchNorm

from mocap3d.arguments import Positive, PositiveInt, check_arguments
from mocap3d.data.detector import DETECTORS
from mocap3d.training.losses import TERMS

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "step", "epoch", "cosine")
LOSSES = ("mse", "mpjpe")
HIGHEST_RATE = 0.1  # of Adam and AdamW


class RecipeError(ValueError):
    """A recipe with an invalid setting."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        name: printed and stored with the run.
        optimizer: "adam", or "adamw" (decoupled weight decay).
        learning_rate: the highest of the run.
        schedule: "constant"; "step": times `decay` every `decay_steps` steps; "epoch": times `decay` every epoch;
            "cosine": a linear warm-up over the first `warmup` of the run, then a half cosine down to 0.
        decay: factor of the schedules "step" and "epoch", in (0, 1].
        decay_steps: of the schedule "step".
        decay_epochs: of the schedule "epoch": number of epochs after which the rate stays constant; None for never.
        warmup: share of the run used for warm-up, in [0, 1), for "cosine".
        batch_size: windows per step, 2 or more (batch normalisation needs two), over all processes.
        accumulate: number of parts a batch is split into to save memory (gradient accumulation); each step uses the
            whole batch. Batch norm is computed for each part separately.
        epochs, steps, minutes: length of the run; give exactly one.
        loss: "mse" in the network's own units (z-scored for the single-frame models), or "mpjpe" in metres (screen
            units for a model of image space).
        terms: additional losses for whole clips and their weights, {"velocity": 20.0}; the names are those of
            `losses.TERMS`. None adds no loss. A loss of weight 0 is not computed.
        weight_decay: of the optimizer.
        amsgrad: of the optimizer.
        gradient_clip: largest norm of the whole gradient, or None.
        norm_momentum: (first, last) momentum of batch norm, decaying exponentially over the run; None: no change.
        flip: mirror half of every batch.
        mask_joints, mask_frames: probabilities that a joint in a frame, and that a whole frame, is masked in the
            input: zeros instead of x, y and confidence. For models that use confidence.
        clip_stride: for models that lift whole clips: frames from the start of one to the start of the next. None is a
            third of the clip (published: 81 of 243).
        clip_frames: for the same models: frames of a clip; None is the receptive field of the model, the most it takes.
        clip_step: for the same models: from one frame of a clip to the next. Neighbouring frames are nearly identical:
            clips of few frames that lie further apart teach a small network more per step.
        balance: a source of n frames (or chunks) is shown in proportion to n ** balance; 1 shows each once an epoch.
        detector: "cpn" or "sh": train on the given 2D plus simulated detector noise, drawn anew each epoch; None
            trains on the given 2D. With `cameras` also "coco", see `film_anew`.
        cameras: "phones": film every recording once with a new random camera, instead of training on the given 2D and
            cameras (`data.filming`). None: do not.
        bodies: with `cameras`: vary bodies and limbs as well.
        refilm: with `cameras`: epochs after which everything is filmed anew.
        autocast: bfloat16 where torch allows it: faster on some devices, different numbers on all. Loss, weights and
            the last layer stay float32.
        checkpointing: recompute activations in the backward pass instead of storing them: less memory, a
            third more work. For models that support it (MotionBERT).
        compile: train with torch.compile, if a compiler is available: takes a minute or more at the start. Meant for
            GPUs; on the one CPU tested, steps were slower.
        source: where the numbers come from, and what differs.
    Raises:
        RecipeError: for an invalid setting; the message names the value, the rule and the fix.
    """

    name: str
    optimizer: str = "adam"
    learning_rate: Positive = 1e-3
    schedule: str = "constant"
    decay: float = 1.0
    decay_steps: PositiveInt = 100_000
    decay_epochs: PositiveInt | None = None
    warmup: float = 0.0
    batch_size: int = 64
    accumulate: PositiveInt = 1
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    minutes: Positive | None = None
    loss: str = "mse"
    terms: Mapping[str, float] | None = None
    weight_decay: float = 0.0
    amsgrad: bool = False
    gradient_clip: Positive | None = None
    norm_momentum: tuple[float, float] | None = None
    flip: bool = False
    mask_joints: float = 0.0
    mask_frames: float = 0.0
    clip_stride: PositiveInt | None = None
    clip_frames: PositiveInt | None = None
    clip_step: PositiveInt = 1
    balance: float = 1.0
    detector: str | None = None
    cameras: str | None = None
    bodies: bool = False
    refilm: PositiveInt = 1
    autocast: bool = False
    checkpointing: bool = False
    compile: bool = False
    source: str = "own"

    def __post_init__(self) -> None:
        check_arguments(Recipe, vars(self), RecipeError)
        self._one_of("optimizer", OPTIMIZERS)
        self._one_of("schedule", SCHEDULES)
        self._one_of("loss", LOSSES)
        self._number("balance", 0 <= self.balance <= 1, "a power, in [0, 1]")
        self._number("decay", 0 < self.decay <= 1, "in (0, 1]")
        self._number("warmup", 0 <= self.warmup < 1, "a share of the run, in [0, 1)")
        self._number("weight_decay", 0 <= self.weight_decay < math.inf, "0 or above")
        for key in ("mask_joints", "mask_frames"):
            self._number(key, 0 <= getattr(self, key) < 1, "a probability, in [0, 1)")
        for term, weight in (self.terms or {}).items():
            if term not in TERMS or not 0 <= weight < math.inf:
                raise RecipeError(
                    f"recipe {self.name!r}: terms hold {term!r}: {weight!r}; give weights of 0 or above to some of "
                    f"{', '.join(TERMS)}"
                )
        self._number("batch_size", self.batch_size >= 2, "a whole number, 2 or more")
        room = self.batch_size >= 2 * self.accumulate
        self._number("accumulate", room, f"at most {self.batch_size // 2}, half of batch_size")
        self._one_of("detector", (*DETECTORS, *(["coco"] if self.cameras else []), None))
        self._one_of("cameras", (None, "phones"))
        self._number("bodies", self.cameras is not None or not self.bodies, "False without cameras='phones'")
        given = {key: getattr(self, key) for key in ("epochs", "steps", "minutes") if getattr(self, key) is not None}
        if len(given) != 1:
            raise RecipeError(
                f"recipe {self.name!r} gives {given or 'no length'}; give exactly one of epochs, steps, minutes "
                "(with dataclasses.replace, set the others to None)"
            )
        if self.norm_momentum is not None:
            fine = all(0 < value <= 1 for value in self.norm_momentum)
            self._number("norm_momentum", fine, "two numbers in (0, 1], such as (0.1, 0.001)")

    def _one_of(self, field: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, field) not in allowed:
            raise RecipeError(
                f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; give one of {', '.join(map(str, allowed))}"
            )

    def _number(self, field: str, fine: bool, rule: str) -> None:
        if not fine:
            raise RecipeError(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; it must be {rule}")


def get_recipe(recipe: Recipe | str) -> Recipe:
    """The recipe with this name; a Recipe is returned unchanged."""
    if isinstance(recipe, str) and recipe not in RECIPES:
        raise RecipeError(f"no recipe {recipe!r}; give a Recipe, or one of {', '.join(RECIPES)}")
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    if recipe.learning_rate > HIGHEST_RATE:
        text = f"learning_rate={recipe.learning_rate:g} is expected to diverge; recipes here have 0.0001 to 0.008"
        warnings.warn(text, stacklevel=3)
    return recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """The recipe's optimizer for all parameters, in torch's fused form: one pass over memory instead of several."""
    kind = {"adam": optim.Adam, "adamw": optim.AdamW}[recipe.optimizer]
    options = {"weight_decay": recipe.weight_decay, "amsgrad": recipe.amsgrad}
    return kind(model.parameters(), lr=recipe.learning_rate, fused=True, **options)


def learning_rate(recipe: Recipe, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """The learning rate of one step: a pure function, so there is nothing to restore when resuming.

    Args:
        step: counted from 1.
        total_steps, steps_per_epoch: of the run.
    """
    top = recipe.learning_rate
    if recipe.schedule == "step":
        # as published: the exponent is step / decay_steps, updated at step 1 and at every decay_steps-th
        looked_at = max(step // recipe.decay_steps * recipe.decay_steps, 1)
        return top * recipe.decay ** (looked_at / recipe.decay_steps)
    if recipe.schedule == "epoch":
        epochs = (step - 1) // steps_per_epoch  # completed
        return top * recipe.decay ** min(epochs, recipe.decay_epochs or epochs)
    if recipe.schedule == "cosine":
        rise = recipe.warmup * total_steps
        if step < rise:
            return top * step / rise
        return top * 0.5 * (1 + math.cos(math.pi * (step - rise) / (total_steps - rise + 1)))
    return top


def norm_momentum(recipe: Recipe, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """The momentum of batch norm at one step, for a recipe that sets it; arguments as in `learning_rate`.

    Source: Pavllo et al. 2019, appendix A.5: exponential from the first value to the last over the run, updated
    after each epoch. In a run of fewer than ten epochs it is updated ten times.
    """
    first, last = recipe.norm_momentum
    every = min(steps_per_epoch, -(-total_steps // 10))
    done = (step - 1) // every * every
    return first * (last / first) ** (done / total_steps)


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norm modules of a model, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


@contextmanager
def momentum_restored(model: nn.Module) -> Iterator[None]:
    """Restore the momentum of batch norm on exit."""
    momenta = {name: norm.momentum for name, norm in batch_norms(model).items()}
    try:
        yield
    finally:
        for name, norm in batch_norms(model).items():
            norm.momentum = momenta[name]


@contextmanager
def momentum_of_step(
    model: nn.Module, recipe: Recipe, step: int, total_steps: int, steps_per_epoch: int
) -> Iterator[None]:
    """Use the recipe's momentum of batch norm for one step; arguments as in `learning_rate`."""
    if recipe.norm_momentum is None:
        yield
        return
    momentum = norm_momentum(recipe, step, total_steps, steps_per_epoch)
    norms = batch_norms(model).values()
    if not recipe.compile:
        for norm in norms:
            norm.momentum = momentum
        yield
        return
    # a new momentum would trigger recompilation: instead, the update by the model's own momentum is rescaled
    norms = [norm for norm in norms if norm.track_running_stats]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    yield
    for norm, (mean, var) in zip(norms, before, strict=True):
        norm.running_mean.copy_(mean.lerp(norm.running_mean, momentum / norm.momentum))
        norm.running_var.copy_(var.lerp(norm.running_var, momentum / norm.momentum))


RECIPES = {
    "simple_baseline": Recipe(
        "simple_baseline", "adam", 1e-3, "step", decay=0.96, decay_steps=100_000, batch_size=64, epochs=200,
        gradient_clip=1.0,
        source="Martinez et al. 2017 in weigq's PyTorch port: Adam 1e-3 x 0.96^(step/100000), batch 64, 200 epochs, "
        "MSE of z-scored poses, gradient norm 1; dropout 0.5 is the model's",
    ),
    "simple_baseline_mmpose": Recipe(
        "simple_baseline_mmpose", "adam", 1e-3, "constant", batch_size=512, epochs=200,
        source="MMPose 1.3 configuration on its 8 GPUs x 64 as one batch of 512. Its step schedule ends after 80 "
        "iterations, so the learning rate never decays as configured; we train as configured",
    ),
    "videopose3d": Recipe(
        "videopose3d", "adam", 1e-3, "epoch", decay=0.95, batch_size=1024, epochs=80, loss="mpjpe", amsgrad=True,
        norm_momentum=(0.1, 0.001), flip=True,
        source="Pavllo et al. 2019: Adam with amsgrad 1e-3 x 0.95 per epoch, batch 1024, 80 epochs, MPJPE, momentum of "
        "batch norm 0.1 to 0.001. There every window is present twice per epoch, plain and mirrored; here half of each "
        "batch is mirrored, so 160 epochs here see as many windows",
    ),
    "videopose3d_semi": Recipe(
        "videopose3d_semi", "adam", 1e-3, "epoch", decay=0.98, batch_size=64, epochs=200, loss="mpjpe", amsgrad=True,
        norm_momentum=(0.1, 0.001), flip=True,
        source="Pavllo et al. 2019, semi-supervised: one Adam with amsgrad over both networks, 1e-3 x 0.98 per epoch, "
        "64 labelled and 64 unlabelled windows a step, 200 epochs of the labelled part, 5 of them warm-up (see "
        "SemiSupervised); flips as for videopose3d",
    ),
    "videopose3d_mmpose": Recipe(
        "videopose3d_mmpose", "adam", 1e-3, "epoch", decay=0.975, decay_epochs=80, batch_size=1024, epochs=160,
        loss="mpjpe", flip=True,
        source="MMPose 1.3 configurations for true 2D, 27 to 243 frames: Adam 1e-3 x 0.975 per epoch up to the 80th, "
        "8 GPUs x 128 windows as one batch, 160 epochs. Its flip mirrors raw pixels about 0.5; ours is a true mirror",
    ),
    "videopose3d_1_cpn_mmpose": Recipe(
        "videopose3d_1_cpn_mmpose", "adam", 1e-4, "epoch", decay=0.98, decay_epochs=80, batch_size=1024, epochs=160,
        loss="mpjpe", flip=True,
        source="MMPose 1.3 configuration for one frame of CPN detections; see videopose3d_mmpose",
    ),
    "videopose3d_243_cpn_mmpose": Recipe(
        "videopose3d_243_cpn_mmpose", "adam", 1e-4, "epoch", decay=0.98, decay_epochs=200, batch_size=1024,
        epochs=200, loss="mpjpe", flip=True,
        source="MMPose 1.3 configuration for 243 frames of CPN detections; see videopose3d_mmpose",
    ),
    "motionbert": Recipe(
        "motionbert", "adamw", 2e-4, "epoch", decay=0.99, batch_size=32, epochs=120, loss="mpjpe",
        terms={"n_mpjpe": 0.5, "velocity": 20.0}, weight_decay=0.01, flip=True,
        source="Zhu et al. 2023, from scratch: AdamW 2e-4 x 0.99 per epoch, 32 clips of 243 frames (stride 81), MPJPE "
        "+ 0.5 N-MPJPE + 20 velocity, 120 epochs, on 2D detections. Flips: half of each batch, where theirs falls on "
        "each clip with probability one half. base at batch 32 in less memory: accumulate, checkpointing, autocast",
    ),
    "motionbert_pretrain": Recipe(
        "motionbert_pretrain", "adamw", 5e-4, "epoch", decay=0.99, batch_size=64, epochs=90, loss="mpjpe",
        terms={"n_mpjpe": 0.5, "velocity": 20.0}, weight_decay=0.01, flip=True, mask_joints=0.05, mask_frames=0.1,
        detector="sh",
        source="Zhu et al. 2023, pretraining: AdamW 5e-4 x 0.99, 64 clips, 90 epochs, 5 % of joints and 10 % of frames "
        "hidden, noise on projected 2D (theirs measured on detectors; ours the simulated hourglass, new each epoch). "
        "The 2D-only part is `pretrain`'s",
    ),
    "motionbert_finetune": Recipe(
        "motionbert_finetune", "adamw", 2e-4, "epoch", decay=0.99, batch_size=32, epochs=60, loss="mpjpe",
        terms={"n_mpjpe": 0.5, "velocity": 20.0}, weight_decay=0.01, flip=True,
        source="Zhu et al. 2023, finetuning a pretrained network: as motionbert, 60 epochs; Lite has 5e-4",
    ),
    "poseformerv2": Recipe(
        "poseformerv2", "adamw", 1e-4, "epoch", decay=0.99, batch_size=1024, epochs=200, loss="mpjpe",
        weight_decay=0.1, flip=True,
        source="Zhao et al. 2023, as their code has it by default: AdamW 1e-4 x 0.99 per epoch, weight decay 0.1, "
        "batch 1024, 200 epochs, MPJPE, on CPN detections; flips as for videopose3d. drop_path 0.1 is the model's",
    ),
    "quick": Recipe(
        "quick", "adamw", 2e-3, "cosine", warmup=0.1, batch_size=512, minutes=4, weight_decay=0.01,
        gradient_clip=1.0, flip=True,
        source="ours: for minutes on two cores, not for the best number",
    ),
    "quick_temporal": Recipe(
        "quick_temporal", "adamw", 8e-3, "cosine", warmup=0.1, batch_size=256, minutes=4, loss="mpjpe",
        weight_decay=0.01, gradient_clip=1.0, norm_momentum=(0.1, 0.001), flip=True,
        source="ours: VideoPose3D of about 256 channels, for minutes on two cores, not for the best number",
    ),
    "quick_clips": Recipe(
        "quick_clips", "adamw", 2e-3, "cosine", warmup=0.1, batch_size=4, minutes=4, loss="mpjpe",
        terms={"velocity": 2.0}, weight_decay=0.01, gradient_clip=1.0, flip=True,
        source="ours: motionbert_tiny, for minutes on two cores, not for the best number. It predicts the mean pose in "
        "the first few hundred steps; a rate of 8e-3 never left that",
    ),
}  # fmt: skip
