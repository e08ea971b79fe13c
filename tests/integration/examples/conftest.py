"""What tests of examples share with those of serving: the suite that all tests share."""

from __future__ import annotations

from tests.integration.serving.conftest import bench, client

__all__ = ["bench", "client"]
