import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelyard import log

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _leave_the_root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    log.configure("sample-0", "INFO", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_entry_has_its_event_its_process_and_its_facts(lines: Lines) -> None:
    logging.getLogger("a.b").warning("watch broke", extra={"prefix": "/x", "attempt": 3})
    (entry,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "WARNING", "process": "sample-0", "event": "watch broke", "prefix": "/x", "attempt": 3}


def test_a_fact_that_json_does_not_know_is_written_as_text(lines: Lines) -> None:
    logging.getLogger().error("odd", extra={"error": ValueError("why"), "raw": {1}})
    assert (lines()[0]["error"], lines()[0]["raw"]) == ("why", "{1}")


def test_line_breaks_stay_inside_the_entry(lines: Lines) -> None:
    logging.getLogger().warning("two\nlines", extra={"reason": "a\nb"})
    assert [(e["event"], e["reason"]) for e in lines()] == [("two\nlines", "a\nb")]


def test_a_stack_is_a_field(lines: Lines) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger().exception("unforeseen error")
    assert "KeyError: 'lost'" in lines()[0]["stack"]


def test_the_level_holds(lines: Lines) -> None:
    logging.getLogger().debug("not said")
    logging.getLogger().info("said")
    assert [entry["event"] for entry in lines()] == ["said"]


def test_configuring_again_replaces_what_was(lines: Lines) -> None:
    second = io.StringIO()
    log.configure("sample-1", "ERROR", second)
    logging.getLogger().error("once")
    assert lines() == []
    assert json.loads(second.getvalue())["process"] == "sample-1"


def test_logs_go_to_standard_error_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log.configure("sample-0")
    logging.getLogger().info("there")
    assert json.loads(stderr.getvalue())["event"] == "there"


@pytest.mark.parametrize(("seconds", "written"), [(1.9996, ".999Z"), (5.0, ".000Z"), (0.0049, ".004Z")])
def test_milliseconds_have_three_digits(seconds: float, written: str) -> None:
    record = logging.makeLogRecord({"created": seconds, "msecs": seconds % 1 * 1000, "msg": "m"})
    assert json.loads(log.JsonFormatter("p").format(record))["time"].endswith(written)
