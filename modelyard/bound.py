"""`python -m modelyard.bound PROGRAM ARG...`: run a foreign program that dies with its parent."""

import os
import sys

from modelyard.process import PARENT, REPORT, die_with


def main() -> None:
    """Ask the kernel, then become the program (the request outlives exec)."""
    die_with(int(os.environ.pop(PARENT)))
    os.environ.pop(REPORT, None)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606


if __name__ == "__main__":
    main()
