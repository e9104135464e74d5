"""Training: recipes, losses, the loop."""

from mocap3d.training.checkpoint import CheckpointError
from mocap3d.training.fit import TrainingError, fit, train_step
from mocap3d.training.recipe import RECIPES, Recipe, RecipeError
from mocap3d.training.run import Run

__all__ = ["RECIPES", "CheckpointError", "Recipe", "RecipeError", "Run", "TrainingError", "fit", "train_step"]
