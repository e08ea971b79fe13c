"""An entry of the index: a version with its model and the aliases that name it, prepared for conditions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from modelyard.catalogue import Lifecycle, Model, Version


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What a filter is asked about.

    Attributes:
        labels: the version's over the model's.
        texts: the name, the model's description and the version's, all without case.
    """

    model: Model
    version: Version
    aliases: tuple[str, ...]
    labels: dict[str, str]
    texts: tuple[str, str, str]

    @property
    def state(self) -> Lifecycle:
        """A version of a deleted model is deleted with it."""
        return Lifecycle.DELETED if Lifecycle.DELETED in (self.model.state, self.version.state) else Lifecycle.ACTIVE

    @classmethod
    def join(cls, model: Model, version: Version, aliases: tuple[str, ...]) -> Entry:
        """Return the entry of a version."""
        return cls(
            model=model,
            version=version,
            aliases=aliases,
            labels=model.labels | version.labels if version.labels else model.labels,
            texts=(model.name.casefold(), model.description.casefold(), version.description.casefold()),
        )


@lru_cache(maxsize=1 << 16)
def natural(text: str) -> str:
    """Return a text that compares as this one does when the numbers in it count as numbers: 9 < 10, 1.9 < 1.10."""
    return re.sub(r"[0-9]+", _counted, text)


def _counted(digits: re.Match[str]) -> str:
    number = digits[0].lstrip("0")
    return f"{len(number):03}{number}"
