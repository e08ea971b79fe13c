"""Training: recipes, and how they are run on one machine or many. See docs/training.md."""
