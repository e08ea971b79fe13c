"""Characters that make a text show as something else than it is, on a terminal or in a log."""

from __future__ import annotations

import re

_MISLEADING = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of what follows, and halves of surrogate pairs."""


def misleads(text: str) -> bool:
    """Whether it has a control character, one that overrides the direction of text, or half of a surrogate pair."""
    return _MISLEADING.search(text) is not None
