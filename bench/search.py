"""Search over an index of 10,000 models with 3 versions each: time by kind of filter, build time, memory."""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from bench.processes import machine
from modelyard import keys
from modelyard.catalogue import Alias, Lineage, Model, Resources, Signature, TensorSpec, Version
from modelyard_registry.search.families import Record
from modelyard_registry.search.index import Index

TEAMS, TASKS = 50, 20
WORDS = """image text speech tabular classifier detector encoder decoder ranking embedding quantised distilled fast
accurate baseline multilingual street medical retail satellite trained evaluated nightly candidate released
internal""".split()  # noqa: SIM905 - shorter
Make = Callable[[random.Random], str]

FILTERS: dict[str, Make] = {
    "everything": lambda _: "",
    "exact name": lambda r: f"name = {model_name(r.randrange(10_000))}",
    "name prefix, 10 models": lambda r: f"name = model-{r.randrange(1000):03}*",
    "name prefix, 1000 models": lambda r: f"name = model-{r.randrange(10)}*",
    "label": lambda r: f"labels.team = team-{r.randrange(TEAMS)}",
    "label and format": lambda r: f"labels.task = task-{r.randrange(TASKS)} AND format = safetensors",
    "format": lambda _: "format = torch_export",
    "state": lambda _: "state = DELETED",
    "alias": lambda _: "alias = prod",
    "takes and returns": lambda r: f'takes("FP32[-1,3,{r.randrange(16, 400)},224]") returns("FP32[-1,1000]")',
    "takes, nothing found": lambda r: f'takes("FP64[-1,{r.randrange(1, 9999)}]")',
    "fits": lambda r: f"fits(cpu=4, memory={r.randrange(1, 64)}GiB, gpu=0)",
    "fits, nothing found": lambda r: f"fits(memory={r.randrange(1, 99)})",
    "one word": lambda r: r.choice(WORDS),
    "two words and a third not": lambda r: "{} {} -{}".format(*r.sample(WORDS, 3)),
    "words, nothing found": lambda r: f'"nothing {r.random()}"',
    "part of the description, nothing found": lambda r: f'description:"{r.random()}"',
    "metric": lambda r: f"metrics.accuracy > {r.uniform(0.5, 1)}",
    "metric, nothing found": lambda r: f"metrics.accuracy > {1 + r.random()}",
    "size and age": lambda r: f"size_bytes < {r.randrange(1, 900)}MiB create_time > 2026-0{r.randrange(1, 7)}-01",
    "either of three labels": lambda r: " OR ".join(f"labels.team = team-{r.randrange(TEAMS)}" for _ in range(3)),
    "all combined": lambda r: (
        f'name = model-{r.randrange(10)}* labels.stage = prod format = onnx takes("FP32[*,3,224,224]") '
        f"fits(cpu=4, memory=16GiB) {r.choice(WORDS)}"
    ),
}
ORDERS = ("", "size_bytes desc", "metrics.accuracy desc, name", "labels.team, create_time desc")


def model_name(number: int) -> str:
    """The name of a model."""
    return f"model-{number:04}"


def signature(rng: random.Random) -> Signature:
    """One of about 2000 signatures."""
    inputs = TensorSpec("x", "FP32", (rng.choice((-1, -1, 1, 8)), 3, rng.randrange(16, 400), 224))
    outputs = TensorSpec("y", "FP32", (-1, rng.choice((10, 1000))))
    return Signature((inputs,), (outputs,))


def labels(rng: random.Random) -> dict[str, str]:
    """Four labels, one of which nearly nothing else has."""
    return {
        "team": f"team-{rng.randrange(TEAMS)}",
        "task": f"task-{rng.randrange(TASKS)}",
        "stage": rng.choice(("dev", "test", "prod")),
        "commit": f"{rng.getrandbits(64):x}",
    }


def sentence(rng: random.Random) -> str:
    """About 120 characters."""
    return " ".join(rng.choices(WORDS, k=14))


def version(model: str, number: int, rng: random.Random) -> Version:
    """One version."""
    return Version(
        model=model,
        version=str(number),
        format=rng.choice(("onnx", "torch_export", "safetensors")),
        signature=signature(rng),
        resources=Resources(rng.choice((1, 2, 4, 8)), rng.randrange(1, 64) << 30, rng.choice((0, 0, 1))),
        manifest_digest=f"{rng.getrandbits(256):064x}",
        size_bytes=rng.randrange(1 << 30),
        labels=labels(rng),
        description=sentence(rng),
        create_time_s=1.767e9 + rng.random() * 2e7,
        lineage=Lineage(str(number - 1), f"job-{rng.randrange(1000)}", "digits"),
        metrics={"accuracy": rng.random(), "loss": rng.random() * 3, "latency_ms": rng.random() * 100},
    )


