"""Benchmarks: each prints JSON, with the machine described. Ratios are taken within one run."""
