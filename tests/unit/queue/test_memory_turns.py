from __future__ import annotations

from modelyard.queue.memory_turns import Entry, Lane, Turns


def with_entries(weights: dict[str, float], **numbers: int) -> Turns:
    """Turns of tenants with so many entries."""
    turns = Turns(weights)
    for tenant, number in numbers.items():
        lane = turns.lanes[tenant, 5]
        lane.entries |= {at: Entry(at, "j", str(at), 0.0) for at in range(number)}
        turns.update(tenant)
    return turns


def serve(turns: Turns) -> str:
    """Serve who comes next."""
    tenant = turns.next(())
    assert tenant
    turns.charge(tenant, 1.0)
    turns.ready(tenant)[0].ready()[0].token = "w/1"
    turns.update(tenant)
    return tenant


def test_turns_are_divided_by_weight() -> None:
    turns = with_entries({"a": 2.0}, a=20, b=20)
    assert "".join(serve(turns) for _ in range(9)) == "abaabaaba"


def test_when_nothing_is_left_nothing_is_remembered() -> None:
    turns = with_entries({}, a=3)
    for _ in range(3):
        serve(turns)
    assert not turns
    turns.lanes["a", 5].entries[9] = Entry(9, "j", "9", 0.0)
    turns.update("a")
    turns.lanes["b", 5].entries[10] = Entry(10, "j", "10", 0.0)
    turns.update("b")
    assert [serve(turns), serve(turns)] == ["a", "b"]


def test_what_was_given_back_comes_first_and_what_is_claimed_not_at_all() -> None:
    lane = Lane({at: Entry(at, "j", str(at), 0.0, token="w" * (at == 0), returned=at == 3) for at in range(4)})
    assert [entry.number for entry in lane.ready()] == [3, 1, 2]


def test_a_tenant_that_is_passed_or_has_left_is_not_next_and_keeps_what_it_was_served() -> None:
    turns = with_entries({}, a=5, b=5)
    assert [serve(turns) for _ in range(3)] == ["a", "b", "a"]
    assert (turns.next(()), turns.next({"b"}), turns.next({"a", "b"})) == ("b", "a", None)
    turns.leave("a")
    assert [turns.next(()), turns.next({"b"})] == ["b", None]
    turns.update("a")
    assert [serve(turns), serve(turns)] == ["b", "a"]
