"""Choosing among instances: by load, or by a key that always means the same one. Policy only: no I/O."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

import xxhash

from modelyard.catalogue import Alias
from modelyard.deployment import Instance

_SPAN = 1 << 64


class Loaded(Protocol):
    """What calls can be sent to."""

    @property
    def usable(self) -> bool:
        """Whether new calls may be sent."""

    @property
    def outstanding(self) -> int:
        """How many wait for their reply."""

    @property
    def instance(self) -> Instance:
        """Which it is."""


L = TypeVar("L", bound=Loaded)


def pick(streams: Sequence[L]) -> L | None:
    """Power of two choices: of two usable ones at random the one with fewer calls outstanding (Mitzenmacher, 2001)."""
    count = len(streams)
    if count > 2:
        first, second = _two(streams)
        if first.usable and second.usable:
            return first if first.outstanding <= second.outstanding else second
    usable = [s for s in streams if s.usable]
    if len(usable) <= 1:
        return usable[0] if usable else None
    first, second = _two(usable)
    return first if first.outstanding <= second.outstanding else second


def _two(streams: Sequence[L]) -> tuple[L, L]:
    """Two of them at random; random.sample takes ten times as long."""
    count = len(streams)
    first, second = int(random.random() * count), int(random.random() * (count - 1))  # noqa: S311 (not a secret)
    return streams[first], streams[second + (second >= first)]


def less_loaded(streams: Sequence[L], than: L) -> L | None:
    """The usable one with the fewest calls outstanding, if those are no more than another has."""
    others = [s for s in streams if s is not than and s.usable and s.outstanding <= than.outstanding]
    return min(others, key=lambda s: s.outstanding, default=None)


def in_order(key: str, streams: Sequence[L]) -> list[L]:
    """The order in which a key prefers instances: rendezvous hashing (Thaler and Ravishankar, 1998) of their workers.

    It is the same in every front door; when an instance goes, only the keys that preferred it move.
    """
    return sorted(streams, key=lambda s: xxhash.xxh3_64_intdigest(f"{key}|{s.instance.worker}".encode()), reverse=True)


def draw(alias: Alias, key: str = "") -> str:
    """The version of an alias that gets a call: the canary version its share of the calls, or of the keys."""
    if not alias.canary_version:
        return alias.version
    share = xxhash.xxh3_64_intdigest(f"{alias.name}?{key}".encode()) / _SPAN if key else random.random()  # noqa: S311 (as above)
    return alias.canary_version if share * 100 < alias.canary_percent else alias.version
