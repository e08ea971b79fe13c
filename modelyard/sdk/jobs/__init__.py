"""Jobs from the client's side: submitted, watched, their results fetched. A job itself is a plain value."""
