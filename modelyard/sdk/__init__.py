"""What `modelyard.Client` and `modelyard.aio.Client` are made of: one connection, and the calls by noun."""
