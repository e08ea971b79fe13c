"""Jobs: accepted and told of by any replica, planned and looked after by the leader."""
