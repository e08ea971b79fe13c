"""What tests of training share with those of the registry: a real one."""

from __future__ import annotations

from tests.integration.registry.conftest import _registry_process, server

__all__ = ["_registry_process", "server"]
