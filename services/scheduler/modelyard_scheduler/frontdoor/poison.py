"""Requests that killed two runners: refused for a while, by what is in them. Policy only: no I/O."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.names import ModelVersion
from modelyard.oip.tensors import parse_request

REFUSED_S = 60.0
MAX_REFUSALS = 1000
MAX_SUSPICIONS = 1000


class Refusals:
    """Which inputs a version is not given, for REFUSED_S each. Of more than MAX_REFUSALS the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_s: OrderedDict[tuple[ModelVersion, bytes], float] = OrderedDict()
        self._of_version: Counter[ModelVersion] = Counter()

    def __len__(self) -> int:
        """How many are refused."""
        return len(self._ends_s)

    def add(self, version: ModelVersion, request: bytes) -> None:
        """Refuse the inputs of a serialized request from now on."""
        self.refuse(version, digest(request))

    def refuse(self, version: ModelVersion, inputs: bytes) -> None:
        """Refuse inputs of that digest from now on."""
        self.forget(version, inputs)
        if len(self._ends_s) >= MAX_REFUSALS:
            self.forget(*next(iter(self._ends_s)))
        self._ends_s[version, inputs] = self._clock() + REFUSED_S
        self._of_version[version] += 1

    def forget(self, version: ModelVersion, inputs: bytes) -> None:
        """Refuse inputs of that digest no longer."""
        if self._ends_s.pop((version, inputs), None) is not None:
            self._of_version -= Counter((version,))

    def check(self, version: ModelVersion, request: bytes) -> None:
        """Let a serialized request pass, or raise ModelExecutionError if its inputs are refused."""
        self._expire()
        if self._of_version[version] and (version, digest(request)) in self._ends_s:
            raise ModelExecutionError(
                f"model {str(version)!r}: two runners died while they executed a call with these inputs; "
                f"they are refused for {REFUSED_S:g} s"
            )

    def _expire(self) -> None:
        now_s = self._clock()
        while self._ends_s and next(iter(self._ends_s.values())) <= now_s:
            self.forget(*next(iter(self._ends_s)))


class Suspicions:
    """With which inputs a runner died of late. Of more than MAX_SUSPICIONS the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deaths: OrderedDict[tuple[ModelVersion, bytes], tuple[Hashable, float]] = OrderedDict()
        self._of_version: Counter[ModelVersion] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._deaths)

    def add(self, version: ModelVersion, request: bytes, death: Hashable) -> bool:
        """A runner died with the inputs of a serialized request; return whether another had within REFUSED_S.

        `death` tells deaths apart: of one death many calls with equal inputs may be lost.
        """
        self._expire()
        key = (version, digest(request))
        former, _ = self._deaths.get(key, (death, 0.0))
        self._drop(key)
        if len(self._deaths) >= MAX_SUSPICIONS:
            self._drop(next(iter(self._deaths)))
        self._deaths[key] = (death, self._clock())
        self._of_version[version] += 1
        return former != death

    def holds(self, version: ModelVersion, request: bytes) -> bool:
        """Whether a runner died with the inputs of a serialized request within REFUSED_S."""
        self._expire()
        return self._of_version[version] > 0 and (version, digest(request)) in self._deaths

    def forget(self, version: ModelVersion, request: bytes) -> None:
        """The inputs of a serialized request did no harm."""
        self._drop((version, digest(request)))

    def _expire(self) -> None:
        ended_s = self._clock() - REFUSED_S
        while self._deaths and next(iter(self._deaths.values()))[1] <= ended_s:
            self._drop(next(iter(self._deaths)))

    def _drop(self, key: tuple[ModelVersion, bytes]) -> None:
        if self._deaths.pop(key, None) is not None:
            self._of_version -= Counter((key[0],))


def digest(request: bytes) -> bytes:
    """Of the inputs of a serialized request: its names, id and parameters do not count. Of other bytes, of all."""
    try:
        read = parse_request(request)
    except InvalidInputError:
        return hashlib.blake2b(request, digest_size=16).digest()
    for field in ("model_name", "model_version", "id", "parameters", "outputs"):
        read.ClearField(field)
    return hashlib.blake2b(read.SerializeToString(deterministic=True), digest_size=16).digest()
