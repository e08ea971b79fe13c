"""The scheduler's configuration."""

from dataclasses import dataclass

from modelyard.config import option
from modelyard.session import LEAST_TTL_S, TTL_S


@dataclass(frozen=True)
class Config:
    """Modelyard's scheduler: the front door, deployments and placement."""

    id: str = option("scheduler-0", "name of this replica, unique among the schedulers")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8001, "the front door's port; 0: any")
    control_port: int = option(8004, "the controller's port; 0: any")
    metrics_port: int = option(8002, "port of the page that Prometheus scrapes, over HTTP; 0: any")
    metrics_dir: str = option("", "directory of what is counted; empty: below the system's for temporary files")
    advertise: str = option("", "host under which others reach this replica; empty: as --host")
    etcd: str = option("127.0.0.1:2379", "etcd endpoints, host:port, separated by commas")
    lease_s: int = option(TTL_S, "so long what it has announced stays in etcd when it is silent", LEAST_TTL_S)
    redis: str = option("127.0.0.1:6379", "Redis, host:port")
    processes: int = option(1, "front-door processes on the one port")
    dataset_urls: str = option(
        "", "prefixes of URLs that jobs may read datasets from, separated by commas; empty: none"
    )
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
