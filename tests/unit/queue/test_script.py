from __future__ import annotations

import re
from importlib import resources

import pytest

from modelyard.queue import script
from modelyard.queue.connection import NAMES
from modelyard.queue.script import source_of

SCRIPTS = [
    file for file in resources.files("modelyard.queue").joinpath("scripts").iterdir() if file.name[-4:] == ".lua"
]
PARTS = {"keys", "turns", "entries", "counts", "events", "jobs", "statuses"} | {
    "endings",
    "losses",
    "parking",
    "cancelling",
    "leftovers",
    "replies",
}


def test_every_file_is_a_script_that_is_run_or_a_part_of_one() -> None:
    assert {file.name.removesuffix(".lua") for file in SCRIPTS} == {*NAMES, *PARTS}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_opens_with_what_it_does_its_keys_and_its_answer(name: str) -> None:
    text = script._read(name)
    header = text[: text.index("-- needs: ")]
    assert all(line.startswith("-- ") for line in header.splitlines())
    assert "-- ARGV: " in header or name == "depths"
    assert "-- Returns " in header


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_that_a_script_needs_come_before_it_and_keys_first(name: str) -> None:
    source = source_of(name)
    assert source.startswith(script._read("keys"))
    assert source.endswith(script._read(name))


def test_every_kind_of_key_is_in_the_map() -> None:
    assert script.__doc__ is not None
    rows = script.__doc__.partition("content\n")[2].partition("\n\n")[0].splitlines()
    kinds = {word.strip(",").partition(":")[0] for row in rows for word in row[:36].split()}
    used = {"job", "task", "tasks", "delayed", "ready", "turns", "bell", "load", "dedupe", "reply", "fetched", "sweep"}
    assert used | {"jobs", "active", "expiring", "rota", "held", "lanes", "served", "weights", "tenants"} == kinds


def test_every_key_that_a_script_makes_is_of_a_kind_in_the_map() -> None:
    kinds = {kind for file in SCRIPTS for kind in re.findall(r"P \.\. '([a-z]+)", file.read_text())} - {"nothing"}
    assert kinds
    assert [
        kind for kind in kinds if f"\n{kind}" not in f"{script.__doc__}" and f", {kind}:" not in f"{script.__doc__}"
    ] == []


def test_an_unknown_script_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        source_of("nothing")
