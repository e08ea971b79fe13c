"""Listings that come page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from modelyard.sdk.connection import Connection

PAGE_SIZE = 500


async def pages(
    connection: Connection, method: Any, request: Any, at_least: int = 0, limit: int = 0
) -> AsyncGenerator[Any, None]:
    """Yield every page of a listing, each at a revision or later; the request's page size and token are filled in.

    `limit`: how many of all are wanted, so that no page has more; 0: all of them.
    """
    request.page_size = min(limit or PAGE_SIZE, PAGE_SIZE)
    while True:
        page = await connection.call(method, request, at_least=at_least)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
