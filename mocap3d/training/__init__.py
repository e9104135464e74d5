"""Recipes, losses, the training loop, and the results of a run."""
