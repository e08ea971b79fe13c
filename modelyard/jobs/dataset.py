"""Where what a job reads comes from."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.datasets.image_options import ImageOptions


@dataclass(frozen=True)
class Artifact:
    """Files in the artifact store.

    Attributes:
        manifest_digest: sha256 of the manifest, in hex.
        path: of a file; empty: the only file there is, or all of them as a directory.
    """

    manifest_digest: str
    path: str = ""


@dataclass(frozen=True)
class Dataset:
    """Where rows come from: one of `artifact`, `url` and `inline`.

    Attributes:
        url: below one of the prefixes that the server allows.
        inline: a whole file, at most 8 MiB; it is an artifact once the job is accepted.
        kind: "npy", "npz", "parquet", "csv", "jsonl" or "images"; empty: what the suffix says.
        images: what is done with every image; None: nothing.
    """

    artifact: Artifact | None = None
    url: str = ""
    inline: bytes | None = None
    kind: str = ""
    images: ImageOptions | None = None

    @property
    def is_given(self) -> bool:
        """Whether it says where rows come from."""
        return self.artifact is not None or bool(self.url) or self.inline is not None
