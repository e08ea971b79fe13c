"""What metrics of a recipe may be called: they are told as they are, so that any text will do that can be shown."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.errors import InvalidInputError

MOST_CHARACTERS = 200


def check_metric_names(names: Iterable[object]) -> None:
    """Raise InvalidInputError unless all names are texts of 1 to 200 characters that can be printed."""
    for name in names:
        if not (isinstance(name, str) and name.isprintable() and 1 <= len(name) <= MOST_CHARACTERS):
            raise InvalidInputError(
                f"metrics: expected names of 1 to {MOST_CHARACTERS} characters that can be printed, got {name!r:.100}"
            )
