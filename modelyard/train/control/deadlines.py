"""When a formation is to be followed by another one, and who of it has been silent for too long."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelyard.train.control.group import Group, Stage
from modelyard.train.control.limits import Limits


def due_s(group: Group, limits: Limits, settled_s: float, now_s: float) -> float:
    """From when on a new formation is wanted; infinite: this one goes on, or takes shape.

    Args:
        group: the formation.
        limits: times.
        settled_s: when those that are there have waited long enough for others.
        now_s: the time.
    """
    if group.found or not group.stages:
        return _found_due_s(group, limits, settled_s)
    if group.those(Stage.ABSENT):
        return settled_s if group.all_in(Stage.ABSENT) else now_s
    if group.given_up or group.all_in(Stage.LEFT, Stage.GONE):
        return now_s
    if group.those(Stage.GONE) and group.ending_s is not None:
        return group.ending_s + limits.blame_s
    return math.inf


def _found_due_s(group: Group, limits: Limits, settled_s: float) -> float:
    """As `due_s`, of what another control process has formed, or if there was nothing."""
    if not group.stages or group.replaced or group.those(Stage.GONE, Stage.LEFT):
        return settled_s
    return max(settled_s, group.since_s + limits.adopt_s)


def silent(group: Group, limits: Limits, now_s: float) -> list[str]:
    """Members that have not answered for too long, while nothing else is wrong with the formation."""
    if group.those(Stage.ABSENT, Stage.GONE):
        return []
    if now_s >= group.since_s + limits.form_s and (forming := group.those(Stage.FORMING)):
        return forming
    if group.ending_s is not None and now_s >= group.ending_s + limits.form_s:
        return group.those(Stage.WHOLE)
    return []


def steady(group: Group, limits: Limits, now_s: float) -> bool:
    """Whether it has trained for so long that its end says nothing against its members."""
    return group.whole_s is not None and now_s >= group.whole_s + limits.steady_s


def failed(group: Group, limits: Limits, now_s: float) -> bool:
    """Whether it ends, for no reason that is known, before it has trained for a while."""
    explained = group.excused or group.found or group.those(Stage.ABSENT) or group.all_in(Stage.LEFT)
    return bool(group.stages) and not explained and not steady(group, limits, now_s)


def dates(group: Group, limits: Limits) -> Iterator[float]:
    """The times at which one of these may change."""
    if group.those(Stage.FORMING):
        yield group.since_s + limits.form_s
    if group.found:
        yield group.since_s + limits.alone_s
    if group.ending_s is not None:
        yield group.ending_s + limits.form_s
    if group.whole_s is not None:
        yield group.whole_s + limits.steady_s
