"""Recipes, losses, the loop, and what a run leaves."""
