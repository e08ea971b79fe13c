"""What a suite was told by an earlier `up`, so that the next one in the same directory need not say it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard import codec
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.local.state import Layout


@dataclass(frozen=True)
class Settings:
    """What a registry and a scheduler are told.

    Attributes:
        store: where chunks are kept; empty: in the suite's directory.
        allow_unsafe: whether artifacts may hold pickles and code.
        grace_s: seconds for which what was deleted can be brought back; None: the registry's own.
        collect_every_s: seconds between two collections of garbage, 0: never; None: the registry's own.
        dataset_urls: prefixes of URLs that jobs may read datasets from, separated by commas; empty: none.
    """

    store: str = ""
    allow_unsafe: bool = False
    grace_s: float | None = None
    collect_every_s: float | None = None
    dataset_urls: str = ""


@dataclass(frozen=True)
class Asked:
    """What an `up` says of the settings; what is None, or a store that is empty, is as before."""

    store: str = ""
    allow_unsafe: bool | None = None
    grace_s: float | None = None
    collect_every_s: float | None = None
    dataset_urls: str | None = None

    def check(self) -> None:
        """Raise InvalidInputError if a number is out of its range."""
        for name, value in (("grace_s", self.grace_s), ("collect_every_s", self.collect_every_s)):
            if value is not None and not 0 <= value < math.inf:
                raise InvalidInputError(f"{name}: expected a finite number of seconds of at least 0, got {value}")


def settle(layout: Layout, asked: Asked) -> Settings:
    """Return what holds for this suite from now on; once it has started so, `remember` it.

    Args:
        layout: the suite's directory.
        asked: what is to be different from before; its store is a directory or an fsspec URL.

    Raises:
        PreconditionError: the suite's artifacts are elsewhere, or its settings cannot be read.
    """
    old = _read(layout)
    settings = Settings(
        old.store,
        old.allow_unsafe if asked.allow_unsafe is None else asked.allow_unsafe,
        old.grace_s if asked.grace_s is None else asked.grace_s,
        old.collect_every_s if asked.collect_every_s is None else asked.collect_every_s,
        old.dataset_urls if asked.dataset_urls is None else asked.dataset_urls,
    )
    store = _located(asked.store)
    if store and store != _located(old.store or str(layout.store)):
        _check_unused(layout, old, store)
        settings = replace(settings, store=store)
    return settings


def remember(layout: Layout, settings: Settings) -> None:
    """Have the next `up` go by them."""
    if settings != _read(layout):
        draft = layout.settings.with_suffix(".new")
        draft.write_bytes(codec.encode(settings))
        draft.replace(layout.settings)


def _read(layout: Layout) -> Settings:
    if not layout.settings.exists():
        return Settings()
    try:
        return codec.decode(Settings, layout.settings.read_bytes())
    except codec.MalformedError as error:
        raise PreconditionError(f"{layout.settings}: {error}") from None


def _located(store: str) -> str:
    return store if not store or "://" in store else str(Path(store).resolve())


def _check_unused(layout: Layout, old: Settings, asked: str) -> None:
    """Raise PreconditionError if there may be artifacts already: in another store they would not be found."""
    if old.store or any(path.is_file() for path in layout.store.rglob("*")):
        raise PreconditionError(
            f"store: the artifacts of {layout.root} are kept in {old.store or layout.store}, got {asked}; take another "
            f'--dir, or copy them there and write {{"store": "{asked}"}} into {layout.settings}'
        )
