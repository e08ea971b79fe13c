"""Search: the filter language, and the index in memory from which it is served."""
