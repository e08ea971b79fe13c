"""Modelyard: a self-hosted Model-as-a-Service. `Client` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the services, and programs as small as modelyard.bound, do without it.
    if name == "Client":
        from modelyard.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
