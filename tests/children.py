"""Processes that a test has started."""

from __future__ import annotations

import psutil


def children(*arguments: str) -> list[psutil.Process]:
    """Return this process's children that live and have one of these on their command line."""
    return [child for child in psutil.Process().children() if not {*arguments}.isdisjoint(_command_line(child))]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it has ended meanwhile, or nobody has waited for it yet
        return []
