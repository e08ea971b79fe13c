"""Modelyard's worker."""

import os

# Read when gRPC is imported. Its handlers of fork() would run in every child that uvloop starts, between fork and exec:
# there they crash, and write to the connections of this process.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
