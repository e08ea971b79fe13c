"""Modelyard's scheduler."""
