"""Triton's settings of logs and traces: what there are, and which values they take.

They are kept as JSON objects: of logs the values by name, of traces lists of text by name, by model ("" is all models).
The extensions are described in Triton's docs/protocol/extension_logging.md and extension_trace.md. No traces are
written: their settings can be read and changed, but not so that there would be any.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from modelyard.errors import InvalidInputError, UnimplementedError
from modelyard.oip import messages

Kept = dict[str, Any]

LOG_DEFAULTS: Kept = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
LOG_FORMATS = ("default", "ISO8601")
TRACE_DEFAULTS: dict[str, list[str]] = {
    "trace_file": [""],
    "trace_level": ["OFF"],
    "trace_rate": ["1000"],
    "trace_count": ["-1"],
    "log_frequency": ["0"],
    "trace_mode": ["triton"],
}
TRACE_LEVELS = ("OFF", "TIMESTAMPS", "TENSORS")
TRACE_MODES = ("triton", "opentelemetry")
NO_TRACES = (
    "trace setting 'trace_level': expected OFF, this server writes no traces; its metrics and statistics count calls"
)
_NUMBER = re.compile(r"-?[0-9]{1,9}\Z")
_KINDS: dict[type, tuple[str, str]] = {
    bool: ("bool_param", "a bool"),
    int: ("uint32_param", "a number of 32 bits without a sign"),
    str: ("string_param", "a text"),
}


class Settings(Protocol):
    """Where settings are kept, by kind: "log" or "trace"."""

    async def read(self, kind: str) -> Kept:
        """Return them; empty where none has been changed yet."""

    async def change(self, kind: str, change: Callable[[Kept], Kept]) -> Kept:
        """Replace them by what `change` makes of them (it may be called several times); return that."""


class LocalSettings:
    """Settings of one process."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    async def read(self, kind: str) -> Kept:
        """Return them; empty where none has been changed yet."""
        return self._kept.get(kind, {})

    async def change(self, kind: str, change: Callable[[Kept], Kept]) -> Kept:
        """Replace them by what `change` makes of them; return that."""
        changed = self._kept[kind] = change(self._kept.get(kind, {}))
        if kind == "log":
            apply_log(changed)
        return changed


async def change_log(settings: Settings, request: messages.LogSettingsRequest) -> messages.LogSettingsResponse:
    """Change what is named, all or nothing; return all.

    Raises:
        InvalidInputError: no such setting, or a value that it does not take.
    """
    named = {name: _log_value(name, value) for name, value in request.settings.items()}
    kept = await (settings.change("log", lambda old: {**old, **named}) if named else settings.read("log"))
    response = messages.LogSettingsResponse()
    for name, value in {**LOG_DEFAULTS, **kept}.items():
        setattr(response.settings[name], _KINDS[type(value)][0], value)
    return response


def _log_value(name: str, value: messages.LogSettingsRequest.SettingValue) -> object:
    if name not in LOG_DEFAULTS:
        raise InvalidInputError(f"log setting {name!a:.100}: expected one of {', '.join(LOG_DEFAULTS)}")
    kind, expected = _KINDS[type(LOG_DEFAULTS[name])]
    if (given := value.WhichOneof("parameter_choice")) != kind:
        raise InvalidInputError(f"log setting {name!r}: expected {expected}, got {given or 'no value'}")
    found: object = getattr(value, kind)
    if name == "log_file" and found:
        raise InvalidInputError("log setting 'log_file': expected an empty text, logs go to standard error")
    if name == "log_format" and found not in LOG_FORMATS:
        raise InvalidInputError(f"log setting {name!r}: expected {' or '.join(LOG_FORMATS)}, got {found!a:.100}")
    return found


def apply_log(kept: Mapping[str, Any]) -> None:
    """Let this process log what the settings say; without any of them it goes on as it was started."""
    root = logging.getLogger()
    known = [(h, f) for h in root.handlers for f in h.filters if isinstance(f, LogFilter)]
    before = known[0][1].before if known else root.level
    for handler, old in known:
        handler.removeFilter(old)
    root.setLevel(before)
    if not kept:
        return
    wanted = LogFilter({**LOG_DEFAULTS, **kept}, before)
    root.setLevel(wanted.lowest)
    for handler in root.handlers:
        handler.addFilter(wanted)


class LogFilter(logging.Filter):
    """Lets pass the levels that are switched on, each by itself. `before` is the level of the process without it."""

    def __init__(self, settings: Mapping[str, Any], before: int) -> None:
        super().__init__()
        self.before = before
        switches = {
            logging.DEBUG: bool(settings["log_verbose_level"]),
            logging.INFO: settings["log_info"],
            logging.WARNING: settings["log_warning"],
            logging.ERROR: settings["log_error"],
        }
        self._on = {level for level, on in switches.items() if on}
        self.lowest = min(self._on, default=logging.CRITICAL)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record's level is switched on; what is worse than an error always is."""
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        return level == logging.CRITICAL or level in self._on


async def change_trace(settings: Settings, request: messages.TraceSettingRequest) -> messages.TraceSettingResponse:
    """Change what is named of a model, or of all where none is; return those of the model.

    A setting that is named without a value is again as for all models, or as at first.

    Raises:
        InvalidInputError: no such setting, or a value that it does not take.
        UnimplementedError: a level is asked for: nothing would be traced.
    """
    named = {name: _trace_values(name, value.value) for name, value in request.settings.items()}
    if set(named.get("trace_level", ())) - {"OFF"}:
        raise UnimplementedError(NO_TRACES)

    def changed(old: Kept) -> Kept:
        merged = {**old.get(request.model_name, {}), **named}
        return {**old, request.model_name: {name: values for name, values in merged.items() if values}}

    kept = await (settings.change("trace", changed) if named else settings.read("trace"))
    response = messages.TraceSettingResponse()
    found = {**TRACE_DEFAULTS, **kept.get("", {}), **kept.get(request.model_name, {})}
    for name, values in found.items():
        response.settings[name].value.extend(values)
    return response


def _trace_values(name: str, values: Sequence[str]) -> list[str]:
    if name not in TRACE_DEFAULTS:
        raise InvalidInputError(f"trace setting {name!a:.100}: expected one of {', '.join(TRACE_DEFAULTS)}")
    if len(values) > 1 and name != "trace_level":
        raise InvalidInputError(f"trace setting {name!r}: expected one value, got {len(values)}")
    for value in values:
        _check_trace(name, value)
    return list(values)


def _check_trace(name: str, value: str) -> None:
    least = {"trace_rate": 1, "trace_count": -1, "log_frequency": 0}.get(name)
    if least is not None and not (_NUMBER.match(value) and int(value) >= least):
        raise InvalidInputError(f"trace setting {name!r}: expected a number from {least}, got {value!a:.100}")
    choices = {"trace_level": TRACE_LEVELS, "trace_mode": TRACE_MODES}.get(name)
    if choices and value not in choices:
        raise InvalidInputError(f"trace setting {name!r}: expected {' or '.join(choices)}, got {value!a:.100}")
