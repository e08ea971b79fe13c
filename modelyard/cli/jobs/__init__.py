"""`modelyard jobs`: batch jobs, submitted, watched, changed; their results."""
