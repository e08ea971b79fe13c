"""The reader: a process beside a runner that reads the rows of tasks, has them executed and writes what comes of them.

It has neither an engine nor torch: a dataset that crashes its parser takes no loaded model with it.
"""
