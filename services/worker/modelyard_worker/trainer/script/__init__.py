"""Scripts, run as torchrun runs them: one process of the script for each rank, in one formation after the other."""
