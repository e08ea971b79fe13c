"""Tasks of jobs: the agent pulls them; a reader process for each instance reads, has executed and writes their rows."""
