"""A rank's side of a group that members leave and join: connection, process groups, vote and healing."""
