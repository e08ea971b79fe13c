"""Datasets for batch inference: opened, counted, cut into shards, read by rows; a job's answers, written and joined.

Everything here blocks: call it in a thread. A dataset is used by one thread at a time, a source by any number.
Rows are counted from 0, in messages too. What is held in memory follows from the rows that are asked for, not from the
file. `opening.open_dataset` opens, `mapping.bind` maps columns to a model's inputs, `sharding` cuts, `pieces` writes
what one shard gave, `assembly` joins the pieces of all.
"""
