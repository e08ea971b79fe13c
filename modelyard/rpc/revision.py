"""etcd revisions in metadata: what an answer has seen, and how new a request wants it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from modelyard import revisions
from modelyard.errors import InvalidInputError
from modelyard.rpc.interceptor import Context, Surrounding
from modelyard.rpc.status import MIN_REVISION_KEY, REVISION_KEY

MAX_REVISION = (1 << 63) - 1


def min_revision_of(context: Context) -> int:
    """How new the answer must be; 0 where the request does not say.

    Raises:
        InvalidInputError: what it says is no revision.
    """
    for key, value in context.invocation_metadata() or ():
        if key == MIN_REVISION_KEY:
            return _revision(str(value))
    return 0


def _revision(text: str) -> int:
    if text.isdecimal() and len(text) < 20 and int(text) <= MAX_REVISION:
        return int(text)
    raise InvalidInputError(f"{MIN_REVISION_KEY}: expected a number from 0 to {MAX_REVISION}, got {text!r}")


class RevisionInterceptor(Surrounding):
    """Puts the newest revision that a call has seen into its trailing metadata, also where it fails.

    Before a call that asks for a revision is made, `reach` is awaited with the path of its method and that revision.
    """

    def __init__(self, reach: Callable[[str, int], Awaitable[None]]) -> None:
        self._reach = reach

    @contextlib.asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Reach what is asked for, and tell what was seen."""
        seen = revisions.begin()
        try:
            if asked := min_revision_of(context):
                await self._reach(method, asked)
            yield
        finally:
            if seen.newest:
                context.set_trailing_metadata(((REVISION_KEY, str(seen.newest)),))
