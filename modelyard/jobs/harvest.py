"""What the tasks of a job gave: the results in order, what is open, what was given up.

A task that was replaced counts through its parts, and they through theirs. Its parts exist only once the queue has its
outcome, and an outcome is final: so each row is in exactly one task that counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelyard.jobs.planning import Plan
from modelyard.jobs.tasks import Outcome, StoredPiece, TaskSpec


@dataclass(frozen=True)
class Harvest:
    """The tasks that count, each once, in the order of the plan.

    Attributes:
        done: those that have results, with their outcomes.
        open: those that have not ended. Some may not even be queued: queue them.
        dead: those that were given up.
    """

    done: tuple[tuple[TaskSpec, Outcome], ...]
    open: tuple[TaskSpec, ...]
    dead: tuple[TaskSpec, ...]

    @property
    def rows(self) -> int:
        """How many have results."""
        return sum(task.rows for task, _ in self.done)

    @property
    def dead_rows(self) -> int:
        """How many were given up."""
        return sum(task.rows for task in self.dead)

    def pieces(self, output: str = "") -> list[StoredPiece]:
        """The pieces of one output in order; empty: of Parquet."""
        return [piece for _, outcome in self.done for piece in outcome.pieces if piece.output == output]

    @property
    def etag(self) -> str:
        """Of files that are made of it: another for other tasks, and for other bytes that they gave."""
        digest = hashlib.blake2b(digest_size=8)
        for task, outcome in self.done:
            digest.update(" ".join([task.id, *(chunk for piece in outcome.pieces for chunk in piece.chunks)]).encode())
            digest.update(b"\n")
        return digest.hexdigest()


def harvest(plan: Plan, outcomes: Mapping[str, Outcome], dead: Collection[str]) -> Harvest:
    """Follow every task of a plan to what counts for it.

    Args:
        plan: with all tasks that there are by it.
        outcomes: of the tasks that are done, by their ids.
        dead: the ids of those that were given up.
    """
    found: list[tuple[TaskSpec, Outcome]] = []
    unended: list[TaskSpec] = []
    given_up: list[TaskSpec] = []
    waiting = list(plan.tasks())[::-1]
    while waiting:
        task = waiting.pop()
        outcome = outcomes.get(task.id)
        if outcome is None:
            (given_up if task.id in dead else unended).append(task)
        elif outcome.parts:
            waiting.extend(reversed(outcome.parts))
        else:
            found.append((task, outcome))
    return Harvest(tuple(found), tuple(unended), tuple(given_up))
