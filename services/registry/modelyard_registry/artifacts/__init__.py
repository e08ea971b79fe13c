"""Artifacts: chunks by their sha256, manifests that say how they make files, and versions published from them."""
