"""Watching the catalogue, across restarts of all that lies between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from modelyard.catalogue import Version
from modelyard.errors import UnavailableError
from modelyard.events import CatalogueEvent, EventKind
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import Calls
from modelyard.v1 import registry_pb2 as pb


class Place:
    """Where a watch is: the revision to go on from, and what of that has been told already."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        """The first revision that is wanted; 0: all that is there."""
        self._told: set[tuple[str, str, str]] = set()
        self._told_some = False
        self._begins_anew = False

    def reopen(self) -> None:
        """A new stream begins. If the last one broke while it told what was there, that is told from the beginning."""
        self._begins_anew = not self.revision and self._told_some

    def take(self, event: CatalogueEvent) -> list[CatalogueEvent]:
        """Return what to tell of an event: nothing, if that has been told before; a RESET before it, if need be."""
        reset = self._begins_anew and event.kind is not EventKind.RESET
        self._begins_anew = False
        told = [event] if self._advance(event) else []
        self._told_some = self._told_some or bool(told)
        return [CatalogueEvent(EventKind.RESET, 0), *told] if reset else told

    def _advance(self, event: CatalogueEvent) -> bool:
        """Go on to an event; return whether it is new."""
        if event.kind in {EventKind.RESET, EventKind.SYNCED}:
            self._move(event.revision + 1 if event.kind is EventKind.SYNCED else 0)
            return True
        if not self.revision:
            return True
        if event.revision > self.revision:
            self._move(event.revision)
        new = event.revision == self.revision and _name(event) not in self._told
        self._told.add(_name(event))
        return new

    def _move(self, revision: int) -> None:
        self.revision = revision
        self._told.clear()


def _name(event: CatalogueEvent) -> tuple[str, str, str]:
    """What an event is of: a transaction changes nothing twice."""
    resource = event.resource
    name = resource.version if isinstance(resource, Version) else resource.name if resource else ""
    return type(resource).__name__, event.model, name


class WatchCalls(Calls):
    """What happens to the catalogue."""

    @property
    def revision(self) -> int:
        """The newest revision of the catalogue that an answer to this client has seen; 0: none yet."""
        return self._connection.revision

    async def watch(self, revision: int = 0, prefix: str = "") -> AsyncGenerator[CatalogueEvent, None]:
        """Yield the changes of models, versions and aliases, in order and each once, without end.

        From the beginning: everything that is there, each as a PUT, then SYNCED, then the changes. From a revision: its
        changes and all later ones. Where the history from there on is gone: RESET, then as from the beginning; what was
        known before is void. The watch goes on by itself after restarts of whatever lies between. The models told have
        no aliases and no latest version: those are told by themselves.

        Args:
            revision: that of the last event seen, whose changes come again; 0: from the beginning.
            prefix: how the names of the models begin; all where empty.

        Raises:
            InvalidInputError: the revision is negative, or no name begins so.
            UnavailableError: nothing answered for as long as the client's timeout.
        """
        place, attempts = Place(revision), Attempts(self._connection.timeout_s)
        while True:
            try:
                async with contextlib.aclosing(self._stream(place, prefix, attempts)) as events:
                    async for event in events:
                        yield event
            except UnavailableError as error:
                await asyncio.sleep(attempts.delay_s(error))

    async def _stream(self, place: Place, prefix: str, attempts: Attempts) -> AsyncGenerator[CatalogueEvent, None]:
        """One stream, until it breaks."""
        place.reopen()
        request = build(pb.WatchRequest, start_revision=place.revision, name_prefix=prefix)
        answers = self._connection.endless(self._connection.registry.Watch, request, attempts)
        async with contextlib.aclosing(answers):
            async for answer in answers:
                for event in place.take(convert.event_from_pb(answer)):
                    self._connection.note_revision(event.revision)
                    yield event
