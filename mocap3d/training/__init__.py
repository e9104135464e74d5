"""Training: recipes, losses, the loop."""

from mocap3d.training.checkpoint import CheckpointError
from mocap3d.training.fit import TrainingError, fit, train_step
from mocap3d.training.pretraining import pretrain
from mocap3d.training.recipe import RECIPES, Recipe, RecipeError
from mocap3d.training.run import Run
from mocap3d.training.semi_supervised import SemiSupervised, fit_semi_supervised, label_subset

__all__ = [
    "RECIPES", "CheckpointError", "Recipe", "RecipeError", "Run", "SemiSupervised", "TrainingError", "fit",
    "fit_semi_supervised", "label_subset", "pretrain", "train_step",
]  # fmt: skip
