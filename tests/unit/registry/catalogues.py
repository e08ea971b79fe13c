"""Made-up catalogues, and what a search in them must find, said in the plainest way."""

from __future__ import annotations

import functools
import math
import random
from typing import Any

from modelyard import keys
from modelyard.catalogue import Alias, Lifecycle, Lineage, Model, Resources, Signature, TensorSpec, Version
from modelyard_registry.search.entry import Entry
from modelyard_registry.search.families import Record
from modelyard_registry.search.fields import find_field
from modelyard_registry.search.filters import compile_filter

Records = dict[str, Record]
NAMES = ("a", "ab", "abc", "b", "resnet-50", "ResNet", "z.9", "z.10")
VERSIONS = ("1", "2", "9", "10", "v1.9", "v1.10")
ALIASES = ("prod", "dev", "latest")
TEXTS = ("", "fast", "Fast and small", "street signs", "a * b", "été")
VALUES = ("", "vision", "speech", "9", "10")
TENSORS = (
    TensorSpec("x", "FP32", (-1, 64)),
    TensorSpec("x", "FP32", (32, 64)),
    TensorSpec("y", "INT64", (-1,)),
    TensorSpec("z", "FP32", ()),
)

FILTERS = (
    "",
    "fast",
    "-fast",
    '"street signs" OR été',
    "name = a*",
    "name = a",
    "name != a*",
    "name = *net*",
    "name = abc labels.team = vision",
    "name > ab",
    "version >= 9",
    "version = v*",
    "version = *1*",
    "description:FAST",
    'description:"" -fast',
    "description = fast",
    "description:*",
    "licence = MIT OR licence:gpl",
    "tenant != default",
    "format = onnx",
    "format = onnx AND format = torch_export",
    "format = on* -labels.team:*",
    "state = DELETED",
    "state:* fast",
    "NOT state = deleted format = onnx",
    "size_bytes > 1KiB",
    "size_bytes = 1024",
    "size_bytes:*",
    "create_time >= 1970-01-01T00:00:05Z",
    "update_time < 1970-01-01T00:00:08+00:00",
    "alias = prod",
    "alias != prod",
    "alias:* -alias:dev",
    "alias = *e*",
    "labels:team",
    "-labels:team",
    "labels.team = vision",
    "labels.team = vision labels.tier = 9",
    "labels.team != vision",
    'labels.team = ""',
    "labels.tier > 9",
    "labels.tier:*",
    "metrics:accuracy",
    "metrics.accuracy > 0.5",
    "metrics.accuracy != 0",
    "metrics.accuracy:*",
    "metrics.accuracy <= 0 OR labels.tier < 10 OR fast",
    "resources.cpu:* resources.gpu = 0",
    "resources.memory_bytes <= 1GiB",
    "lineage.job:train lineage.parent_version < 10",
    'takes("FP32[-1,64]")',
    'takes("FP32[32,64]") OR returns("INT64[5]")',
    'takes("FP32[*,64]", "INT64")',
    '-returns("FP32")',
    "fits(cpu=2, memory=1GiB, gpu=0)",
    "fits(gpu=1) alias = prod -(fast OR labels.team = speech)",
)
ORDERS = (
    "",
    "name desc",
    "version",
    "size_bytes desc, name",
    "create_time",
    "update_time desc",
    "metrics.accuracy desc",
    "metrics.accuracy, labels.team desc",
    "labels.tier desc",
    "state, format desc, version desc",
    "resources.gpu,resources.cpu desc,resources.memory_bytes",
    "lineage.parent_version",
)


def some_labels(rng: random.Random) -> dict[str, str]:
    return {key: rng.choice(VALUES) for key in ("team", "tier") if rng.random() < 0.6}


def some_model(name: str, rng: random.Random) -> Model:
    licence = rng.choice(("", "MIT", "GPL-3.0"))
    state = rng.choice((*[Lifecycle.ACTIVE] * 5, Lifecycle.DELETED))
    return Model(name, rng.choice(TEXTS), some_labels(rng), licence, state=state)


