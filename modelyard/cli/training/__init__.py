"""`modelyard train`: models that are made by training."""
