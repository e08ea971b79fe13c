"""What is in journals, and on pages."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from modelyard.metrics import Family
from modelyard.metrics.journal import is_alive

Values = dict[tuple[str, ...], float]


def values(directory: Path, family: Family) -> Values:
    """The values of a family in all files of a directory, by labels; of a histogram, how many were observed."""
    collector: Any = MultiProcessCollector
    found = {metric.name: metric for metric in collector.merge([str(f) for f in directory.glob("*.db")])}
    return _values(found[family.base].samples, family) if family.base in found else {}


def on_page(page: str, family: Family) -> Values:
    """The values of a family on a page, by labels; of a histogram, how many were observed."""
    found = {metric.name: metric for metric in text_string_to_metric_families(page)}
    return _values(found[family.base].samples, family)


def _values(samples: Any, family: Family) -> Values:
    wanted = f"{family.base}_count" if family.kind == "histogram" else family.name
    return {tuple(s.labels[label] for label in family.labels): s.value for s in samples if s.name == wanted}


async def scrape(address: str) -> str:
    """Fetch the page at host:port."""

    def fetch() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as page:
            return str(page.read().decode())

    return await asyncio.to_thread(fetch)


def owners(directory: Path) -> dict[str, bool]:
    """Whose journals there are, and whether they are alive."""
    return {lock.stem: is_alive(lock) for lock in directory.glob("*.lock")}