def catalogue(models: int, versions: int, rng: random.Random) -> Iterator[tuple[str, Record]]:
    """Every key of a catalogue with its value."""
    for number in range(models):
        name = model_name(number)
        yield keys.model(name), Model(name, sentence(rng), {"owner": f"owner-{number % 100}"}, "Apache-2.0")
        for count in range(1, versions + 1):
            yield keys.version(name, str(count)), version(name, count, rng)
        if number % 2:
            yield keys.alias(name, "prod"), Alias("prod", str(versions))


def build(index: Index, records: Iterable[tuple[str, Record]]) -> None:
    """Fill an index."""
    for key, value in records:
        index.apply(key, value)


@dataclass(frozen=True)
class Taken:
    """How long a call took: by the clock, and of the processor's time, which other programs do not add to."""

    wall_ms: float
    cpu_ms: float


def timed(action: Callable[..., Any], *arguments: Any) -> Taken:
    """Call and measure."""
    start, start_cpu = time.perf_counter(), time.thread_time()
    action(*arguments)
    return Taken((time.perf_counter() - start) * 1e3, (time.thread_time() - start_cpu) * 1e3)


def p99(times_ms: list[float]) -> float:
    """The 99th percentile."""
    return round(statistics.quantiles(times_ms, n=100)[98], 3)


def row(kind: str, order_by: str, taken: list[Taken]) -> dict[str, Any]:
    """The summary of one kind of search."""
    return {
        "filter": kind,
        "order_by": order_by,
        "p50_ms": round(statistics.median(t.wall_ms for t in taken), 3),
        "p99_ms": p99([t.wall_ms for t in taken]),
        "p99_cpu_ms": p99([t.cpu_ms for t in taken]),
    }


def by_kind(index: Index, options: argparse.Namespace, rng: random.Random) -> list[dict[str, Any]]:
    """Search with every kind of filter in every order; the first of each, which may make a column, stands apart."""
    rows = []
    for order_by in ORDERS:
        for kind, make in FILTERS.items():
            texts = [make(rng) for _ in range(options.searches + 1)]
            first, *others = [timed(index.search, text, order_by, options.page_size, "") for text in texts]
            rows.append(row(kind, order_by, others) | {"first_cpu_ms": round(first.cpu_ms, 3)})
    return rows


def paging(index: Index, options: argparse.Namespace) -> dict[str, Any]:
    """Walk through everything, page by page."""
    taken: list[Taken] = []
    token = ""
    while token or not taken:
        taken.append(timed(index.search, "", ORDERS[1], options.page_size, token))
        token = index.search("", ORDERS[1], options.page_size, token).next_page_token
    return row("every page of everything", ORDERS[1], taken)


def changing(index: Index, records: list[tuple[str, Record]], rng: random.Random) -> dict[str, Any]:
    """Take in changes while the orders and columns that were searched in are kept."""
    versions = [(key, value) for key, value in records if isinstance(value, Version)]
    some = [(key, version(value.model, int(value.version), rng)) for key, value in rng.sample(versions, 1000)]
    return row("(one change taken in)", "", [timed(index.apply, key, value) for key, value in some])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=3)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--page-size", type=int, default=100)
    options = parser.parse_args()
    rng = random.Random(2)
    records = list(catalogue(options.models, options.versions, rng))
    gc.collect()
    before_bytes = psutil.Process().memory_info().rss
    index = Index()
    built = timed(build, index, records)
    orders = {order_by: timed(index.search, "", order_by, 1, "") for order_by in ORDERS}
    rows = by_kind(index, options, rng)
    rows += [paging(index, options), changing(index, records, rng)]
    report = {
        "machine": machine(),
        "models": options.models,
        "versions": options.models * options.versions,
        "page_size": options.page_size,
        "build_s": round(built.wall_ms / 1e3, 2),
        "build_cpu_s": round(built.cpu_ms / 1e3, 2),
        "first_in_order_cpu_ms": {order_by: round(taken.cpu_ms, 1) for order_by, taken in orders.items()},
        "index_mib": round((psutil.Process().memory_info().rss - before_bytes) / (1 << 20), 1),
        "worst_p99_ms": max(r["p99_ms"] for r in rows),
        "worst_p99_cpu_ms": max(r["p99_cpu_ms"] for r in rows),
        "rows": rows,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
