"""The trainer: a process that is a rank of a training job. Users' code runs here, and nowhere else."""
