"""The configuration of a control process."""

from dataclasses import dataclass

from modelyard.config import option


@dataclass(frozen=True)
class Config:
    """Modelyard's control process of one training job."""

    id: str = option("control-0", "name of this process, which no other has or had")
    job: str = option("", "id of the job")
    secret: str = option("", "what members must know; give it as MODELYARD_SECRET, others can see the command line")
    agreement: str = option("", "what members must agree on; empty: what the first one says")
    min_workers: int = option(1, "fewer wait")
    max_workers: int = option(1, "more are not taken in")
    replica: int = option(1, "members that share a model: so many, or a multiple of it, train")
    epochs: int = option(0, "passes over the data; 0: --steps says how long")
    steps: int = option(0, "of the optimizer; 0: --epochs says how long")
    expected: int = option(0, "how many were placed: when they are there nobody is waited for; 0: as --max-workers")
    settle_s: float = option(2.0, "at first: how long nobody must have come")
    form_s: float = option(60.0, "a member that does not answer for so long is left out")
    lease_s: int = option(15, "time to live of its key in etcd")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(0, "port; 0: any")
    advertise: str = option("", "host under which members reach this process; empty: as --host")
    etcd: str = option("127.0.0.1:2379", "etcd endpoints, host:port, separated by commas")
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
