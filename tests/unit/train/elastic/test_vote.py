from __future__ import annotations

import pytest

from modelyard.train.elastic.vote import Result, Standing, count, vote
from tests.unit.train.elastic.groups import Ranks

NONE = Standing()


@pytest.mark.parametrize(
    ("standings", "source", "behind"),
    [
        ([Standing(4, 0, 1), Standing(5, 0, 1), Standing(5, 0, 1)], 1, (0,)),
        ([Standing(5, 0, 1), NONE], 0, (1,)),
        ([Standing(5, 0, 1), Standing(5, 5, 1)], 1, (0,)),
        ([Standing(5, 0, 1), Standing(5, 0, 2)], 1, (0,)),
        ([Standing(6, 0, 1), Standing(5, 0, 2)], 0, (1,)),
        ([Standing(0, 0, 1), Standing(0, 0, 1)], 0, ()),
        ([NONE, NONE], 0, (0, 1)),
    ],
    ids=["later", "newcomer", "evaluated", "done again", "later though older", "equal", "nobody"],
)
def test_the_latest_state_counts(standings: list[Standing], source: int, behind: tuple[int, ...]) -> None:
    assert count(standings) == Result(max(standings), source, behind)


def test_all_ranks_come_to_the_same_result(ranks: Ranks) -> None:
    groups = ranks.groups(2)
    standings = [Standing(3, 0, 7), Standing(4, 2, 7)]
    results = ranks.all(groups, lambda group: vote(group, standings[group.rank]))
    assert results == [Result(standings[1], 1, (0,))] * 2
    for group in groups:
        group.drop()
