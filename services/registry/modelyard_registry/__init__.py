"""Modelyard's registry."""
