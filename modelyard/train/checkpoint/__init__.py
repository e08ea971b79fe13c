"""Checkpoints: torch.distributed.checkpoint, saved while training goes on, whole or not there at all."""
