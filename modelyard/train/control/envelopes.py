"""Messages as frames and back."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

from modelyard import codec
from modelyard.errors import InvalidInputError
from modelyard.rpc.frames import Buffer
from modelyard.train.control import messages
from modelyard.train.control.messages import Envelope
from modelyard.train.control.waiting import Waits

Message = (
    messages.Hello
    | messages.Formation
    | messages.Formed
    | messages.Healing
    | messages.Broken
    | messages.Leave
    | messages.Left
    | messages.Committed
    | messages.Evaluated
    | messages.Saved
    | messages.Unsaved
    | Waits
    | messages.Finished
    | messages.Failed
    | messages.Stop
    | messages.Over
    | messages.Refused
)
_NAMES: dict[type, str] = {get_args(hint)[0]: name for name, hint in get_type_hints(Envelope).items()}
"""The field of each kind."""


def packed(message: Message) -> bytes:
    """Return the frame of a message."""
    fields: dict[str, Any] = {_NAMES[type(message)]: message}
    return codec.encode(Envelope(**fields))


def unpacked(frame: Buffer) -> Message:
    """Return the message of a frame.

    Raises:
        InvalidInputError: it is none, or of a kind that this release does not know.
    """
    try:
        envelope = codec.decode(Envelope, bytes(frame))
    except codec.MalformedError as error:
        raise InvalidInputError(f"expected a message of training, got {len(frame)} bytes: {error}") from error
    found = [getattr(envelope, field.name) for field in dataclasses.fields(envelope)]
    there = [message for message in found if message is not None]
    if len(there) != 1:
        raise InvalidInputError(f"expected an envelope with one message, got one with {len(there)}")
    message: Message = there[0]
    return message
