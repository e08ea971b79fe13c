"""Processes of training jobs, as this worker's agent starts, tells and ends them."""
