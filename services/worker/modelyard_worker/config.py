"""The worker's configuration."""

from dataclasses import dataclass

from modelyard.config import option


@dataclass(frozen=True)
class Config:
    """Modelyard's worker: one machine's agent and its runners."""

    id: str = option("worker-0", "name of this worker, unique among the workers")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8005, "the agent's port; 0: any")
    advertise: str = option("", "host under which others reach this worker; empty: as --host")
    etcd: str = option("127.0.0.1:2379", "etcd endpoints, host:port, separated by commas")
    data_dir: str = option("modelyard-worker", "directory of the artifact cache and the runners' logs")
    capacity: str = option("", "override what was found, as cpu=8,memory=32GiB")
    labels: str = option("", "labels of this worker, as zone=a,disk=ssd")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
