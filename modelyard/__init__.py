"""Modelyard: a self-hosted Model-as-a-Service. `Client` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.client import Client
    from modelyard.deployment import InstanceOptions, Selector

__version__ = "0.1.0"
__all__ = ["Client", "InstanceOptions", "Selector", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the services, and programs as small as modelyard.bound, do without it.
    if name == "Client":
        from modelyard.client import Client  # noqa: PLC0415

        return Client
    if name in {"InstanceOptions", "Selector"}:
        from modelyard import deployment  # noqa: PLC0415

        return getattr(deployment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
