"""Metrics for Prometheus: each process keeps its own, the parent of a service replica serves those of all on one page.

`families` says what is measured, docs/metrics.md what it means. A child keeps its values in files that it shares with
its parent (`Journal`); what it counted outlives it, however it dies.
"""

from modelyard.metrics.families import Family
from modelyard.metrics.journal import DIRECTORY, Journal, inherited
from modelyard.metrics.sheet import Cell, Histogram

__all__ = ["DIRECTORY", "Cell", "Family", "Histogram", "Journal", "inherited"]
