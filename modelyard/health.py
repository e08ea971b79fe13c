"""The health check of our images: `python -m modelyard.health HOST:PORT` exits 0 if the server there is SERVING."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from modelyard.errors import UnavailableError
from modelyard.rpc.health import check_serving


def main(argv: Sequence[str]) -> int:
    """Print one line, the status or what went wrong; return 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.health", description="Check a server by grpc.health.v1.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--service", default="", help="a service, a model or model@version (default: the server)")
    parser.add_argument("--timeout-s", type=float, default=2.0, help="seconds to wait for the answer (default 2)")
    arguments = parser.parse_args(argv)
    try:
        asyncio.run(check_serving(arguments.address, arguments.timeout_s, arguments.service))
    except UnavailableError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"{arguments.address}: SERVING")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
