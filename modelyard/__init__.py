"""Modelyard: a self-hosted Model-as-a-Service. `Client` is the way in."""

__version__ = "0.1.0"
