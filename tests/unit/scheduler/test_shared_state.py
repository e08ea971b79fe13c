"""Regions, settings and refusals: what one front door is told, all of them know."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator

import pytest

from modelyard import keys
from modelyard.deployment import Region
from modelyard.errors import ModelExecutionError
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.oip.settings import Kept, LogFilter
from modelyard.tasks import background
from modelyard_scheduler.frontdoor import poison, refusals
from modelyard_scheduler.frontdoor.refusals import SharedRefusals
from modelyard_scheduler.frontdoor.regions import SharedRegions
from modelyard_scheduler.frontdoor.settings import SharedSettings
from tests.runners import request
from tests.waiting import eventually

ONE = ModelVersion("m", "1")
REGION = Region("größe", "/key", 0, 8)


@pytest.fixture
async def regions(etcd: Etcd) -> AsyncIterator[tuple[SharedRegions, SharedRegions]]:
    """Those of two front doors; only the second follows etcd."""
    first, second = SharedRegions(etcd), SharedRegions(etcd)
    async with background(second.run()):
        yield first, second


async def test_a_region_is_known_to_all(regions: tuple[SharedRegions, SharedRegions]) -> None:
    first, second = regions
    assert await second.find(REGION.name) is None
    assert await first.add(REGION) == REGION
    assert await second.find(REGION.name) == REGION
    assert await first.find(REGION.name) == REGION
    assert await second.all() == {REGION.name: REGION}


async def test_a_name_that_is_taken_is_not_given_again(regions: tuple[SharedRegions, SharedRegions]) -> None:
    first, second = regions
    await first.add(REGION)
    assert await second.add(dataclasses.replace(REGION, size_bytes=9)) == REGION
    assert await second.add(REGION) == REGION


async def test_of_many_who_register_at_once_one_wins(regions: tuple[SharedRegions, SharedRegions]) -> None:
    made = [dataclasses.replace(REGION, offset=n) for n in range(8)]
    given = await asyncio.gather(*(regions[n % 2].add(region) for n, region in enumerate(made)))
    assert len(set(given)) == 1


async def test_a_region_that_is_forgotten_is_forgotten_by_all(regions: tuple[SharedRegions, SharedRegions]) -> None:
    first, second = regions
    other = dataclasses.replace(REGION, name="other")
    await first.add(REGION)
    await first.add(other)
    await second.remove(REGION.name)
    await second.remove(REGION.name)
    assert await first.all() == {"other": other}
    await first.remove("")
    assert await second.all() == {}
    await eventually(lambda: not second._mirror.items)
    assert await second.find("other") is None


async def test_settings_that_two_change_at_once_are_both_kept(etcd: Etcd) -> None:
    doors = [SharedSettings(etcd), SharedSettings(etcd)]

    def setting(name: str) -> object:
        def change(kept: Kept) -> Kept:
            return {**kept, name: True}

        return change

    names = [f"s{n}" for n in range(8)]
    await asyncio.gather(*(doors[n % 2].change("trace", setting(name)) for n, name in enumerate(names)))  # type: ignore[arg-type]
    assert await doors[0].read("trace") == dict.fromkeys(names, True)
    assert await doors[0].read("log") == {}


async def test_a_front_door_logs_as_another_was_told(etcd: Etcd) -> None:
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    level = root.level
    try:
        async with background(SharedSettings(etcd).run()):
            await SharedSettings(etcd).change("log", lambda kept: {**kept, "log_verbose_level": 1})
            await eventually(lambda: root.level == logging.DEBUG)
            assert [f.lowest for f in handler.filters if isinstance(f, LogFilter)] == [logging.DEBUG]
            await SharedSettings(etcd).change("log", lambda kept: {})
            await eventually(lambda: not handler.filters)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture
async def doors(etcd: Etcd) -> AsyncIterator[tuple[SharedRefusals, SharedRefusals]]:
    """What two front doors refuse."""
    made = SharedRefusals(etcd), SharedRefusals(etcd)
    async with background(*(door.run() for door in made)):
        yield made
    for door in made:
        await door.close()


Doors = tuple[SharedRefusals, SharedRefusals]


async def test_inputs_that_one_front_door_refuses_are_refused_by_all(doors: Doors) -> None:
    first, second = doors
    first.add(ONE, request(b"a"))
    with pytest.raises(ModelExecutionError):
        first.check(ONE, request(b"a"))
    await eventually(lambda: len(second) == 1)
    with pytest.raises(ModelExecutionError):
        second.check(ONE, request(b"a", priority=3))
    second.check(ONE, request(b"b"))
    second.check(ModelVersion("m", "2"), request(b"a"))


async def test_a_front_door_that_starts_later_knows_them_too(doors: Doors, etcd: Etcd) -> None:
    doors[0].add(ONE, request(b"a"))
    await eventually(lambda: len(doors[1]) == 1)
    late = SharedRefusals(etcd)
    async with background(late.run()):
        await eventually(lambda: len(late) == 1)


async def test_refusals_end_in_all_front_doors_with_their_lease(doors: Doors, etcd: Etcd) -> None:
    doors[0].add(ONE, request(b"a"))
    await eventually(lambda: len(doors[1]) == 1)
    (kept,) = (await etcd.list(keys.REFUSALS)).items.values()
    assert kept.lease_id
    await etcd.revoke(kept.lease_id)
    await eventually(lambda: not any(len(door) for door in doors))


async def test_there_are_not_more_refusals_in_etcd_than_are_kept(
    doors: Doors, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (poison, refusals):
        monkeypatch.setattr(module, "MAX_REFUSALS", 2)
    for count, payload in enumerate((b"a", b"b", b"c"), 1):
        doors[0].add(ONE, request(payload))
        await eventually(lambda n=count: len(doors[1]) == min(n, 2))  # type: ignore[misc]
    with pytest.raises(ModelExecutionError):
        doors[0].check(ONE, request(b"c"))
    assert not doors[0]._writes
    assert len((await etcd.list(keys.REFUSALS)).items) == 2


async def test_with_etcd_away_a_front_door_has_its_own() -> None:
    nobody = Etcd("127.0.0.1:1")
    away = SharedRefusals(nobody)
    away.add(ONE, request(b"a"))
    with pytest.raises(ModelExecutionError):
        away.check(ONE, request(b"a"))
    await eventually(lambda: not away._writes)
    assert len(away) == 1
    await nobody.close()
