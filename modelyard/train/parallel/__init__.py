"""Training a model that is shared by several ranks: in shards, by parts of layers, by stages. See docs/training.md.

In this order: `mesh`, `place`, the optimizer of the placement's module, `ParallelStep`, `gather`.
"""
