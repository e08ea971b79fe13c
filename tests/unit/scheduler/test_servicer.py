"""The Open Inference Protocol at a front door: what it says of itself."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from modelyard.etcd import Etcd
from modelyard.oip import messages
from modelyard_scheduler.frontdoor.servicer import Extensions, InferenceServicer
from modelyard_scheduler.frontdoor.table import RoutingTable


async def test_it_is_ready_when_the_table_is_filled_and_until_it_stops() -> None:
    etcd, stopping = Etcd("127.0.0.1:1"), asyncio.Event()
    table, none = RoutingTable(etcd), cast(Any, None)
    servicer = InferenceServicer(none, table, Extensions(none, none, none, none), stopping)

    async def is_ready() -> bool:
        return (await servicer.ServerReady(messages.ServerReadyRequest(), none)).ready

    assert not await is_ready()
    table.built.set()
    assert await is_ready()
    stopping.set()
    assert not await is_ready()
    await etcd.close()
