"""What tests of jobs share with those of serving: a client of the suite, and models that go when a test is over."""

from __future__ import annotations

from tests.integration.serving.conftest import bench, client

__all__ = ["bench", "client"]
