"""The Jobs API: what any replica of the scheduler answers."""
