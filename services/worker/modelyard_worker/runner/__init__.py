"""A runner: a process of its own that holds loaded models and executes calls."""
