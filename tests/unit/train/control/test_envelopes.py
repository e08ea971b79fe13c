from __future__ import annotations

import pytest

from modelyard import codec
from modelyard.errors import InvalidInputError
from modelyard.train.control import messages as m
from modelyard.train.control.envelopes import Message, packed, unpacked
from modelyard.train.control.waiting import Waits
from modelyard.train.position import Position

SAVED = m.Saved(Position(3, 1, 2), "c")
MESSAGES: list[Message] = [
    m.Hello("j", "m", "s", "a", "d", 3, 2, whole=True),
    m.Formation(1, ("a", "b"), ("x", "y"), "h:1", SAVED),
    m.Formed(1),
    m.Healing(1),
    m.Broken(1, 2, "why"),
    m.Leave(1, at_boundary=True),
    m.Left(1, 2),
    m.Committed(Position(3, 1, 2), {"loss": 0.5}, 4, 0.1),
    SAVED,
    m.Saved(Position(3, 1, 2), "c", ("b", "a"), "d"),
    m.Unsaved(3, "full"),
    Waits("no registry is live", 7.0),
    m.Finished(Position(3, 1, 2)),
    m.Failed("why", "Traceback"),
    m.Stop("why"),
    m.Over(),
    m.Refused("why"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_come_as_they_were_sent(message: Message) -> None:
    assert unpacked(memoryview(packed(message))) == message


@pytest.mark.parametrize("frame", [b"\xff", b"[]", b"{}", b'{"formed": {}}', b'{"formed": {"formation": "x"}}'])
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        unpacked(frame)


def test_an_envelope_has_one_message() -> None:
    with pytest.raises(InvalidInputError, match="got one with 2"):
        unpacked(codec.encode(m.Envelope(formed=m.Formed(1), left=m.Left(1, 2))))
