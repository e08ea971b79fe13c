"""Datasets to train on: files of rows with random access, split, drawn and augmented, all by seed alone.

`opening.open_table` opens. A table has columns, of which some are features and one is the target; it is a dataset as
torch's loaders and recipes take it. `table.prepare` encodes it as callers' inputs will be when the model is served.
"""
