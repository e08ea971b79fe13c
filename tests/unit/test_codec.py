"""Records that cannot be read, whatever is wrong with them."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from modelyard import codec
from modelyard.catalogue import Model

MALFORMED = [b"", b"{", b"[]", b"{}", b'{"name":1}', b'{"name":"\xff"}', b"\xff", b'{"name":"a","x":' + b"[" * 100_000]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_not_understood_is_malformed(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(codec.MalformedError):
        codec.decode(Model, data)
    with caplog.at_level(logging.ERROR, "modelyard.codec"):
        assert codec.understood(partial(codec.decode, Model), "models/m", data) is None
    ((message, key),) = [(r.getMessage(), vars(r)["key"]) for r in caplog.records]
    assert (message, key) == ("record not understood", "models/m")


def test_what_is_understood() -> None:
    assert codec.understood(partial(codec.decode, Model), "models/m", b'{"name":"m","x":[1]}') == Model("m")


def test_other_failures_are_not_passed_over() -> None:
    with pytest.raises(ZeroDivisionError):
        codec.understood(lambda data: 1 // len(data), "models/m", b"")
