"""The worker's configuration."""

from dataclasses import dataclass

from modelyard.config import option
from modelyard.session import LEAST_TTL_S, TTL_S


@dataclass(frozen=True)
class Config:
    """Modelyard's worker: one machine's agent and its runners."""

    id: str = option("worker-0", "name of this worker, unique among the workers")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8005, "the agent's port; 0: any")
    metrics_port: int = option(8006, "port of the page that Prometheus scrapes, over HTTP; 0: any")
    advertise: str = option("", "host under which others reach this worker; empty: as --host")
    etcd: str = option("127.0.0.1:2379", "etcd endpoints, host:port, separated by commas")
    lease_s: int = option(TTL_S, "so long what it has announced stays in etcd when it is silent", LEAST_TTL_S)
    redis: str = option("127.0.0.1:6379", "Redis, host:port; tasks of jobs are pulled from it")
    data_dir: str = option("modelyard-worker", "directory of the artifact cache and the runners' logs")
    capacity: str = option("", "override what was found, as cpu=8,memory=32GiB,gpu=0")
    labels: str = option("", "labels of this worker, as zone=a,disk=ssd")
    cache_bytes: str = option("20GiB", "artifacts that nothing uses are removed when all take more; 0: at once")
    drain_s: float = option(30.0, "how long a SIGTERM waits for what is here to be loaded elsewhere; 0: not at all")
    allow_code: bool = option(False, "run the code of users who train: whoever may submit jobs may run programs here")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
