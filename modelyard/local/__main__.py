"""`python -m modelyard.local up|down|status`: what `modelyard up --detach` runs, without the rest of the CLI."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard import codec
from modelyard.errors import ModelyardError
from modelyard.local.commands import Asked, UpOptions, down, status, up
from modelyard.session import TTL_S


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelyard.local", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("--dir", type=Path, default=Path(".modelyard"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--capacity", default="")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--store", default="")
    parser.add_argument("--allow-unsafe", action=argparse.BooleanOptionalAction)
    parser.add_argument("--allow-code", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--grace-s", type=float)
    parser.add_argument("--collect-every-s", type=float)
    parser.add_argument("--dataset-urls")
    parser.add_argument("--lease-s", type=int, default=TTL_S)
    return parser.parse_args(arguments)


def _options(asked: argparse.Namespace) -> UpOptions:
    return UpOptions(
        asked.dir,
        asked.workers,
        asked.port,
        asked.detach,
        asked.capacity,
        asked.processes,
        Asked(asked.store, asked.allow_unsafe, asked.grace_s, asked.collect_every_s, asked.dataset_urls),
        asked.allow_code,
        asked.lease_s,
    )


def main(arguments: Sequence[str]) -> int:
    """Run one command; an error is one line on standard error and exit status 1."""
    asked = _parse(arguments)
    try:
        if asked.command == "up":
            return up(_options(asked))
        if asked.command == "down":
            return down(asked.dir)
        print(codec.encode(status(asked.dir)).decode())
    except ModelyardError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
