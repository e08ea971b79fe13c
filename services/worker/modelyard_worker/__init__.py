"""Modelyard's worker."""

import os

# Read when gRPC is imported. Its handlers of fork() would run in every child that uvloop starts, between fork and exec:
# there they crash, and write to the connections of this process.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# Who polls for what comes handles it, too: with the newer listener another thread does, at four more switches a call.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