def some_version(model: str, name: str, rng: random.Random) -> Version:
    return Version(
        model=model,
        version=name,
        format=rng.choice(("onnx", "torch_export")),
        signature=Signature(
            tuple(rng.choices(TENSORS, k=rng.randrange(3))), tuple(rng.choices(TENSORS, k=rng.randrange(3)))
        ),
        resources=Resources(rng.choice((0, 0.5, 4)), rng.choice((0, 1 << 30, 1 << 34)), rng.randrange(3)),
        manifest_digest="",
        size_bytes=rng.choice((0, 1024, 1 << 40)),
        labels=some_labels(rng),
        description=rng.choice(TEXTS),
        tenant=rng.choice(("default", "acme")),
        create_time_s=float(rng.randrange(10)),
        state=rng.choice((Lifecycle.ACTIVE, Lifecycle.ACTIVE, Lifecycle.DELETED)),
        lineage=Lineage(rng.choice(("", *VERSIONS)), rng.choice(("", "train-1"))),
        metrics={"accuracy": rng.choice((-1.0, 0.0, 0.5, 0.75, math.nan, math.inf))} if rng.random() < 0.7 else {},
        update_time_s=rng.choice((0.0, float(rng.randrange(10)))),
    )


def some_change(rng: random.Random) -> tuple[str, Record | None]:
    """Return a key and what it holds from now on."""
    model, draw = rng.choice(NAMES), rng.random()
    if draw < 0.2:
        return keys.model(model), some_model(model, rng) if rng.random() < 0.8 else None
    if draw < 0.75:
        version = rng.choice(VERSIONS)
        return keys.version(model, version), some_version(model, version, rng) if rng.random() < 0.8 else None
    alias = rng.choice(ALIASES)
    return keys.alias(model, alias), Alias(alias, rng.choice(VERSIONS)) if rng.random() < 0.8 else None


def change(records: Records, key: str, value: Record | None) -> None:
    """Do to the records what the change says."""
    records.pop(key, None)
    if value is not None:
        records[key] = value


def entries(records: Records) -> list[Entry]:
    """Join all versions that have a model."""
    joined = []
    for version in records.values():
        model = records.get(keys.model(version.model)) if isinstance(version, Version) else None
        if isinstance(version, Version) and isinstance(model, Model):
            prefix = keys.aliases(model.name)
            mine = [v for k, v in records.items() if k.startswith(prefix) and isinstance(v, Alias)]
            names = sorted(alias.name for alias in mine if alias.version == version.version)
            joined.append(Entry.join(model, version, tuple(names)))
    return joined


def naturally(text: str) -> list[tuple[int, int, str]]:
    """The key of an order in which the numbers in a text count as numbers."""
    parts: list[tuple[int, int, str]] = []
    for character in text:
        if character.isdigit() and parts and not parts[-1][0]:
            parts[-1] = (0, parts[-1][1] * 10 + int(character), "")
        else:
            parts.append((0, int(character), "") if character.isdigit() else (ord(character), 0, character))
    return parts


def compared(order_by: str, one: Entry, other: Entry) -> int:
    """Say which of two comes first."""
    for term in filter(None, order_by.split(",")):
        name, *descending = term.split()
        field = find_field(name)
        assert field is not None
        first, second = field.read(one), field.read(other)
        if first is None or second is None:
            if first is not second:
                return 1 if first is None else -1
        elif in_order(name, first) != in_order(name, second):
            less = in_order(name, first) < in_order(name, second)
            return -1 if less != bool(descending) else 1
    if one.version.model != other.version.model:
        return -1 if one.version.model < other.version.model else 1
    if one.version.create_time_s != other.version.create_time_s:
        return -1 if one.version.create_time_s > other.version.create_time_s else 1
    return -1 if naturally(one.version.version) > naturally(other.version.version) else 1


def in_order(name: str, value: Any) -> Any:
    return naturally(value) if name in ("version", "lineage.parent_version") or name.startswith("labels.") else value


def search(records: Records, filter_text: str, order_by: str) -> list[tuple[str, str]]:
    """Find the names of models and versions by looking at every one."""
    matches = compile_filter(filter_text).matches
    found = [entry for entry in entries(records) if matches(entry)]
    found.sort(key=functools.cmp_to_key(lambda one, other: compared(order_by, one, other)))
    return [(entry.version.model, entry.version.version) for entry in found]
