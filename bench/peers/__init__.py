"""Modelyard beside its peers on the same models: `make bench-peers`."""
