"""Text before it is tokenised."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

import msgspec

from modelyard.errors import InvalidInputError

_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")


class Cleaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done with a text, in this order; white space becomes single blanks whatever is asked for.

    Attributes:
        html: tags become blanks, and character references the characters.
        unicode: the normalisation form; empty: none.
        lower: lower case.
    """

    html: bool = True
    unicode: Literal["", "NFC", "NFD", "NFKC", "NFKD"] = "NFKC"
    lower: bool = True

    def clean(self, text: str) -> str:
        """Return the clean text."""
        if self.html:
            text = html.unescape(_TAG.sub(" ", text))
        if self.unicode:
            text = unicodedata.normalize(self.unicode, text)
        return " ".join((text.lower() if self.lower else text).split())


def texts(values: Iterable[object], name: str) -> list[str]:
    """The texts of BYTES: bytes in UTF-8, or str.

    Raises:
        InvalidInputError: a value is neither; `name` is the input's, and the row is named.
    """
    return [_text(value, name, row) for row, value in enumerate(values)]


def _text(value: object, name: str, row: int) -> str:
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            return value.encode().decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"input {name!r}: row {row}: expected text in UTF-8: {error.reason}") from error
    raise InvalidInputError(f"input {name!r}: row {row}: expected text, got {type(value).__name__}")
