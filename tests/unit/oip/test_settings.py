from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from modelyard import log
from modelyard.errors import InvalidInputError, UnimplementedError
from modelyard.oip import messages
from modelyard.oip.settings import LocalSettings, apply_log, change_log, change_trace


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The log of this process, as a service's is set up; afterwards as it was."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    stream = io.StringIO()
    root.handlers[:] = []
    log.configure("test", "INFO", stream)
    yield stream
    root.handlers[:] = before[1]
    root.setLevel(before[0])


def levels(stream: io.StringIO) -> list[str]:
    """Log at every level; return those that came through."""
    stream.truncate(0)
    stream.seek(0)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("modelyard.test").log(level, "event")
    return [json.loads(line)["level"] for line in stream.getvalue().splitlines()]


async def test_several_handlers_have_one_level(logged: io.StringIO) -> None:
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())
    settings = LocalSettings()
    for _ in range(2):
        await change_log(settings, log_request(log_verbose_level=1))
        assert root.level == logging.DEBUG
    apply_log({})
    assert root.level == logging.INFO
    assert [f for handler in root.handlers for f in handler.filters] == []


def log_request(**values: Any) -> messages.LogSettingsRequest:
    kinds = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    request = messages.LogSettingsRequest()
    for name, value in values.items():
        setattr(request.settings[name], kinds[type(value)], value)
    return request


def values(response: messages.LogSettingsResponse) -> dict[str, Any]:
    return {k: getattr(v, str(v.WhichOneof("parameter_choice"))) for k, v in response.settings.items()}


async def test_log_settings_as_at_first(logged: io.StringIO) -> None:
    assert values(await change_log(LocalSettings(), log_request())) == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
    assert levels(logged) == ["INFO", "WARNING", "ERROR"]


async def test_levels_are_switched_one_by_one_and_back(logged: io.StringIO) -> None:
    settings = LocalSettings()
    changed = await change_log(settings, log_request(log_verbose_level=1, log_warning=False))
    assert values(changed) | {"log_verbose_level": 1, "log_warning": False} == values(changed)
    assert levels(logged) == ["DEBUG", "INFO", "ERROR"]
    await change_log(settings, log_request(log_verbose_level=0, log_info=False, log_warning=True))
    assert levels(logged) == ["WARNING", "ERROR"]
    await change_log(settings, log_request(log_error=False, log_warning=False))
    assert levels(logged) == []
    await change_log(settings, log_request(log_info=True, log_error=True, log_warning=True))
    assert levels(logged) == ["INFO", "WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": "red"}, "log setting 'colour': expected one of log_file, log_info"),
        ({"log_info": 1}, "log setting 'log_info': expected a bool, got uint32_param"),
        ({"log_verbose_level": True}, "log setting 'log_verbose_level': expected a number"),
        ({"log_file": "/tmp/log"}, "log setting 'log_file': expected an empty text"),
        ({"log_format": "xml"}, "log setting 'log_format': expected default or ISO8601, got 'xml'"),
    ],
)
async def test_refused_log_settings_change_nothing(logged: io.StringIO, given: dict[str, Any], said: str) -> None:
    settings = LocalSettings()
    with pytest.raises(InvalidInputError) as refused:
        await change_log(settings, log_request(log_warning=False, **given))
    assert refused.value.message.startswith(said)
    assert await settings.read("log") == {}


def trace_request(model: str = "", **settings: list[str]) -> messages.TraceSettingRequest:
    request = messages.TraceSettingRequest(model_name=model)
    for name, given in settings.items():
        request.settings[name].value.extend(given)
    return request


async def traces(settings: LocalSettings, model: str = "", **given: list[str]) -> dict[str, list[str]]:
    response = await change_trace(settings, trace_request(model, **given))
    return {k: list(v.value) for k, v in response.settings.items()}


async def test_trace_settings_as_at_first() -> None:
    assert await traces(LocalSettings()) == {
        "trace_file": [""],
        "trace_level": ["OFF"],
        "trace_rate": ["1000"],
        "trace_count": ["-1"],
        "log_frequency": ["0"],
        "trace_mode": ["triton"],
    }


async def test_a_models_trace_settings_go_before_those_of_all() -> None:
    settings = LocalSettings()
    await traces(settings, trace_rate=["5"], trace_count=["9"])
    assert (await traces(settings, "m", trace_rate=["7"]))["trace_rate"] == ["7"]
    assert (await traces(settings, "other"))["trace_rate"] == ["5"]
    assert (await traces(settings, "m"))["trace_count"] == ["9"]


@pytest.mark.parametrize("levels", [["TIMESTAMPS"], ["TENSORS"], ["OFF", "TIMESTAMPS"]])
@pytest.mark.parametrize("model", ["", "m"])
async def test_a_level_that_would_turn_traces_on_is_refused(model: str, levels: list[str]) -> None:
    settings = LocalSettings()
    with pytest.raises(UnimplementedError, match="trace setting 'trace_level': expected OFF, this server writes no"):
        await change_trace(settings, trace_request(model, trace_rate=["5"], trace_level=levels))
    assert await settings.read("trace") == {}
    assert (await traces(settings, model, trace_level=["OFF"]))["trace_level"] == ["OFF"]


async def test_a_trace_setting_without_a_value_is_as_for_all_again() -> None:
    settings = LocalSettings()
    await traces(settings, trace_rate=["5"])
    await traces(settings, "m", trace_rate=["7"])
    assert (await traces(settings, "m", trace_rate=[]))["trace_rate"] == ["5"]
    assert (await traces(settings, trace_rate=[]))["trace_rate"] == ["1000"]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("colour", ["red"], "trace setting 'colour': expected one of trace_file, trace_level"),
        ("trace_level", ["LOUD"], "trace setting 'trace_level': expected OFF or TIMESTAMPS or TENSORS, got 'LOUD'"),
        ("trace_mode", ["x"], "trace setting 'trace_mode': expected triton or opentelemetry, got 'x'"),
        ("trace_rate", ["0"], "trace setting 'trace_rate': expected a number from 1, got '0'"),
        ("trace_rate", ["1", "2"], "trace setting 'trace_rate': expected one value, got 2"),
        ("trace_count", ["-2"], "trace setting 'trace_count': expected a number from -1, got '-2'"),
        ("log_frequency", ["often"], "trace setting 'log_frequency': expected a number from 0, got 'often'"),
    ],
)
async def test_refused_trace_settings_change_nothing(name: str, given: list[str], said: str) -> None:
    settings = LocalSettings()
    with pytest.raises(InvalidInputError) as refused:
        await change_trace(settings, trace_request("", **{name: given}))
    assert refused.value.message.startswith(said)
    assert await settings.read("trace") == {}
