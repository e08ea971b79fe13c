"""The registry's configuration."""

from dataclasses import dataclass

from modelyard.config import option
from modelyard.session import LEAST_TTL_S, TTL_S


@dataclass(frozen=True)
class Config:
    """Modelyard's registry: models, versions, aliases and the chunks they are made of."""

    id: str = option("registry-0", "name of this replica, unique among the registries")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8003, "port to listen on; 0: any")
    metrics_port: int = option(8007, "port of the page that Prometheus scrapes, over HTTP; 0: any")
    metrics_dir: str = option("", "directory of what is counted; empty: below the system's for temporary files")
    advertise: str = option("", "host under which others reach this replica; empty: as --host")
    etcd: str = option("127.0.0.1:2379", "etcd endpoints, host:port, separated by commas")
    lease_s: int = option(TTL_S, "so long what it has announced stays in etcd when it is silent", LEAST_TTL_S)
    store: str = option("modelyard-store", "where chunks are kept: a directory or an fsspec URL")
    allow_unsafe: bool = option(False, "whether artifacts may hold pickles and custom code, which run when loaded")
    grace_s: float = option(7 * 86_400.0, "seconds for which what was deleted can be brought back")
    collect_every_s: float = option(3_600.0, "seconds between two collections of garbage by this replica; 0: never")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
