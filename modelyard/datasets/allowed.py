"""Which URLs may be read: those below prefixes that the server's owner has named, and that lead nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from modelyard.errors import InvalidInputError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)
_ENCODINGS = 8
"""A percent sign that is encoded more often than that is somebody's attempt at something."""


def prefixes(text: str) -> tuple[str, ...]:
    """Read prefixes that are separated by commas, as a setting has them."""
    return tuple(prefix.strip() for prefix in text.split(",") if prefix.strip())


def check_allowed(url: str, allowed: Sequence[str]) -> None:
    """Return if a URL is one of the allowed prefixes, or below one: `s3://bucket/data` allows `s3://bucket/data/x`.

    Raises:
        InvalidInputError: it is not; or it chains file systems, leads upwards, or has credentials in it.
    """
    if not allowed:
        raise InvalidInputError(f"{shown(url)}: this server allows no URLs; upload the dataset instead")
    if _has_credentials(url):
        raise InvalidInputError(f"{shown(url)}: expected a URL without credentials: the server has its own")
    below = any(url == prefix or url.startswith(prefix.rstrip("/") + "/") for prefix in allowed)
    if not (below and _URL.fullmatch(url)) or "::" in url or _leads_upwards(url):
        raise refused(url, allowed)


def refused(url: str, allowed: Sequence[str], reason: str = "") -> InvalidInputError:
    """What is said of a URL that is not allowed."""
    below = ", ".join(shown(prefix) for prefix in allowed)
    return InvalidInputError(f"{shown(url)}: expected a URL below {below}{reason}")


def shown(url: str) -> str:
    """A URL as messages have it: without credentials and query."""
    return re.sub(r"//[^/]*@", "//", url.partition("?")[0])[:300]


def _has_credentials(url: str) -> bool:
    return "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def _leads_upwards(url: str) -> bool:
    for _ in range(_ENCODINGS):
        if ".." in re.split(r"[/\\?#]", url):
            return True
        plain = unquote(url)
        if plain == url:
            return False
        url = plain
    return True
