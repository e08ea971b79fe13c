"""The catalogue's nouns: model, version, alias, signature, manifest. Plain values, as etcd and the SDK hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CHUNK_SIZE_BYTES = 8 << 20
"""The size of every chunk of a file but its last."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: datatype as the Open Inference Protocol names it, -1 for a dynamic dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.datatype} {list(self.shape)}"


@dataclass(frozen=True)
class Signature:
    """What a version takes and returns, in the order of the artifact."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True)
class Resources:
    """What one instance needs: cores, bytes of memory, GPUs. 0 means: not stated."""

    cpu: float = 0.0
    memory_bytes: int = 0
    gpu: int = 0


class Lifecycle(StrEnum):
    """Whether a model or a version can be used."""

    ACTIVE = "ACTIVE"
    DELETED = "DELETED"
    """It can be brought back until `expire_time_s`."""


@dataclass(frozen=True)
class Alias:
    """A movable name of a version; of its calls `canary_percent` in a hundred go to `canary_version`, if it has one.

    An `etag` changes with every change of what has it; it is filled in when that is read.
    """

    name: str
    version: str
    tenant: str = "default"
    update_time_s: float = 0.0
    etag: str = ""
    canary_version: str = ""
    canary_percent: float = 0.0


@dataclass(frozen=True)
class AliasChange:
    """A move of an alias: who, when, from, to.

    Attributes:
        number: counts the changes of one alias, from 1.
        from_version: empty when it was created.
        to_version: empty when it was deleted.
        rollback: whether this was a roll-back.
        previous: the number of the change to which a roll-back returns; 0: there is none.
        canary_version: which got `canary_percent` in a hundred calls from then on; empty: none did.
    """

    alias: str
    number: int
    from_version: str
    to_version: str
    tenant: str = "default"
    time_s: float = 0.0
    rollback: bool = False
    previous: int = 0
    canary_version: str = ""
    canary_percent: float = 0.0


@dataclass(frozen=True)
class Model:
    """A registered model; `aliases`, `latest_version` and `etag` are filled in when it is read."""

    name: str
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    tenant: str = "default"
    create_time_s: float = 0.0
    aliases: tuple[Alias, ...] = ()
    latest_version: str = ""
    update_time_s: float = 0.0
    keep_last: int = 0
    """How many of its versions are kept; 0: all. Older ones that are neither deployed nor aliased are deleted."""
    state: Lifecycle = Lifecycle.ACTIVE
    expire_time_s: float = 0.0
    """Of a DELETED model: when it may be purged."""
    etag: str = ""


@dataclass(frozen=True)
class Lineage:
    """Where a version came from; empty: not stated. The parent is "model@version"."""

    parent_version: str = ""
    job: str = ""
    dataset: str = ""


@dataclass(frozen=True)
class Version:
    """A published version. What it computes never changes: its bytes are named by the manifest's sha256.

    `etag` is filled in when it is read.
    """

    model: str
    version: str
    format: str
    signature: Signature
    resources: Resources
    manifest_digest: str
    size_bytes: int
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
    tenant: str = "default"
    create_time_s: float = 0.0
    state: Lifecycle = Lifecycle.ACTIVE
    lineage: Lineage = Lineage()
    metrics: dict[str, float] = field(default_factory=dict)
    update_time_s: float = 0.0
    expire_time_s: float = 0.0
    """Of a DELETED version: when it may be purged."""
    etag: str = ""


@dataclass(frozen=True)
class File:
    """A file of an artifact: its relative path and the sha256 of each chunk, in order."""

    path: str
    size_bytes: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The files of an artifact. Stored as a chunk of its own, so that a version of any size fits into etcd."""

    files: tuple[File, ...]
    chunk_size_bytes: int = CHUNK_SIZE_BYTES

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(f.size_bytes for f in self.files)

    def chunk_sizes(self) -> dict[str, int]:
        """Every distinct chunk with its size in bytes, in the order of first use."""
        sizes: dict[str, int] = {}
        for file in self.files:
            for index, digest in enumerate(file.chunks):
                sizes[digest] = min(self.chunk_size_bytes, file.size_bytes - index * self.chunk_size_bytes)
        return sizes


@dataclass(frozen=True)
class Counter:
    """What has been given to the versions of a model.

    Attributes:
        number: the highest number: that of a purged version is not given again.
        create_time_s: the latest time of creation: who is published later has a later one, whatever the clocks say.
    """

    number: int = 0
    create_time_s: float = 0.0


@dataclass(frozen=True)
class Request:
    """What a request that had an id of its own created, so that it creates nothing more when it is repeated."""

    version: str
    create_time_s: float


@dataclass(frozen=True)
class Hold:
    """What collection must spare although the catalogue does not name it: an upload, a job's results, a checkpoint.

    Attributes:
        chunks: sha256 of chunks, or as much of each as its first 16 hex digits.
        manifests: sha256 of manifests; they are held with all their chunks.
        expire_time_s: when it ends; 0: when it is deleted.
    """

    chunks: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    expire_time_s: float = 0.0
    tenant: str = "default"


@dataclass(frozen=True)
class Collected:
    """What a collection removed and left, in chunks and bytes, and what it purged, as `model@version` or `model`."""

    removed_chunks: int = 0
    removed_bytes: int = 0
    kept_chunks: int = 0
    kept_bytes: int = 0
    purged: tuple[str, ...] = ()
