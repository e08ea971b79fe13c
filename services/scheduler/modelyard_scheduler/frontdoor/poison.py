"""Requests that killed two runners: refused for a while, by what is in them. Policy only: no I/O."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.names import ModelVersion
from modelyard.oip.tensors import parse_request

REFUSED_S = 60.0
MAX_REFUSALS = 1000
MAX_SUSPICIONS = 1000
T = TypeVar("T")


class _Inputs(Generic[T]):
    """Inputs of versions by their digest, with what is known of each, for REFUSED_S. The oldest go first."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._known: OrderedDict[tuple[ModelVersion, bytes], tuple[T, float]] = OrderedDict()
        self._of_version: Counter[ModelVersion] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def put(self, version: ModelVersion, inputs: bytes, known: T) -> T | None:
        """Note it as the newest; return what was known before."""
        self._expire()
        former = self.drop(version, inputs)
        if len(self._known) >= self._most:
            self.drop(*next(iter(self._known)))
        self._known[version, inputs] = known, self._clock() + REFUSED_S
        self._of_version[version] += 1
        return former

    def drop(self, version: ModelVersion, inputs: bytes) -> T | None:
        """Forget it; return what was known."""
        found = self._known.pop((version, inputs), None)
        if found is None:
            return None
        self._of_version -= Counter((version,))
        return found[0]

    def holds(self, version: ModelVersion, request: bytes) -> bool:
        """Whether the inputs of a serialized request are known; it is read only if any of the version are."""
        self._expire()
        return self._of_version[version] > 0 and (version, digest(request)) in self._known

    def _expire(self) -> None:
        now_s = self._clock()
        while self._known and next(iter(self._known.values()))[1] <= now_s:
            self.drop(*next(iter(self._known)))


class Refusals:
    """Which inputs a version is not given, for REFUSED_S each. Of more than MAX_REFUSALS the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._refused: _Inputs[bool] = _Inputs(MAX_REFUSALS, clock)

    def __len__(self) -> int:
        """How many are refused."""
        return len(self._refused)

    def add(self, version: ModelVersion, request: bytes) -> None:
        """Refuse the inputs of a serialized request from now on."""
        self.refuse(version, digest(request))

    def refuse(self, version: ModelVersion, inputs: bytes) -> None:
        """Refuse inputs of that digest from now on."""
        self._refused.put(version, inputs, True)

    def forget(self, version: ModelVersion, inputs: bytes) -> None:
        """Refuse inputs of that digest no longer."""
        self._refused.drop(version, inputs)

    def check(self, version: ModelVersion, request: bytes) -> None:
        """Let a serialized request pass, or raise ModelExecutionError if its inputs are refused."""
        if self._refused.holds(version, request):
            raise ModelExecutionError(
                f"model {str(version)!r}: two runners died while they executed a call with these inputs; "
                f"they are refused for {REFUSED_S:g} s"
            )


class Suspicions:
    """With which inputs a runner died of late. Of more than MAX_SUSPICIONS the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._deaths: _Inputs[Hashable] = _Inputs(MAX_SUSPICIONS, clock)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._deaths)

    def add(self, version: ModelVersion, request: bytes, death: Hashable) -> bool:
        """A runner died with the inputs of a serialized request; return whether another had within REFUSED_S.

        `death` tells deaths apart: of one death many calls with equal inputs may be lost.
        """
        former = self._deaths.put(version, digest(request), death)
        return former is not None and former != death

    def holds(self, version: ModelVersion, request: bytes) -> bool:
        """Whether a runner died with the inputs of a serialized request within REFUSED_S."""
        return self._deaths.holds(version, request)

    def forget(self, version: ModelVersion, request: bytes) -> None:
        """The inputs of a serialized request did no harm."""
        self._deaths.drop(version, digest(request))


def digest(request: bytes) -> bytes:
    """Of the inputs of a serialized request: its names, id and parameters do not count. Of other bytes, of all."""
    try:
        read = parse_request(request)
    except InvalidInputError:
        return hashlib.blake2b(request, digest_size=16).digest()
    for field in ("model_name", "model_version", "id", "parameters", "outputs"):
        read.ClearField(field)
    return hashlib.blake2b(read.SerializeToString(deterministic=True), digest_size=16).digest()
