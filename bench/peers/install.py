"""Set the peers up below .venv-peers: Triton, MLServer and perf_analyzer, each in a virtual environment of its own.

The wheel nvidia-pytriton carries Triton's server and the stub of its Python backend for each Python; of what else that
wheel asks for nothing is needed. perf_analyzer is a binary in the wheel tritonclient 2.41.0 (later wheels lack it); the
two libraries that it misses, libb64 and libcudart, lie beside Triton's server.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(".venv-peers").resolve()
CONSTRAINTS = Path("constraints.txt").resolve()
TRITON = "nvidia-pytriton==0.7.0"
MLSERVER = "mlserver==1.7.1"
PERF_ANALYZER = "tritonclient==2.41.0"
EXTERNAL_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


def site_packages(name: str) -> Path:
    """Where the packages of an environment lie."""
    (found,) = (ROOT / name).glob("lib/python*/site-packages")
    return found


def triton_package() -> Path:
    """Where the wheel has Triton's server."""
    return site_packages("triton") / "pytriton" / "tritonserver"


def triton_libraries() -> Path:
    """The libraries that the wheel brings."""
    return site_packages("triton") / "nvidia_pytriton.libs"


def install(name: str, *arguments: str) -> None:
    """Install packages into an environment, which is made if need be; the versions that we run are theirs too."""
    python = ROOT / name / "bin" / "python"
    if not python.exists():
        venv.create(ROOT / name, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def install_triton() -> None:
    """Triton, with its Python backend laid out as the server wants it."""
    install("triton", "--constraint", str(CONSTRAINTS), "onnxruntime", "numpy")
    install("triton", "--no-deps", TRITON)
    backend = ROOT / "triton" / "backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton_package() / "python_backend_stubs" / version / "triton_python_backend_stub"
    for file in [stub, *(p for p in (triton_package() / "backends" / "python").iterdir() if p.is_file())]:
        shutil.copy(file, backend)
    for program in (backend / stub.name, triton_package() / "bin" / "tritonserver"):
        program.chmod(0o755)


def install_perf_analyzer() -> None:
    """perf_analyzer, and the libraries it misses under the names that it looks for."""
    install("load", "--no-deps", PERF_ANALYZER)
    libraries = ROOT / "load" / "libraries"
    libraries.mkdir(exist_ok=True)
    for name, pattern in EXTERNAL_LIBRARIES.items():
        (library,) = triton_libraries().glob(pattern)
        (libraries / name).unlink(missing_ok=True)
        (libraries / name).symlink_to(library)


def main() -> None:
    """Install all three."""
    install_triton()
    install_perf_analyzer()
    install("mlserver", "--constraint", str(CONSTRAINTS), MLSERVER, "onnxruntime")


if __name__ == "__main__":
    main()
