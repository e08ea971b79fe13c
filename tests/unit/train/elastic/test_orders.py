"""What the control process says, in whatever order and at whatever moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import PreconditionError
from modelyard.train.control.messages import Envelope, Formation, Leave, Refused, Stop
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.orders import Orders, StoppedError


def formation(number: int) -> Formation:
    return Formation(number, ("m0",), ("127.0.0.1",), "127.0.0.1:1")


def attended(orders: Orders, number: int = 1) -> Group:
    orders.take(Envelope(formation=formation(number)))
    group = Group(Seat.of(orders.next_formation(), "m0"))
    orders.attend(group)
    return group


def test_a_formation_is_waited_for() -> None:
    orders = Orders()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(orders.next_formation)
        orders.take(Envelope(formation=formation(4)))
        assert waiting.result(30).number == 4


def test_a_later_formation_ends_the_group() -> None:
    orders = Orders()
    group = attended(orders)
    assert not group.lost
    orders.take(Envelope(formation=formation(2)))
    assert group.lost
    assert orders.next_formation().number == 2


def test_an_older_formation_is_passed_over() -> None:
    orders = Orders()
    group = attended(orders, 3)
    orders.take(Envelope(formation=formation(2)))
    assert not group.lost


@pytest.mark.parametrize(
    "message",
    [
        Envelope(leave=Leave(1, at_boundary=False)),
        Envelope(stop=Stop("enough", save=False)),
        Envelope(refused=Refused("no")),
        Envelope(formation=formation(2)),
    ],
    ids=["leave", "stop", "refused", "formation"],
)
def test_a_group_is_lost_though_it_was_not_attended_to_yet(message: Envelope) -> None:
    orders = Orders()
    orders.take(Envelope(formation=formation(1)))
    taken = orders.next_formation()
    orders.take(message)
    group = Group(Seat.of(taken, "m0"))
    orders.attend(group)
    assert group.lost


def test_a_formation_that_was_told_to_leave_is_not_entered() -> None:
    orders = Orders()
    for number in (1, 2):
        orders.take(Envelope(formation=formation(number)))
        if number == 1:
            orders.take(Envelope(leave=Leave(1, at_boundary=False)))
    assert orders.next_formation().number == 2


def test_leaving_at_a_boundary_is_a_wish_for_that_group_alone() -> None:
    orders = Orders()
    group = attended(orders)
    orders.take(Envelope(leave=Leave(1, at_boundary=True)))
    assert orders.leaving
    assert not group.lost
    assert not attended(orders, 2).lost
    assert not orders.leaving


@pytest.mark.parametrize("save", [True, False])
def test_a_stop_is_waited_for_by_those_that_train_if_they_are_to_save(save: bool) -> None:
    orders = Orders()
    group = attended(orders)
    orders.take(Envelope(stop=Stop("enough", save=save)))
    assert (orders.leaving, orders.saving, group.lost) == (True, save, not save)
    with pytest.raises(StoppedError, match="the job was stopped: enough"):
        orders.next_formation()


def test_a_refusal_says_why() -> None:
    orders = Orders()
    orders.take(Envelope(refused=Refused("another recipe")))
    with pytest.raises(PreconditionError, match="another recipe"):
        orders.next_formation()
