"""Whether etcd is as new as a request wants its answer."""

from __future__ import annotations

from modelyard import revisions
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd


async def check_reached(etcd: Etcd, revision: int) -> None:
    """Return if etcd has come as far as a revision; what is read from it after that has come as far too.

    How far etcd is is no part of the answer, and is noted only where that is all the answer there is.

    Raises:
        PreconditionError: it has not.
        UnavailableError: it does not answer.
    """
    with revisions.apart():
        newest = await etcd.revision()
    if newest < revision:
        revisions.note(newest)
        raise PreconditionError(
            f"etcd is at revision {newest}, and {revision} was asked for: it was restored from a backup since that "
            "was seen, or it is another etcd"
        )
