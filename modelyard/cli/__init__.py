"""The command `modelyard`."""

import os

# Read by grpc when it is loaded: its notes on connections would stand between our lines on standard error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
