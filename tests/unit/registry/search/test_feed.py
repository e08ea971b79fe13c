from __future__ import annotations

import logging

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Lifecycle, Model, Resources, Signature, Version
from modelyard.etcd import Change, KeyValue
from modelyard.events import CatalogueEvent, EventKind
from modelyard_registry.search.feed import event_of

VERSION = Version("m", "1", "onnx", Signature(), Resources(), "0" * 64, 9, state=Lifecycle.DELETED, expire_time_s=8.0)


def put(key: str, value: object, revision: int = 7, mod_revision: int = 7) -> Change:
    data = value if isinstance(value, bytes) else codec.encode(value)
    return Change(key, KeyValue(key, data, 3, mod_revision, 0), revision)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (keys.model("m"), Model("m", "fast", etag="7")),
        (keys.version("m", "1"), codec.decode(Version, codec.encode(VERSION))),
        (keys.alias("m", "prod"), Alias("prod", "1", etag="7")),
    ],
)
def test_a_put_has_the_record_with_its_etag(key: str, value: Model | Version | Alias) -> None:
    event = event_of(put(key, value))
    assert event is not None
    assert (event.kind, event.revision, event.model) == (EventKind.PUT, 7, "m")
    assert event.resource is not None
    assert event.resource.etag == "7"
    assert type(event.resource) is type(value)


def test_a_deleted_version_is_a_put_until_it_is_purged() -> None:
    event = event_of(put(keys.version("m", "1"), VERSION))
    assert event is not None
    assert (event.kind, event.resource.state) == (EventKind.PUT, Lifecycle.DELETED)  # type: ignore[union-attr]


def test_what_is_there_has_the_etag_of_its_last_change() -> None:
    event = event_of(put(keys.model("m"), Model("m"), revision=0, mod_revision=5))
    assert event == CatalogueEvent(EventKind.PUT, 0, "m", Model("m", etag="5"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (keys.model("m"), Model("m")),
        (keys.version("m", "1"), Version("m", "1", "", Signature(), Resources(), "", 0)),
        (keys.alias("m", "prod"), Alias("prod", "")),
    ],
)
def test_a_delete_has_only_names(key: str, value: Model | Version | Alias) -> None:
    assert event_of(Change(key, None, 9)) == CatalogueEvent(EventKind.DELETE, 9, "m", value)


@pytest.mark.parametrize(
    "key",
    [
        keys.alias_change("m", "prod", 1),
        keys.request("m", "x"),
        keys.counter("m"),
        keys.deployment("m", "1"),
        keys.FENCE,
    ],
)
def test_other_keys_are_passed_over(key: str) -> None:
    assert event_of(put(key, b"{}")) is None
    assert event_of(Change(key, None, 9)) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"name": 1}', codec.encode(Alias("a", "1"))])
def test_what_is_not_understood_is_passed_over_and_logged(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert event_of(put(keys.version("m", "1"), data)) is None
    ((record),) = caplog.records
    assert (record.getMessage(), vars(record)["key"]) == ("record not understood", keys.version("m", "1"))
