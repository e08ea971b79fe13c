"""The child process that opens a job's dataset, binds it to the model and counts it."""
