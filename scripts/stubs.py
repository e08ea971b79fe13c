"""Generate the protobuf stubs from protos/, or check that the checked-in ones are fresh.

modelyard.v1 becomes ordinary modules (proto path = package = Python path). The Open Inference Protocol becomes a
descriptor set and a type stub for modelyard/oip, which builds its messages in a pool of its own.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POOL_STUB = """
from google.protobuf import descriptor_pool as _descriptor_pool
POOL: _descriptor_pool.DescriptorPool
SERVICE: _descriptor.ServiceDescriptor
"""
OIP_FILES = ["inference/model_config.proto", "inference/grpc_service.proto"]


def run_protoc(arguments: Sequence[str]) -> None:
    """Run grpcio-tools' protoc with protos/ as its only root."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *arguments]
    subprocess.run(command, check=True, cwd=ROOT / "protos")


def generate(out: Path) -> list[Path]:
    """Write every generated file below `out`; return their paths relative to it."""
    services = sorted(str(p.relative_to(ROOT / "protos")) for p in (ROOT / "protos/modelyard").rglob("*.proto"))
    run_protoc([f"--python_out={out}", f"--pyi_out={out}", *services])
    oip = out / "modelyard/oip"
    oip.mkdir(parents=True, exist_ok=True)
    run_protoc([f"--descriptor_set_out={oip / 'inference.binpb'}", "--include_imports", *OIP_FILES])
    with tempfile.TemporaryDirectory() as scratch:
        run_protoc([f"--pyi_out={scratch}", *OIP_FILES])
        config = (Path(scratch) / "inference/model_config_pb2.pyi").read_text()
        service = (Path(scratch) / "inference/grpc_service_pb2.pyi").read_text()
    (oip / "model_config.pyi").write_text(config)
    service = service.replace("from inference import model_config_pb2", "from modelyard.oip import model_config")
    (oip / "messages.pyi").write_text(service + POOL_STUB)
    return sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())


def main() -> int:
    """Generate in place, or with --check compare a fresh copy with what is checked in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
        stale = [
            f for f in files if not (ROOT / f).exists() or not filecmp.cmp(Path(scratch) / f, ROOT / f, shallow=False)
        ]
        if not check:
            for f in stale:
                (ROOT / f).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(scratch) / f, ROOT / f)
            stale = []
    for f in stale:
        print(f"stale: {f} (run `make stubs`)", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
