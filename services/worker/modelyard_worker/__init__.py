"""Modelyard's worker."""
